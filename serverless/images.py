"""Images as CVAT sends them."""

import base64
import re

from model.data.image_file import MAX_PIXELS, decode_pixels
from model.data.pixel_formats import Pixels
from model.errors import InputError

MAX_BYTES = 64 * 2**20
"""Bytes of an image file that is decoded from base64 by default: twice the request that CVAT's functions allow."""

_DATA_URL = re.compile(r"data:image/[\w.+-]{1,40};base64,", re.ASCII | re.IGNORECASE)


def decode_base64_image(text: object, *, max_pixels: int = MAX_PIXELS, max_bytes: int = MAX_BYTES) -> Pixels:
    """The pixels of an image file in base64, as CVAT sends it, grays of 16 bits as they are.

    Args:
        text: what came as "image": standard base64 without line breaks; `data:image/...;base64,` may precede it.
        max_pixels: as in `decode_pixels`.
        max_bytes: a longer file is refused by the length of the text.

    Raises:
        InputError: it is not a text, not base64, too long, or not an image that `decode_pixels` reads.
    """
    if not isinstance(text, str):
        raise InputError(f"the image must be a base64 text, got {type(text).__name__}")
    prefix = _DATA_URL.match(text)
    start = prefix.end() if prefix else 0
    if len(text) - start > (max_bytes + 2) // 3 * 4:
        raise InputError(f"the image has more than {max_bytes} bytes; send a smaller one")
    try:
        data = base64.b64decode(text[start:], validate=True)
    except ValueError:
        raise InputError("the image is not base64, or is cut off; send standard base64 without line breaks") from None
    return decode_pixels(data, max_pixels=max_pixels)
