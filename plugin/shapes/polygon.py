"""Masks as CVAT polygons, and back.

Coordinates are CVAT's: continuous, x to the right and y down, and pixel (row r, column c) is the square from (c, r) to
(c + 1, r + 1). A pixel belongs to a polygon when its centre (c + 0.5, r + 0.5) is inside by the even-odd rule. So the
outline of a mask runs along the cracks between pixels, and half a pixel is lost nowhere.

A CVAT polygon is one closed line without holes. A hole is therefore joined to the outline by a bridge, a segment that
is walked to the hole and back: it encloses nothing, so the area is right by the even-odd and by the non-zero rule.
"""

from collections.abc import Sequence
from typing import Literal

import cv2
import numpy as np

from model.errors import InputError
from plugin.shapes.point_list import as_numbers

DEFAULT_TOLERANCE = 1.0
_MAX_HOLES = 100
_MAX_COORDINATE = 1e6


def mask_to_polygons(
    mask: np.ndarray,
    tolerance: float = DEFAULT_TOLERANCE,
    max_vertices: int | None = None,
    *,
    min_iou: float = 0.99,
    holes: Literal["bridge", "fill"] = "bridge",
    min_area: int = 4,
    min_hole_area: int = 4,
) -> list[list[float]]:
    """Outline a mask with few vertices.

    Every 8-connected component becomes one polygon, simplified by Douglas-Peucker. Where the tolerance would cost too
    much of a small or thin component, it is lowered for that component until the polygon has `min_iou` with the pixels.

    Args:
        mask: bool or uint8 (H, W); every pixel that is not zero belongs to the object.
        tolerance: the farthest that the outline may be moved, in pixels; 0 keeps it exact.
        max_vertices: at most so many vertices per polygon, 4 or more; the tolerance is raised until they suffice, with
            no regard to `min_iou`. Holes that do not fit into the number are filled, the smallest first.
        min_iou: 0..1, the least intersection over union of a polygon with its component; 0 takes `tolerance` and
            `min_hole_area` as they are.
        holes: "bridge" keeps the 100 largest holes of a component, "fill" covers all holes and what lies in them.
        min_area: components with fewer pixels are left out, but the largest one is always kept.
        min_hole_area: holes with fewer pixels are filled, unless they are so many that this would use up more than half
            of what `min_iou` allows.

    Returns:
        Polygons `[x, y, x, y, ...]` of 3 points or more inside 0..W and 0..H, by component area, the largest first.
        Empty for an empty mask.

    Raises:
        InputError: the mask is not a bool or uint8 (H, W), or an option is out of its range.
    """
    mask = np.asarray(mask)
    if mask.ndim != 2 or mask.dtype not in (np.bool_, np.uint8):
        raise InputError(f"a mask must be bool or uint8 (H, W), got {mask.dtype} {mask.shape}")
    if not (0 <= tolerance < np.inf and 0 <= min_iou <= 1) or holes not in ("bridge", "fill"):
        raise InputError("polygon options: tolerance must be 0 or more, min_iou 0..1, holes 'bridge' or 'fill'")
    if max_vertices is not None and max_vertices < 4:
        raise InputError(f"max_vertices must be 4 or more, got {max_vertices}")

    components = []
    for outer, inner in _components(mask, with_holes=holes == "bridge"):
        inner.sort(key=_area, reverse=True)
        components.append((_area(outer) - sum(map(_area, inner)), [outer, *inner[:_MAX_HOLES]]))
    components.sort(key=lambda component: component[0], reverse=True)

    polygons = []
    for rank, (area, rings) in enumerate(components):
        if rank == 0 or area >= min_area:
            large = [ring for ring in rings if _area(ring) >= min_hole_area or ring is rings[0]]
            is_cheap = sum(map(_area, rings[len(large) :])) <= (1 - min_iou) / 2 * area
            simple = _simplify(rings, len(large) if is_cheap else len(rings), tolerance, min_iou, max_vertices)
            outline = np.clip(_bridge(simple), 0, mask.shape[::-1])
            polygons.append(outline.ravel().tolist())
    return polygons


def polygons_to_mask(polygons: Sequence[Sequence[float]], height: int, width: int) -> np.ndarray:
    """Rasterise the polygons of one object.

    Args:
        polygons: each `[x, y, x, y, ...]`, 3 points or more; parts outside the picture are cut off.
        height, width: size of the picture in pixels.

    Returns:
        bool (height, width): the pixels whose centre is inside at least one polygon. A sliver between pixel centres has
        none.

    Raises:
        InputError: a polygon has fewer than 3 points, an odd number of values, or a value that is not a usable number.
    """
    mask = np.zeros((height, width), dtype=bool)
    for polygon in polygons:
        ring = polygon_ring(polygon)
        low = np.clip(np.floor(ring.min(axis=0)), 0, (width, height)).astype(int)
        high = np.clip(np.ceil(ring.max(axis=0)), 0, (width, height)).astype(int)
        window_width, window_height = high - low
        window = mask[low[1] : high[1], low[0] : high[0]]
        window |= _fill([ring - low], window_height, window_width)
    return mask


def polygon_ring(polygon: Sequence[float]) -> np.ndarray:
    """The points of one polygon as float64 (N, 2), N 3 or more; takes and raises what `polygons_to_mask` does."""
    values = as_numbers(polygon, "a polygon")
    if values.size % 2:
        raise InputError(f"a polygon must be x, y, x, y, ..., got {values.size} values")
    if values.size < 6:
        raise InputError(f"a polygon needs 3 points or more, got {values.size // 2}")
    if not np.all(np.abs(values) <= _MAX_COORDINATE):
        raise InputError("a polygon has a coordinate that is not a number or is far outside of every picture")
    return values.astype(np.float64).reshape(-1, 2)


def _fill(rings: Sequence[np.ndarray], height: int, width: int) -> np.ndarray:
    """bool (height, width): pixels whose centre is inside an odd number of rings (N, 2)."""
    start = np.concatenate(rings)
    end = np.concatenate([np.roll(ring, -1, axis=0) for ring in rings])
    # Every edge points down, so that a bridge crosses each row at the same x on both ways, to the last bit.
    upward = (start[:, 1] > end[:, 1])[:, None]
    start, end = np.where(upward, end, start), np.where(upward, start, end)
    first = np.clip(np.ceil(start[:, 1] - 0.5), 0, height).astype(int)
    count = np.clip(np.ceil(end[:, 1] - 0.5), 0, height).astype(int) - first
    edge = np.repeat(np.arange(len(start)), count)
    row = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count) + first[edge]
    (x0, y0), (x1, y1) = start[edge].T, end[edge].T
    x = x0 + (row + 0.5 - y0) * (x1 - x0) / (y1 - y0)
    column = np.clip(np.ceil(x - 0.5), 0, width).astype(int)
    toggles = np.zeros((height, width + 1), dtype=np.uint8)
    np.bitwise_xor.at(toggles, (row, column), 1)
    return np.bitwise_xor.accumulate(toggles, axis=1)[:, :width].astype(bool)


def _components(mask: np.ndarray, with_holes: bool) -> list[tuple[np.ndarray, list[np.ndarray]]]:
    """The outline and the hole outlines of every component: corners between pixels, int (N, 2) x, y."""
    left, top, width, height = cv2.boundingRect(mask.view(np.uint8))
    if width == 0:
        return []
    # On a grid twice as fine, grown by one, even coordinates are the corners of pixels and contours run through them.
    grid = np.zeros((2 * height + 1, 2 * width + 1), dtype=np.uint8)
    grid[1::2, 1::2] = mask[top : top + height, left : left + width] != 0
    grown = cv2.dilate(grid, np.ones((3, 3), dtype=np.uint8))
    retrieval = cv2.RETR_CCOMP if with_holes else cv2.RETR_EXTERNAL
    contours, hierarchy = cv2.findContours(grown, retrieval, cv2.CHAIN_APPROX_SIMPLE)
    rings = [np.add(_corners(contour.reshape(-1, 2)), (left, top)) for contour in contours]
    parents = hierarchy.reshape(-1, 4)[:, 3].tolist()
    found: dict[int, tuple[np.ndarray, list[np.ndarray]]] = {
        i: (ring, []) for i, (ring, parent) in enumerate(zip(rings, parents)) if parent < 0
    }
    for ring, parent in zip(rings, parents):
        if parent >= 0:
            found[parent][1].append(ring)
    return list(found.values())


def _corners(contour: np.ndarray) -> np.ndarray:
    """The pixel corners of a contour on the fine grid, with the inner corners that OpenCV cuts put back."""
    following = np.roll(contour, -1, axis=0)
    cut = np.all(contour != following, axis=1)
    across = np.stack([contour[:, 0], following[:, 1]], axis=1)
    down = np.stack([following[:, 0], contour[:, 1]], axis=1)
    inner = np.where(np.any(across & 1, axis=1)[:, None], down, across)
    corner = ~np.any(contour & 1, axis=1)
    ring = np.stack([contour, inner], axis=1)[np.stack([corner, cut], axis=1)] // 2
    return ring[_turns(ring) != 0]


def _turns(ring: np.ndarray) -> np.ndarray:
    """Which way the ring turns at each corner: -1, 0 or 1."""
    leaving = np.roll(ring, -1, axis=0) - ring
    arriving = np.roll(leaving, 1, axis=0)
    return np.sign(arriving[:, 0] * leaving[:, 1] - arriving[:, 1] * leaving[:, 0])


def _without_steps(ring: np.ndarray) -> np.ndarray:
    """Straighten the staircase that pixels make of a slanted line, without moving any pixel to the other side.

    The two corners of a step of one pixel give way to the middles of the edges beside them; other corners stay.
    """
    edges = np.roll(ring, -1, axis=0) - ring
    turns = _turns(ring)
    step = (np.abs(edges).sum(axis=1) == 1) & (turns * np.roll(turns, -1) < 0)
    corner = ~(step | np.roll(step, 1))
    middle = ~(corner & np.roll(corner, -1))
    return np.stack([ring, ring + edges / 2], axis=1)[np.stack([corner, middle], axis=1)]


def _area(ring: np.ndarray) -> float:
    """Enclosed area in pixels."""
    x, y = ring.T
    return abs(float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y))) / 2


def _simplify(
    rings: list[np.ndarray], kept: int, tolerance: float, min_iou: float, max_vertices: int | None
) -> list[np.ndarray]:
    """Douglas-Peucker on one component within the limits of `mask_to_polygons`.

    Args:
        rings: the exact outline, then the holes by area, the largest first.
        kept: how many of the rings may be in the result; the others count for the intersection over union only.
    """
    origin = rings[0].min(axis=0)
    rings = [ring - origin for ring in rings]
    width, height = rings[0].max(axis=0)
    truth = _fill(rings, height, width)
    rings = [_without_steps(ring) for ring in rings[:kept]]

    def iou(candidate: list[np.ndarray]) -> float:
        if not candidate:
            return 0.0
        filled = _fill(candidate, height, width)
        return np.count_nonzero(filled & truth) / np.count_nonzero(filled | truth)

    simple = _douglas_peucker(rings, tolerance)
    while tolerance > 0 and (not simple or iou(simple) < min_iou):
        tolerance = 0.7 * tolerance if tolerance > 0.1 else 0.0
        simple = _douglas_peucker(rings, tolerance)

    if max_vertices is not None and _vertex_count(simple) > max_vertices:
        # A hole costs at least a triangle, or better a quadrangle, and the two ends of its bridge.
        rings = rings[: 1 + (max_vertices - 4) // 6]
        simple = [cv2.boxPoints(cv2.minAreaRect(rings[0].astype(np.float32)))]
        low, high = tolerance, float(np.hypot(height, width))
        for _ in range(16):
            middle = (low + high) / 2
            candidate = _douglas_peucker(rings, middle)
            if candidate and _vertex_count(candidate) > max_vertices:
                low = middle
            else:
                high = middle
                simple = candidate if iou(candidate) > 0 else simple
    return [ring + origin for ring in simple]


def _vertex_count(rings: list[np.ndarray]) -> int:
    """Vertices of the polygon that the rings make once bridged."""
    return sum(map(len, rings)) + 2 * (len(rings) - 1)


def _douglas_peucker(rings: list[np.ndarray], tolerance: float) -> list[np.ndarray]:
    """The rings with fewer points; holes that collapse are left out, and an outline that collapses leaves nothing."""
    simple = [cv2.approxPolyDP(ring.astype(np.float32), tolerance, closed=True).reshape(-1, 2) for ring in rings]
    if len(simple[0]) < 3:
        return []
    return [ring.astype(np.float64) for ring in simple if len(ring) >= 3]


def _bridge(rings: list[np.ndarray]) -> np.ndarray:
    """One ring from an outline and its holes, which run the other way round: nearest hole first, shortest bridge."""
    outline, holes = rings[0], rings[1:]
    holes = sorted(holes, key=lambda hole: _squared_distances(outline, hole).min())
    for hole in holes:
        distances = _squared_distances(outline, hole)
        near, far = np.unravel_index(distances.argmin(), distances.shape)
        detour = np.roll(hole, -far, axis=0)
        outline = np.concatenate([outline[: near + 1], detour, detour[:1], outline[near:]])
    return outline


def _squared_distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Squared distances (N, M) in pixels between points (N, 2) and (M, 2)."""
    return np.square(a[:, None] - b[None]).sum(axis=2)
