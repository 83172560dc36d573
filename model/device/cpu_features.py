"""Which instructions the CPU has and may use."""

import os
from collections.abc import Mapping
from functools import cache

import torch

_WITHOUT = frozenset({"sse4_1", "avx", "avx2"})  # stands for all that is older
_AVX512 = frozenset({"avx512f", "avx512dq", "avx512bw", "avx512vl"})
_AVX10 = frozenset({"avx512_vnni", "avx512_bf16", "avx512_fp16", "avx_vnni"})
_TILES = frozenset({"amx_tile", "amx_int8", "amx_bf16"})
# What oneDNN uses of /proc/cpuinfo's flags under each value of ONEDNN_MAX_CPU_ISA; it ignores other values.
_ONEDNN_USES = {
    "SSE41": _WITHOUT,
    "AVX": _WITHOUT,
    "AVX2": _WITHOUT,
    "AVX2_VNNI": _WITHOUT | {"avx_vnni"},
    "AVX2_VNNI_2": _WITHOUT | {"avx_vnni", "avx_ne_convert"},
    "AVX512_CORE": _WITHOUT | _AVX512,
    "AVX512_CORE_VNNI": _WITHOUT | _AVX512 | {"avx512_vnni"},
    "AVX512_CORE_BF16": _WITHOUT | _AVX512 | {"avx512_vnni", "avx512_bf16"},
    "AVX512_CORE_FP16": _WITHOUT | _AVX512 | _AVX10,
    "AVX10_1_512": _WITHOUT | _AVX512 | _AVX10,
    "AVX512_CORE_AMX": _WITHOUT | _AVX512 | _AVX10 | _TILES,
    "AVX10_1_512_AMX": _WITHOUT | _AVX512 | _AVX10 | _TILES,
}
_ATEN_USES = {
    "default": frozenset[str](),
    "avx2": _WITHOUT | {"avx_vnni", "avx_ne_convert"},
}


def usable(flags: frozenset[str], environment: Mapping[str, str]) -> frozenset[str]:
    """Those of a processor's flags, named as in /proc/cpuinfo, that torch and oneDNN may use in an environment.

    `ONEDNN_MAX_CPU_ISA` (or `DNNL_MAX_CPU_ISA`) and `ATEN_CPU_CAPABILITY` make a processor behave as an older one.
    """
    isa = environment.get("ONEDNN_MAX_CPU_ISA") or environment.get("DNNL_MAX_CPU_ISA") or ""
    some = flags & _ONEDNN_USES.get(isa.upper(), flags)
    return some & _ATEN_USES.get(environment.get("ATEN_CPU_CAPABILITY", ""), flags)


@cache
def _flags() -> frozenset[str]:
    """What this process may use; none but on Linux on x86."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            line = next((line for line in file if line.startswith("flags")), "")
    except OSError:
        return frozenset()
    return usable(frozenset(line.split()), os.environ)


def has_bfloat16() -> bool:
    """True where bfloat16 convolutions have instructions of their own; emulated they are slower than float32."""
    return bool({"avx512_bf16", "amx_bf16"} & _flags())


def can_bfloat16() -> bool:
    """True where bfloat16 convolutions are possible, if only emulated: with AVX2 alone oneDNN refuses them."""
    if not torch.backends.mkldnn.is_available():
        return True
    held_back = (
        os.environ.get("ATEN_CPU_CAPABILITY", "") in _ATEN_USES and not {"avx512bw", "avx_ne_convert"} & _flags()
    )
    return torch.ops.mkldnn._is_mkldnn_bf16_supported() and not held_back


def has_int8() -> bool:
    """True where sums of products of 8-bit integers have instructions of their own."""
    return bool({"avx512_vnni", "avx_vnni", "amx_int8"} & _flags())
