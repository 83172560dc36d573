"""Masks as CVAT rectangles, and back.

A rectangle is `[xtl, ytl, xbr, ybr]` in continuous picture coordinates: pixel column c reaches from c to c + 1, so the
box of a mask ends one past its last column and row.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from model.errors import InputError
from plugin.shapes.point_list import as_numbers
from plugin.shapes.polygon import polygons_to_mask


def mask_to_box(mask: np.ndarray) -> list[float]:
    """The tight box of a mask.

    Args:
        mask: bool or uint8 (H, W); every pixel that is not zero belongs to the object.

    Returns:
        `[xtl, ytl, xbr, ybr]` in pixels, inside 0..W and 0..H.

    Raises:
        InputError: the mask has no pixels, or is not a bool or uint8 (H, W).
    """
    mask = np.asarray(mask)
    if mask.ndim != 2 or mask.dtype not in (np.bool_, np.uint8):
        raise InputError(f"a mask must be bool or uint8 (H, W), got {mask.dtype} {mask.shape}")
    left, top, width, height = cv2.boundingRect(mask.view(np.uint8))
    if width == 0:
        raise InputError("the mask is empty; an absent object has no box to write")
    return [float(left), float(top), float(left + width), float(top + height)]


def box_to_mask(points: Sequence[float], height: int, width: int, rotation: float = 0.0) -> np.ndarray:
    """Fill a rectangle.

    Args:
        points: `[xtl, ytl, xbr, ybr]` in pixels; parts outside the picture are cut off.
        height, width: size of the picture in pixels.
        rotation: clockwise turn about the middle of the rectangle in degrees, as CVAT stores it.

    Returns:
        bool (height, width): the pixels whose centre is inside.

    Raises:
        InputError: not four usable numbers, or the rectangle encloses nothing.
    """
    values = as_numbers(points, "a box")
    if values.size != 4 or not np.isfinite([*values, rotation]).all():
        raise InputError("a box must be four numbers: xtl, ytl, xbr, ybr")
    left, top, right, bottom = values.astype(float).tolist()
    if not (left < right and top < bottom):
        raise InputError(
            f"the box {left:g}, {top:g}, {right:g}, {bottom:g} encloses nothing; its order is xtl, ytl, xbr, ybr"
        )
    corners = np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
    if rotation:
        centre, angle = corners.mean(axis=0), np.deg2rad(rotation)
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        # Rounding puts corners that fall on pixel centres exactly there.
        corners = np.round((corners - centre) @ turn + centre, 6)
    return polygons_to_mask([corners.ravel().tolist()], height, width)
