"""One task from its keyframes to written annotations."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from model.errors import PerclipError
from model.keyframe import Keyframe
from model.learning.lesson import Lesson
from model.object_masks import ObjectMasks
from plugin.cvat.engine.engine import Engine
from plugin.cvat.journal.ownership import Ownership, reconcile
from plugin.cvat.open_task import OpenTask
from plugin.cvat.planning.stretches import Window
from plugin.cvat.planning.task_plan import SequencePlan, TaskPlan, places_of
from plugin.cvat.planning.task_planner import TaskPlanner
from plugin.cvat.review.doubtful_masks import DoubtfulMasks
from plugin.cvat.review.doubts import Marker, doubtful_frames
from plugin.cvat.review.pictures import DoubtfulPicture, picture_doubts
from plugin.cvat.run.concurrent_work import run_concurrently
from plugin.cvat.run.task_writer import Finding, FinishedFrame, TaskWriter
from plugin.cvat.server.errors import ConnectionLostError, CvatError
from plugin.cvat.server.notices import PlanningProgress
from plugin.cvat.server.rights import Rights
from plugin.cvat.settings import BulkSettings
from plugin.cvat.task.frames import TaskFrames
from plugin.cvat.task.layout import TaskLayout
from plugin.cvat.writing.job_writer import JobWriter, Written
from plugin.cvat.writing.joint_writer import JointWriter
from plugin.sources.frame_source import FrameReader
from plugin.sources.own_pictures import with_own_pictures
from plugin.sources.read_ahead import ReadAhead
from plugin.sources.stand_in_frames import StandInFrames, fill_in

_APART = 5  # frames between two pictures of an object
_PICTURES = 12  # of a task
_MOST_TOLD = 20  # lines about new objects


@dataclass
class TaskOutcome:
    """What came of a task.

    Attributes:
        task: its id.
        layout: None where it could not even be read.
        names: of the objects, by group.
        drawn: frames on which each is drawn, by group.
        rows: (frame, object, confidence, whether it was seen) of all frames that were propagated.
        pictures: of some of the most doubtful frames.
        marks: tags or issues that were left on doubtful frames.
        written: what was written.
        frames: how many were propagated.
        seconds: by what they were spent on.
        learning: what came of learning from its keyframes, a sentence; empty: nothing was asked for or to do.
        made_with: of the weights that its stretches were made with, how many were; where it was to learn.
        joined: drawn shapes that were taken for one object though nobody said so, a sentence each.
        unmatched: drawn shapes that matched nothing and so begin an object, a sentence each.
        warnings: what a person should know.
        failed: why jobs were left out or given up, by id.
        error: why it ended early; None: it did not.
        is_told: whether the person has been shown that already.
    """

    task: int
    layout: TaskLayout | None = None
    names: dict[int, str] = field(default_factory=dict)
    drawn: dict[int, list[int]] = field(default_factory=dict)
    rows: list[tuple[int, int, float, bool]] = field(default_factory=list)
    pictures: list[DoubtfulPicture] = field(default_factory=list)
    marks: int = 0
    written: Written = field(default_factory=Written)
    frames: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    learning: str = ""
    made_with: dict[str, int] = field(default_factory=dict)
    joined: list[str] = field(default_factory=list)
    unmatched: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    failed: dict[int, str] = field(default_factory=dict)
    error: str | None = None
    is_told: bool = False

    def give_up(self, jobs: Mapping[int, str]) -> list[str]:
        """Notes why jobs are left out or given up, by id; gives a line for each reason that is new."""
        fresh: dict[str, list[int]] = {}
        for job, why in jobs.items():
            if job not in self.failed:
                fresh.setdefault(why, []).append(job)
        self.failed |= {job: why for why, ids in fresh.items() for job in ids}
        return [f"task {self.task}, {_named(ids)}: {why}" for why, ids in fresh.items()]


class TaskRun:
    """Propagates one task.

    Args:
        task: closed by the caller.
        engine: that propagates.
        settings: what is asked for.
        planned: called with the number of frames that are to be propagated, once it is known.
        advanced: called at each frame.
    """

    def __init__(
        self,
        task: OpenTask,
        engine: Engine,
        settings: BulkSettings,
        planned: Callable[[int], None] = lambda frames: None,
        advanced: Callable[[], None] = lambda: None,
    ):
        self._task, self._engine, self._settings = task, engine, settings
        self._planned, self._advanced = planned, advanced
        self._rights = Rights(task.server, task.dry)
        self._lock = threading.Lock()  # windows may run side by side

    def run(self, outcome: TaskOutcome) -> None:
        """Does all that is to be done.

        Args:
            outcome: filled in as things happen, so that it tells how far an interrupted task came.

        Raises:
            PerclipError: one line says what was wrong; what has been written stays, and a further run goes on.
        """
        task = self._task
        outcome.layout = task.layout
        with _Clock(outcome.seconds, "total"):
            plan = self.plan(outcome)
            outcome.names = {o.group: o.name for s in plan.sequences for o in s.objects}
            outcome.drawn = {o.group: list(o.frames) for s in plan.sequences for o in s.objects}
            outcome.joined, outcome.unmatched = plan.joined, plan.unmatched
            outcome.warnings = [*outcome.warnings, *plan.warnings]
            if not task.dry:
                self._warn(outcome)  # before anything is written
            self._keep_to_rights(plan, outcome)
            self._planned(sum(sequence.to_do for sequence in plan.sequences))
            marker = Marker(task.server, task.journal, task.layout, self._settings)  # says at once what it lacks
            doubtful = DoubtfulMasks()
            self._propagate(plan, outcome, doubtful)
            if not task.dry:
                with _Clock(outcome.seconds, "marks"):
                    current = {s.digest for sequence in plan.sequences for s in sequence.stretches}
                    failed = dict(outcome.failed)
                    outcome.marks = marker.mark(current, outcome.names, failed, doubtful.mask)
                    self._give_up(outcome, failed)
            with _Clock(outcome.seconds, "pictures"):
                masks = {kept.doubt: kept for kept in doubtful.all()}
                outcome.pictures = picture_doubts(
                    doubtful_frames(masks, 1.0, _APART, _PICTURES),
                    lambda doubt: masks[doubt].mask(),
                    [(sequence.numbers, task.frames_of(sequence.numbers)) for sequence in plan.sequences],
                )

    def plan(self, outcome: TaskOutcome) -> TaskPlan:
        """What is to be done, of what people have drawn; raises PerclipError."""
        with _Clock(outcome.seconds, "reading annotations"):
            owned = self._read(outcome)
            self._task.keep_jobs(owned)
            outcome.layout = self._task.layout
        with _Clock(outcome.seconds, "planning"):
            return self._plan(owned, outcome)

    def _read(self, outcome: TaskOutcome) -> dict[int, Ownership]:
        """The annotations of all jobs that can be read, by owner."""
        server, journal, layout = self._task.server, self._task.journal, self._task.layout
        owned, unreadable = {}, {}
        for job in layout.jobs:
            try:
                owned[job.id], notes = JointWriter(server, journal, layout, job, self._task.dry).settle()
            except ConnectionLostError:
                raise
            except CvatError as error:
                unreadable[job.id] = str(error)
                if len(unreadable) == len(layout.jobs):
                    raise
            else:
                outcome.warnings += notes
                reconcile(owned[job.id], journal, forget=True)
        self._give_up(outcome, unreadable)
        for job in layout.neighbours:
            with suppress(CvatError):  # what may not be seen cannot count
                owned[job.id] = JobWriter(server, journal, layout, job).read()
        return owned

    def _plan(self, owned: Mapping[int, Ownership], outcome: TaskOutcome) -> TaskPlan:
        task = self._task

        def begin() -> None:
            """The network is needed to tell shapes apart: not where nothing could be written in the end."""
            refused = self._rights.refused(job.id for job in task.layout.jobs)
            if refused and len(refused) == len(task.layout.jobs) and not task.dry:
                raise CvatError(f"task {task.layout.id}: {next(iter(refused.values()))}", 403)
            self._engine.prepare()

        with PlanningProgress(outcome.task) as progress:
            return TaskPlanner(task, self._settings, self._engine, begin, progress.advanced).plan(owned)

    def _warn(self, outcome: TaskOutcome) -> None:
        """Names the drawn shapes that begin objects, though they may be none."""
        tell, task = self._task.server.tell, f"task {outcome.task}"
        for text in outcome.unmatched[:_MOST_TOLD]:
            tell(f"{task}: {text}")
        if len(outcome.unmatched) > _MOST_TOLD:
            tell(f"{task}: {len(outcome.unmatched) - _MOST_TOLD} more of these are in the report")
        if outcome.joined:
            tell(f"{task}: what was taken for one object without a common group or track is in the report")

    def _give_up(self, outcome: TaskOutcome, jobs: Mapping[int, str]) -> None:
        for line in outcome.give_up(jobs):
            self._task.server.tell(line)

    def _keep_to_rights(self, plan: TaskPlan, outcome: TaskOutcome) -> None:
        """Leaves out what is for jobs alone that may not be written to."""
        refused = self._rights.refused(plan.jobs_to_write)
        if self._task.dry:
            notes = [f"job {job} could not be written to: {why}" for job, why in refused.items()]
            outcome.warnings = [*outcome.warnings, *notes]
        else:
            self._give_up(outcome, refused)
            plan.leave_out(outcome.failed)

    def _propagate(self, plan: TaskPlan, outcome: TaskOutcome, doubtful: DoubtfulMasks) -> None:
        if any(sequence.to_do for sequence in plan.sequences):
            with _Clock(outcome.seconds, "loading the network"):
                self._engine.prepare()
            self._learn(plan, outcome)
        writer = TaskWriter(self._task, plan, self._settings, doubtful, outcome.failed)
        failed: list[PerclipError] = []

        def work(sequence: SequencePlan, window: Window) -> None:
            try:
                self._window(sequence, window, writer, outcome)
            except PerclipError as error:
                if error is writer.error:
                    raise
                failed.append(error)  # what is finished is written, and other windows may be well

        windows = [(sequence, window) for sequence in plan.sequences for window in sequence.windows]
        try:
            if self._engine.parallel == 1 or len(windows) == 1:
                for sequence, window in windows:
                    work(sequence, window)
            else:
                run_concurrently([partial(work, *window) for window in windows], self._engine.parallel, writer.stop)
            with _Clock(outcome.seconds, "waiting for the last writes"):
                writer.close(tidy=not failed)
        except KeyboardInterrupt:
            with suppress(PerclipError):
                writer.close(tidy=False)  # what is finished is not lost
            raise
        except BaseException:
            writer.close(finish=False)
            raise
        finally:
            outcome.failed |= writer.failed
            outcome.written, outcome.rows = writer.written, sorted(writer.rows)
            outcome.seconds |= writer.seconds
            outcome.warnings = list(dict.fromkeys([*outcome.warnings, *writer.written.refused]))
        if failed:
            raise failed[0]

    def _learn(self, plan: TaskPlan, outcome: TaskOutcome) -> None:
        """Takes the network that has learned from the task's keyframes, where it is to; notes who makes what."""
        journal = self._task.journal
        with _Clock(outcome.seconds, "learning"):
            self._engine, record = self._engine.learned(
                partial(self._lessons, plan), journal.learning(), journal.note_learning
            )
        stretches = {s.digest for sequence in plan.sequences for s in sequence.stretches}
        missing = {digest for sequence in plan.sequences for digest, places in sequence.missing.items() if places}
        journal.note_made_with(sorted(missing), self._engine.made_with)
        if record is None:
            del outcome.seconds["learning"]
            return
        outcome.learning = record.words
        self._task.server.tell(f"task {outcome.task}: {record.words}")
        named = Counter(weights for digest, weights in journal.made_with().items() if digest in stretches)
        outcome.made_with = dict(sorted(named.items()))

    def _lessons(self, plan: TaskPlan) -> list[Lesson]:
        readers = [StandInFrames(self._task.frames_of(sequence.numbers)) for sequence in plan.sequences]
        lessons = lessons_of(plan, readers)
        return [with_own_pictures(lesson, frames) for lesson, frames in zip(lessons, readers)]

    def _window(self, sequence: SequencePlan, window: Window, writer: TaskWriter, outcome: TaskOutcome) -> None:
        wanted = places_of(sequence, window)
        if not wanted:
            return
        numbers = sequence.numbers[window.first : window.last + 1]
        keyframes, objects = keyframes_in(sequence, window)
        missing = sequence.missing
        waiting = {
            place: {s.group: s for s in window.stretches if place in missing.get(s.digest, ())} for place in wanted
        }
        source = self._task.frames_of(numbers)
        # Two clips are decoded while the network works on one.
        whole = StandInFrames(_Timed(source, outcome.seconds))
        whole.needed = [k.index for k in keyframes]
        with self._warned(whole, outcome), ReadAhead(whole, 2 * self._engine.clip_length) as frames:
            start, stop = wanted.start - window.first, wanted.stop - window.first
            clock = time.perf_counter()
            labels = {number: sequence.objects[obj - 1].label.name for number, obj in objects.items()}
            results = self._engine.run(frames, keyframes, start, stop, self._settings.direction, labels=labels)
            for result in fill_in(results, whole):
                waited = time.perf_counter() - clock
                place = result.index + window.first
                waited_for = waiting[place]
                findings = [
                    Finding(number, sequence.objects[obj - 1], result.confidence[number], waited_for.pop(group))
                    for number, obj in objects.items()
                    if (group := sequence.objects[obj - 1].group) in waited_for and number in result.confidence
                ]
                writer.put(FinishedFrame(sequence, place, result.masks, findings))
                with self._lock:
                    outcome.frames += 1
                    outcome.seconds["network"] = outcome.seconds.get("network", 0.0) + waited
                    self._advanced()
                if sequence.missing is not missing:  # a job was given up: what is for it alone is not computed
                    missing = sequence.missing
                    for place, stretches in waiting.items():
                        waiting[place] = {g: s for g, s in stretches.items() if place in missing.get(s.digest, ())}
                    if not any(waiting.values()):
                        break
                clock = time.perf_counter()
        left_out = sorted(sequence.numbers[place] for place, stretches in waiting.items() if stretches)
        if left_out:
            raise PerclipError(f"{len(left_out)} frames were left out, the first is {left_out[0]}: run again")

    @contextmanager
    def _warned(self, frames: StandInFrames, outcome: TaskOutcome) -> Iterator[None]:
        """Notes which frames could not be decoded, whatever ends the block."""
        try:
            yield
        finally:
            with self._lock:
                outcome.warnings = [*outcome.warnings, *frames.warnings(range(len(frames)))]


def lessons_of(plan: TaskPlan, frames: Iterable[FrameReader]) -> list[Lesson]:
    """What there is to learn from.

    Args:
        plan: of the task.
        frames: of each of its sequences.
    """
    return [
        Lesson(
            reader,
            sequence.keyframes,
            {number: obj.label.name for number, obj in enumerate(sequence.objects, 1)},
            sequence.numbers,
        )
        for sequence, reader in zip(plan.sequences, frames, strict=True)
    ]


def keyframes_in(sequence: SequencePlan, window: Window) -> tuple[list[Keyframe], dict[int, int]]:
    """The keyframes of a window, counted from its beginning, of the objects that are known there.

    Returns:
        The keyframes; and for the number that each object has in them, its number in the sequence.
    """
    inside = [k for k in sequence.keyframes if window.first <= k.index <= window.last]
    context: dict[int, dict[int, np.ndarray]] = {}
    for (place, obj), mask in sequence.context.items():
        if place in (window.first, window.last):
            context.setdefault(place, {})[obj] = mask
    known = sorted({o for k in inside for o in k.objects} | {o for masks in context.values() for o in masks})
    local = {obj: number for number, obj in enumerate(known, 1)}
    by_place = {k.index: (k.masks, set(k.objects)) for k in inside}
    for place, masks in context.items():
        drawn, named = by_place.get(place, (None, set()))
        found = {obj: _behind(mask, obj, drawn, sequence) for obj, mask in masks.items()}
        found = {obj: mask for obj, mask in found.items() if mask.any()}
        if found:
            below = ObjectMasks.of(found)
            by_place[place] = below if drawn is None else drawn.above(below), named | set(found)
    keyframes = [
        Keyframe(place - window.first, masks.renamed(local), {local[o] for o in named})
        for place, (masks, named) in sorted(by_place.items())
    ]
    return keyframes, dict(enumerate(known, 1))


def _behind(mask: np.ndarray, obj: int, drawn: ObjectMasks | None, sequence: SequencePlan) -> np.ndarray:
    """What is left of a mask that an earlier run found where people have drawn other objects.

    These cover it, as they may have corrected it there; but for those that they draw over the same object somewhere.
    """
    if drawn is None:
        return mask
    covering = [o for o in drawn.objects if frozenset((o, obj)) not in sequence.overlapping]
    return mask & (drawn.flattened(covering) == 0)


def _named(jobs: Sequence[int]) -> str:
    return f"job{'s' if len(jobs) > 1 else ''} {', '.join(map(str, jobs))}"


class _Timed(FrameReader):
    """A source of frames that notes how long reading takes."""

    def __init__(self, source: TaskFrames, seconds: dict[str, float]):
        self._source, self._seconds = source, seconds
        self.height, self.width, self.fps = source.height, source.width, None

    def __len__(self) -> int:
        return len(self._source)

    def name(self, index: int) -> str:
        return self._source.name(index)

    def close(self) -> None:
        self._source.close()

    def _read(self, index: int) -> np.ndarray:
        with _Clock(self._seconds, "reading frames"):
            return self._source[index]


class _Clock:
    """Adds the seconds of a block to a table."""

    def __init__(self, seconds: dict[str, float], name: str):
        self._seconds, self._name = seconds, name

    def __enter__(self) -> None:
        self._began = time.perf_counter()

    def __exit__(self, *exception: object) -> None:
        self._seconds[self._name] = self._seconds.get(self._name, 0.0) + time.perf_counter() - self._began
