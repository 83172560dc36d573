"""What is to be done in a sequence: stretches between the keyframes of an object, and windows that hold them.

A stretch is one object between two of its keyframes, or before the first or behind the last one. Its digest says what
it depends on; where that has been done before, nothing is computed or written. Windows are ranges of frames that are
propagated in one run: changed stretches that overlap, with all objects that are seen there.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from plugin.cvat.planning.task_objects import TaskObject
from plugin.cvat.task.layout import Job
from plugin.digest import digest_of


@dataclass(frozen=True)
class Stretch:
    """An object between two of its keyframes, all numbers places in the sequence.

    Attributes:
        group: of the object.
        first: the keyframe before it, or 0 where there is none.
        last: the keyframe behind it, or the end of the sequence where there is none.
        places: to be filled, ascending; never those of keyframes.
        digest: of all that decides what is filled in.
    """

    group: int
    first: int
    last: int
    places: tuple[int, ...]
    digest: str


@dataclass(frozen=True)
class Window:
    """Places first..last of a sequence, propagated in one run for the sake of some stretches."""

    first: int
    last: int
    stretches: tuple[Stretch, ...]


def stretches_of(
    obj: TaskObject,
    numbers: Sequence[int],
    direction: str,
    max_gap: int | None,
    options: Mapping[str, object],
    jobs: Sequence[Job],
) -> list[Stretch]:
    """The stretches of an object, ascending.

    Args:
        obj: with what is drawn of it.
        numbers: the frames of the sequence.
        direction: "forward", "backward" or "both", from the keyframes.
        max_gap: only frames this near to a keyframe that the direction comes from; None: all.
        options: JSON; whatever else decides the result.
        jobs: that results are written to.
    """
    places = {frame: place for place, frame in enumerate(numbers)}
    drawn = [places[frame] for frame in obj.frames]
    end = len(numbers) - 1
    bounds = list(zip([None, *drawn], [*drawn, None]))
    found = []
    for before, behind in bounds:
        first, last = (0 if before is None else before), (end if behind is None else behind)
        inside = range(first + (before is not None), last + (behind is None))
        sources = [
            place
            for place, is_source in ((before, direction != "backward"), (behind, direction != "forward"))
            if place is not None and is_source and any(not d.shape.outside for d in obj.at(numbers[place]))
        ]
        kept = [p for p in inside if any(max_gap is None or abs(p - source) <= max_gap for source in sources)]
        if not kept:
            continue
        ends = [None if place is None else obj.digest_at(numbers[place]) for place in (before, behind)]
        frames = [numbers[p] for p in inside]
        into = [job.id for job in jobs if job.frames.start <= frames[-1] and frames[0] < job.frames.stop]
        facts = [obj.group, numbers[first], numbers[last], frames, ends, direction, max_gap, into]
        found.append(Stretch(obj.group, first, last, tuple(kept), digest_of([facts, options])))
    return found


def windows_of(stretches: Collection[Stretch]) -> list[Window]:
    """Windows that hold the stretches, ascending; they share no frames but their ends."""
    windows: list[Window] = []
    for stretch in sorted(stretches, key=lambda s: (s.first, s.last, s.group)):
        if windows and stretch.first < windows[-1].last:
            before = windows.pop()
            windows.append(Window(before.first, max(before.last, stretch.last), (*before.stretches, stretch)))
        else:
            windows.append(Window(stretch.first, stretch.last, (stretch,)))
    return windows
