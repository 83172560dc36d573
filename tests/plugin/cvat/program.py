"""The program as tests run it: real client, real journal, and a stand-in for the network where that is enough."""

import copy
from collections.abc import Hashable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from model.keyframe import Keyframe
from model.object_masks import ObjectMasks
from model.propagation.layers import Layers
from model.result import FrameResult
from plugin.cvat.engine.engine import Engine
from plugin.cvat.journal.journal import Journal, journal_path
from plugin.cvat.open_task import Workplace
from plugin.cvat.run.bulk import BulkRun, Target, TargetFilter
from plugin.cvat.run.task_run import TaskOutcome
from plugin.cvat.run.undo import Undone, undo_task
from plugin.cvat.server.client import Server
from plugin.cvat.server.login import Login
from plugin.cvat.settings import BulkSettings
from plugin.cvat.task.layout import read_task
from plugin.cvat.writing.job_writer import JobWriter
from plugin.shapes import encode_mask, mask_to_polygons
from tests.cvat_server import CvatState, FakeCvat, FakeJob, FakeLabel, FakeTask
from tests.cvat_server.server import TOKEN

HEIGHT, WIDTH = 24, 32
TASK, JOB = 12, 7


class NearestKeyframe:
    """Instead of a network: each object stays where its nearest keyframe has it, whole where it overlaps others.

    Attributes:
        runs: first and last frame of each run that was asked for, and its objects.
        lengths: how many frames each run was given.
    """

    identity = "nearest"
    weights = "none: the nearest keyframe"
    made_with = "nearest"
    clip_length = 5
    parallel = 1

    def __init__(self) -> None:
        self.runs: list[tuple[int, int, tuple[int, ...]]] = []
        self.lengths: list[int] = []

    def prepare(self) -> None:
        pass

    def learned(self, lessons: Any, known: Any, note: Any) -> tuple[Any, Any]:
        return self, None

    def run(
        self,
        frames: Sequence[np.ndarray],
        keyframes: Sequence[Keyframe],
        start: int = 0,
        stop: int | None = None,
        direction: str = "both",
        labels: Mapping[int, Hashable] | None = None,
    ) -> Iterator[FrameResult]:
        stop = len(frames) if stop is None else stop
        objects = sorted({o for k in keyframes for o in k.objects})
        self.runs.append((start, stop - 1, tuple(objects)))
        layers = Layers.of(keyframes, labels)
        self.lengths.append(len(frames))
        for index in range(start, stop):
            picture = frames[index]  # read, as the engine does
            masks: dict[int, np.ndarray] = {}
            confidence = {}
            for obj in objects:
                speaking = [
                    k
                    for k in keyframes
                    if obj in k.objects
                    and (direction != "forward" or k.index <= index)
                    and (direction != "backward" or k.index >= index)
                ]
                if speaking:
                    nearest = min(speaking, key=lambda k: abs(k.index - index))
                    masks[obj] = nearest.mask(obj)
                    for mate in layers.mates(obj, masks.keys() - {obj}):
                        masks[obj] &= ~masks[mate]
                    confidence[obj] = 1 / (1 + abs(nearest.index - index))
            of_frame = ObjectMasks.of(masks, layers.order(index), picture.shape[:2])
            yield FrameResult(index, of_frame, confidence, any(k.index == index for k in keyframes))


class Program:
    """Runs over one fake server, with a journal and a cache in a folder."""

    def __init__(self, fake: FakeCvat, folder: Path, engine: Engine | None = None):
        self.fake, self.folder = fake, folder
        self.engine = engine or NearestKeyframe()
        self.pauses: list[float] = []
        self.told: list[str] = []
        self.server = self.log_in(patience=1e9)

    def log_in(self, patience: float) -> Server:
        """A server that never really waits."""
        return Server(Login(self.fake.url, TOKEN), patience, self.pauses.append, self.told.append)

    def propagate(
        self, task: int = TASK, jobs: tuple[int, ...] | None = None, dry: bool = False, **settings: Any
    ) -> TaskOutcome:
        """One run; fails the test where the task fails."""
        outcome = self.attempt(task, jobs, dry, **settings)
        assert outcome.error is None, outcome.error
        return outcome

    def attempt(
        self, task: int = TASK, jobs: tuple[int, ...] | None = None, dry: bool = False, **settings: Any
    ) -> TaskOutcome:
        """One run, whatever comes of it."""
        place = Workplace(self.server, self.folder / "cache", self.folder / "journal", dry)
        bulk = BulkRun(place, self.engine, BulkSettings(**settings), TargetFilter())
        return bulk.run([Target(task, jobs)])[0]

    def undo(self, task: int = TASK, dry: bool = False) -> Undone:
        with self.journal(task) as journal:
            return undo_task(self.server, journal, read_task(self.server, task), dry)

    def journal(self, task: int = TASK) -> Journal:
        return Journal(journal_path(self.folder / "journal", self.fake.url, task))

    def own(self, job: FakeJob, task: int = TASK) -> list[dict[str, Any]]:
        """What the program knows as its own in a job, as the server has it."""
        with self.journal(task) as journal:
            layout = journal.keep_defaults(read_task(self.server, task))
            found = next(j for j in layout.jobs if j.id == job.id)
            return [dict(a.raw) for _, a in JobWriter(self.server, journal, layout, found).read().own]


def blank_task(length: int = 10, jobs: Sequence[FakeJob] | None = None, **fields: Any) -> FakeTask:
    """A task of dark frames."""
    frames = np.zeros((length, HEIGHT, WIDTH, 3), np.uint8)
    labels = [FakeLabel(1, "car"), FakeLabel(2, "person")]
    fields = {"labels": labels, "chunk_size": 4, **fields}
    return FakeTask(TASK, frames, list(jobs or [FakeJob(JOB, 0, length - 1)]), **fields)


def state_of(task: FakeTask, **fields: Any) -> CvatState:
    return CvatState([task], **fields)


def square(left: int, top: int, side: int = 6) -> np.ndarray:
    """A mask, bool (HEIGHT, WIDTH)."""
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[top : top + side, left : left + side] = True
    return mask


def mask_shape(frame: int, mask: np.ndarray, label: int = 1, **fields: Any) -> dict[str, Any]:
    """A mask as a person's page sends it."""
    return {
        "type": "mask",
        "frame": frame,
        "label_id": label,
        "points": encode_mask(mask),
        "source": "manual",
        **fields,
    }


def polygon_shape(frame: int, mask: np.ndarray, label: int = 1, **fields: Any) -> dict[str, Any]:
    points = mask_to_polygons(mask, 0)[0]
    return {"type": "polygon", "frame": frame, "label_id": label, "points": points, "source": "manual", **fields}


def polygon_track(keyframes: dict[int, np.ndarray | None], label: int = 1, **fields: Any) -> dict[str, Any]:
    """A track; None says outside."""
    shapes, points = [], [0.0, 0.0, 1.0, 0.0, 1.0, 1.0]
    for frame, mask in sorted(keyframes.items()):
        points = points if mask is None else mask_to_polygons(mask, 0)[0]
        shapes.append({"type": "polygon", "frame": frame, "points": points, "outside": mask is None})
    return {"frame": min(keyframes), "label_id": label, "shapes": shapes, "source": "manual", **fields}


def draw(state: CvatState, job: int = JOB, **lists: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A person, or another program, saves new annotations."""
    with state.lock:
        made = state.create(state.jobs[job][1], lists)
        return [item for name in ("shapes", "tracks", "tags") for item in made[name]]


def edit(state: CvatState, item: dict[str, Any], job: int = JOB, **changes: Any) -> dict[str, Any]:
    """A person changes a shape in the page, which saves it by update: it gets a new id."""
    with state.lock:
        return state.update(state.jobs[job][1], {"shapes": [{**copy.deepcopy(item), **changes}]})["shapes"][0]


def remove(state: CvatState, item: dict[str, Any], job: int = JOB) -> None:
    """A person deletes something."""
    with state.lock:
        state.delete(state.jobs[job][1], {"tracks" if "shapes" in item else "shapes": [item]})


def content(item: dict[str, Any]) -> Any:
    """All of an annotation but its ids."""
    return _without_ids(item)


def _without_ids(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_ids(v) for k, v in value.items() if k != "id"}
    return [_without_ids(v) for v in value] if isinstance(value, list) else value
