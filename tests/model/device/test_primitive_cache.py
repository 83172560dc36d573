"""What is kept of convolutions and products that were met does not grow with the number of their sizes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
NAMES = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY")

# Sizes are met one after the other; at two moments the memory in use is read from the C library.
PROGRAM = """
import ctypes, sys
import torch
import torch.nn.functional as F
from model import PropagationOptions, Propagator, load_network

fields = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()
State = type("State", (ctypes.Structure,), {"_fields_": [(name, ctypes.c_size_t) for name in fields]})
library = ctypes.CDLL(None)
if not hasattr(library, "mallinfo2"):
    sys.exit("no mallinfo2")
library.mallinfo2.restype = State
Propagator(load_network("perclip-lite"), PropagationOptions(device="cpu", dtype="float32"))
kernel, matrix, used = torch.randn(32, 16, 3, 3), torch.randn(64, 32), []
with torch.inference_mode():
    for size in range(8, 608):
        F.conv2d(torch.zeros(1, 16, 8, size), kernel)
        torch.ops.mkldnn._linear_pointwise(torch.zeros(size, 64), matrix.T.contiguous(), None, "none", [], "")
        if size in (307, 607):
            used.append(library.mallinfo2().uordblks)
print(used[1] - used[0])
"""


def grown(**variables: str) -> int:
    """Bytes that the second half of the sizes left in use, in a process of its own."""
    environment = {name: value for name, value in os.environ.items() if name not in NAMES}
    environment |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"} | variables
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=False)
    if "no mallinfo2" in done.stderr:
        pytest.skip("this C library does not tell how much memory is in use")
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def test_many_sizes_leave_no_more_in_use_than_some():
    assert grown() < 2 << 20


def test_who_sets_the_caches_decides():
    assert grown(**dict.fromkeys(NAMES, "1024")) > 8 << 20
