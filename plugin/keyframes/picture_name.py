"""A picture's name, and what of it may differ between the picture and those who speak of it.

Tools rename: they change the suffix, add a hash, a word such as `_mask` or leading zeros, compose or decompose accents,
and put folders before the name. `name_forms` gives a name in ever looser forms; two names that agree in a strict form
are surely one picture, in a loose form only where no other picture agrees too.
"""

import re
import unicodedata
from collections.abc import Sequence

_SUFFIXES = "jpg|jpeg|jpe|jfif|png|apng|webp|bmp|dib|gif|tif|tiff|ppm|pgm|pbm|pnm|tga|pcx|jp2|avif|heic|heif|exr|dng"
_SUFFIX = re.compile(rf"\.({_SUFFIXES})$", re.IGNORECASE)

# What exporters add, on names without suffix and in small letters:
_ROBOFLOW_HASH = re.compile(rf"([._-]({_SUFFIXES}))?\.rf\.[0-9a-z]+$")  # 00001_jpg.rf.0b1c...
_DATE = r"(19|20)[0-9]{2}(0[1-9]|1[0-2])[0-3][0-9]"
_LABEL_STUDIO_HASH = re.compile(rf"^(?!{_DATE})[0-9a-f]{{8}}(-|__)(?=.)")  # 3ab1f2c4-00001
_HASH_AFTER = re.compile(r"(?<![0-9a-z])(?=[a-f]*[0-9]+[a-f])[0-9a-f]{6,}$")  # frame_3_9f86d081
_MASK_WORD = "masks?|label_?maps?|labels?|label_?ids|segmentations?|seg|gt|ground_?truth|annotations?|instances?"
_MASK_WORD_AFTER = re.compile(rf"(?<=.)[._ -]({_MASK_WORD})$")
_MASK_WORD_BEFORE = re.compile(rf"^({_MASK_WORD})[._ -](?=.)")

_COUNT = re.compile(r"(frame_)?[0-9]{6}")


def split_folders(name: str) -> tuple[tuple[str, ...], str]:
    """The folder parts of a path, `/` or `\\` between them, in a form to compare; and the name without them."""
    *folders, base = re.split(r"[/\\]+", name)
    return tuple(comparable(part) for part in folders if part not in ("", ".")), base


def comparable(text: str) -> str:
    """The text with accents composed and in small letters."""
    return _composed(_composed(text).casefold())


def name_forms(base: str) -> Sequence[str]:
    """A name without folders, from the strictest form to the loosest; all names have equally many forms."""
    stem = _SUFFIX.sub("", _composed(base))
    bare = re.sub(r"[\s._-]+", "-", _bare(base))
    return base, _composed(base), stem, comparable(stem), bare, re.sub(r"0*([0-9]+)", r"\1", bare)


def is_count(base: str) -> bool:
    """Whether the name is as Perclip and CVAT write places: leading zeros are no accident there."""
    return _COUNT.fullmatch(_bare(base)) is not None


def number_in(base: str) -> int | None:
    """The number at the end of a name: 40 for `00040.png`, `frame_000040_jpg.rf.0b1c.jpg`; None without one, or where
    it is the end of a hash."""
    bare = _bare(base)
    digits = None if _HASH_AFTER.search(bare) else re.search(r"[0-9]+$", bare)
    return int(digits[0]) if digits and len(digits[0].lstrip("0")) <= 9 else None


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _bare(base: str) -> str:
    """The name in small letters without what tools add to it."""
    bare, before = comparable(base), None
    while bare != before:
        before = bare
        for addition in (_SUFFIX, _MASK_WORD_AFTER, _ROBOFLOW_HASH, _MASK_WORD_BEFORE):
            bare = addition.sub("", bare)
    return _LABEL_STUDIO_HASH.sub("", bare)
