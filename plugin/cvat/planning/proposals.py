"""A detector's shapes as keyframes: on frames evenly spread, the best of those that overlap (Propose-Reduce).

What is decided here are single frames, by the detector's own score. Which of the rest show one object, and which of
those stay, their sequences decide (`plugin.cvat.planning.identity`).
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from model.errors import InputError
from model.evaluation.metrics import region_similarity
from model.propose_reduce.keyframes import keyframe_places
from model.propose_reduce.reduction import LEAST_IOU, reduce_sequences, sequence_ious
from plugin.cvat.journal.ownership import Ownership
from plugin.cvat.planning.identity import MaskOf
from plugin.cvat.task.annotations import Shape
from plugin.cvat.task.drawn import Drawn, collect_drawn
from plugin.cvat.task.layout import TaskLayout

Proposals = Mapping[tuple[int, int], list[Shape]]
"""By label and frame."""


def found_proposals(owned: Mapping[int, Ownership], layout: TaskLayout, kinds: Sequence[str]) -> Proposals:
    """All shapes of some kinds that detectors have found in a task."""
    found: dict[tuple[int, int], list[Shape]] = defaultdict(list)
    for job, o in owned.items():
        for d in collect_drawn(job, o.foreign, set(layout.sizes), kinds, is_proposal=True):
            if not d.shape.outside:
                found[d.shape.label, d.frame].append(d.shape)
    return dict(found)


def spread_proposals(
    proposals: Proposals, frames: int, drawn: Sequence[Drawn], layout: TaskLayout, mask_of: MaskOf
) -> list[Drawn]:
    """Proposals on evenly spaced frames, without what a person has drawn there.

    Args:
        proposals: to choose from.
        frames: how many of their frames to take.
        drawn: by people.
        layout: of the task.
        mask_of: gives the mask of a shape, bool (H, W).
    """
    having = sorted({frame for _, frame in proposals})
    chosen = {having[place] for place in keyframe_places(len(having), frames)}
    found = []
    for (label, frame), shapes in proposals.items():
        if frame not in chosen:
            continue
        theirs = [mask_of(d) for d in drawn if d.frame == frame and d.shape.label == label and not d.shape.outside]
        job = layout.jobs_with(frame)[0].id
        candidates: list[tuple[Drawn, np.ndarray]] = []
        for shape in shapes:
            proposal = Drawn(job, shape, None, is_proposal=True)
            try:
                mask = mask_of(proposal)
            except InputError:
                continue
            if mask.any() and not any(region_similarity(mask, other) >= LEAST_IOU for other in theirs):
                candidates.append((proposal, mask))
        if candidates:
            found += [candidates[i][0] for i in _best(candidates)]
    return found


def _best(proposals: Sequence[tuple[Drawn, np.ndarray]]) -> list[int]:
    """Which of a frame's proposals stay, in their order: of two that overlap a named one, else that of higher score."""
    ious = sequence_ious(np.stack([mask for _, mask in proposals])[:, None])
    return sorted(reduce_sequences(ious, [math.inf if d.is_named else d.score for d, _ in proposals]))


def without_repeats(drawn: Sequence[Drawn], repeats: Mapping[str, int], members: Mapping[str, int]) -> list[Drawn]:
    """Without the proposals that an earlier run left out, as long as something else on their frame shows the object.

    Args:
        drawn: by people and detectors.
        repeats: digest of what was left out -> the object.
        members: digest of a shape that was used -> its object.
    """
    there = {(members[d.digest], d.frame) for d in drawn if d.digest in members}
    return [d for d in drawn if not d.is_proposal or (repeats.get(d.digest), d.frame) not in there]
