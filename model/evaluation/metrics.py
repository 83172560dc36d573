"""Measures of segmentation quality: J, F and their statistics, equal to the official DAVIS evaluation."""

import functools
import math
from collections.abc import Sequence

import cv2
import numpy as np

_BINS = 4  # stretches of a video that decay compares


def region_similarity(mask: np.ndarray, truth: np.ndarray) -> float:
    """J, the intersection over union of two boolean masks (H, W), 0..1; 1 where both are empty (DAVIS 2016, 4.1)."""
    union = np.count_nonzero(mask | truth)
    return float(np.count_nonzero(mask & truth) / union) if union else 1.0


def contour_accuracy(mask: np.ndarray, truth: np.ndarray, tolerance: float = 0.008) -> float:
    """F, the harmonic mean of the contours' precision and recall, 0..1 (DAVIS 2016, 4.1).

    Precision is the share of the mask's contour pixels that have one of the truth's within reach (Euclidean), recall
    the share of the truth's that have one of the mask's. A missing contour has precision, or recall, 1. A mask without
    contour is an empty one, or one that fills the frame.

    Args:
        mask: boolean (H, W).
        truth: boolean (H, W).
        tolerance: the reach; below 1 as a share of the image diagonal, rounded up to whole pixels; else in pixels.
    """
    reach = math.ceil(tolerance * math.sqrt(truth.shape[0] ** 2 + truth.shape[1] ** 2)) if tolerance < 1 else tolerance
    crop = _surroundings(mask | truth)
    if crop is None:
        return 1.0
    ours, theirs = contour(mask[crop]), contour(truth[crop])
    count, true_count = np.count_nonzero(ours), np.count_nonzero(theirs)
    if not count or not true_count:
        return float(count == true_count)  # one of precision and recall is 0
    disk = _disk(reach)
    precision = float(np.count_nonzero(ours & cv2.dilate(theirs, disk)) / count)
    found = float(np.count_nonzero(theirs & cv2.dilate(ours, disk)) / true_count)
    return 2 * precision * found / (precision + found) if precision + found else 0.0


def contour(mask: np.ndarray) -> np.ndarray:
    """The contour pixels of a boolean mask (H, W) as uint8 (H, W), 0 or 1.

    A pixel is one if it differs from its neighbour in the east, south or south-east. At the frame's edge only
    neighbours inside count: the last row asks the east, the last column the south, the last pixel none.
    """
    pixels = mask.astype(np.uint8)
    edges = np.zeros_like(pixels)
    edges[:, :-1] |= pixels[:, :-1] ^ pixels[:, 1:]
    edges[:-1, :] |= pixels[:-1, :] ^ pixels[1:, :]
    edges[:-1, :-1] |= pixels[:-1, :-1] ^ pixels[1:, 1:]
    return edges


def recall(values: Sequence[float]) -> float:
    """The share of one object's values of J or F, frame by frame, that exceed 0.5; 0..1."""
    return float(np.mean(np.asarray(values) > 0.5))


def decay(values: Sequence[float]) -> float:
    """How much one object's J or F, frame by frame and at least one, is lost over time; -1..1, 0 is best.

    The mean over the first quarter of the frames minus that over the last; neighbouring quarters share a frame. (The
    official program computes the quarters' ends in 8 bits and is wrong beyond 256 frames; this is not.)
    """
    # The tiny addend is the official one: halves round up.
    ends = np.round(np.linspace(1, len(values), _BINS + 1) + 1e-10).astype(int) - 1
    return float(np.mean(values[: ends[1] + 1]) - np.mean(values[ends[-2] :]))


def _surroundings(mask: np.ndarray) -> tuple[slice, slice] | None:
    """The part of the frame that holds the mask and one pixel around it, where its contour lies; None if it is empty.

    Nothing outside has a contour, so nothing outside can be near one: the crop gives what the full frame gives.
    """
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return None
    return slice(max(rows[0] - 1, 0), rows[-1] + 2), slice(max(columns[0] - 1, 0), columns[-1] + 2)


@functools.cache
def _disk(radius: float) -> np.ndarray:
    """uint8 (2r + 1, 2r + 1): 1 within the radius."""
    offsets = np.arange(-int(radius), int(radius) + 1)
    return (offsets[:, None] ** 2 + offsets**2 <= radius**2).astype(np.uint8)
