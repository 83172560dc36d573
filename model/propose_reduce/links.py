"""Which sequences of two neighbouring keyframes are one object, and which proposals only repeat another one.

The reduction of Propose-Reduce (ICCV 2021, 3.2), for sequences that reach from keyframe to keyframe only. A sequence is
named by its mask: the one it starts from.
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
    overlap stays, those of two masks that are sure to stay before all others. Proposals that are left with no link,
    though they overlap a mask that has one, then compete with the mask of their own frame that took it: all are
    sequences of one object, and the one with the highest score stays.

    Args:
        ious: of the sequences of each mask before with each one behind that may be the same object.
        scores: of the sequences that may be left out; all others are sure to stay.

    Returns:
        The links, ascending by the mask behind, and what was left out.
    """
    links = [Link(*pair, iou) for pair, iou in ious.items() if iou >= LEAST_IOU]
    contradict = np.array([[float(a.before == b.before or a.behind == b.behind) for b in links] for a in links])
    ranks = [x.iou + (x.before not in scores and x.behind not in scores) for x in links]
    links = [links[i] for i in reduce_sequences(contradict, ranks)]
    links, repeats_behind = _best_of_each(links, ious, scores, behind=True)
    links, repeats_before = _best_of_each(links, ious, scores, behind=False)
    return sorted(links, key=lambda x: x.behind), repeats_behind + repeats_before


def _best_of_each(
    links: list[Link], ious: Mapping[tuple[Mask, Mask], float], scores: Mapping[Mask, float], behind: bool
) -> tuple[list[Link], list[Repeat]]:
    """Lets the masks of one keyframe that have no link compete for those of the other that have one."""

    def sides(x: Link) -> tuple[Mask, Mask]:
        """The mask that competes, and what for."""
        return (x.behind, x.before) if behind else (x.before, x.behind)

    taken = {wanted: mask for mask, wanted in map(sides, links)}
    claims = {mask: x for x in links for mask in sides(x)[:1]}
    more: dict[Mask, Link] = {}
    for pair, iou in ious.items():
        x = Link(*pair, iou)
        mask, wanted = sides(x)
        if iou < LEAST_IOU or mask in claims or mask not in scores or wanted not in taken:
            continue
        if taken[wanted][0] == mask[0] and (mask not in more or iou > more[mask].iou):
            more[mask] = x
    claims |= dict(sorted(more.items()))
    both = [sides(x) for x in claims.values()]
    one_object = np.array([[float(a == b) for _, b in both] for _, a in both])
    best = reduce_sequences(one_object, [scores.get(mask, math.inf) for mask, _ in both])
    stays = {both[i][1]: both[i][0] for i in best}
    repeats = [Repeat(mask, stays[wanted], scores[mask]) for mask, wanted in both if stays[wanted] != mask]
    return [claims[mask] for mask in stays.values()], repeats


def nearest(ious: Mapping[tuple[Mask, Mask], float], settled: Collection[Mask]) -> list[Link]:
    """For each mask behind that is not settled, the one before that it may be and overlaps most."""
    found: dict[Mask, Link] = {}
    for (before, behind), iou in ious.items():
        if behind not in settled and (behind not in found or iou > found[behind].iou):
            found[behind] = Link(before, behind, iou)
    return [found[mask] for mask in sorted(found)]
