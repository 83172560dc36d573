"""What depends on the processor's instructions, run here as on processors that have fewer of them.

oneDNN and torch read the variables once, when they are loaded: each processor is a process of its own.
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from model import InputError, PropagationOptions, Propagator, load_network
from model.device.cpu_features import can_bfloat16, has_bfloat16, has_int8, usable
from model.evaluation.metrics import region_similarity
from model.network.quantised_convolution import can_quantise
from tests.model.device.processor import on_all_processors

ROOT = Path(__file__).parents[3]
DESKTOP = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}  # most desktops
EARLY_AVX512 = {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE"}  # emulates bfloat16; a processor without AVX-512 stays what it is
ANCIENT = {"ONEDNN_MAX_CPU_ISA": "SSE41", "ATEN_CPU_CAPABILITY": "default"}


@pytest.mark.parametrize("environment", [DESKTOP, EARLY_AVX512, ANCIENT], ids=["avx2", "avx512", "sse4"])
def test_what_depends_on_the_processor_holds_on_older_ones(environment):
    variables = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    files = (ROOT / "tests" / "model").rglob("test_*.py")
    marked = [path for path in files if "on_all_processors" in path.read_text(encoding="utf-8")]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-m", "processor", "-p", "no:cacheprovider", *marked],
        cwd=ROOT,
        env=variables | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no instructions for 8-bit integers" in done.stdout  # skipped, with the reason
    assert ("cannot convolve in bfloat16" in done.stdout) or environment is EARLY_AVX512


@on_all_processors
@pytest.mark.parametrize("dtype", ["auto", "float32", "bfloat16", "int8"])
def test_a_number_format_works_or_is_refused_in_one_line(dtype, squares):
    possible = {"bfloat16": can_bfloat16(), "int8": can_quantise()}.get(dtype, True)
    options = PropagationOptions(short_side=None, device="cpu", dtype=dtype)
    if not possible:
        with pytest.raises(InputError, match=f'^dtype "{dtype}" is .*use "auto"[^\n]*$'):
            Propagator(load_network("perclip-lite"), options)
        return
    results = list(Propagator(load_network("perclip-lite"), options).run(squares.frames[:6], [squares.keyframe(0)]))
    overlaps = [region_similarity(r.label_map == o, squares.labels[r.index] == o) for r in results for o in (1, 2)]
    assert np.mean(overlaps) > 0.9


@on_all_processors
def test_the_processor_is_held_to_what_its_environment_allows():
    if os.environ.get("ONEDNN_MAX_CPU_ISA") in ("AVX2", "SSE41"):
        assert not (has_int8() or has_bfloat16() or can_bfloat16())
    elif os.environ.get("ONEDNN_MAX_CPU_ISA") == "AVX512_CORE":
        assert not (has_int8() or has_bfloat16())
    # The format with instructions for it is one that is possible.
    assert can_bfloat16() or not has_bfloat16()


LAPTOP = frozenset({"sse4_1", "avx", "avx2", "avx_vnni", "avx_ne_convert"})
SERVER = LAPTOP - {"avx_vnni", "avx_ne_convert"} | {"avx512f", "avx512bw", "avx512dq", "avx512vl"}
SERVER |= {"avx512_vnni", "avx512_bf16", "amx_tile", "amx_int8", "amx_bf16"}


@pytest.mark.parametrize(
    ("flags", "environment", "left", "gone"),
    [
        (SERVER, {}, SERVER, set()),
        (SERVER, {"ONEDNN_MAX_CPU_ISA": "default"}, SERVER, set()),
        (SERVER, {"ONEDNN_MAX_CPU_ISA": "nonsense"}, SERVER, set()),  # as oneDNN takes it
        (SERVER, {"ONEDNN_MAX_CPU_ISA": "AVX2"}, {"avx2"}, {"avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16"}),
        (SERVER, {"DNNL_MAX_CPU_ISA": "avx2"}, {"avx2"}, {"avx512f", "avx512_vnni"}),
        (SERVER, {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE"}, {"avx512bw"}, {"avx512_vnni", "avx512_bf16"}),
        (SERVER, {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_VNNI"}, {"avx512_vnni"}, {"avx512_bf16", "amx_bf16"}),
        (SERVER, {"ONEDNN_MAX_CPU_ISA": "avx512_core_bf16"}, {"avx512_bf16"}, {"amx_bf16"}),
        (SERVER, {"ATEN_CPU_CAPABILITY": "avx2"}, {"avx2"}, {"avx512bw", "avx512_vnni", "amx_bf16"}),
        (SERVER, {"ATEN_CPU_CAPABILITY": "avx512"}, {"avx512_bf16"}, set()),
        (LAPTOP, {"ONEDNN_MAX_CPU_ISA": "AVX2"}, {"avx2"}, {"avx_vnni", "avx_ne_convert"}),
        (LAPTOP, {"ONEDNN_MAX_CPU_ISA": "AVX2_VNNI"}, {"avx_vnni"}, {"avx_ne_convert"}),
        (LAPTOP, {"ATEN_CPU_CAPABILITY": "avx2"}, LAPTOP, set()),
        (LAPTOP, {"ATEN_CPU_CAPABILITY": "default"}, set(), {"avx2", "avx_vnni"}),
    ],
)
def test_the_environment_can_make_a_processor_an_older_one(flags, environment, left, gone):
    found = usable(flags, environment)
    assert left <= found <= flags and not gone & found
