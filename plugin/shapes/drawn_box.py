"""The mask of the object in a rectangle that a person drew."""

from collections.abc import Sequence

import cv2
import numpy as np

from model.errors import InputError
from plugin.shapes.box import box_to_mask

_LONGER_SIDE = 192  # pixels of the box that GrabCut sees at most
_CONTEXT = 0.2  # of the box's sides, around it: where the background's colours are learned; 0.1 and 0.4 lose 0.02
_MIN_CONTEXT = 8  # pixels
_ITERATIONS = 1  # 2 and 3 gain nothing, 5 loses 0.01
_MIN_SIDE = 6  # pixels of a box below which colours say nothing
_LEAST_BACKGROUND = 0.05  # of the box's area; less of it outside the box teaches nothing
_LEAST_FOUND = 0.05  # of the box's area; less is a speck, not what was drawn around


def mask_in_box(image: np.ndarray, box: Sequence[float]) -> np.ndarray:
    """The object in a drawn rectangle, by GrabCut: what differs in colour from the rectangle's surroundings.

    Where that finds (almost) nothing, the rectangle is tiny, or it leaves no surroundings, it is the ellipse in the
    rectangle. The same input always gives the same mask.

    Mean IoU on the 24 objects in first frames of DAVIS training clips, boxes 5% loose: 0.72, in 66 ms of one core; the
    filled box has 0.43, the ellipse 0.50. Tight boxes: 0.71, 0.47, 0.52.

    Limitations: colour alone decides; an object in the colours of its surroundings comes out wrong.

    Args:
        image: uint8 (H, W, 3) RGB.
        box: CVAT's `[xtl, ytl, xbr, ybr]` in pixels of this image, not rotated; parts outside are cut off.

    Returns:
        bool (H, W), never empty, nothing outside of the box.

    Raises:
        InputError: the box is not four usable numbers, encloses nothing, or has no pixel of the image in it.
    """
    height, width = image.shape[:2]
    inside = box_to_mask(box, height, width)
    left, top, box_width, box_height = cv2.boundingRect(inside.view(np.uint8))
    if box_width == 0:
        raise InputError(f"the box has no pixel of the {width}x{height} image in it; draw it around the object")
    rows, columns = slice(top, top + box_height), slice(left, left + box_width)
    near = _with_context(rows, height), _with_context(columns, width)
    found = np.zeros_like(inside)
    background = inside[near].size - box_width * box_height
    if min(box_width, box_height) >= _MIN_SIDE and background >= _LEAST_BACKGROUND * box_width * box_height:
        found[near] = _grab_cut(image[near], inside[near], _LONGER_SIDE / max(box_width, box_height))
        found &= inside
    if np.count_nonzero(found) < _LEAST_FOUND * box_width * box_height:
        found[rows, columns] = _ellipse(box_height, box_width)
    return found


def _with_context(side: slice, end: int) -> slice:
    """A side of the box and its surroundings inside 0..end."""
    margin = max(_MIN_CONTEXT, round(_CONTEXT * (side.stop - side.start)))
    return slice(max(0, side.start - margin), min(end, side.stop + margin))


def _grab_cut(image: np.ndarray, inside: np.ndarray, scale: float) -> np.ndarray:
    """bool (H, W): the object in uint8 (H, W, 3), seen at `scale` where that is below 1; empty where there is none.

    `inside` is bool (H, W), false where there is background for certain.
    """
    height, width = inside.shape
    size = (max(1, round(width * scale)), max(1, round(height * scale))) if scale < 1 else (width, height)
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    maybe = cv2.resize(inside.view(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    labels = np.where(maybe, np.uint8(cv2.GC_PR_FGD), np.uint8(cv2.GC_BGD))
    cv2.setRNGSeed(0)  # k-means starts at random
    try:
        cv2.grabCut(small, labels, None, np.zeros((1, 65)), np.zeros((1, 65)), _ITERATIONS, cv2.GC_INIT_WITH_MASK)
    except cv2.error:  # too few pixels of one kind, as in very flat boxes
        return np.zeros((height, width), bool)
    share = (labels == cv2.GC_PR_FGD).astype(np.float32)
    return cv2.resize(share, (width, height), interpolation=cv2.INTER_LINEAR) >= 0.5


def _ellipse(height: int, width: int) -> np.ndarray:
    """bool (height, width): the pixels whose centre is in the ellipse that touches all sides; never empty."""
    y = (2 * np.arange(height)[:, None] + 1) / height - 1
    x = (2 * np.arange(width) + 1) / width - 1
    return x**2 + y**2 <= 1
