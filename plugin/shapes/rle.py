"""CVAT's mask points: the run lengths of a mask inside its box, then the box.

Mask points are `[run, run, ..., left, top, right, bottom]`. The runs cover the box crop row by row and alternate
between background and object, background first: a mask whose crop begins with an object pixel begins with a run of 0.
The box is in whole pixels and inclusive on all four sides.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from model.errors import InputError
from plugin.shapes.point_list import as_numbers


def object_runs(label_map: np.ndarray) -> dict[int, np.ndarray]:
    """Find the horizontal runs of every object in one pass over the picture.

    Args:
        label_map: uint8 (H, W), object ids, 0 is background.

    Returns:
        For every id that has pixels, ascending: int64 (N, 3), one row per run in raster order, with the run's row, its
        first column and the column after its last.
    """
    left, top, width, height = cv2.boundingRect(label_map)
    if width == 0:
        return {}
    # The extra column of background ends every run at its row's end.
    padded = np.zeros((height, width + 1), dtype=np.uint8)
    padded[:, :width] = label_map[top : top + height, left : left + width]
    flat = padded.ravel()
    stops = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    ids = flat[stops - 1]
    rows, first = np.divmod(np.concatenate(([0], stops[:-1])), width + 1)
    runs = np.stack([rows + top, first + left, stops - rows * (width + 1) + left], axis=1)
    order = np.argsort(ids, kind="stable")
    ids, runs = ids[order], runs[order]
    edges = np.flatnonzero(np.diff(ids)) + 1
    found = zip(ids[np.concatenate(([0], edges))], np.split(runs, edges))
    return {int(i): rows for i, rows in found if i}


def encode_label_map(label_map: np.ndarray) -> dict[int, list[int]]:
    """Encode all objects of a frame at once.

    Args:
        label_map: uint8 (H, W), object ids, 0 is background.

    Returns:
        The mask points of every object that has pixels, by ascending id. An absent object has no entry.

    Raises:
        InputError: the array is not a uint8 (H, W).
    """
    label_map = np.asarray(label_map)
    if label_map.ndim != 2 or label_map.dtype != np.uint8:
        raise InputError(f"a label map must be uint8 (H, W), got {label_map.dtype} {label_map.shape}")
    return {i: _mask_points(runs) for i, runs in object_runs(label_map).items()}


def encode_mask(mask: np.ndarray) -> list[int]:
    """Encode one mask; equals `cvat_sdk.masks.encode_mask`, several times faster.

    Args:
        mask: bool or uint8 (H, W); every pixel that is not zero belongs to the object.

    Returns:
        Mask points, whole numbers.

    Raises:
        InputError: the mask has no pixels (CVAT must never get an empty mask), or is not a bool or uint8 (H, W).
    """
    mask = np.asarray(mask)
    if mask.ndim != 2 or mask.dtype not in (np.bool_, np.uint8):
        raise InputError(f"a mask must be bool or uint8 (H, W), got {mask.dtype} {mask.shape}")
    pixels = mask.view(np.uint8) if mask.dtype == np.bool_ else (mask != 0).view(np.uint8)
    left, top, width, height = cv2.boundingRect(pixels)
    if width == 0:
        raise InputError("the mask is empty; an absent object has no mask to write")
    flat = pixels[top : top + height, left : left + width].ravel()
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    edges = np.concatenate(([0, 0] if flat[0] else [0], changes, [flat.size]))
    return [*np.diff(edges).tolist(), left, top, left + width - 1, top + height - 1]


def decode_mask(points: Sequence[float], height: int, width: int) -> np.ndarray:
    """Decode mask points.

    Args:
        points: mask points; whole numbers, also as floats, as CVAT's API gives them.
        height, width: size of the picture in pixels.

    Returns:
        bool (height, width).

    Raises:
        InputError: a value is not a whole number, the box is not inside the picture, or the runs do not fill the box.
    """
    runs, (left, top, right, bottom) = checked_mask_points(points, height, width)
    is_object = np.zeros(runs.size, dtype=bool)
    is_object[1::2] = True
    mask = np.zeros((height, width), dtype=bool)
    crop = np.repeat(is_object, runs).reshape(bottom - top + 1, right - left + 1)
    mask[top : bottom + 1, left : right + 1] = crop
    return mask


def checked_mask_points(
    points: Sequence[float], height: int, width: int
) -> tuple[np.ndarray, tuple[int, int, int, int]]:
    """The runs of mask points, int64 (N,), and their box: left, top, right, bottom; errors as in `decode_mask`."""
    values = as_numbers(points, "mask points")
    if values.size < 5:
        raise InputError("mask points must have one run length or more, then left, top, right, bottom")
    # Beyond 2**53 floats are always whole but no longer exact, and int64 would overflow.
    if not np.all((np.abs(values) <= 2**53) & (values == np.floor(values))):
        raise InputError("mask points must be whole numbers")
    values = values.astype(np.int64)
    runs, (left, top, right, bottom) = values[:-4], values[-4:].tolist()
    if not (0 <= left <= right < width and 0 <= top <= bottom < height):
        raise InputError(
            f"the mask's box (left {left}, top {top}, right {right}, bottom {bottom}) "
            f"is not inside the {width}x{height} picture"
        )
    box_width, box_height = right - left + 1, bottom - top + 1
    # The longest run bounds the sum, so that the sum cannot overflow.
    if runs.min() < 0 or runs.max() > box_width * box_height or runs.sum() != box_width * box_height:
        raise InputError(f"the mask's run lengths do not fill its {box_width}x{box_height} box")
    return runs, (left, top, right, bottom)


def _mask_points(runs: np.ndarray) -> list[int]:
    """Mask points of one object from its horizontal runs (N, 3)."""
    top, bottom = runs[0, 0], runs[-1, 0]
    left, right = runs[:, 1].min(), runs[:, 2].max() - 1
    width = right - left + 1
    offset = (runs[:, 0] - top) * width - left
    lengths = merge_runs(offset + runs[:, 1], offset + runs[:, 2], int(width * (bottom - top + 1)))
    return [*lengths.tolist(), int(left), int(top), int(right), int(bottom)]


def merge_runs(starts: np.ndarray, stops: np.ndarray, size: int) -> np.ndarray:
    """Alternating run lengths, background first, of the object intervals `[start, stop)` in `0..size`.

    Args:
        starts, stops: int64 (N,), ascending and not overlapping; intervals that touch become one run.
        size: length of the whole sequence.

    Returns:
        int64 run lengths with sum `size`; the first may be 0, all others are positive.
    """
    apart = starts[1:] != stops[:-1]
    starts, stops = starts[np.concatenate(([True], apart))], stops[np.concatenate((apart, [True]))]
    edges = np.concatenate(([0], np.stack([starts, stops], axis=1).ravel(), [size]))
    lengths = np.diff(edges)
    return lengths[:-1] if lengths[-1] == 0 else lengths
