"""The order in which people count files: img2 before img10."""

import re


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Sort key that compares runs of digits as numbers, and letters without regard to their case."""
    parts = (part for part in re.split(r"(\d+)", name) if part)
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part.lower()) for part in parts]
