"""One object's bases in few bytes: what a caller can carry from call to call."""

import math
import zlib

import numpy as np
import torch

from model.memory.bases import BASES, Bases

_EXPONENTS = (-60, 30)  # of a base's step, as a power of two: no finite number below becomes infinite in a product
_LARGEST_MASS = 1e12


def pack_bases(bases: Bases, dither: int) -> bytes:
    """Bases of one object, rounded: keys and values 8-bit integers, how much was absorbed (`zeta`) as it is.

    A base's step is the smallest power of two by which its largest number fits, for its key and for its value. Numbers
    between two steps go up or down by a fixed random stream, up the more often the nearer they are to the upper one:
    rounding to the nearest would stop an old base for good, as it changes by less than half a step with every frame.

    Args:
        bases: (1, 2, J, ...), on any device.
        dither: at least 0; says which stream. One object needs another one for every frame.
    """
    random = np.random.RandomState(dither)  # whose stream is fixed for ever
    parts = [_rounded(x.cpu().numpy(), random) for x in (bases.kappa, bases.nu)]
    zeta = bases.zeta.cpu().numpy().astype("<f4")
    arrays = (*(exponents for exponents, _ in parts), *(steps for _, steps in parts), zeta)
    return zlib.compress(b"".join(array.tobytes() for array in arrays), 1)


def unpack_bases(data: bytes, key_dim: int, value_dim: int, count: int = BASES) -> Bases:
    """The rounded bases of one object that were packed, (1, 2, count, ...), on the CPU.

    Raises:
        ValueError: it is no such thing, or of other sizes; never allocates more than these need.
    """
    shapes = [(1, 2, count), (1, 2, count), (1, 2, count, key_dim), (1, 2, count, value_dim)]
    sizes = [math.prod(shape) for shape in shapes]
    whole = sum(sizes) + 4 * sizes[0]
    try:
        raw = zlib.decompressobj().decompress(data, whole + 1)
    except zlib.error as error:
        raise ValueError(f"packed bases are damaged ({error})") from None
    if len(raw) != whole:
        raise ValueError("packed bases are not of their size")
    starts = np.cumsum([0, *sizes]).tolist()
    small = [np.frombuffer(raw, np.int8, n, at).reshape(shape) for n, at, shape in zip(sizes, starts, shapes)]
    zeta = np.frombuffer(raw, "<f4", offset=starts[-1]).reshape(shapes[0])
    low, high = _EXPONENTS
    if not all(((low <= e) & (e <= high)).all() for e in small[:2]) or not ((zeta > 0) & (zeta < _LARGEST_MASS)).all():
        raise ValueError("packed bases are none")
    kappa, nu = (np.ldexp(s.astype(np.float32), e[..., None]) for e, s in zip(small[:2], small[2:]))
    return Bases(*(torch.from_numpy(x.astype(np.float32)) for x in (kappa, nu, zeta)))


def _rounded(x: np.ndarray, random: np.random.RandomState) -> tuple[np.ndarray, np.ndarray]:
    """Exponent of each base's step and whole steps, int8, of numbers (..., C)."""
    mantissas, exponents = np.frexp(np.abs(x).max(-1) / 127)
    exponents -= mantissas == 0.5  # a power of two itself: what is rounded already stays as it is
    exponents = exponents.clip(*_EXPONENTS).astype(np.int8)
    steps = np.floor(np.ldexp(x, -exponents[..., None].astype(int)) + random.random_sample(x.shape))
    return exponents, steps.clip(-127, 127).astype(np.int8)
