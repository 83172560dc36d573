"""What became of objects that vanished: out of sight, or only lost?"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from model.consistency.colour_search import ColourSearch
from model.inference.framing import Framing

_CELL = 4  # network pixels that a logit is wide and high
_SPECK = 16  # network pixels: what is smaller is no mask, unless the object was drawn that small
_NOTHING = 0.05  # of an object: less that looks like it is chance
_FADES = 0.85  # what is left of the doubt about what came back, frame by frame
_PARTS = 1024  # of an object are counted: such shares survive 1 - (1 - x), and so the way through a record

Picture = Callable[[], np.ndarray]
"""Makes a frame, uint8 (h, w, 3), at the network's size."""


@dataclass
class _Object:
    """One object since its keyframe.

    Attributes:
        area: that was drawn, in network pixels.
        drawn: makes the search; asked once, when it is needed.
        missed: how much of it was unaccounted for in the frame before, 0..1.
        search: the object's colours; None before they are needed, or where nothing was drawn at the network's size.
        searched: whether `drawn` was asked.
    """

    area: float
    drawn: Callable[[], ColourSearch | None]
    missed: float = 0.0
    search: ColourSearch | None = field(default=None)
    searched: bool = False

    def colours(self) -> ColourSearch | None:
        """The search, made at the first call."""
        if not self.searched:
            self.search, self.searched = self.drawn(), True
        return self.search


class AbsenceJudge:
    """Follows the objects of one pass and finds how much of each is unaccounted for in every frame.

    An empty mask proves nothing: a network that lost a small object leaves one too. An object is out of sight where
    nothing in the frame has its colours, as much of them in one place as the object had; else it is missed. When it
    comes back after it was missed, its mask may be on another thing that looks alike: that doubt lasts, and
    fades, as long as something of its colours is outside of the mask.

    Nothing is searched for as long as there is a mask, so that it costs next to nothing. That a mask jumps, or shrinks,
    while something like the object is elsewhere was tried as a reason for doubt. On the alike pairs of
    `benchmarks.rendered_scenes` 40 frames were sure and wrong without it, 31 with jumping alone, 18 with shrinking and
    jumping; but of the failures of real sequences the worst fifth held 0.68 and 0.56, instead of 0.75.
    """

    def __init__(self, framing: Framing):
        self._framing = framing
        self._objects: dict[int, _Object] = {}

    def enter(self, picture: np.ndarray, masks: Tensor, objects: Sequence[int]) -> None:
        """Objects start at a keyframe.

        Args:
            picture: uint8 (h, w, 3), at the network's size.
            masks: that were drawn, 0 or 1, (K, padded h, padded w).
            objects: their K ids.
        """
        shown = self._framing.crop(masks).gt(0.5).cpu().numpy()
        for obj, mask in zip(objects, shown):
            self._objects[obj] = _Object(float(np.count_nonzero(mask)), _search_of(picture, mask))

    def resume(self, missed: Mapping[int, float]) -> None:
        """The pass has come, in an earlier run, to a frame where so much of its objects was unaccounted for."""
        for obj, share in missed.items():
            self._objects[obj].missed = share

    def observe(self, picture: Picture, masks: np.ndarray, objects: Sequence[int]) -> list[float]:
        """How much of each object is unaccounted for in the next frame, 0..1.

        Args:
            picture: makes the frame.
            masks: bool (K, 4h, 4w) of the padded frame.
            objects: their K ids.
        """
        return [self._missed(self._objects[obj], picture, mask) for obj, mask in zip(objects, masks)]

    def _missed(self, of: _Object, picture: Picture, mask: np.ndarray) -> float:
        area = _CELL**2 * np.count_nonzero(mask)
        gone = area < max(1.0, min(_SPECK, of.area / 4))
        before, of.missed = of.missed, 0.0
        if gone or before > 0:
            search = of.colours()
            if search is None or not search.distinct:
                # What cannot be told from its ground might be anywhere; a mask that there is has nothing against it.
                of.missed = float(gone)
            else:
                elsewhere = search.seen(picture(), None if gone else self._at_network_size(mask))
                of.missed = elsewhere if gone else min(_FADES * before, elsewhere)
        of.missed = round(of.missed * _PARTS) / _PARTS if of.missed >= _NOTHING else 0.0
        return of.missed

    def _at_network_size(self, mask: np.ndarray) -> np.ndarray:
        return self._framing.crop(torch.from_numpy(mask.repeat(_CELL, 0).repeat(_CELL, 1))).numpy()


def _search_of(picture: np.ndarray, mask: np.ndarray) -> Callable[[], ColourSearch | None]:
    return lambda: ColourSearch(picture, mask) if mask.any() else None
