"""Which sequences of two neighbouring keyframes are one object, and which proposals only repeat another one.

A sequence is named by its mask: the one it starts from.
"""

import math
from collections.abc import Collection, Mapping
from typing import NamedTuple

import numpy as np

from model.propose_reduce.reduction import LEAST_IOU, reduce_sequences

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


class Repeat(NamedTuple):
    """A proposal that shows an object which another mask of its frame shows, and that is therefore left out.

    Attributes:
        mask: of the proposal.
        instead: the mask that stays.
        score: of the proposal's sequence, 0..1 (`reduction.sequence_score`).
    """

    mask: Mask
    instead: Mask
    score: float


def link(ious: Mapping[tuple[Mask, Mask], float], scores: Mapping[Mask, float]) -> tuple[list[Link], list[Repeat]]:
    """Links the masks of two keyframes, both times by the reduction of Propose-Reduce.

    A mask is one mask of the other keyframe at most: of links that contradict each other the one with the largest
    overlap stays. Proposals that are left with no link, though they overlap a mask that has one, then compete with the
    mask of their own frame that took it: all are sequences of one object, and the one with the highest score stays.

    Args:
        ious: of the sequences of each mask before with each one behind that may be the same object.
        scores: of the sequences that may be left out; all others are sure to stay.

    Returns:
        The links, ascending by the mask behind, and what was left out.
    """
    links = [Link(*pair, iou) for pair, iou in ious.items() if iou >= LEAST_IOU]
    contradict = np.array([[float(a.before == b.before or a.behind == b.behind) for b in links] for a in links])
    links = [links[i] for i in reduce_sequences(contradict, [iou for _, _, iou in links])]
    repeats: list[Repeat] = []
    for side in (1, 0):  # those behind compete for the objects before, and the other way round
        links, lost = _best_of_each(links, ious, scores, side)
        repeats += lost
    return sorted(links, key=lambda x: x.behind), repeats


def _best_of_each(
    links: list[Link], ious: Mapping[tuple[Mask, Mask], float], scores: Mapping[Mask, float], side: int
) -> tuple[list[Link], list[Repeat]]:
    """Lets the masks of one side that have no link compete for those of the other side that have one."""
    taken = {x[1 - side]: x[side] for x in links}
    claims = list(links)
    for mask in sorted({pair[side] for pair in ious} & set(scores) - {x[side] for x in links}):
        theirs = [
            Link(*pair, iou)
            for pair, iou in ious.items()
            if pair[side] == mask and iou >= LEAST_IOU and taken.get(pair[1 - side], (None,))[0] == mask[0]
        ]
        if theirs:
            claims.append(max(theirs, key=lambda x: x.iou))
    one_object = np.array([[float(a[1 - side] == b[1 - side]) for b in claims] for a in claims])
    kept = [claims[i] for i in reduce_sequences(one_object, [scores.get(x[side], math.inf) for x in claims])]
    taken = {x[1 - side]: x[side] for x in kept}
    lost = [x for x in claims if taken[x[1 - side]] != x[side]]
    return kept, [Repeat(x[side], taken[x[1 - side]], scores[x[side]]) for x in lost]


def nearest(ious: Mapping[tuple[Mask, Mask], float], settled: Collection[Mask]) -> list[Link]:
    """For each mask behind that is not settled, the one before that it may be and overlaps most."""
    found: dict[Mask, Link] = {}
    for (before, behind), iou in ious.items():
        if behind not in settled and (behind not in found or iou > found[behind].iou):
            found[behind] = Link(before, behind, iou)
    return [found[mask] for mask in sorted(found)]
