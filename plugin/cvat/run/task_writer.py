"""Turns finished frames into annotations and writes them, in a thread of its own, while the network works on."""

import queue
import threading
import time
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from model.errors import PerclipError
from model.evaluation.metrics import region_similarity
from model.object_masks import ObjectMasks
from model.propose_reduce.reduction import LEAST_IOU
from plugin.cvat.journal.journal import Done, Item
from plugin.cvat.journal.ownership import Ownership
from plugin.cvat.open_task import OpenTask
from plugin.cvat.planning.blocked_frames import blocked_frames
from plugin.cvat.planning.stretches import Stretch
from plugin.cvat.planning.task_objects import TaskObject
from plugin.cvat.planning.task_plan import SequencePlan, TaskPlan
from plugin.cvat.review.doubtful_masks import DoubtfulMasks
from plugin.cvat.review.doubts import DoubtfulFrame
from plugin.cvat.server.errors import ConnectionLostError, CvatError
from plugin.cvat.settings import TRACKS, BulkSettings
from plugin.cvat.task.annotations import KINDS, Annotation, Shape, Track
from plugin.cvat.task.drawn import DRAWN_KINDS, collect_drawn
from plugin.cvat.task.layout import Job
from plugin.cvat.writing.job_writer import Creation, JobWriter, Written
from plugin.cvat.writing.joint_writer import Filling, JointWriter
from plugin.cvat.writing.written_shapes import shape_of, tracks_of
from plugin.shapes.drawn_shape import SHAPE_TYPES

_WAITING_FRAMES = 48  # that the network may be ahead of writing
_LEAST_SECONDS = 2.0  # between two requests of a job
_PATIENCE = 8  # how many times longer than a request takes the network works before the next one


class Finding(NamedTuple):
    """What the network says of an object on a frame.

    Attributes:
        number: of the object in the frame's masks.
        obj: the object.
        confidence: 0..1.
        stretch: that waits for it.
    """

    number: int
    obj: TaskObject
    confidence: float
    stretch: Stretch


@dataclass(frozen=True)
class FinishedFrame:
    """What the network says of a frame, for the stretches that wait for it.

    Attributes:
        sequence: of the plan.
        place: in the sequence.
        masks: of the objects, each whole.
        findings: of the objects whose stretches wait for this frame.
    """

    sequence: SequencePlan
    place: int
    masks: ObjectMasks
    findings: Sequence[Finding]


@dataclass
class _Filled:
    """A stretch as far as it has been filled in."""

    stretch: Stretch
    obj: TaskObject
    output: str
    sequence: SequencePlan
    shapes: dict[int, Shape | None] = field(default_factory=dict)  # by frame, not yet written
    confidence: dict[int, float] = field(default_factory=dict)  # by frame, not yet written
    polygon: tuple[int, Sequence[float]] | None = None  # the last one and its place

    @property
    def numbers(self) -> Sequence[int]:
        """The frames of its sequence."""
        return self.sequence.numbers

    def is_joined(self, job: Job) -> bool:
        """Whether it goes into the drawn track of a job."""
        return job.id in self.sequence.track_jobs.get(self.obj.group, ())

    @property
    def is_whole(self) -> bool:
        """Whether all that was missing is here."""
        return {self.numbers[p] for p in self.sequence.missing[self.stretch.digest]} <= set(self.shapes)


class TaskWriter:
    """Writes the frames of one task. `put` may be called by several threads.

    Args:
        task: its journal is the writer's alone until it is closed.
        plan: of the task.
        settings: what is asked for.
        doubtful: is offered all masks.
        failed: why nothing can be written to some jobs, by id.

    Attributes:
        error: what went wrong; None: nothing.
        written: what has come of it so far.
        seconds: spent on shapes and on requests so far.
        failed: why nothing more is written to some jobs, by id.
        rows: (frame, object, confidence, whether it is seen) of all frames so far.
    """

    def __init__(
        self,
        task: OpenTask,
        plan: TaskPlan,
        settings: BulkSettings,
        doubtful: DoubtfulMasks,
        failed: Mapping[int, str] | None = None,
    ):
        self._server, self._journal, self._plan, self._settings = task.server, task.journal, plan, settings
        self._doubtful = doubtful
        of_task = task.server, task.journal, plan.layout
        self._writers = {job.id: JobWriter(*of_task, job, task.dry) for job in plan.layout.jobs}
        self._joint_writers = {job.id: JointWriter(*of_task, job, task.dry) for job in plan.layout.jobs}
        self._filled: dict[str, _Filled] = {}
        self._current = {s.digest for sequence in plan.sequences for s in sequence.stretches}
        self._objects = [obj for sequence in plan.sequences for obj in sequence.objects]
        self._object_of = {d.digest: obj.group for obj in self._objects for d in obj.drawn}
        self.written = Written()
        self.seconds = {"shapes": 0.0, "writing": 0.0}
        self.failed = dict(failed or {})
        self.rows: list[tuple[int, int, float, bool]] = []
        self._last_flush, self._flush_seconds = time.monotonic(), 0.0
        self.error: BaseException | None = None
        self._stopped = False
        self._queue: queue.Queue[FinishedFrame | None] = queue.Queue(_WAITING_FRAMES)
        self._thread = threading.Thread(target=self._work, name="writer", daemon=True)
        self._thread.start()

    def put(self, frame: FinishedFrame) -> None:
        """Hands a frame over; raises what went wrong with earlier ones, or PerclipError after `stop`."""
        self._raise()
        if self._stopped:
            raise PerclipError("stopped")
        self._queue.put(frame)

    def stop(self) -> None:
        """Takes no more frames."""
        self._stopped = True

    def close(self, finish: bool = True, tidy: bool = True) -> None:
        """Waits until all is written; raises what went wrong.

        Args:
            finish: False drops what is not yet being written.
            tidy: also deletes what of Perclip's own no stretch accounts for any more.
        """
        self._stopped = self._stopped or not finish
        self._queue.put(None)
        self._thread.join()
        if finish:
            self._raise()
            if tidy:
                began = time.perf_counter()
                self._tidy()
                self.seconds["writing"] += time.perf_counter() - began

    def _raise(self) -> None:
        if self.error is not None:
            raise self.error

    def _work(self) -> None:
        ended = False
        while not ended:
            frame = self._queue.get()
            ended = frame is None
            if self.error is not None or self._stopped:
                continue
            try:
                if frame is not None:
                    self._add(frame)
                waited = time.monotonic() - self._last_flush
                if ended or waited >= max(_LEAST_SECONDS, _PATIENCE * self._flush_seconds):
                    self._flush(everything=ended)
            except BaseException as error:  # handed to whoever puts the next frame
                self.error = error

    def _add(self, frame: FinishedFrame) -> None:
        """The shapes of a frame."""
        began = time.perf_counter()
        sequence, settings = frame.sequence, self._settings
        frame_number = sequence.numbers[frame.place]
        for number, obj, confidence, stretch in frame.findings:
            if stretch.digest not in self._filled:
                self._filled[stretch.digest] = _Filled(stretch, obj, sequence.outputs[obj.group], sequence)
            filled = self._filled[stretch.digest]
            mask = frame.masks.mask(number)
            self._doubtful.offer(DoubtfulFrame(frame_number, obj.group, confidence), mask)
            shape = None
            if confidence >= settings.min_confidence and not self._is_detected(obj, frame_number, mask):
                previous = self._polygon_beside(filled, frame.place)
                score = confidence if self._server.stores_scores else None
                shape = shape_of(mask, obj, frame_number, filled.output, settings.tolerance, previous, score)
            if shape is not None and shape.kind == "polygon":
                filled.polygon = frame.place, shape.points
            filled.shapes[frame_number], filled.confidence[frame_number] = shape, confidence
            self.rows.append((frame_number, obj.group, confidence, shape is not None))
        self.seconds["shapes"] += time.perf_counter() - began

    def _is_detected(self, obj: TaskObject, frame: int, mask: np.ndarray) -> bool:
        """Whether a detector's own shape of the object is there, which stays."""
        for theirs in self._plan.detected(obj.label.id, frame, mask.shape):
            if region_similarity(mask, theirs) >= LEAST_IOU:
                return True
        return False

    def _polygon_beside(self, filled: _Filled, place: int) -> Sequence[float] | None:
        """The object's polygon in the frame before or behind: a drawn one, or the last that was made."""
        if filled.output not in ("polygon", *TRACKS):
            return None
        for beside in (place - 1, place + 1):
            if 0 <= beside < len(filled.numbers):
                drawn = filled.obj.at(filled.numbers[beside])
                if len(drawn) == 1 and drawn[0].shape.kind == "polygon" and not drawn[0].shape.outside:
                    return drawn[0].shape.points
        if filled.polygon is not None and abs(filled.polygon[0] - place) == 1:
            return filled.polygon[1]
        return None

    def _flush(self, everything: bool) -> None:
        """Writes what is ready: shapes at once, tracks when their stretch is whole."""
        ready = []
        for filled in self._filled.values():
            if filled.output not in TRACKS or everything or filled.is_whole:
                ready.append(filled)
        if not any(filled.shapes for filled in ready):
            return
        began = time.perf_counter()
        self._write(ready)
        for filled in ready:
            filled.shapes, filled.confidence = {}, {}
        self._flush_seconds = time.perf_counter() - began
        self.seconds["writing"] += self._flush_seconds
        self._last_flush = time.monotonic()

    def _write(self, ready: Sequence[_Filled]) -> None:
        blocked: set[tuple[int, int]] = set()  # frame and object, where a person has worked meanwhile
        self._look_into_overlaps(ready, blocked)
        for job in self._plan.layout.jobs:
            here = [filled for filled in ready if any(frame in job.frames for frame in filled.shapes)]
            if not here or job.id in self.failed:
                continue

            def creations(owned: Ownership, job: Job = job, here: Sequence[_Filled] = here) -> list[Creation]:
                for filled in here:
                    blocked.update((frame, filled.obj.group) for frame in self._claimed(filled.obj, owned, job))
                apart = [filled for filled in here if not filled.is_joined(job)]
                return [creation for filled in apart for creation in self._creations(filled, job, blocked)]

            joined = [filled for filled in here if filled.is_joined(job)]
            replaced = _Replaced(here, self._current)
            try:
                self.written += self._writers[job.id].write(creations, replaced.includes)
                if joined:
                    self._fill_tracks(job, joined, blocked)
            except ConnectionLostError:
                raise
            except CvatError as error:
                self._give_up(job, error)
        with self._journal.together():
            self._journal.finish(
                Done(filled.stretch.digest, frame, filled.obj.group, filled.confidence[frame])
                for filled in ready
                for frame in filled.shapes
                if (frame, filled.obj.group) not in blocked
                and not any(job.id in self.failed for job in self._plan.layout.jobs_with(frame))
            )

    def _give_up(self, job: Job, error: CvatError) -> None:
        """Nothing more is computed for a job; the others go on. Raises where no login is valid any more."""
        if error.status == 401:
            raise error
        self.failed[job.id] = str(error)
        self._server.tell(f"task {self._plan.layout.id}, job {job.id}: {error}")
        self._plan.leave_out(self.failed)

    def _fill_tracks(self, job: Job, joined: Sequence[_Filled], blocked: set[tuple[int, int]]) -> None:
        """Fills in the drawn tracks of a job."""
        by_object: dict[int, list[_Filled]] = defaultdict(list)
        for filled in joined:
            by_object[filled.obj.group].append(filled)

        def fillings(owned: Ownership) -> list[Filling]:
            found = []
            for group, parts in by_object.items():
                obj = parts[0].obj
                blocked.update((frame, group) for frame in self._claimed(obj, owned, job))
                shapes = {f: shape for part in parts for f, shape in part.shapes.items() if f in job.frames}
                # Where somebody works on it CVAT interpolates, as before; that says less than an absence.
                fill = {f: shape for f, shape in shapes.items() if (f, group) not in blocked}
                spans = [_span(part.stretch, part.numbers) for part in parts]
                apart = {d.frame for d in obj.drawn if d.job == job.id and d.track is None}
                elsewhere = frozenset(f for f in apart if any(f in span for span in spans))
                found.append(Filling(obj, fill, elsewhere, spans, self._spans(group)))
            return found

        written, left = self._joint_writers[job.id].write(fillings)
        self.written += written
        blocked.update((frame, group) for group in left for part in by_object[group] for frame in part.shapes)

    def _spans(self, group: int) -> list[range]:
        """Frames of all stretches of an object that go into drawn tracks."""
        return [
            _span(stretch, sequence.numbers)
            for sequence in self._plan.sequences
            for stretch in sequence.stretches
            if stretch.group == group and sequence.track_jobs.get(group)
        ]

    def _look_into_overlaps(self, ready: Sequence[_Filled], blocked: set[tuple[int, int]]) -> None:
        """Where jobs share frames, a person's work in one of them counts for all, before the first is written."""
        frames = {frame for filled in ready for frame in filled.shapes}
        shared = {frame for frame in frames if len(self._plan.layout.jobs_with(frame)) > 1}
        for job in self._plan.layout.jobs:
            if shared.intersection(job.frames) and job.id not in self.failed:
                with suppress(CvatError):  # writing will say what is wrong
                    owned = self._writers[job.id].read()
                    for filled in ready:
                        blocked.update((frame, filled.obj.group) for frame in self._claimed(filled.obj, owned, job))

    def _tidy(self) -> None:
        """Deletes what a person's work has made obsolete, though no frame beside it was to be filled."""
        covered: dict[int, set[int]] = {}  # by object: frames that the plan speaks for
        places: dict[int, set[int]] = {}  # by object: frames that get something
        for sequence in self._plan.sequences:
            by_place = sequence.numbers
            for obj in sequence.objects:
                covered.setdefault(obj.group, set()).update(f for f in by_place if self._settings.wants(f))
                places.setdefault(obj.group, set())
            for s in sequence.stretches:
                places[s.group] |= {by_place[p] for p in s.places} - sequence.blocked[s.group]

        def is_obsolete(item: Item) -> bool:
            if item.object not in covered or item.kind not in (KINDS[Shape], KINDS[Track]):
                return False
            frames = set(range(item.first, item.last + 1)) - self._plan.layout.unused
            if item.kind == KINDS[Track]:
                # What a current track shows is right; an old one whose frames are not written anew stays.
                return item.stretch not in self._current and frames & covered[item.object] == frames
            is_current = item.stretch in self._current and item.first in places[item.object]
            return not is_current and item.first in covered[item.object]

        for job in self._plan.layout.jobs:
            if job.id not in self.failed:
                try:
                    self.written.deleted += self._writers[job.id].delete(is_obsolete, doubles=True)
                    self.written += self._joint_writers[job.id].tidy({group: self._spans(group) for group in covered})
                except ConnectionLostError:
                    raise
                except CvatError as error:
                    self._give_up(job, error)

    def _creations(self, filled: _Filled, job: Job, blocked: Collection[tuple[int, int]]) -> list[Creation]:
        shapes = {
            frame: None if (frame, filled.obj.group) in blocked else shape
            for frame, shape in filled.shapes.items()
            if frame in job.frames
        }
        found: Sequence[Annotation] = [shape for shape in shapes.values() if shape is not None]
        if filled.output in TRACKS:
            found = tracks_of(shapes, filled.obj, self._plan.layout, job)
        return [Creation(annotation, filled.stretch.digest, filled.obj.group) for annotation in found]

    def _claimed(self, obj: TaskObject, owned: Ownership, job: Job) -> set[int]:
        """Frames on which a person has drawn the object since the plan was made, or may have."""
        others = {o.group for o in self._objects if o.group != obj.group}
        others |= {d.shape.group for o in self._objects if o.group != obj.group for d in o.drawn} - {0}
        kinds = SHAPE_TYPES if self._settings.rectangles else DRAWN_KINDS
        fresh = {
            d.frame
            for d in collect_drawn(job.id, owned.human, set(job.frames), kinds)
            if d.digest not in self._plan.known and d.shape.label == obj.label.id and d.shape.group not in others
        }
        return fresh | blocked_frames(obj, {job.id: owned}, self._plan.layout, self._object_of)


def _span(stretch: Stretch, numbers: Sequence[int]) -> range:
    """The frames of a stretch, with the keyframes at its ends."""
    return range(numbers[stretch.first], numbers[stretch.last] + 1)


class _Replaced:
    """What of Perclip's own gives way to some stretches."""

    def __init__(self, filled: Sequence[_Filled], current: Collection[str]):
        self._current = set(current) - {f.stretch.digest for f in filled}
        self._frames: dict[int, set[int]] = defaultdict(set)  # by object; with the keyframes that bound the stretches
        for f in filled:
            bounds = {f.numbers[f.stretch.first], f.numbers[f.stretch.last]} & set(f.obj.frames)
            self._frames[f.obj.group] |= set(f.shapes) | bounds

    def includes(self, item: Item) -> bool:
        """Whether an item gives way."""
        frames = self._frames.get(item.object, set())
        if item.kind == KINDS[Shape]:
            return item.first in frames
        is_track = item.kind == KINDS[Track] and item.stretch not in self._current
        return is_track and any(item.first <= frame <= item.last for frame in frames)
