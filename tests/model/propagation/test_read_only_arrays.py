"""Arrays that may not be written to, as `np.asarray` makes of pictures, are used without a word."""

import subprocess
import sys

import pytest

# In a process of its own: torch warns once in each.
CODE = """
import warnings
warnings.simplefilter("error")
import numpy as np
from PIL import Image
from model import Keyframe, PropagationOptions, Propagator, load_network

pictures = [Image.fromarray(a) for a in np.random.default_rng(0).integers(0, 255, (4, 48, 64, 3), dtype=np.uint8)]
mask = np.zeros((48, 64), np.uint8)
mask[10:30, 20:40] = 1
mask.setflags(write=False)
given = {given}
propagator = Propagator(load_network("perclip-lite"), PropagationOptions(short_side={side}, dtype="float32"))
results = list(propagator.run(given, [Keyframe(0, mask)], finished={{1: mask}}))
assert [r.index for r in results] == [0, 2, 3]
"""


@pytest.mark.parametrize(
    ("given", "side"),
    [
        ("[np.asarray(p) for p in pictures]", "None"),
        ("[np.asarray(p) for p in pictures]", "32"),
        ("np.broadcast_to(np.asarray(pictures[0]), (4, 48, 64, 3))", "None"),
    ],
)
def test_arrays_that_may_not_be_written_to_are_used_without_a_word(given, side):
    done = subprocess.run(
        [sys.executable, "-c", CODE.format(given=given, side=side)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0 and done.stderr == "", done.stderr
