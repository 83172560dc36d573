"""Which drawn masks are one object, by the network: Propose-Reduce (`model.propose_reduce`) at a bounded cost.

Of the frames between two keyframes at most eight are propagated, once forward and once backward, for all labels
together. On `schoolgirls` (seven children alike, frames 0 and 20) that changes the sequences' IoU by 0.02 on average,
by 0.04 at most. Half the resolution lowers it by 0.16, so that the resolution stays as it is.
"""

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from model.keyframe import Keyframe
from model.propose_reduce.links import Link, Mask, Repeat
from model.propose_reduce.mask_identity import Reduction, reduce
from model.result import FrameResult
from plugin.cvat.engine.engine import Engine

MOST_BETWEEN = 8
"""Frames that are propagated between two neighbouring keyframes."""


def compare(
    engine: Engine,
    frames: Sequence[np.ndarray],
    keyframes: Sequence[Keyframe],
    kinds: Mapping[Mask, Hashable],
    advanced: Callable[[int, int], None],
    detected: Mapping[Mask, float] | None = None,
    said: Callable[[Mask, Mask], bool | None] = lambda before, behind: None,
) -> Reduction:
    """As `model.propose_reduce.mask_identity.reduce`, with some of the frames.

    Args:
        engine: that propagates.
        frames: of the sequence.
        keyframes: on different frames, ascending.
        kinds: what each mask is of.
        advanced: called with the number of frames that are done, and of those that there will be.
        detected: the masks that may be left out, and the detector's score of each.
        said: what is known of two masks, as for `reduce`.

    Raises:
        PerclipError: of frames that cannot be read, or more objects at once than can be told apart.
    """
    places = chosen_places([k.index for k in keyframes])
    number = {place: i for i, place in enumerate(places)}

    def back(mask: Mask) -> Mask:
        return places[mask[0]], mask[1]

    found = reduce(
        _Counted(engine, advanced, 2 * (len(places) + len(keyframes) - 2)),  # keyframes between others count twice
        _Some(frames, places),
        [Keyframe(number[k.index], k.masks) for k in keyframes],
        {(number[place], local): kind for (place, local), kind in kinds.items()},
        {(number[place], local): score for (place, local), score in (detected or {}).items()},
        lambda before, behind: said(back(before), back(behind)),
    )

    def link_back(link: Link) -> Link:
        return Link(back(link.before), back(link.behind), link.iou)

    return Reduction(
        {back(mask): obj for mask, obj in found.objects.items()},
        [link_back(link) for link in found.links],
        [link_back(link) for link in found.apart],
        [Repeat(back(repeat.mask), back(repeat.instead), repeat.score) for repeat in found.repeats],
    )


def chosen_places(keyframes: Sequence[int]) -> list[int]:
    """The keyframes, and at most eight evenly spaced places between each two of them."""
    found = set(keyframes)
    for first, last in pairwise(keyframes):
        count = min(last - first + 1, MOST_BETWEEN + 2)
        found |= {round(place) for place in np.linspace(first, last, count)}
    return sorted(found)


class _Some(Sequence[np.ndarray]):
    """Some places of a sequence of frames."""

    def __init__(self, frames: Sequence[np.ndarray], places: Sequence[int]):
        self._frames, self._places = frames, places

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: Any) -> Any:
        places = self._places[index]
        return [self._frames[p] for p in places] if isinstance(index, slice) else self._frames[places]


class _Counted:
    """An engine that tells how far it has come."""

    def __init__(self, engine: Engine, advanced: Callable[[int, int], None], total: int):
        self._engine, self._advanced = engine, advanced
        self._done, self._total = 0, total

    def run(self, *args: Any, **options: Any) -> Iterator[FrameResult]:
        """As the engine's."""
        for result in self._engine.run(*args, **options):
            yield result
            self._done += 1
            self._advanced(self._done, self._total)
