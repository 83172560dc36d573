"""What the pixels of a mask picture say: which object each belongs to. Keyframes, true masks and training data are read
by this alone.

* **Grey pictures** of 1 to 32 bits: the value is the object id, 0 is background. Where white is the only value besides
  0, it is a plain mask: object 1.
* **Palettes**: the index is the object id, 0 is background, unless the colours say otherwise: where a used entry other
  than 0 is black or transparent and entry 0 is not, or all is black and white, the picture counts by its colours.
* **Colours**: black and transparent pixels are background, every other colour is an object, numbered as it first
  appears, row by row and file by file; a colour keeps its number in all files that are read together.
* **Transparency**: what is not to be seen is background; where all that is to be seen is black, it is object 1.
* **255** beside other ids is void: neither object nor background. So is the void colour of PASCAL VOC.
* **Soft edges**: one object gets a hard edge at half its brightness; between several objects they are refused, as
  nothing says whose they are.

What may be read in two ways is refused with a line that says how to save it.
"""

from pathlib import Path
from typing import cast

import numpy as np
from PIL import Image, ImageFile

from model.data.picture_files import picture_count
from model.data.soft_edges import hard_edge, has_soft_edges, is_flat
from model.errors import InputError

VOID = 255
"""Pixel value of label maps that says "unknown": neither object nor background."""

MOST_OBJECTS = 254
"""Ids of objects are 1..254 in mask pictures."""

ColourTable = dict[int, int]
"""Object id of every colour met so far, by 0xRRGGBB."""

_LOSSLESS = frozenset({"PNG", "BMP", "DIB", "GIF", "TIFF", "PPM", "TGA", "PCX"})
_WHITE, _VOID_COLOUR = 0xFFFFFF, 0xE0E0C0  # the latter of PASCAL VOC
_STORED = {"L;2": 3, "L;4": 15}  # white of grey samples that Pillow spreads over 0..255
_LEAST_LEVEL = 64  # ids from here on look like shades of grey
_DOMINANT, _LIKELY = 0.9, 0.6  # shares of the picture's border
_OFF_SHADE = 24  # how far, of 255, a colour may be from a shade of another
_VISIBLE_PART = 0.02  # of the pixels that are to be seen at all


def read_mask(picture: Image.Image, where: str | Path, colours: ColourTable | None = None) -> np.ndarray:
    """The label map of an open picture.

    Args:
        picture: of a lossless format.
        where: names it in errors.
        colours: of the pictures read before; new ones are added. Give the same table for pictures that belong together.

    Returns:
        uint8 (H, W): 0 is background, 1..254 are object ids, 255 is void. It may be empty.

    Raises:
        InputError: the picture is lossy, holds several pictures, has too many or too high ids, or can be read in two
            ways; `SoftEdgesError`: it has soft edges between objects. Pillow raises its own errors where the file
            is damaged.
    """
    if picture.format not in _LOSSLESS or "jpeg" in str(picture.info.get("compression", "")):
        raise InputError(f"{where} is a {picture.format} picture, which may change object ids: save the mask as PNG")
    if (count := picture_count(picture)) > 1:
        raise InputError(f"{where} holds {count} pictures: save each mask as a PNG of its own")
    colours = {} if colours is None else colours
    if picture.mode in ("P", "PA"):
        return _from_palette(picture, where, colours)
    if picture.mode in ("1", "L", "LA", "La", "F") or picture.mode.startswith("I"):
        values, white = _grey(picture, where)
        return _from_grey(where, values, white, _visible(picture, values))
    if picture.mode not in ("RGB", "RGBA", "RGBX", "RGBa"):
        raise InputError(f"{where} has the colour mode {picture.mode}: save the mask as a palette or grey PNG")
    pixels = np.asarray(picture)
    return _from_colours(where, _packed(pixels[..., :3]), _visible(picture, pixels), colours)


def _from_palette(picture: Image.Image, where: str | Path, colours: ColourTable) -> np.ndarray:
    """By index or by colour, whichever the palette asks for."""
    planes = np.asarray(picture)
    indices = planes if planes.ndim == 2 else planes[..., 0]
    picture.apply_transparency()  # moves it from the file's header to the palette
    entries = np.array(picture.getpalette("RGBA") or [], np.uint32).reshape(-1, 4)[:256]
    table = np.zeros((256, 4), np.uint32)
    table[: len(entries)] = entries
    table[len(entries) :] = 1, 2, 3, 255  # no colour that says anything
    used = np.flatnonzero(np.bincount(indices.ravel(), minlength=256))
    table_colours = (table[:, 0] << 16) | (table[:, 1] << 8) | table[:, 2]
    alpha = planes[..., 1] if planes.ndim == 3 else table[:, 3].astype(np.uint8)[indices]
    visible = None if (alpha == 255).all() else alpha > _least_alpha(alpha)
    shown = used if visible is None else np.flatnonzero(np.bincount(indices[visible], minlength=256))
    if not shown.size:
        return np.zeros(indices.shape, np.uint8)
    if (table_colours[shown] == 0x010101 * shown).all():  # a grey picture with a palette
        return _from_grey(where, indices.astype(np.int64), 255, visible)
    if _counts_by_colour(where, indices, shown, table_colours, visible):
        return _from_colours(where, table_colours[indices], visible, colours)
    ids = indices if visible is None else np.where(visible, indices, 0).astype(np.uint8)
    if shown.size > 3 and len(set(table_colours[shown].tolist())) == shown.size:
        if visible is not None:
            table_colours[0] = 0
        hard = _single_hard_edge(table_colours, ids) if table_colours[0] == 0 else None
        if hard is not None:
            return hard
    _refuse_soft_edges(where, ids)
    return np.array(ids, np.uint8)


def _counts_by_colour(
    where: str | Path, indices: np.ndarray, shown: np.ndarray, table: np.ndarray, visible: np.ndarray | None
) -> bool:
    """Whether a palette's colours say what is background, rather than its index 0.

    Args:
        where: names the picture in the error.
        indices: uint8 (H, W).
        shown: indices of visible pixels, ascending.
        table: 0xRRGGBB of each index.
        visible: bool (H, W); None: all are.

    Raises:
        InputError: that cannot be told.
    """
    found = set(table[shown].tolist())
    black = [int(i) for i in shown if i and table[i] == 0]
    if shown.tolist() == [0]:
        return visible is not None  # an object on nothing
    if shown[0] != 0 or (visible is not None and found == {0}):
        if not black and shown.size > 1 and _border_share(table[indices] == _WHITE) > _DOMINANT:
            raise InputError(
                f"{where}: white goes all around, and is not the palette's entry 0, so that the background cannot be "
                "told: save it as a palette PNG with 0 as background"
            )
        # Nothing is 0: black is the background, unless the palette is nothing but black.
        return bool(black) and (len(found) > 1 or table[0] != 0)
    if visible is not None:
        return bool(table[0] != 0)
    if table[0] == 0:
        return found == {0, _WHITE} and shown.tolist() == [0, VOID]
    if len(found) == 1:
        return False
    zero = _border_share(indices == 0)
    if not black:
        around = max(_border_share(indices == i) for i in shown[1:])
        if zero == 0 and around > _DOMINANT:
            raise InputError(
                f"{where}: the palette's entry 0 is inside and another one all around, so that the background cannot "
                "be told: save it as a palette PNG with 0 as background"
            )
        return False
    # An object in 0 on black, or an object in black on 0? The ground goes around.
    other = _border_share(np.isin(indices, black))
    if other >= _LIKELY or zero > _DOMINANT:
        return other >= _LIKELY
    raise InputError(
        f"{where}: whether the palette's entry 0 or its black is the background cannot be told: save it as a palette "
        "PNG with 0, in black, as background"
    )


def _grey(picture: Image.Image, where: str | Path) -> tuple[np.ndarray, int]:
    """Sample values as the file stores them, int64 (H, W), and the largest that it could store, 0 if unknown."""
    tiles = cast(ImageFile.ImageFile, picture).tile
    arguments = tiles[0][3] if tiles else None
    decoder = tiles[0][0] if tiles else None
    values = np.asarray(picture)
    if values.ndim == 3:
        values = values[..., 0]
    if picture.mode == "F":
        if not (np.isfinite(values).all() and (values == np.rint(values)).all()):
            raise InputError(f"{where} has fractions as pixels: save the mask as a palette or grey PNG")
        return values.astype(np.int64), 0
    values = values.astype(np.int64)
    if picture.mode == "1":
        return values, 1
    most = 65535 if picture.mode.startswith("I") else 255
    stored = _STORED.get(arguments if isinstance(arguments, str) else "", most)
    if decoder in ("ppm", "ppm_plain") and isinstance(arguments, tuple):
        stored = arguments[1]
    if stored != most:
        values = np.rint(values * (stored / most)).astype(np.int64)
    return values, stored


def _visible(picture: Image.Image, pixels: np.ndarray) -> np.ndarray | None:
    """Where a picture without palette is not transparent, bool (H, W); None: everywhere."""
    if picture.mode in ("LA", "La", "RGBA", "RGBa"):
        alpha = np.asarray(picture)[..., -1]
        return None if (alpha == 255).all() else alpha > _least_alpha(alpha)
    clear = picture.info.get("transparency")
    if isinstance(clear, int) and pixels.ndim == 2:
        return pixels != clear
    if isinstance(clear, tuple) and pixels.ndim == 3:
        return (pixels[..., :3] != np.array(clear)).any(axis=2)
    return None


def _least_alpha(alpha: np.ndarray) -> int:
    """What alpha must exceed to count as seen: half of the faintest alpha that has an area, so that edges are hard."""
    counts = np.bincount(alpha[is_flat(alpha)], minlength=256)
    counts[0] = 0
    areas = np.flatnonzero(counts > _VISIBLE_PART * counts.sum())
    return int(areas[0] if areas.size else alpha.max(initial=0)) // 2


def _from_grey(where: str | Path, values: np.ndarray, white: int, visible: np.ndarray | None) -> np.ndarray:
    """Object ids from sample values, int64 (H, W)."""
    if visible is not None:
        values = np.where(visible, values, 0)
        if not values.any():
            return visible.astype(np.uint8)  # black on nothing
    low, high = int(values.min(initial=0)), int(values.max(initial=0))
    if low >= 0 and high <= 255:
        found = np.flatnonzero(np.bincount(values.ravel(), minlength=256))
    else:
        found = np.unique(values)
    found = found[found != 0]
    if found.size == 1 and found[0] in (white, 255, 65535):
        return (values != 0).astype(np.uint8)
    hard = hard_edge(values)
    if hard is not None:
        return hard.astype(np.uint8)
    if found.size > MOST_OBJECTS + 1:
        raise InputError(f"{where} has {found.size} object ids; at most {MOST_OBJECTS} can be used: is it a mask?")
    if found.size and (low < 0 or high > 255):
        wrong = low if low < 0 else high
        raise InputError(f"{where} has the object id {wrong}: number the objects 1..{MOST_OBJECTS}")
    ids = values.astype(np.uint8)
    if found.size > 1 and found[-1] == VOID and found[0] >= _LEAST_LEVEL and is_flat(ids)[ids == VOID].any():
        raise InputError(
            f"{where} has 255 beside {found[0]}: 255 is void, an area that is no object, beside other ids; number the "
            "objects 1, 2, 3, ..."
        )
    if values.all() and found.size == 2 and found[1] == VOID and _border_share(ids == found[0]) > _DOMINANT:
        raise InputError(
            f"{where} has no 0: {found[0]} goes all around, and 255 inside may be void or the object: use 0 for the "
            "background, and 1 for the object"
        )
    _refuse_soft_edges(where, ids)
    return ids


def _from_colours(
    where: str | Path, packed: np.ndarray, visible: np.ndarray | None, colours: ColourTable
) -> np.ndarray:
    """Object ids from 0xRRGGBB, uint32 (H, W); adds new colours to the table."""
    if visible is not None:
        packed = np.where(visible, packed, 0).astype(np.uint32)
        if not packed.any():
            return visible.astype(np.uint8)  # black on nothing
    grey = packed & 0xFF
    if np.array_equal(packed, grey * np.uint32(0x010101)):
        return _from_grey(where, grey.astype(np.int64), 255, None)
    flat = packed.ravel()
    starts = np.concatenate(([0], np.flatnonzero(flat[1:] != flat[:-1]) + 1))
    # Only the first pixels of runs are sorted: a mask has few of them.
    found, first, which = np.unique(flat[starts], return_index=True, return_inverse=True)
    lengths = np.diff(np.append(starts, flat.size))
    place = np.repeat(which, lengths).reshape(packed.shape)
    hard = _single_hard_edge(found, place) if found.size > 3 and found[0] == 0 else None
    if hard is not None:
        return hard
    if np.count_nonzero(found) > MOST_OBJECTS:
        raise InputError(
            f"{where} has {np.count_nonzero(found)} colours; at most {MOST_OBJECTS} objects can be used: "
            "save the mask without smooth edges"
        )
    place = place.astype(np.uint8)
    _refuse_soft_edges(where, place)
    background = _background(where, found, place)
    void = _VOID_COLOUR if found.size > 2 else None
    table = dict(colours)
    for colour in found[np.argsort(first)].tolist():
        if colour not in (background, void):
            table.setdefault(colour, len(table) + 1)
    if len(table) > MOST_OBJECTS:
        raise InputError(
            f"{where} brings the colours of all masks to {len(table)}; at most {MOST_OBJECTS} objects can be used"
        )
    colours.update(table)
    ids = [0 if c == background else VOID if c == void else table[c] for c in found.tolist()]
    return np.array(ids, np.uint8)[place]


def _background(where: str | Path, found: np.ndarray, place: np.ndarray) -> int:
    """The colour that is background: black, or white where nothing is black and white goes around.

    Args:
        where: names the picture in the error.
        found: 0xRRGGBB of the picture.
        place: uint8 (H, W), the place of each pixel's colour there.

    Raises:
        InputError: another colour goes around, and nothing is black; or white goes around beside black.
    """
    if found.size == 1:
        return 0
    shares = [_border_share(place == i) for i in range(found.size)]
    around = int(np.argmax(shares))
    if 0 in found:
        if found[around] == _WHITE and shares[around] > _DOMINANT:
            raise InputError(
                f"{where} has black inside and white all around, so that the background cannot be told: paint the "
                "background black and no object"
            )
        return 0
    if found[around] == _WHITE and shares[around] > 0.5:
        return _WHITE
    if shares[around] > _DOMINANT:
        raise InputError(
            f"{where} has no black or transparent pixel, and #{found[around]:06x} goes all around: paint the "
            "background black"
        )
    return 0


def _single_hard_edge(found: np.ndarray, place: np.ndarray) -> np.ndarray | None:
    """One object, uint8 (H, W), where all colours are shades of one, between black and itself, with soft edges.

    Args:
        found: 0xRRGGBB, black among them.
        place: integers (H, W), the place of each pixel's colour there.
    """
    counts = np.bincount(place.ravel(), minlength=found.size)
    areas = np.bincount(place[is_flat(place.astype(np.float32))], minlength=found.size) > 0
    if np.array_equal(areas, counts > 0):
        return None  # nothing but areas: objects of like colours
    channels = np.stack([(found >> shift) & 0xFF for shift in (16, 8, 0)], axis=1).astype(np.float32)
    # The brightest that has an area: another may be the larger object.
    axis = channels[np.argmax(np.where(areas, (channels**2).sum(axis=1), -1))]
    if axis.max() < _LEAST_LEVEL:
        return None
    level = channels @ axis / (axis @ axis)
    if np.abs(channels - level[:, None] * axis)[counts > 0].max() > _OFF_SHADE:
        return None
    hard = hard_edge(np.rint(np.clip(level, 0, 1) * 255).astype(np.uint8)[place])
    return None if hard is None else hard.astype(np.uint8)


class SoftEdgesError(InputError):
    """A mask seems to have pixels between the values of neighbouring objects.

    Attributes:
        ids: the label map that it is where these are ids after all, uint8 (H, W).
    """

    def __init__(self, line: str, ids: np.ndarray):
        super().__init__(line)
        self.ids = ids


def _refuse_soft_edges(where: str | Path, ids: np.ndarray) -> None:
    if has_soft_edges(ids):
        raise SoftEdgesError(
            f"{where} has soft edges, pixels between the values of neighbouring objects: save the mask without "
            "anti-aliasing or smoothing, as PNG; if thin rims of another object are meant, give one file per object",
            np.array(ids, np.uint8),
        )


def _border_share(where: np.ndarray) -> float:
    """Part of the picture's border, its outermost pixels, where this is true."""
    border = np.concatenate([where[0], where[-1], where[1:-1, 0], where[1:-1, -1]])
    return float(border.mean())


def _packed(pixels: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 as 0xRRGGBB, uint32 (H, W)."""
    red, green, blue = (pixels[..., i].astype(np.uint32) for i in range(3))
    return (red << 16) | (green << 8) | blue
