"""Mask pictures as keyframes; what their pixels mean says `model.mask_picture`."""

from pathlib import Path

import numpy as np
from PIL import Image

from model.errors import InputError
from model.keyframe import Keyframe
from model.mask_picture import VOID, ColourTable, read_mask
from model.picture_files import PICTURE_SUFFIXES
from plugin.keyframes.frame_number import frame_number
from plugin.keyframes.keyframe_set import KeyframeSet, check_size, default_name


def read_label_map(
    path: str | Path, colours: ColourTable | None = None, *, may_be_empty: bool = False, keep_void: bool = False
) -> np.ndarray:
    """Read a mask picture.

    Args:
        path: a lossless picture, see `model.mask_picture`.
        colours: the colours of the files read before; new ones are added. Give the same table for files that belong
            together.
        may_be_empty: accept a mask without any object.
        keep_void: void pixels, which belong to neither an object nor the background, are 255; otherwise they are 0.

    Returns:
        uint8 (H, W), object ids 1..254, 0 is background; at least one object is there unless it may be empty.

    Raises:
        InputError: the file is missing, broken, empty (all background), or no mask that can be understood.
    """
    path = Path(path)
    try:
        with Image.open(path) as picture:
            values = read_mask(picture, path, colours)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist: check the path of the mask") from None
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise InputError(f"{path} cannot be read as a picture ({_one_line(error)}): save the mask as PNG") from error
    if not may_be_empty and not ((values > 0) & (values < VOID)).any():
        what = "it has only void (255)" if values.any() else "no pixel belongs to an object"
        raise InputError(f"{path} is empty, {what}: draw an object or leave the file out")
    return values if keep_void else np.where(values == VOID, 0, values)


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
        names = sorted(f for f in path.iterdir() if f.suffix.lower() in PICTURE_SUFFIXES and f.name[0] != ".")
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


def _one_line(error: Exception) -> str:
    """The first line of an error's text."""
    return (str(error).splitlines() or [type(error).__name__])[0]
