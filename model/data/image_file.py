"""Bytes of image files, decoded without trust; and JPEGs the other way."""

import logging
import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import TYPE_CHECKING, cast

import numpy as np
from PIL import Image, UnidentifiedImageError

from model.data.pixel_formats import Pixels, upright
from model.errors import InputError

if TYPE_CHECKING:
    from PIL.TiffImagePlugin import TiffImageFile

MAX_PIXELS = 8192 * 8192
"""Pixels of an image that is decoded by default: 8 times 4K. Decoding takes 7 bytes for each, 17 for WEBP."""

_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")
_TILE_WIDTH, _TILE_HEIGHT = 322, 323  # TIFF tags
_PILLOW_SETTINGS = threading.Lock()
if hasattr(os, "register_at_fork"):
    # A process forked while another thread decodes would find the lock held for ever, and the settings changed.
    os.register_at_fork(
        before=_PILLOW_SETTINGS.acquire,
        after_in_parent=_PILLOW_SETTINGS.release,
        after_in_child=_PILLOW_SETTINGS.release,
    )


def decode_image(data: bytes, *, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """The pixels of an image file, as uint8 (H, W, 3) RGB; see `decode_pixels` for the rest.

    16 bits are divided by a power of two, so that the brightest pixel of this image, hot ones aside, gets 128..255:
    10-, 12- and 14-bit cameras do not come out black.
    """
    return decode_pixels(data, max_pixels=max_pixels).rgb()


def decode_pixels(data: bytes, *, max_pixels: int = MAX_PIXELS) -> Pixels:
    """The pixels of an image file, those of 16 bits as they are.

    Reads JPEG, PNG, WEBP, BMP, TIFF and GIF of every 8-bit and 16-bit kind, the first picture where there are several.
    Alpha is dropped, not blended.

    An EXIF rotation is applied. CVAT has applied it at upload and removed the tag; where a tag is left, the browser and
    the sizes in CVAT's data follow it, and so do the annotator's masks.

    Pillow decodes: cv2 gives the same pixels little faster (JPEG, 480p 1.5 against 1.9 ms, 1080p 5.7 against 7.4; PNG
    8 against 9.5 and 40 against 47), but prints to stderr for damaged files, where no option stops it.

    Limitations: libtiff prints to stderr for a damaged TIFF; a JPEG or WEBP with wrong bits inside can decode to wrong
    pixels, as in every viewer; a file that was cut behind its last pixel is taken as whole; CMYK is converted without
    its colour profile.

    Args:
        data: the file.
        max_pixels: 1 or more; a file with a larger picture is refused by its header, before memory is taken for it.

    Raises:
        InputError: the data is no such image, damaged, cut off, too large, or has floating-point pixels.
    """
    if not data:
        raise InputError("the image is empty; send the bytes of an image file")
    with _pillow_settings(max_pixels):
        try:
            with Image.open(BytesIO(data), formats=_FORMATS) as image:
                _refuse_large_tiles(image, max_pixels)
                return upright(image)
        except Image.DecompressionBombError:
            raise InputError(f"the image has more than {max_pixels} pixels; send a smaller one") from None
        except UnidentifiedImageError:
            raise InputError(f"the image is damaged or none of {', '.join(_FORMATS)}; send it as one of them") from None
        # Pillow's readers raise whatever hostile bytes lead to: OSError, struct.error, IndexError, MemoryError, ...
        except Exception as error:
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise InputError(f"the image cannot be read ({reason}); send it whole, or save it anew") from None


def encode_jpeg(image: np.ndarray, quality: int) -> bytes:
    """A JPEG file.

    Args:
        image: uint8 (H, W, 3) RGB, sides 1..65500.
        quality: 1..100; above 95 files grow and nothing is seen.

    Raises:
        InputError: the image or the quality is none of these.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise InputError(f"an image must be uint8 (H, W, 3), got {image.dtype} {image.shape}")
    if not 1 <= min(image.shape[:2]) <= max(image.shape[:2]) <= 65500:
        raise InputError(f"a JPEG has sides of 1..65500 pixels, got {image.shape[1]}x{image.shape[0]}")
    if not 1 <= quality <= 100:
        raise InputError(f"JPEG quality must be 1..100, got {quality}")
    file = BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality)
    return file.getvalue()


def _refuse_large_tiles(image: Image.Image, max_pixels: int) -> None:
    """A small TIFF may claim tiles of any size, and libtiff takes memory for a whole one."""
    if image.format != "TIFF":
        return
    tags = cast("TiffImageFile", image).tag_v2
    if tags.get(_TILE_WIDTH, 0) * tags.get(_TILE_HEIGHT, 0) > max_pixels:
        raise Image.DecompressionBombError


@contextmanager
def _pillow_settings(max_pixels: int) -> Iterator[None]:
    """Silence, and our limit in Pillow, which minds it before it takes memory: in headers, WEBP canvas, GIF frame.

    These are settings of the whole process, so one image is decoded at a time.
    """
    logger = logging.getLogger("PIL")
    with _PILLOW_SETTINGS, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before = Image.MAX_IMAGE_PIXELS, logger.level
        # Pillow warns at its limit and refuses at twice of it; it takes fractions, too.
        Image.MAX_IMAGE_PIXELS = max_pixels / 2  # type: ignore[assignment]
        logger.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = before[0]
            logger.setLevel(before[1])
