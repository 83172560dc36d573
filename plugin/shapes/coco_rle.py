"""COCO's run-length masks: run lengths over the whole picture, column by column, background first.

The compressed form writes each number as text. From the fourth run on, a run is stored as its difference to the run
two before it (the last of the same kind). A number is cut into groups of 5 bits, lowest first, in two's complement; bit
5 of a group says that more follow, and 48 is added to make it a printable character.
"""

from collections.abc import Sequence

import numpy as np

from model.errors import InputError
from plugin.shapes.point_list import as_numbers
from plugin.shapes.rle import merge_runs


def runs_to_counts(columns: np.ndarray, height: int, width: int) -> np.ndarray:
    """COCO counts of one object from its vertical runs.

    Args:
        columns: int64 (N, 3), the runs of the transposed picture as `object_runs` gives them: column, first row, row
            after the last.
        height, width: size of the picture in pixels.

    Returns:
        int64 run lengths with sum height * width.
    """
    offset = columns[:, 0] * height
    return merge_runs(offset + columns[:, 1], offset + columns[:, 2], height * width)


def mask_to_counts(mask: np.ndarray) -> np.ndarray:
    """COCO counts, int64, of one mask, bool (H, W)."""
    flat = mask.T.ravel()
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    edges = [0, *([0] if flat.size and flat[0] else []), *changes.tolist(), flat.size]
    return np.diff(np.array(edges, np.int64))


def counts_to_mask(counts: Sequence[int] | np.ndarray, height: int, width: int) -> np.ndarray:
    """Paint COCO counts.

    Args:
        counts: run lengths, column by column, background first.
        height, width: size of the picture in pixels.

    Returns:
        bool (height, width).

    Raises:
        InputError: the counts are not whole numbers of 0 or more that fill the picture.
    """
    runs = checked_counts(counts, height, width)
    is_object = np.zeros(runs.size, dtype=bool)
    is_object[1::2] = True
    return np.ascontiguousarray(np.repeat(is_object, runs).reshape(width, height).T)


def checked_counts(counts: Sequence[int] | np.ndarray, height: int, width: int) -> np.ndarray:
    """COCO counts as an array of whole numbers (N,); arguments and errors as in `counts_to_mask`."""
    runs = as_numbers(counts, "RLE counts")
    size = height * width
    if runs.size == 0 or runs.dtype.kind not in "iu":
        raise InputError("RLE counts must be whole numbers")
    if runs.min() < 0 or runs.max() > size or int(runs.sum()) != size:
        raise InputError(f"the RLE counts do not fill the {width}x{height} picture")
    return runs


def compress_counts(counts: np.ndarray) -> str:
    """The compressed text of COCO counts, int64 (N,)."""
    rest = counts.copy()
    rest[3:] -= counts[1:-2]
    groups, used = [], []
    going = np.ones(rest.size, dtype=bool)
    while going.any():
        group = rest & 31
        rest >>= 5
        more = np.where(group & 16, rest != -1, rest != 0)
        groups.append(group + 32 * more + 48)
        used.append(going)
        going = going & more
    return np.stack(groups, axis=1)[np.stack(used, axis=1)].astype(np.uint8).tobytes().decode("ascii")


def decompress_counts(text: str) -> np.ndarray:
    """The counts in a compressed text, int64 (N,).

    Raises:
        InputError: the text is not made of such numbers.
    """
    codes = np.frombuffer(text.encode("utf-8"), dtype=np.uint8).astype(np.int64) - 48
    if codes.size == 0 or codes.min() < 0 or codes.max() > 63 or codes[-1] & 32:
        raise InputError("the compressed RLE text is broken or cut off")
    last = np.flatnonzero(codes < 32)
    first = np.concatenate(([0], last[:-1] + 1))
    length = last - first + 1
    if length.max() > 8:
        raise InputError("the compressed RLE text is broken: a number is too long")
    place = np.arange(codes.size) - np.repeat(first, length)
    numbers = np.add.reduceat((codes & 31) << (5 * place), first)
    numbers -= np.where(codes[last] & 16, np.int64(1) << (5 * length), 0)
    numbers[1::2] = np.cumsum(numbers[1::2])
    numbers[2::2] = np.cumsum(numbers[2::2])
    return numbers
