"""Soft edges of mask pictures: pixels whose value is a mixture of their neighbours', not an id."""

import cv2
import numpy as np

_DARK, _BRIGHT = 38, 217  # of 255: what is nearer to black or white than to half
_NEARLY_WHITE = 240
_MOST_FLAT = 0.02  # part of the pixels between that may lie in areas of one value
_BETWEEN = 0.8  # part of the soft pixels that must have lower and higher neighbours
_LEAST_VALUES = 4  # of rims between several objects
_NOISE = 24  # values without an area of their own that no picture of objects has
_STREWN = 0.4  # part of their pixels without a neighbour of their value
_MOST_RIM = 0.75  # of a picture
_MOSTLY_BETWEEN = 0.5  # the same where rims overshoot, and have echoes inside areas
_FEW_MEETINGS = 0.05  # of the places where an area ends
_STEP_SHARES = {1: 0.3, 2: 0.4, 4: 0.5, 8: 0.6}
"""Widest step, in pixels, -> part of the outlines that may have steps so narrow. At most 0.05, 0.09, 0.15 and 0.26 have
in the drawn masks looked at, those of DAVIS's schoolgirls at 240 rows; with every fourth row 0.16 and 0.26."""
_LEAST_STEPS = 12
_FEW_VALUES, _MOST_SEAM = 3, 0.75  # of two objects, a rim may be the seam of the lower one, in pieces
_LEAST_WHOLE = 0.04  # of the stairs; those of small objects that touch lead nowhere
_STEPS_OF_SIDE = 30  # a step is at most this part of the picture's shorter side
_RING = 4  # a wider step may be an object around another: several are needed
_LEAST_AREA = 9  # pixels across; a JPEG's blocks of 8 are less
_SHADES = 2  # by which one white may differ from another
_LEAST_RIM = 0.3  # part of an outline that a rim of a single value must cover

_BLOCK = np.ones((3, 3), np.uint8)


def is_flat(values: np.ndarray) -> np.ndarray:
    """Where all of a pixel's neighbours have its value, bool (H, W). Takes uint8 or float32 (H, W)."""
    return _lowest(values) == _highest(values)


def hard_edge(values: np.ndarray) -> np.ndarray | None:
    """The object of a plain mask with soft edges or with the noise of a lossy picture.

    Soft are pixels between black and white that have no area of their own and lie between darker and brighter ones.

    Args:
        values: integers (H, W), 0 or more.

    Returns:
        bool (H, W), true from half of white on; None where the picture is no such mask.
    """
    white = int(values.max(initial=0))
    if white < _BRIGHT or values.min(initial=0) < 0:
        return None
    if white > 255 and np.unique(values[is_flat(values.astype(np.float32))]).size > 2:
        return None  # ids of 16 bits
    level = (values if white <= 255 else values * 255 // white).astype(np.uint8)
    counts = np.bincount(level.ravel(), minlength=256)
    between = int(counts[_DARK + 1 : _BRIGHT].sum())
    dark, bright = np.flatnonzero(counts[1 : _DARK + 1]), np.flatnonzero(counts[_BRIGHT:])
    if between == 0 and dark.size < 2 and bright.size < 2:
        return None
    flat = is_flat(level)
    hard = level >= 128
    if not (flat & (level >= _BRIGHT)).any() or _has_further_area(level, flat):
        return None
    if _is_noisy(level, flat):
        return hard if 2 * between < counts[_BRIGHT:].sum() else None
    middle = (level > _DARK) & (level < _BRIGHT)
    if between == 0:
        # Noise about black and white, of a lossy picture. Beside ids 255 would be void, and they have areas.
        if level.max() < 255 or bright[0] + _BRIGHT < _NEARLY_WHITE:
            return None
        areas = (flat & (level > 0) & (level < 255)).any()
        return hard if bright.size > 1 or (dark.size >= _LEAST_VALUES and not areas) else None
    if (flat & middle).sum() > _MOST_FLAT * between:
        return None
    if (_lies_between(level) & middle).sum() < _BETWEEN * between:
        return None
    if np.flatnonzero(counts[_DARK + 1 : _BRIGHT]).size < 2:
        bright_part = (level >= _BRIGHT).astype(np.uint8)
        outline = (cv2.dilate(bright_part, _BLOCK) > 0) & (bright_part == 0)
        if (outline & middle).sum() < _LEAST_RIM * outline.sum():
            return None
    if (flat & (level > 0) & (level <= _DARK)).sum() > between and bright.size == 1 and dark.size < _LEAST_VALUES:
        return None  # areas of small ids
    return hard


def _has_further_area(level: np.ndarray, flat: np.ndarray) -> bool:
    """Whether a second object of a very dark or very bright value lies in the picture, as wide as no edge's tail is."""
    areas = np.bincount(level[flat], minlength=256)
    size = max(_LEAST_AREA, 2 * _width((level > _DARK) & (level < _BRIGHT)) + 1)
    dark = [v for v in range(1, _DARK + 1) if areas[v] and areas[v] < areas[0] and _width(level == v) >= size]
    bright = [v for v in range(_BRIGHT, 256) if areas[v] and _width(level == v) >= size]
    return bool(dark) or (len(bright) > 1 and bright[-1] - bright[0] > _SHADES)


def _width(where: np.ndarray) -> int:
    """Side of the largest square inside, in pixels; 0 where none is."""
    padded = np.pad(where, 1).astype(np.uint8)
    return max(0, 2 * int(cv2.distanceTransform(padded, cv2.DIST_C, 3).max()) - 1)


def has_soft_edges(ids: np.ndarray) -> bool:
    """Whether a picture of several objects has rims of mixed values between them. Takes uint8 (H, W)."""
    counts = np.bincount(ids.ravel(), minlength=256)
    if np.count_nonzero(counts) > 2 and _has_stepped_outlines(ids):
        return True
    if np.count_nonzero(counts) <= _LEAST_VALUES:
        return False
    flat = is_flat(ids)
    if _is_noisy(ids, flat):
        return True
    areas = np.bincount(ids[flat], minlength=256) > 0
    rims = (counts > 0) & ~areas
    rims[0] = False
    if rims.sum() < _LEAST_VALUES or not areas.any():
        return False
    rim = rims[ids]
    if _parts_all_areas(ids, rim):
        return True
    # A mixture has pure pixels of two kinds at hand; a small object lies on one.
    pure = np.where(rim, 0, ids.astype(np.int16) + 1)
    highest = cv2.dilate(pure, np.ones((5, 5), np.uint8))
    lowest = cv2.erode(np.where(rim, 300, pure).astype(np.int16), np.ones((5, 5), np.uint8))
    return bool((rim & (highest > lowest) & (lowest < 300)).sum() >= _BETWEEN * rim.sum())


def _parts_all_areas(ids: np.ndarray, rim: np.ndarray) -> bool:
    """Whether areas of different values hardly ever meet, as rims lie between them: wide slopes, and overshooting ones.

    Args:
        ids: uint8 (H, W).
        rim: bool (H, W), pixels of values without an area.
    """
    meetings = parted = 0
    for one, other in ((np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1])):
        both_pure = ~rim[one] & ~rim[other]
        meetings += int((both_pure & (ids[one] != ids[other])).sum())
        parted += int((rim[one] != rim[other]).sum())
    if rim.mean() > _MOST_RIM or meetings > _FEW_MEETINGS * (meetings + parted):
        return False
    count, part = cv2.connectedComponents(rim.astype(np.uint8), connectivity=8)
    pure = np.where(rim, 0, ids.astype(np.int16) + 1)
    highest = cv2.dilate(pure, _BLOCK)
    lowest = cv2.erode(np.where(rim, 300, pure).astype(np.int16), _BLOCK)
    top, bottom = np.zeros(count, np.int16), np.full(count, 300, np.int16)
    np.maximum.at(top, part[rim], highest[rim])
    np.minimum.at(bottom, part[rim], lowest[rim])
    is_between = (top > bottom)[part] & rim
    return bool(is_between.sum() >= _MOSTLY_BETWEEN * rim.sum())


def _has_stepped_outlines(ids: np.ndarray) -> bool:
    """Whether outlines are stairs of narrow steps from one area's value to another's, rather than jumps."""
    nothing = np.zeros(ids.shape, bool)
    for widest, most in _STEP_SHARES.items():
        if widest > max(1, min(ids.shape) // _STEPS_OF_SIDE):
            break
        if _is_stepped(ids, nothing, widest, most) and _is_stepped(ids, _bodies(ids, widest), widest, most):
            return True
    return False


def _is_stepped(ids: np.ndarray, bodies: np.ndarray, widest: int, most: float) -> bool:
    """Whether more than a share of the outlines has steps that are no part of a body."""
    jumps = begun = ended = whole = steps = seams = 0
    for lines, inside in ((ids, bodies), (ids.T, bodies.T)):
        flat, width = lines.ravel(), lines.shape[1]
        begins = np.concatenate(([True], flat[1:] != flat[:-1]))
        begins[::width] = True
        starts = np.flatnonzero(begins)
        change = np.where(starts[1:] % width != 0, np.diff(flat[starts].astype(np.int32)), 0)
        narrow = np.diff(np.append(starts, flat.size)) <= widest
        jumps += int(((np.abs(change) > 1) & ~narrow[1:] & ~narrow[:-1]).sum())
        is_step = (change[1:] * change[:-1] > 0) & narrow[1:-1]
        in_body = inside.ravel()[starts[1:-1]]
        seams += int((is_step & in_body & ~narrow[:-2]).sum())
        is_step &= ~in_body
        steps += int(is_step.sum())
        begun += int((is_step & ~narrow[:-2]).sum())
        ended += int((is_step & ~narrow[2:]).sum())
        whole += _whole_stairs(is_step, narrow)
    stairs = min(begun, ended)
    if whole < _LEAST_WHOLE * stairs:
        return False
    jumps += seams
    if 4 * seams > stairs and np.unique(ids).size <= _FEW_VALUES:
        most = max(most, _MOST_SEAM)
    return stairs >= _LEAST_STEPS and stairs > most * (stairs + jumps) and (widest <= _RING or steps > 1.5 * stairs)


def _whole_stairs(is_step: np.ndarray, narrow: np.ndarray) -> int:
    """How many rows of steps lead from a wide run to a wide run.

    Args:
        is_step: bool (N - 2,), of the runs but the first and the last.
        narrow: bool (N,).
    """
    before, after = np.r_[False, is_step[:-1]], np.r_[is_step[1:], False]
    first, last = np.flatnonzero(is_step & ~before), np.flatnonzero(is_step & ~after)
    return int((~narrow[first] & ~narrow[last + 2]).sum())


def _bodies(ids: np.ndarray, widest: int) -> np.ndarray:
    """Parts that are wider than any step somewhere, whole, bool (H, W): a person's rim below a helmet is no soft edge.

    Parts of the ground are bodies too.
    """
    block = np.ones((2 * widest + 1,) * 2, np.uint8)
    wide = cv2.erode(ids, block) == cv2.dilate(ids, block)
    bodies = np.zeros(ids.shape, bool)
    for value in np.unique(ids[wide]):
        count, part = cv2.connectedComponents((ids == value).astype(np.uint8), connectivity=8)
        has_body = np.bincount(part[wide & (ids == value)], minlength=count) > 0
        bodies |= has_body[part] & (ids == value)
    return bodies


def _is_noisy(values: np.ndarray, flat: np.ndarray) -> bool:
    """Whether there are many values without a flat pixel, most of them strewn: pixels of objects lie together."""
    there, areas = (np.bincount(v.ravel(), minlength=256) > 0 for v in (values, values[flat]))
    strewn = there & ~areas
    if strewn.sum() < _NOISE:
        return False
    padded = np.pad(values, 1, mode="reflect")
    middle = padded[1:-1, 1:-1]
    across = (middle == padded[1:-1, :-2]) | (middle == padded[1:-1, 2:])
    down = (middle == padded[:-2, 1:-1]) | (middle == padded[2:, 1:-1])
    pixels = strewn[values]
    return bool((pixels & ~across & ~down).sum() > _STREWN * pixels.sum())


def _lies_between(level: np.ndarray) -> np.ndarray:
    return (_lowest(level) < level) & (level < _highest(level))


def _lowest(values: np.ndarray) -> np.ndarray:
    return cv2.erode(values, _BLOCK, borderType=cv2.BORDER_REPLICATE)


def _highest(values: np.ndarray) -> np.ndarray:
    return cv2.dilate(values, _BLOCK, borderType=cv2.BORDER_REPLICATE)
