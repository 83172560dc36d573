"""Shapes as CVAT sends them, checked; and shapes that go back."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from model.errors import InputError
from plugin.shapes.drawn_shape import SHAPE_TYPES, mask_to_points, points_to_mask
from serverless.call_error import CallError

_MOST_NUMBERS = 4_000_000  # of one shape's points; a noisy 4K mask has a tenth


def shape_type(shape: Mapping[str, Any]) -> str:
    """The type of a shape; raises CallError for one that cannot be propagated."""
    kind = shape.get("type")
    if not isinstance(kind, str) or kind not in SHAPE_TYPES:
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
    """As `points_to_mask`, for calls: raises CallError where the points make no such shape."""
    try:
        return points_to_mask(kind, points, height, width, image)
    except InputError as error:
        raise CallError(str(error), "bad_shape") from None


def mask_to_shape(
    mask: np.ndarray, kind: str, tolerance: float, previous: list[float] | None = None
) -> dict[str, Any] | None:
    """As `mask_to_points`, with the type beside the points."""
    points = mask_to_points(mask, kind, tolerance, previous)
    return None if points is None else {"type": kind, "points": points}
