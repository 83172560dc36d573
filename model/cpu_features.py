"""Which instructions the CPU has."""

from functools import cache


@cache
def _flags() -> frozenset[str]:
    """Names as in Linux's /proc/cpuinfo; none elsewhere."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return frozenset(next((line for line in file if line.startswith("flags")), "").split())
    except OSError:
        return frozenset()


def has_bfloat16() -> bool:
    """True where bfloat16 convolutions have instructions of their own; emulated they are slower than float32."""
    return bool({"avx512_bf16", "amx_bf16"} & _flags())


def has_int8() -> bool:
    """True where sums of products of 8-bit integers have instructions of their own."""
    return bool({"avx512_vnni", "avx_vnni", "amx_int8"} & _flags())
