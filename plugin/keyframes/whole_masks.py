"""What a mask picture cannot show: the masks of objects that lie partly under others, kept whole inside the file.

A PNG that Perclip writes has the chunk `ovLP` where objects share pixels: JSON, compressed by zlib, with the `order` of
the objects from bottom to top, and in `masks` the COCO counts, as compressed text, of each that is partly covered, by
its id. Other programs pass over it. It counts only where, flattened, it gives the file's pixels, so that what somebody
paints into them later is what they say.
"""

import json
import zlib

import numpy as np
from PIL import Image, PngImagePlugin

from model.errors import InputError
from model.object_masks import ObjectMasks
from plugin.shapes.coco_rle import compress_counts, counts_to_mask, decompress_counts, mask_to_counts

# Ancillary, private, and to be dropped by programs that change the pixels, by the case of its letters.
_CHUNK = b"ovLP"
_MOST_BYTES = 1 << 26  # of the text; more is no file of ours


def add_whole_masks(note: PngImagePlugin.PngInfo, masks: ObjectMasks) -> None:
    """Put into a PNG of `masks.label_map` what that does not show; nothing where no pixel is shared."""
    if not masks.overlapping:
        return
    shown = masks.label_map
    covered = {i: mask for i, mask in masks.items() if np.count_nonzero(shown == i) < masks.areas[i]}
    counts = {str(i): compress_counts(mask_to_counts(mask)) for i, mask in covered.items()}
    content = json.dumps({"order": masks.order, "masks": counts}, separators=(",", ":"))
    note.add(_CHUNK, zlib.compress(content.encode()))


def has_whole_masks(picture: Image.Image) -> bool:
    """Whether an open picture has whole masks beside its pixels, be they of these pixels or not."""
    return _content(picture) is not None


def read_whole_masks(picture: Image.Image, label_map: np.ndarray) -> ObjectMasks:
    """The masks of an open mask picture.

    Args:
        picture: of any format.
        label_map: uint8 (H, W), what its pixels say; it becomes part of the result.

    Returns:
        The whole masks where the file has those of these pixels, else what the pixels say.
    """
    of_pixels = ObjectMasks.from_sheets([label_map])
    content = _content(picture)
    if content is None:
        return of_pixels
    try:
        told = json.loads(zlib.decompressobj().decompress(content, _MOST_BYTES))
        masks = {i: of_pixels.mask(i) for i in of_pixels.objects}
        for i, counts in told["masks"].items():
            masks[int(i)] = counts_to_mask(decompress_counts(counts), *label_map.shape)
        whole = ObjectMasks.of(masks, told["order"], label_map.shape)
    except (
        zlib.error,
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        ArithmeticError,
        RecursionError,
        InputError,
    ):
        return of_pixels
    return whole if np.array_equal(whole.label_map, label_map) else of_pixels


def _content(picture: Image.Image) -> bytes | None:
    return next((data for name, data, *_ in getattr(picture, "private_chunks", ()) if name == _CHUNK), None)
