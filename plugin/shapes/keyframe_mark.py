"""The mark by which Perclip's keyframes are told from a person's inside one polygon track.

CVAT keeps neither source nor owner for a track's keyframe, but it keeps coordinates whole. So all coordinates of a
keyframe of Perclip's are multiples of 1/64 pixel, and a checksum of them is added to the first x: less than 1/64 pixel,
never 0, exact in float64. Whoever moves, adds or removes a point, turns the keyframe's `outside`, or rounds coordinates
(as files of annotations do) breaks the mark, and the keyframe counts as the person's.

`plugin/ui/perclip/keyframe_mark.js` does the same; tests/keyframe_mark_vectors.json binds the two.
"""

import math
from collections.abc import Sequence

_PER_PIXEL = 64
_UNIT = 2.0**-27  # pixels; a checksum has 20 bits, so that the mark stays within 1/128


def mark_keyframe(points: Sequence[float], outside: bool, width: float) -> list[float]:
    """The points of a keyframe of Perclip's, with the mark.

    Args:
        points: `[x, y, x, y, ...]`, 3 points or more, in pixels.
        outside: of the keyframe.
        width: of the picture, in pixels; the first x stays so far below it that the mark does not lead out of it.

    Returns:
        The points, none farther than 1/64 pixel from where it was.
    """
    steps = [math.floor(p * _PER_PIXEL + 0.5) for p in points]
    steps[0] = min(steps[0], math.floor(width * _PER_PIXEL) - 1)
    marked = [step / _PER_PIXEL for step in steps]
    marked[0] += (_checksum(steps, outside) + 1) * _UNIT
    return marked


def is_marked(points: Sequence[float], outside: bool) -> bool:
    """Whether a keyframe's points are as `mark_keyframe` gave them."""
    if len(points) < 6 or not all(math.isfinite(p) for p in points):
        return False
    scaled = [p * _PER_PIXEL for p in points]
    steps = [math.floor(p) for p in scaled]
    if scaled[1:] != steps[1:] or scaled[0] == steps[0]:
        return False
    return points[0] == steps[0] / _PER_PIXEL + (_checksum(steps, outside) + 1) * _UNIT


def _checksum(steps: Sequence[int], outside: bool) -> int:
    """FNV-1a of the coordinates in 64ths of a pixel, folded to 20 bits."""
    text = ",".join(map(str, steps)) + (",outside" if outside else "")
    value = 0x811C9DC5
    for byte in text.encode("ascii"):
        value = (value ^ byte) * 0x01000193 & 0xFFFFFFFF
    return (value ^ value >> 20) & 0xFFFFF
