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
from model.keyframe import Keyframe
from plugin.keyframes.frame_number import frame_number
from plugin.keyframes.keyframe_set import KeyframeSet, check_size, default_name

_LOSSLESS = {"PNG", "BMP", "DIB", "GIF", "TIFF", "PPM", "TGA", "PCX"}
_PICTURE_SUFFIXES = {
    ".png",
    ".bmp",
    ".gif",
    ".tif",
    ".tiff",
    ".ppm",
    ".pgm",
    ".pbm",
    ".tga",
    ".pcx",
    ".jpg",
    ".jpeg",
    ".webp",
}
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


def read_label_map_folder(
    path: str | Path, frame_size: tuple[int, int] | None = None, colours: ColourTable | None = None
) -> KeyframeSet:
    """Read a folder of mask pictures; the number at the end of a file's name is its frame.

    Args:
        path: the folder; files that are no pictures, hidden files and sub-folders are passed over.
        frame_size: (H, W) that every mask must have; None allows any.
        colours: see `read_label_map`.

    Raises:
        InputError: no picture is there, a name has no frame number, two have the same, or a mask cannot be used.
    """
    files = label_map_files(path)
    colours = {} if colours is None else colours
    keyframes = tuple(read_label_map_keyframe(file, i, frame_size, colours) for i, file in files.items())
    ids = sorted({object_id for keyframe in keyframes for object_id in keyframe.objects})
    return KeyframeSet(keyframes, {object_id: default_name(object_id) for object_id in ids})


def label_map_files(path: str | Path) -> dict[int, Path]:
    """The mask pictures of a folder by frame number, ascending; arguments and errors as in `read_label_map_folder`."""
    path = Path(path)
    try:
        names = sorted(f for f in path.iterdir() if f.suffix.lower() in _PICTURE_SUFFIXES and f.name[0] != ".")
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): give a folder of mask pictures") from None
    if not names:
        raise InputError(f"{path} has no mask pictures: give a folder of PNG files named by frame number")
    by_frame: dict[int, Path] = {}
    for file in names:
        index = frame_number(str(file))
        if index in by_frame:
            raise InputError(f"{by_frame[index]} and {file} are both for frame {index}: keep one")
        by_frame[index] = file
    return dict(sorted(by_frame.items()))


def read_label_map_keyframe(
    path: str | Path, index: int, frame_size: tuple[int, int] | None = None, colours: ColourTable | None = None
) -> Keyframe:
    """Read one mask picture as the keyframe of frame `index`; arguments and errors as in `read_label_map_folder`."""
    label_map = read_label_map(path, colours)
    check_size(path, label_map.shape, frame_size)
    return Keyframe(index, label_map)


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
