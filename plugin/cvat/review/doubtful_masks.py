"""The masks of the most doubtful frames of a run, kept small, for the pictures of its report."""

import zlib
from dataclasses import dataclass

import numpy as np

from plugin.cvat.review.doubts import DoubtfulFrame

_KEPT = 200


@dataclass(frozen=True)
class DoubtfulMask:
    """An object on a frame where it may be wrong, as it was computed.

    Attributes:
        doubt: frame, object and confidence.
        packed: the mask, compressed.
        size: (H, W).
    """

    doubt: DoubtfulFrame
    packed: bytes
    size: tuple[int, int]

    def mask(self) -> np.ndarray:
        """bool (H, W)."""
        height, width = self.size
        bits = np.frombuffer(zlib.decompress(self.packed), np.uint8)
        return np.unpackbits(bits, count=height * width).reshape(height, width).astype(bool)


class DoubtfulMasks:
    """The 200 most doubtful masks among all that are offered."""

    def __init__(self) -> None:
        self._kept: list[DoubtfulMask] = []

    def offer(self, doubt: DoubtfulFrame, mask: np.ndarray) -> None:
        """Keeps a mask, bool (H, W), if it is among the most doubtful ones."""
        if len(self._kept) < _KEPT or doubt.confidence < self._kept[-1].doubt.confidence:
            packed = zlib.compress(np.packbits(mask).tobytes(), 1)
            self._kept.append(DoubtfulMask(doubt, packed, mask.shape))
            self._kept.sort(key=lambda kept: (kept.doubt.confidence, kept.doubt.frame))
            del self._kept[_KEPT:]

    def mask(self, frame: int, group: int) -> np.ndarray | None:
        """The mask of an object on a frame, bool (H, W), if it is among them."""
        kept = (kept.mask() for kept in self._kept if (kept.doubt.frame, kept.doubt.group) == (frame, group))
        return next(kept, None)

    def all(self) -> list[DoubtfulMask]:
        """Most doubtful first."""
        return list(self._kept)
