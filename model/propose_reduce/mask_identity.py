"""Which masks, drawn on different frames without a name, are one object: Propose-Reduce, keyframe by keyframe.

Masks are propagated from each keyframe to its neighbours alone, forward and backward, which is cheap. Two of them are
one object if the two sequences overlap (`reduction`), and of a detector's proposals for one object on one frame the
sequence with the highest score stays. What Propose-Reduce does not know: masks that a person has drawn on one keyframe
are different objects, and so are masks of different kinds; and an object keeps a mask of every keyframe, not the one of
its best sequence alone.
"""

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple, Protocol

import cv2
import numpy as np

from model.errors import InputError
from model.keyframe import Keyframe
from model.object_masks import ObjectMasks
from model.propose_reduce.links import Link, Mask, Repeat, link, nearest
from model.propose_reduce.reduction import ious_of, sequence_score
from model.result import FrameResult

_COMPARED_SIDE = 120  # pixels of the shorter side that sequences are compared at
_MOST_OBJECTS = 255


class Reduction(NamedTuple):
    """What the masks of some keyframes are.

    Attributes:
        objects: the object of each mask, numbered 1, 2, ... in the order in which they appear.
        links: why masks of different frames have one number, in the order of the frames.
        apart: for each mask behind the first keyframe that was linked to no earlier one, its nearest of its kind among
            those: with an IoU below 0.5, or taken by another mask.
        repeats: proposals that show what another mask of their frame shows better; they are in nothing else here.
    """

    objects: dict[Mask, int]
    links: list[Link]
    apart: list[Link]
    repeats: list[Repeat]


class Propagates(Protocol):
    """What is used of a propagator, `model.Propagator` or another."""

    def run(
        self,
        frames: Sequence[np.ndarray],
        keyframes: Sequence[Keyframe],
        start: int = 0,
        stop: int | None = None,
        direction: str = "both",
        labels: Mapping[int, Hashable] | None = None,
    ) -> Iterator[FrameResult]:
        """As `model.Propagator.run`: the results do not depend on start and stop."""
        ...


def reduce(
    propagator: Propagates,
    frames: Sequence[np.ndarray],
    keyframes: Sequence[Keyframe],
    kinds: Mapping[Mask, Hashable] | None = None,
    detected: Mapping[Mask, float] | None = None,
    said: Callable[[Mask, Mask], bool | None] = lambda before, behind: None,
) -> Reduction:
    """Finds out which masks are one object.

    An object that is not drawn on a keyframe is carried on, as long as it is seen there, to be found on a later one.

    Limitations: an object that is hidden on a keyframe, and not drawn there, gets a new number when it comes back.

    Args:
        propagator: network and options.
        frames: uint8 (H, W, 3) RGB.
        keyframes: on different frames, with ids that mean nothing beyond their frame.
        kinds: what each mask is of, its class for instance; masks of different kinds are never one object.
        detected: the proposals among the masks, which may be left out, and the detector's score of each, 0..1; 1 where
            it gives none. All other masks stay.
        said: whether two masks are known to be one object, or known not to be; None where nothing is known.

    Raises:
        InputError: frames and keyframes do not fit together, or more than 255 objects are seen at once.
    """
    kinds, detected = kinds or {}, detected or {}
    keyframes = sorted(keyframes, key=lambda k: k.index)
    found = Reduction({}, [], [], [])
    last: dict[int, Mask] = {}  # the latest drawn mask of each object
    drawn: dict[int, np.ndarray] = {}  # the objects that are drawn on the present keyframe, bool (H, W)
    carried: dict[int, np.ndarray] = {}  # those that are seen there, but not drawn
    if keyframes:
        drawn = _named(found, last, keyframes[0], keyframes[0].present)
    for keyframe, following in pairwise(keyframes):
        visible = drawn | {obj: mask for obj, mask in carried.items() if obj not in drawn}
        if not visible:
            drawn = _named(found, last, following, following.present)
            continue
        objects, seen = _together(visible)
        labels = {i: kinds.get(last[obj]) for i, obj in enumerate(objects, 1)}
        labels_there = {local: kinds.get((following.index, local)) for local in following.present}
        before = Keyframe(keyframe.index, seen, labels)
        compared = _compare(propagator, frames, before, following, labels, labels_there)
        ious = {
            (last[obj], (following.index, local)): float(compared.ious[i, local])
            for i, obj in enumerate(objects, 1)
            for local in following.present
            if labels[i] == labels_there[local]
        }
        begun = set(found.objects) - {mask for x in found.links for mask in x[:2]}  # nothing but one mask, so far
        scores = {last[obj]: compared.before[i] for i, obj in enumerate(objects, 1) if last[obj] in begun}
        scores |= {(following.index, local): score for local, score in compared.behind.items()}
        known = {pair: said(*pair) for pair in ious}
        may_be = {pair: 1.0 if known[pair] else iou for pair, iou in ious.items() if known[pair] is not False}
        links, repeats = link(may_be, {mask: s * detected[mask] for mask, s in scores.items() if mask in detected})
        left_out = {repeat.mask for repeat in repeats}
        found.repeats.extend(repeats)
        found.links.extend(links)
        found.objects.update({behind: found.objects[last_drawn] for last_drawn, behind, _ in links})
        found.apart.extend(nearest(ious, left_out | {x.behind for x in links}))
        for mask in left_out & set(found.objects):
            del last[found.objects.pop(mask)]
        kept = [local for local in following.present if (following.index, local) not in left_out]
        drawn = _named(found, last, following, kept)
        carried = {}
        for i, obj in enumerate(objects, 1):
            # What is drawn covers what looks like it; what is of another kind may lie over it.
            alike = [local for local in kept if labels_there[local] == labels[i]]
            mask = compared.ends.mask(i) & (following.masks.flattened(alike) == 0)
            if obj in last and obj not in drawn and mask.any():
                carried[obj] = mask
    return _tidied(found)


def _named(found: Reduction, last: dict[int, Mask], keyframe: Keyframe, ids: Sequence[int]) -> dict[int, np.ndarray]:
    """The objects of some masks of a keyframe; those that were not linked get a number of their own."""
    drawn = {}
    for local in ids:
        mask = keyframe.index, local
        obj = found.objects.setdefault(mask, max(found.objects.values(), default=0) + 1)
        last[obj] = mask
        drawn[obj] = keyframe.mask(local)
    return drawn


def _tidied(found: Reduction) -> Reduction:
    """Without what refers to proposals that were left out later, and with numbers in a row."""
    left_out = {repeat.mask for repeat in found.repeats}
    number = {obj: i for i, obj in enumerate(dict.fromkeys(found.objects.values()), 1)}
    return Reduction(
        {mask: number[obj] for mask, obj in found.objects.items()},
        found.links,
        [x for x in found.apart if not left_out & {x.before, x.behind}],
        found.repeats,
    )


def _together(masks: Mapping[int, np.ndarray]) -> tuple[list[int], ObjectMasks]:
    """The objects, and their masks, in which the i-th of them is i."""
    if len(masks) > _MOST_OBJECTS:
        raise InputError(f"{len(masks)} objects are seen at once; at most {_MOST_OBJECTS} can be told apart")
    return list(masks), ObjectMasks.of(dict(enumerate(masks.values(), 1)))


class _Compared(NamedTuple):
    """Two keyframes, propagated to one another.

    Attributes:
        ious: float (256, 256), of the sequence of each mask of the first with that of each mask of the second.
        before: score of the sequence of each mask of the first.
        behind: likewise of the second.
        ends: what the first becomes on the frame of the second.
    """

    ious: np.ndarray
    before: dict[int, float]
    behind: dict[int, float]
    ends: ObjectMasks


def _compare(
    propagator: Propagates,
    frames: Sequence[np.ndarray],
    before: Keyframe,
    behind: Keyframe,
    labels: Mapping[int, Hashable],
    labels_behind: Mapping[int, Hashable],
) -> _Compared:
    """Propagates two keyframes to one another."""
    start, stop = before.index, behind.index + 1
    ends = before.masks
    forward, scores, scores_behind = {}, _Scores(before), _Scores(behind)
    for result in propagator.run(frames, [before], direction="forward", start=start, stop=stop, labels=labels):
        forward[result.index] = _small(result.masks)
        ends = result.masks
        scores.add(result)
    joint, areas, areas_behind = np.zeros((256, 256)), np.zeros(256), np.zeros(256)
    for result in propagator.run(frames, [behind], direction="backward", start=start, stop=stop, labels=labels_behind):
        (ids, there), (ids_behind, here) = (_flat(masks) for masks in (forward[result.index], _small(result.masks)))
        joint[np.ix_(ids, ids_behind)] += there @ here.T
        areas[ids] += there.sum(1)
        areas_behind[ids_behind] += here.sum(1)
        scores_behind.add(result)
    return _Compared(ious_of(joint, areas, areas_behind), scores.all(), scores_behind.all(), ends)


class _Scores:
    """The scores of the sequences of a keyframe, from the frames as they come."""

    def __init__(self, keyframe: Keyframe):
        self._seen: dict[int, list[tuple[float, int]]] = {i: [] for i in keyframe.present}

    def add(self, result: FrameResult) -> None:
        areas = result.masks.areas
        for i, seen in self._seen.items():
            seen.append((result.confidence.get(i, 0.0), areas.get(i, 0)))

    def all(self) -> dict[int, float]:
        return {i: sequence_score([c for c, _ in seen], [area for _, area in seen]) for i, seen in self._seen.items()}


def _small(masks: ObjectMasks) -> ObjectMasks:
    """The masks at the size at which sequences are compared."""
    height, width = masks.shape
    scale = min(1.0, _COMPARED_SIDE / min(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))

    def resized(sheet: np.ndarray) -> np.ndarray:
        return cv2.resize(sheet, size, interpolation=cv2.INTER_NEAREST)

    if not masks.overlapping:
        return ObjectMasks.from_sheets([resized(masks.label_map)])
    return ObjectMasks.of({i: resized(mask.view(np.uint8)) for i, mask in masks.items()}, shape=size[::-1])


def _flat(masks: ObjectMasks) -> tuple[list[int], np.ndarray]:
    """The ids of K objects, and their masks, float32 (K, pixels)."""
    found = {i: mask.ravel() for i, mask in masks.items()}
    pixels = masks.shape[0] * masks.shape[1]
    return list(found), np.stack(list(found.values())).astype(np.float32) if found else np.zeros(
        (0, pixels), np.float32
    )
