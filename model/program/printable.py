"""Text that any file, page or terminal takes, of names that may hold any bytes."""

import codecs
import re
from contextlib import suppress

SHOW_BYTES = "perclip.show_bytes"
"""An error handler for encoding text: what cannot be encoded is shown as an escape, and nothing is raised."""

# What XML forbids or breaks a line: controls, line separators, lone surrogates, and two values that are no letters.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufffe\uffff]")


def printable(text: str) -> str:
    r"""One line that UTF-8 can encode and XML, JSON and HTML may hold; text that already is one stays as it is.

    Bytes of a file name that are no UTF-8, which Python keeps as lone surrogates, become `\xe9`; controls become
    `\x0a`. Where a file name was read in an encoding that lacks its letters, they are restored.
    """
    if text.isascii() and text.isprintable():
        return text
    with suppress(UnicodeEncodeError):  # of surrogates that stand for no byte
        text = text.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")
    return _UNPRINTABLE.sub(lambda found: _escape(found[0]), text)


def _escape(letter: str) -> str:
    """A letter as the escape that people know."""
    number = ord(letter)
    if 0xDC80 <= number <= 0xDCFF:  # a byte that could not be decoded
        number -= 0xDC00
    if number < 0x100:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def _show_bytes(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(_escape, error.object[error.start : error.end])), error.end


codecs.register_error(SHOW_BYTES, _show_bytes)
