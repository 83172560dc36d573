"""A polygon carried to the next mask of its object, with the vertices it has.

Outlining every mask on its own makes vertices jump about and changes their number from frame to frame. Here the polygon
of a neighbouring frame is taken along instead, with as little change as the mask asks for: first as it is, then moved
and turned, then scaled, and only where that strays from the mask are vertices moved, inserted or removed.

Vertices find their places by dynamic programming over the outline: in order, near where the moved polygon has them,
with the same directions of the outline on both sides (so corners stay on corners) and the same lengths between them.
Their final places are a least-squares fit of the polygon's edges to the outline, which averages its noise away.

Coordinates are those of `plugin.shapes.polygon`. Inside, a polygon is a ring: float64 (V, 2), x and y.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from model.errors import InputError
from plugin.shapes.outline import Outline
from plugin.shapes.outline_alignment import align, coarse_start
from plugin.shapes.polygon import mask_to_polygons, polygons_to_mask
from plugin.shapes.ring import nearest_edges, oriented, signed_area
from plugin.shapes.vertex_fit import match, refit

DEFAULT_TOLERANCE = 2.0
MOST_VERTICES = 500
"""Of a polygon that is followed: time and memory grow with their square."""

_STILL = 0.25  # pixels; a smaller motion of the whole polygon is not worth moving every vertex
_MOST_CORNERS = 20_000  # of an outline that is followed; noise has more
_SLACK = 1.05  # of the tolerance: a polygon that fits on one call fits on the next, for all rounding


def follow_polygon(
    previous: Sequence[float], mask: np.ndarray, tolerance: float = DEFAULT_TOLERANCE, *, min_iou: float = 0.95
) -> list[float] | None:
    """Carry a polygon to another mask of its object.

    A polygon that fits the mask comes back as it is, or moved as a whole, to the last bit when nothing moved. Vertices
    keep their order, orientation and start. Where the outline strays, they are moved, inserted, and removed if they are
    not needed there any more; when a large part of the shape changes, that is everywhere.

    Args:
        previous: `[x, y, x, y, ...]`, 3 points or more: the polygon on a neighbouring frame.
        mask: bool or uint8 (H, W); every pixel that is not zero belongs to the object.
        tolerance: the farthest that the outline may stray from the polygon before vertices change, in pixels, above 0.
            A slow change is therefore followed in steps of up to this size. Below 1, the pixels' stairs show.
        min_iou: 0..1, the least intersection over union of the result with the outlined component; where `tolerance`
            is too much for a small or thin object, it is lowered.

    Returns:
        The polygon of the mask's largest component with its holes filled, inside 0..W and 0..H; None for an empty mask.
        When the object has changed beyond recognition, or one of the two has too many vertices to be compared, it is
        that of `mask_to_polygons`.

    Raises:
        InputError: the mask is not a bool or uint8 (H, W), the polygon is none, or an option is out of its range.
    """
    mask = np.asarray(mask)
    if mask.ndim != 2 or mask.dtype not in (np.bool_, np.uint8):
        raise InputError(f"a mask must be bool or uint8 (H, W), got {mask.dtype} {mask.shape}")
    if not (0 < tolerance < np.inf and 0 <= min_iou <= 1):
        raise InputError("polygon options: tolerance must be above 0, min_iou 0..1")
    polygons_to_mask([previous], 0, 0)  # refuses what is no polygon
    left, top, width, height = cv2.boundingRect(mask.view(np.uint8))
    if width == 0:
        return None
    ring = np.asarray(previous, dtype=np.float64).reshape(-1, 2)
    size = np.array(mask.shape[::-1], dtype=np.float64)
    # A sharp corner may reach far beyond its last pixel, so this is no question of tolerance.
    if np.array_equal(np.clip(ring, 0, size), ring) and _draws(ring, mask, (left, top), (left + width, top + height)):
        return ring.ravel().tolist()

    crop, corner = mask[top : top + height, left : left + width], (left, top)
    exact = mask_to_polygons(crop, 0, holes="fill", min_area=crop.size + 1)[0]
    found = None
    if len(ring) <= MOST_VERTICES and len(exact) <= 2 * _MOST_CORNERS:
        outline = Outline(oriented(np.reshape(exact, (-1, 2)) + corner, signed_area(ring)))
        found = _follow(ring, outline, size, tolerance, min_iou)
    if found is None:
        simple = mask_to_polygons(crop, tolerance, holes="fill", min_area=crop.size + 1, min_iou=min_iou)[0]
        found = oriented(np.reshape(simple, (-1, 2)) + corner, signed_area(ring))
        found = np.roll(found, -int(np.square(found - ring[0]).sum(axis=1).argmin()), axis=0)
    return found.ravel().tolist()


def _draws(ring: np.ndarray, mask: np.ndarray, first: tuple[int, int], end: tuple[int, int]) -> bool:
    """Whether a ring inside the picture covers exactly the pixels of the mask, whose box goes from `first` to `end`."""
    left, top = np.floor(np.minimum(ring.min(axis=0), first)).astype(int).tolist()
    right, bottom = np.ceil(np.maximum(ring.max(axis=0), end)).astype(int).tolist()
    drawn = polygons_to_mask([(ring - (left, top)).ravel()], bottom - top, right - left)
    return np.array_equal(drawn, mask[top:bottom, left:right] != 0)


def _follow(
    ring: np.ndarray, outline: Outline, size: np.ndarray, tolerance: float, min_iou: float
) -> np.ndarray | None:
    """The ring on the outline, inside the picture; None when the two have nothing to do with each other."""

    def fits(candidate: np.ndarray) -> bool:
        return not outline.strays(candidate, _SLACK * tolerance) and outline.iou(candidate) >= min_iou

    if abs(signed_area(ring)) < 0.5:
        return None
    inside = np.clip(ring, 0, size)
    ring_fits = fits(inside)
    start = coarse_start(ring, outline)
    rigid = np.clip(align(ring, start.moved(ring, scaled=False), outline, scales=False), 0, size)
    is_still = np.hypot(*(rigid - ring).T).mean() <= _STILL
    if ring_fits and (is_still or not _is_clearly_better(rigid, inside, outline)):
        return inside
    if not is_still and fits(rigid):
        return rigid
    if ring_fits:
        return inside
    similar = np.clip(align(ring, start.moved(ring, scaled=True), outline, scales=True), 0, size)
    if fits(similar):
        return similar

    base = inside if is_still else rigid
    if outline.far_share(similar, tolerance) < 0.8 * outline.far_share(base, tolerance):
        base = similar
    places = match(base, outline)
    if places is None:
        return None
    found = None
    # Tighter rounds are for small and thin objects, of which the tolerance takes too much.
    for tightened in tolerance * np.array([1, 0.6, 0.36, 0.2]):
        refitted = refit(base, places, outline, tightened)
        if refitted is None:
            break
        refitted = np.clip(refitted, 0, size)
        iou = outline.iou(refitted)
        found = refitted if iou >= min_iou else found
        # A little above what is asked for, so that noise does not refit it again.
        if iou >= min_iou + (1 - min_iou) / 4:
            break
    return found


def _is_clearly_better(candidate: np.ndarray, ring: np.ndarray, outline: Outline) -> bool:
    """Whether moving a ring to the candidate explains most of how the outline lies beside its edges.

    Means over edges decide, which noise of the outline leaves near 0.
    """
    errors = []
    for tried in (candidate, ring):
        feet = nearest_edges(tried, outline.samples)
        count = np.maximum(np.bincount(feet.edge, minlength=len(ring)), 1)
        errors.append((np.square(np.bincount(feet.edge, feet.signed, minlength=len(ring))) / count).sum())
    return errors[0] < 0.5 * errors[1]
