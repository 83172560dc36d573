"""Which masks, drawn on different frames without a name, are one object: Propose-Reduce, keyframe by keyframe.

Masks are propagated from each keyframe to its neighbours alone, forward and backward, which is cheap. Two of them are
one object if the two sequences overlap (`reduction`). What Propose-Reduce does not know: masks of one keyframe are
different objects, and so are masks of different kinds.
"""

from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

import cv2
import numpy as np

from model.errors import InputError
from model.keyframe import Keyframe
from model.object_masks import ObjectMasks
from model.propose_reduce.reduction import LEAST_IOU, ious_of, reduce_sequences
from model.result import FrameResult

_COMPARED_SIDE = 120  # pixels of the shorter side that sequences are compared at
_MOST_OBJECTS = 255

Mask = tuple[int, int]
"""A drawn mask: the number of its keyframe's frame, and its id in that keyframe."""


class Link(NamedTuple):
    """Two masks whose sequences were compared.

    Attributes:
        before: the mask on the earlier frame.
        behind: the mask on the later one.
        iou: of their sequences, 0..1.
    """

    before: Mask
    behind: Mask
    iou: float


class Reduction(NamedTuple):
    """What the masks of some keyframes are.

    Attributes:
        objects: the object of each mask, numbered 1, 2, ... in the order in which they appear.
        links: why masks of different frames have one number, in the order of the frames.
        apart: for each mask behind the first keyframe that was linked to no earlier one, its nearest of its kind among
            those: with an IoU below 0.5, or taken by another mask.
    """

    objects: dict[Mask, int]
    links: list[Link]
    apart: list[Link]


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
) -> Reduction:
    """Finds out which masks are one object.

    An object that is not drawn on a keyframe is carried on, as long as it is seen there, to be found on a later one.

    Limitations: an object that is hidden on a keyframe, and not drawn there, gets a new number when it comes back.

    Args:
        propagator: network and options.
        frames: uint8 (H, W, 3) RGB.
        keyframes: on different frames, with ids that mean nothing beyond their frame.
        kinds: what each mask is of, its class for instance; masks of different kinds are never one object.

    Raises:
        InputError: frames and keyframes do not fit together, or more than 255 objects are seen at once.
    """
    kinds = kinds or {}
    keyframes = sorted(keyframes, key=lambda k: k.index)
    found = Reduction({}, [], [])
    last: dict[int, Mask] = {}  # the latest drawn mask of each object
    # Objects that are seen on the present keyframe but not drawn there, bool (H, W).
    carried: dict[int, np.ndarray] = {}
    for number, keyframe in enumerate(keyframes):
        drawn = _named(found, last, keyframe)
        if number + 1 < len(keyframes):
            following = keyframes[number + 1]
            visible = drawn | {obj: mask for obj, mask in carried.items() if obj not in drawn}
            if not visible:
                continue
            objects, seen = _together(visible)
            labels = {i: kinds.get(last[obj]) for i, obj in enumerate(objects, 1)}
            labels_there = {local: kinds.get((following.index, local)) for local in following.present}
            before = Keyframe(keyframe.index, seen, labels)
            overlaps, ends = _compare(propagator, frames, before, following, labels, labels_there)
            linked = _linked(overlaps, objects, following, last, kinds)
            found.apart.extend(_nearest(overlaps, objects, following, last, kinds, linked))
            for local, (obj, iou) in linked.items():
                mask = following.index, local
                found.links.append(Link(last[obj], mask, iou))
                found.objects[mask] = obj
            drawn_there = {obj for obj, _ in linked.values()}
            carried = {}
            for i, obj in enumerate(objects, 1):
                # What is drawn covers what looks like it; what is of another kind may lie over it.
                alike = [local for local, kind in labels_there.items() if kind == labels[i]]
                mask = ends.mask(i) & (following.masks.flattened(alike) == 0)
                if obj not in drawn_there and mask.any():
                    carried[obj] = mask
    return found


def _named(found: Reduction, last: dict[int, Mask], keyframe: Keyframe) -> dict[int, np.ndarray]:
    """The objects drawn on a keyframe and their masks; those that were not linked get a number of their own."""
    drawn = {}
    for local in keyframe.present:
        mask = keyframe.index, local
        obj = found.objects.setdefault(mask, max(found.objects.values(), default=0) + 1)
        last[obj] = mask
        drawn[obj] = keyframe.mask(local)
    return drawn


def _together(masks: Mapping[int, np.ndarray]) -> tuple[list[int], ObjectMasks]:
    """The objects, and their masks, in which the i-th of them is i."""
    if len(masks) > _MOST_OBJECTS:
        raise InputError(f"{len(masks)} objects are seen at once; at most {_MOST_OBJECTS} can be told apart")
    return list(masks), ObjectMasks.of(dict(enumerate(masks.values(), 1)))


def _compare(
    propagator: Propagates,
    frames: Sequence[np.ndarray],
    before: Keyframe,
    behind: Keyframe,
    labels: Mapping[int, Hashable],
    labels_behind: Mapping[int, Hashable],
) -> tuple[np.ndarray, ObjectMasks]:
    """Propagates two keyframes to one another.

    Returns:
        float (256, 256): the sequence IoU of each mask of the first with each of the second; and what the first
        becomes on the frame of the second.
    """
    start, stop = before.index, behind.index + 1
    ends = before.masks
    forward = {}
    for result in propagator.run(frames, [before], direction="forward", start=start, stop=stop, labels=labels):
        forward[result.index] = _small(result.masks)
        ends = result.masks
    joint, areas, areas_behind = np.zeros((256, 256)), np.zeros(256), np.zeros(256)
    for result in propagator.run(frames, [behind], direction="backward", start=start, stop=stop, labels=labels_behind):
        (ids, there), (ids_behind, here) = (_flat(masks) for masks in (forward[result.index], _small(result.masks)))
        joint[np.ix_(ids, ids_behind)] += there @ here.T
        areas[ids] += there.sum(1)
        areas_behind[ids_behind] += here.sum(1)
    return ious_of(joint, areas, areas_behind), ends


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


def _linked(
    overlaps: np.ndarray,
    objects: Sequence[int],
    following: Keyframe,
    last: Mapping[int, Mask],
    kinds: Mapping[Mask, Hashable],
) -> dict[int, tuple[int, float]]:
    """The object and the IoU of each mask of the following keyframe that has one.

    An object is one mask there at most, and a mask one object. Of links that contradict each other the one with the
    largest overlap stays: the reduction, of links instead of sequences.
    """
    pairs = [
        (overlaps[i, local], obj, local)
        for i, obj in enumerate(objects, 1)
        for local in following.present
        if overlaps[i, local] >= LEAST_IOU and kinds.get(last[obj]) == kinds.get((following.index, local))
    ]
    contradict = np.array([[float(a[1] == b[1] or a[2] == b[2]) for b in pairs] for a in pairs])
    linked = {}
    for i in reduce_sequences(contradict, [iou for iou, _, _ in pairs]):
        iou, obj, local = pairs[i]
        linked[local] = obj, float(iou)
    return dict(sorted(linked.items()))


def _nearest(
    overlaps: np.ndarray,
    objects: Sequence[int],
    following: Keyframe,
    last: Mapping[int, Mask],
    kinds: Mapping[Mask, Hashable],
    linked: Collection[int],
) -> list[Link]:
    """For each mask of the following keyframe that was not linked, the object of its kind that overlaps it most."""
    found = []
    for local in following.present:
        mask = following.index, local
        alike = [(i, obj) for i, obj in enumerate(objects, 1) if kinds.get(last[obj]) == kinds.get(mask)]
        if local not in linked and alike:
            i, obj = max(alike, key=lambda pair: overlaps[pair[0], local])
            found.append(Link(last[obj], mask, float(overlaps[i, local])))
    return found
