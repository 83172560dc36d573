"""How long a file says that it is: one whose copy was interrupted is shorter."""

from pathlib import Path

_SEGMENT = b"\x18\x53\x80\x67"  # of Matroska and WebM: holds all but a short head
_HEAD = 1 << 16


def is_shorter_than_it_says(path: Path) -> bool:
    """Whether a Matroska, WebM or AVI file ends before the end that its head names. False where no head names one."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError:
        return False
    if head.startswith(b"RIFF") and len(head) > 8:
        length = int.from_bytes(head[4:8], "little")
        return 0 < length < 0xFFFFFFFF and size < 8 + length
    start = head.find(_SEGMENT) if head.startswith(b"\x1a\x45\xdf\xa3") else -1
    if start < 0 or len(head) < start + 12:
        return False
    # A number of 1 to 8 bytes: the leading zeros of the first say how many follow; all ones mean "not known".
    place = start + len(_SEGMENT)
    count = 9 - head[place].bit_length()
    if count > 8:
        return False
    bits = 7 * count
    length = int.from_bytes(head[place : place + count], "big") & ((1 << bits) - 1)
    return length != (1 << bits) - 1 and size < place + count + length
