"""Small pictures of the most doubtful frames."""

import io
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from PIL import Image

from model.errors import PerclipError
from plugin.cvat.review.doubts import DoubtfulFrame
from plugin.sinks.overlay import draw_overlay
from plugin.sources.frame_source import FrameSource

_BOX = (320, 240)  # pixels
_MARGIN = 0.6  # of the object's sides, around it
_LEAST_SIDE = 120  # pixels of the frame that a picture shows at least


@dataclass(frozen=True)
class DoubtfulPicture:
    """A picture of an object on a frame.

    Attributes:
        doubt: what it shows.
        jpeg: the file; empty where the frame could not be read.
    """

    doubt: DoubtfulFrame
    jpeg: bytes


def picture_doubts(
    doubts: Sequence[DoubtfulFrame],
    mask_of: Callable[[DoubtfulFrame], np.ndarray | None],
    sources: Sequence[tuple[Sequence[int], FrameSource]],
) -> list[DoubtfulPicture]:
    """Pictures of doubtful frames with the object's mask on them, cut out around it.

    Args:
        doubts: in the order wanted.
        mask_of: bool (H, W), or None where there is nothing to show.
        sources: the frames of each sequence, with their numbers.
    """
    found = []
    for doubt in doubts:
        jpeg = b""
        for numbers, source in sources:
            if doubt.frame in numbers:
                with suppress(PerclipError):  # a picture less
                    jpeg = picture_of(source[list(numbers).index(doubt.frame)], mask_of(doubt), doubt.group)
        found.append(DoubtfulPicture(doubt, jpeg))
    return found


def colour_number(group: int) -> int:
    """The palette's number for an object."""
    return (group - 1) % 254 + 1


def picture_of(frame: np.ndarray, mask: np.ndarray | None, group: int, around: np.ndarray | None = None) -> bytes:
    """A JPEG of a frame with a mask on it, cut out around the object.

    Args:
        frame: uint8 (H, W, 3).
        mask: bool (H, W); None: nothing is drawn.
        group: decides the colour.
        around: cut out around this instead; bool (H, W).
    """
    around = mask if around is None else around
    if mask is not None and mask.any():
        frame = draw_overlay(frame, np.where(mask, colour_number(group), 0).astype(np.uint8))
    if around is not None and around.any():
        rows, columns = np.flatnonzero(around.any(1)), np.flatnonzero(around.any(0))
        frame = frame[_around(rows, frame.shape[0]), _around(columns, frame.shape[1])]
    picture = Image.fromarray(frame)
    picture.thumbnail(_BOX, Image.Resampling.LANCZOS)
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=85)
    return file.getvalue()


def _around(places: np.ndarray, end: int) -> slice:
    first, last = int(places[0]), int(places[-1]) + 1
    margin = max(round(_MARGIN * (last - first)), (_LEAST_SIDE - (last - first)) // 2, 8)
    return slice(max(0, first - margin), min(end, last + margin))
