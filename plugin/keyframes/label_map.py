"""Mask pictures as keyframes; what their pixels mean says `model.data.mask_picture`."""

from pathlib import Path

import numpy as np
from PIL import Image

from model.data.mask_picture import VOID, ColourTable, read_mask
from model.errors import InputError
from model.object_masks import ObjectMasks
from plugin.keyframes.mask_origin import is_own
from plugin.keyframes.whole_masks import has_whole_masks, read_whole_masks


def read_masks(
    path: str | Path, colours: ColourTable | None = None, *, may_be_empty: bool = False
) -> tuple[ObjectMasks, np.ndarray]:
    """Read a mask picture, arguments and errors as in `read_label_map`.

    Returns:
        The masks of its objects, which may share pixels if Perclip wrote it; and where it is void, bool (H, W).
    """
    return _read(Path(path), colours, may_be_empty)


def read_label_map(
    path: str | Path, colours: ColourTable | None = None, *, may_be_empty: bool = False, keep_void: bool = False
) -> np.ndarray:
    """Read a mask picture.

    Args:
        path: a lossless picture, see `model.data.mask_picture`.
        colours: the colours of the files read before; new ones are added. Give the same table for files that belong
            together.
        may_be_empty: accept a mask without any object.
        keep_void: void pixels, which belong to neither an object nor the background, are 255; otherwise they are 0.

    Returns:
        uint8 (H, W), object ids 1..254, 0 is background; at least one object is there unless it may be empty.

    Raises:
        InputError: the file is missing, broken, empty (all background), or no mask that can be understood.
    """
    masks, void = _read(Path(path), colours, may_be_empty)
    return np.where(void, np.uint8(VOID), masks.label_map) if keep_void else masks.label_map


def _read(path: Path, colours: ColourTable | None, may_be_empty: bool) -> tuple[ObjectMasks, np.ndarray]:
    try:
        with Image.open(path) as picture:
            # Of what Perclip wrote nothing need be guessed: the rims of things in one another look like soft edges.
            own = is_own(picture) or (picture.mode == "P" and has_whole_masks(picture))
            values = np.array(picture) if own else read_mask(picture, path, colours)
            void = values == VOID
            masks = read_whole_masks(picture, np.where(void, np.uint8(0), values))
    except FileNotFoundError:
        raise InputError(f"{path} does not exist: check the path of the mask") from None
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise InputError(f"{path} cannot be read as a picture ({_one_line(error)}): save the mask as PNG") from error
    if not may_be_empty and not masks.objects:
        what = "it has only void (255)" if values.any() else "no pixel belongs to an object"
        raise InputError(f"{path} is empty, {what}: draw an object or leave the file out")
    return masks, void


def _one_line(error: Exception) -> str:
    """The first line of an error's text."""
    return (str(error).splitlines() or [type(error).__name__])[0]
