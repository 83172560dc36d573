"""Which frames a tracked object is remembered in, and what is kept of them, when no engine looks after the video."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from model.confidence.cues import Evidence
from model.propagation.prediction import PackedPrediction, Prediction, pack

MOST_REMEMBERED = 5
"""Frames of an object at most: the drawn one, the last one, and others between."""

_KEPT_EVERY = 5  # frames; others are remembered only until the next one


@dataclass(frozen=True)
class RememberedFrame:
    """One frame that an object is remembered in.

    Attributes:
        number: of the frame, counted from 0 where the object was drawn.
        image: the frame at the network's size, WebP or JPEG.
        mask: logits of the object, packed.
        others: logits of all other objects together, packed; empty where there were none.
    """

    number: int
    image: bytes
    mask: bytes
    others: bytes

    @classmethod
    def of(cls, number: int, image: bytes, own: Tensor, others: Tensor | None = None) -> "RememberedFrame":
        """A frame with logits (padded H / 4, padded W / 4) that are not packed yet."""
        seen = {1: Prediction(own, Evidence())} | ({} if others is None else {2: Prediction(others, Evidence())})
        packed = pack(seen)
        return cls(number, image, packed[1].data, b"" if others is None else packed[2].data)

    @property
    def name(self) -> str:
        """Digest of the image."""
        return hashlib.sha256(self.image).hexdigest()

    def prediction(self, rows: int, columns: int, others: bool = False) -> PackedPrediction:
        """The packed logits of the object, or of the others, as ones of this size."""
        return PackedPrediction(rows, columns, self.others if others else self.mask, Evidence())


@dataclass(frozen=True)
class Remembered:
    """All that is kept of one object.

    Attributes:
        frames: in the order in which they were seen, the drawn one first; with bases it is the only one.
        bases: what later frames left in the bases of a network that has such, packed (`model.memory.packed_bases`).
    """

    frames: tuple[RememberedFrame, ...]
    bases: bytes = b""


def remember(frames: Sequence[RememberedFrame], seen: RememberedFrame) -> tuple[RememberedFrame, ...]:
    """The frames to remember after one in which the object was seen; what is not seen teaches nothing.

    The first, drawn one stays for ever, the last one until the next comes, every fifth as long as there is room.
    """
    passing = len(frames) > 1 and frames[-1].number % _KEPT_EVERY != 0
    kept = (*(frames[:-1] if passing else frames), seen)
    while len(kept) > MOST_REMEMBERED:
        kept = without_most_crowded(kept)
    return kept


def without_most_crowded(frames: Sequence[RememberedFrame]) -> tuple[RememberedFrame, ...]:
    """Forgets, of three frames or more, the one whose neighbours are nearest to each other; never the first or last."""
    numbers = [f.number for f in frames]
    crowded = min(range(1, len(frames) - 1), key=lambda i: numbers[i + 1] - numbers[i - 1])
    return (*frames[:crowded], *frames[crowded + 1 :])
