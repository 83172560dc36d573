"""The colours of object ids: the 256-colour palette that DAVIS and PASCAL VOC use."""

from pathlib import Path

import numpy as np
from PIL import Image, PngImagePlugin

from model.object_masks import MaskInput, ObjectMasks
from plugin.keyframes.mask_origin import MaskOrigin, origin_note
from plugin.keyframes.whole_masks import add_whole_masks


def _build() -> np.ndarray:
    """Spread the bits of an id over its colour: every three bits give the next lower bit of red, green and blue."""
    ids = np.arange(256)
    colours = np.zeros((256, 3), np.int64)
    for level in range(8):
        for channel in range(3):
            colours[:, channel] |= (ids >> (3 * level + channel) & 1) << (7 - level)
    return colours.astype(np.uint8)


PALETTE = _build()
"""uint8 (256, 3) RGB: row i is the colour of object id i; row 0, the background, is black."""
PALETTE.setflags(write=False)


def save_masks(masks: MaskInput, path: Path, origin: MaskOrigin | None = None) -> None:
    """Write the masks of a frame as a palette PNG whose pixel values are the object ids; raises OSError.

    Where objects share a pixel it shows the uppermost; what lies under others is in the file all the same
    (`plugin.keyframes.whole_masks`).

    Args:
        origin: the frame that it is for, noted in the file; None for no note.
    """
    masks = ObjectMasks.given(masks)
    note = PngImagePlugin.PngInfo() if origin is None else origin_note(origin)
    add_whole_masks(note, masks)
    picture = Image.fromarray(np.ascontiguousarray(masks.label_map))
    picture.putpalette(PALETTE.tobytes())
    picture.save(path, compress_level=4, pnginfo=note)


def colour(object_id: int) -> tuple[int, int, int]:
    """The RGB colour of an object id 0..255, channels 0..255."""
    red, green, blue = PALETTE[object_id]
    return int(red), int(green), int(blue)
