"""What is to be done in a task: the data that the planner makes and the run works on."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from model.errors import InputError
from model.keyframe import Keyframe
from model.propagation.layers import overlaps
from plugin.cvat.planning.stretches import Stretch, Window
from plugin.cvat.planning.task_objects import TaskObject
from plugin.cvat.task.annotations import Shape
from plugin.cvat.task.drawn import Drawn, no_image
from plugin.cvat.task.layout import TaskLayout
from plugin.shapes.rle import decode_mask, encode_mask


@dataclass
class SequencePlan:
    """What is to be done in one sequence.

    Attributes:
        numbers: its frames.
        objects: in it; the engine's object n is the n-th of them.
        keyframes: of all objects, ascending by place.
        stretches: of all objects, as the drawn shapes ask for.
        windows: that hold what is missing.
        context: for windows that begin or end where an object is not drawn: its mask there, bool (H, W), by place and
            the engine's object number.
        missing: places to fill, by stretch digest.
        outputs: what each object is written as, by group.
        blocked: frames that get nothing of an object, by group.
        track_jobs: jobs in which the object's drawn track is filled in, by group.
    """

    numbers: Sequence[int]
    objects: list[TaskObject]
    keyframes: list[Keyframe]
    stretches: list[Stretch] = field(default_factory=list)
    windows: list[Window] = field(default_factory=list)
    context: dict[tuple[int, int], np.ndarray] = field(default_factory=dict)
    missing: dict[str, set[int]] = field(default_factory=dict)
    outputs: dict[int, str] = field(default_factory=dict)
    blocked: dict[int, set[int]] = field(default_factory=dict)
    track_jobs: dict[int, set[int]] = field(default_factory=dict)

    @cached_property
    def overlapping(self) -> set[frozenset[int]]:
        """The pairs of objects that overlap as they are drawn on some keyframe, by the engine's numbers."""
        return {frozenset(pair) for keyframe in self.keyframes for pair in overlaps(keyframe.masks)}

    @property
    def to_do(self) -> int:
        """How many frames are propagated."""
        return sum(len(places_of(self, window)) for window in self.windows)


def places_of(plan: SequencePlan, window: Window) -> range:
    """The places of a window from the first missing one to the last."""
    missing = [p for s in window.stretches for p in plan.missing.get(s.digest, ())]
    return range(min(missing), max(missing) + 1) if missing else range(0)


@dataclass
class TaskPlan:
    """What is to be done in a task.

    Attributes:
        layout: of the task.
        sequences: that have keyframes.
        known: digests of all shapes of people that were there when this was planned.
        proposals: a detector's shapes, by label and frame.
        warnings: what a person should know, a sentence each.
        joined: drawn shapes that were taken for one object though nobody said so, a sentence each.
        unmatched: drawn shapes that matched nothing and so begin an object, a sentence each.
    """

    layout: TaskLayout
    sequences: list[SequencePlan]
    known: set[str]
    proposals: Mapping[tuple[int, int], list[Shape]]
    warnings: list[str]
    joined: list[str] = field(default_factory=list)
    unmatched: list[str] = field(default_factory=list)

    @property
    def jobs_to_write(self) -> list[int]:
        """Ids of the jobs that have frames to be filled."""
        frames = {s.numbers[p] for s in self.sequences for places in s.missing.values() for p in places}
        return [job.id for job in self.layout.jobs if not frames.isdisjoint(job.frames)]

    def leave_out(self, jobs: Collection[int]) -> None:
        """Nothing is to be computed any more for the sake of some jobs, by id. May be called while others read.

        Only what the frames of other jobs need is still propagated through theirs.
        """
        for sequence in self.sequences:
            idle = {
                place
                for place, frame in enumerate(sequence.numbers)
                if all(job.id in jobs for job in self.layout.jobs_with(frame))
            }
            sequence.missing = {digest: places - idle for digest, places in sequence.missing.items()}

    def detected(self, label: int, frame: int, size: tuple[int, int]) -> Iterator[np.ndarray]:
        """The masks that a detector has written of a label on a frame, bool of the size."""
        for shape in self.proposals.get((label, frame), ()):
            with suppress(InputError):  # a rectangle, or what is no shape
                yield Drawn(0, shape).mask(*size, no_image)


def windows_to_json(plan: SequencePlan) -> dict[str, Any]:
    """Windows and their context, as `restore_windows` takes them."""
    return {
        "windows": [[w.first, w.last, [s.digest for s in w.stretches]] for w in plan.windows],
        "context": [[place, number, encode_mask(mask)] for (place, number), mask in plan.context.items()],
    }


def restore_windows(plan: SequencePlan, body: Mapping[str, Any]) -> bool:
    """Takes over the windows of an interrupted run; False if they do not hold all that is missing."""
    by_digest = {s.digest: s for s in plan.stretches}
    windows = [Window(first, last, tuple(by_digest[d] for d in digests)) for first, last, digests in body["windows"]]
    if not set(plan.missing) <= {s.digest for w in windows for s in w.stretches}:
        return False
    size = plan.keyframes[0].masks.shape
    plan.windows = windows
    plan.context = {(place, number): decode_mask(points, *size) for place, number, points in body["context"]}
    return True
