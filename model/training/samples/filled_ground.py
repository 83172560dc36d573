"""What lies behind the objects of a picture, guessed: ground from beside them, put where they are."""

import cv2
import numpy as np

_RIM = 5  # pixels around a mask that may carry its colour
_AROUND = 12  # pixels of the ring by which a place is told to fit
_DIRECTIONS = 16
_DISTANCES = (1.05, 1.5, 2.2)  # in sizes of the hole: as near as possible looks most alike
_COARSE = 6  # what no place covers is filled at so many times less detail


def filled_ground(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """A picture without its objects.

    Each hole is filled with a piece of the same picture, from the direction in which the ground around the hole goes on
    best; what is not covered so is filled smoothly from its border.

    Args:
        image: uint8 (H, W, 3).
        mask: bool (H, W), the objects.

    Returns:
        uint8 (H, W, 3), a new array.
    """
    hole = cv2.dilate(mask.astype(np.uint8), np.ones((2 * _RIM + 1, 2 * _RIM + 1), np.uint8))
    ground, left = image.copy(), hole.astype(bool)
    count, parts, stats, _ = cv2.connectedComponentsWithStats(hole)
    for part in range(1, count):
        x, y, width, height = (int(v) for v in stats[part][:4])
        shift = _best_shift(image, hole, parts == part, (width, height))
        if shift is None:
            continue
        rows, columns = _shared(shift, (x, y, width, height), hole.shape)
        source = np.s_[rows.start + shift[1] : rows.stop + shift[1], columns.start + shift[0] : columns.stop + shift[0]]
        target = np.s_[rows, columns]
        fills = (parts[target] == part) & (hole[source] == 0)
        soft = cv2.GaussianBlur(fills.astype(np.float32), (0, 0), 2)[..., None] * fills[..., None]
        inner = np.where(left[target][..., None], image[source], ground[target])
        # Softened at the hole's border, where the rim is ground as a rule.
        blended = soft * inner + (1 - soft) * np.where(mask[target][..., None], inner, ground[target])
        ground[target] = np.where(fills[..., None], blended, ground[target]).astype(np.uint8)
        left[target] &= ~fills
    return _smoothly_filled(ground, left) if left.any() else ground


def _best_shift(image: np.ndarray, hole: np.ndarray, part: np.ndarray, size: tuple[int, int]) -> tuple[int, int] | None:
    """Where from to take the ground for a hole, x and y; None where nothing but holes is around."""
    width, height = size
    grown = cv2.dilate(part.view(np.uint8), np.ones((2 * _AROUND + 1, 2 * _AROUND + 1), np.uint8))
    ring = (grown > 0) & (hole == 0)
    places = np.argwhere(ring)
    if len(places) == 0:
        return None
    places = places[:: max(1, len(places) // 400)]
    inside = np.argwhere(part)
    inside = inside[:: max(1, len(inside) // 400)]
    best: tuple[float, tuple[int, int]] | None = None
    for distance in _DISTANCES:
        for angle in np.arange(_DIRECTIONS) * 2 * np.pi / _DIRECTIONS:
            shift = round(np.cos(angle) * distance * width), round(np.sin(angle) * distance * height)
            covered = _inside(inside + shift[::-1], hole)
            if not covered.any():
                continue
            seen = _inside(places + shift[::-1], hole)
            if not seen.any():
                continue
            mine, theirs = places[seen], places[seen] + shift[::-1]
            difference = np.abs(image[tuple(mine.T)].astype(int) - image[tuple(theirs.T)]).mean()
            # A place that covers half of the hole must look much more alike.
            cost = (float(difference) + 10 * distance) / covered.mean()
            if best is None or cost < best[0]:
                best = cost, shift
    return None if best is None else best[1]


def _inside(places: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """Which places, rows and columns (N, 2), lie in the picture and in no hole."""
    height, width = hole.shape
    within = (places >= 0).all(1) & (places[:, 0] < height) & (places[:, 1] < width)
    kept = np.where(within[:, None], places, 0)
    free: np.ndarray = within & (hole[tuple(kept.T)] == 0)
    return free


def _shared(shift: tuple[int, int], box: tuple[int, int, int, int], size: tuple[int, ...]) -> tuple[slice, slice]:
    """Rows and columns of a box that are in the picture after a shift too."""
    x, y, width, height = box
    top, bottom = max(y, -shift[1]), min(y + height, size[0] - shift[1])
    left, right = max(x, -shift[0]), min(x + width, size[1] - shift[0])
    return slice(top, max(top, bottom)), slice(left, max(left, right))


def _smoothly_filled(image: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """Holes filled from their borders, in little detail."""
    height, width = hole.shape
    size = max(1, width // _COARSE), max(1, height // _COARSE)
    small_hole = (cv2.resize(hole.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0).astype(np.uint8)
    if small_hole.all():
        return image
    small = cv2.inpaint(cv2.resize(image, size, interpolation=cv2.INTER_AREA), small_hole, 3, cv2.INPAINT_TELEA)
    filled = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.where(hole[..., None], filled, image)
