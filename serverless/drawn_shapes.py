"""Shapes as CVAT draws them, to masks and back."""

from collections.abc import Callable, Mapping
from typing import Any

import cv2
import numpy as np

from model.errors import InputError
from plugin.shapes import decode_mask, encode_mask, mask_to_box, mask_to_polygons, polygons_to_mask
from plugin.shapes.polygon_track import follow_polygon
from serverless.call_error import CallError
from serverless.drawn_box import mask_in_box

SHAPE_TYPES = ("mask", "polygon", "rectangle")
_MOST_NUMBERS = 4_000_000  # of one shape's points; a noisy 4K mask has a tenth


def shape_type(shape: Mapping[str, Any]) -> str:
    """The type of a shape; raises CallError for one that cannot be propagated."""
    kind = shape.get("type")
    if kind not in SHAPE_TYPES:
        raise CallError(f"a shape's type must be one of {', '.join(SHAPE_TYPES)}", "bad_shape")
    return kind


def shape_points(shape: Mapping[str, Any]) -> list[float]:
    """The points of a shape, finite numbers; raises CallError for anything else."""
    points = shape.get("points")
    if not isinstance(points, list) or len(points) > _MOST_NUMBERS:
        raise CallError("a shape's points must be a list of numbers", "bad_shape")
    if not all(type(p) in (int, float) and -1e7 < p < 1e7 for p in points):
        raise CallError("a shape's points must be finite numbers in pixels", "bad_shape")
    return points


def shape_to_mask(
    kind: str, points: list[float], height: int, width: int, image: Callable[[], np.ndarray]
) -> np.ndarray:
    """The mask of a drawn shape.

    Args:
        kind: "mask", "polygon" or "rectangle".
        points: in pixels of a frame of this size.
        height: of the frame.
        width: of the frame.
        image: gives the frame, uint8 (h, w, 3) of any size; needed for rectangles alone, in which the object is found
            by GrabCut.

    Returns:
        bool (height, width); may be empty for a shape that lies outside or is smaller than a pixel.

    Raises:
        CallError: the points make no such shape.
    """
    try:
        if kind == "mask":
            return decode_mask(points, height, width)
        if kind == "polygon":
            return polygons_to_mask([points], height, width)
        if len(points) != 4:
            raise InputError("a rectangle must be four numbers: xtl, ytl, xbr, ybr")
        picture = image()
        h, w = picture.shape[:2]
        found = mask_in_box(picture, [points[i] * (w / width, h / height)[i % 2] for i in range(4)])
        if (h, w) == (height, width):
            return found
        return cv2.resize(found.view(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST).astype(bool)
    except InputError as error:
        raise CallError(str(error), "bad_shape") from None


def mask_to_shape(
    mask: np.ndarray, kind: str, tolerance: float, previous: list[float] | None = None
) -> dict[str, Any] | None:
    """A mask as a shape, or None where it is empty.

    Args:
        mask: bool (H, W).
        kind: "mask", "polygon" or "rectangle".
        tolerance: of polygons, in pixels.
        previous: the object's polygon in a neighbouring frame, whose vertices are moved rather than found anew.
    """
    if not mask.any():
        return None
    if kind == "mask":
        points = encode_mask(mask)
    elif kind == "rectangle":
        points = mask_to_box(mask)
    elif previous is not None:
        points = follow_polygon(previous, mask, tolerance)
    else:
        points = mask_to_polygons(mask, tolerance, holes="fill")[0]
    return None if points is None else {"type": kind, "points": points}
