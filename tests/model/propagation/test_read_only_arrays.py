"""Arrays that may not be written to, as `np.asarray` makes of pictures, are used without a word."""

import subprocess
import sys

# In a process of its own, in which torch warns each time and not once.
CODE = """
import warnings
warnings.simplefilter("error")
import numpy as np
import torch
from PIL import Image
from model import Keyframe, PropagationOptions, Propagator, load_network

torch.set_warn_always(True)
pictures = [Image.fromarray(a) for a in np.random.default_rng(0).integers(0, 255, (4, 48, 64, 3), dtype=np.uint8)]
mask = np.zeros((48, 64), np.uint8)
mask[10:30, 20:40] = 1
mask.setflags(write=False)
arrays = [np.asarray(p) for p in pictures]
repeated = np.broadcast_to(arrays[0], (4, 48, 64, 3))
assert not (arrays[0].flags.writeable or repeated.flags.writeable)
network = load_network("perclip-lite")
for given, side in ((arrays, None), (arrays, 32), (repeated, None)):
    propagator = Propagator(network, PropagationOptions(short_side=side, dtype="float32"))
    results = list(propagator.run(given, [Keyframe(0, mask)], finished={1: mask}))
    assert [r.index for r in results] == [0, 2, 3]
"""


def test_arrays_that_may_not_be_written_to_are_used_without_a_word():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and done.stderr == "", done.stderr
