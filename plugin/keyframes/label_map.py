"""Mask pictures as keyframes: the value or the colour of a pixel says which object it belongs to.

* Palette and grey pictures (1, 8 or 16 bits): the pixel value is the object id, 0 is background.
* A grey picture whose only value besides 0 is the largest one, a plain white mask, is object 1.
* Colour pictures: grey ones count as grey. Otherwise black and fully transparent pixels are background and every other
  colour is an object; objects are numbered as their colours first appear, row by row and file by file, and a colour
  keeps its number in all files that are read together.
"""

from pathlib import Path

import numpy as np
from PIL import Image

from model.errors import InputError

_LOSSLESS = {"PNG", "BMP", "DIB", "GIF", "TIFF", "PPM", "TGA", "PCX"}
_MAX_ID = 255

ColourTable = dict[int, int]
"""Object id of every colour met so far, by 0xRRGGBB."""


def read_label_map(path: str | Path, colours: ColourTable | None = None, *, may_be_empty: bool = False) -> np.ndarray:
    """Read a mask picture.

    Args:
        path: a lossless picture, see the head of this file.
        colours: the colours of the files read before; new ones are added. Give the same table for files that belong
            together.
        may_be_empty: accept a mask without any object.

    Returns:
        uint8 (H, W), object ids 1..255, 0 is background; at least one object is there unless it may be empty.

    Raises:
        InputError: the file is missing, broken, lossy, empty (all background) or has more than 255 objects.
    """
    path = Path(path)
    try:
        with Image.open(path) as picture:
            if picture.format not in _LOSSLESS or "jpeg" in str(picture.info.get("compression", "")):
                raise InputError(
                    f"{path} is a {picture.format} picture, which may change object ids: save the mask as PNG"
                )
            values = _pixel_values(path, picture, {} if colours is None else colours)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist: check the path of the mask") from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"{path} cannot be read as a picture ({_one_line(error)}): save the mask as PNG") from error
    if not may_be_empty and not values.any():
        raise InputError(f"{path} is empty, no pixel belongs to an object: draw an object or leave the file out")
    return values


def _pixel_values(path: Path, picture: Image.Image, colours: ColourTable) -> np.ndarray:
    """Object ids, uint8 (H, W), of an open picture."""
    if picture.mode == "P":
        return np.array(picture)
    if picture.mode in ("L", "1") or picture.mode.startswith("I"):
        return _ids_from_grey(path, np.asarray(picture), white=65535 if picture.mode.startswith("I") else 255)
    if picture.mode in ("LA", "PA"):
        values = np.asarray(picture)
        return _ids_from_grey(path, np.where(values[..., 1] > 0, values[..., 0], 0), white=255)
    if picture.mode not in ("RGB", "RGBA", "RGBX"):
        raise InputError(f"{path} has the colour mode {picture.mode}: save the mask as a palette or grey PNG")
    channels = np.asarray(picture)
    red, green, blue = (channels[..., i] for i in range(3))
    visible = channels[..., 3] > 0 if picture.mode == "RGBA" else None
    if np.array_equal(red, green) and np.array_equal(red, blue):
        return _ids_from_grey(path, red if visible is None else np.where(visible, red, 0), white=255)
    packed = (red.astype(np.uint32) << 16) | (green.astype(np.uint32) << 8) | blue
    return _ids_from_colours(path, packed if visible is None else np.where(visible, packed, 0), colours)


def _ids_from_grey(path: Path, values: np.ndarray, white: int) -> np.ndarray:
    """Object ids from pixel values (H, W) of any whole-number type."""
    if values.dtype == np.bool_:
        return values.astype(np.uint8)
    found = (
        np.unique(values) if values.dtype != np.uint8 else np.flatnonzero(np.bincount(values.ravel(), minlength=256))
    )
    found = found[found != 0]
    if found.tolist() == [white]:
        return (values != 0).astype(np.uint8)
    if found.size > _MAX_ID:
        raise InputError(f"{path} has {found.size} object ids; at most {_MAX_ID} can be used: is it a mask?")
    if found.size and (found[0] < 0 or found[-1] > _MAX_ID):
        raise InputError(f"{path} has the object id {found[-1]}: number the objects 1..{_MAX_ID}")
    return values.astype(np.uint8)


def _ids_from_colours(path: Path, packed: np.ndarray, colours: ColourTable) -> np.ndarray:
    """Object ids from 0xRRGGBB (H, W) uint32; adds new colours to the table."""
    flat = packed.ravel()
    starts = np.concatenate(([0], np.flatnonzero(flat[1:] != flat[:-1]) + 1))
    # Only the first pixels of runs are sorted: a mask has few of them.
    found, first, which = np.unique(flat[starts], return_index=True, return_inverse=True)
    if np.count_nonzero(found) > _MAX_ID:
        raise InputError(
            f"{path} has {np.count_nonzero(found)} colours; at most {_MAX_ID} objects can be used: "
            "save the mask without smooth edges"
        )
    table = dict(colours)
    for colour in found[np.argsort(first)].tolist():
        if colour:
            table.setdefault(colour, len(table) + 1)
    if len(table) > _MAX_ID:
        raise InputError(
            f"{path} brings the colours of all masks to {len(table)}; at most {_MAX_ID} objects can be used"
        )
    colours.update(table)
    ids = np.array([table.get(colour, 0) for colour in found.tolist()], dtype=np.uint8)
    lengths = np.diff(np.append(starts, flat.size))
    return np.repeat(ids[which], lengths).reshape(packed.shape)


def _one_line(error: Exception) -> str:
    """The first line of an error's text."""
    return (str(error).splitlines() or [type(error).__name__])[0]
