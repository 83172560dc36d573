"""The frame number in a file name."""

import re
from pathlib import PurePath

from model.errors import InputError


def frame_number(file_name: str) -> int:
    """The number at the end of a file's stem: 40 for `00040.png` and `clip/frame_000040.png`.

    Raises:
        InputError: the stem does not end in a number of at most 9 digits.
    """
    digits = re.search(r"[0-9]+$", PurePath(file_name).stem)
    if digits is None or len(digits[0].lstrip("0")) > 9:
        raise InputError(f"{file_name}: the name must end in its frame number, as in 00040.png or frame_000040.png")
    return int(digits[0])
