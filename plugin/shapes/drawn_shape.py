"""A shape as CVAT draws it, to a mask and back: one type, one list of points."""

from collections.abc import Callable, Sequence

import cv2
import numpy as np

from model.errors import InputError
from plugin.shapes.box import mask_to_box
from plugin.shapes.drawn_box import mask_in_box
from plugin.shapes.point_list import as_numbers
from plugin.shapes.polygon import mask_to_polygons, polygons_to_mask
from plugin.shapes.polygon_track import DEFAULT_TOLERANCE, follow_polygon
from plugin.shapes.rle import decode_mask, encode_mask

SHAPE_TYPES = ("mask", "polygon", "rectangle")


def points_to_mask(
    kind: str, points: Sequence[float], height: int, width: int, image: Callable[[], np.ndarray]
) -> np.ndarray:
    """The mask of a drawn shape.

    Args:
        kind: one of `SHAPE_TYPES`.
        points: in pixels of a frame of this size.
        height: of the frame.
        width: of the frame.
        image: gives the frame, uint8 (h, w, 3) of any size; needed for rectangles alone, in which the object is found
            by GrabCut.

    Returns:
        bool (height, width); may be empty for a shape that lies outside or is smaller than a pixel.

    Raises:
        InputError: the points make no such shape.
    """
    if kind == "mask":
        return decode_mask(points, height, width)
    if kind == "polygon":
        return polygons_to_mask([points], height, width)
    box = as_numbers(points, "rectangle points")
    if len(box) != 4:
        raise InputError("a rectangle must be four numbers: xtl, ytl, xbr, ybr")
    picture = image()
    h, w = picture.shape[:2]
    found = mask_in_box(picture, [box[i] * (w / width, h / height)[i % 2] for i in range(4)])
    if (h, w) == (height, width):
        return found
    return cv2.resize(found.view(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST).astype(bool)


def mask_to_points(
    mask: np.ndarray, kind: str, tolerance: float = DEFAULT_TOLERANCE, previous: Sequence[float] | None = None
) -> list[float] | None:
    """The points of a mask's shape, or None where it is empty or, as a polygon, too small for one.

    Args:
        mask: bool (H, W).
        kind: one of `SHAPE_TYPES`.
        tolerance: of polygons, in pixels.
        previous: the object's polygon in a neighbouring frame, whose vertices are moved rather than found anew.
    """
    if not mask.any():
        return None
    if kind == "mask":
        return [*encode_mask(mask)]
    if kind == "rectangle":
        return mask_to_box(mask)
    if previous is not None and tolerance > 0:
        return follow_polygon(previous, mask, tolerance)
    return mask_to_polygons(mask, tolerance, holes="fill")[0]
