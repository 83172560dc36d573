"""What the server knows, and what it does to annotations: almost no checks, and several traps."""

import copy
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np


class RefusedError(Exception):
    """A request that is answered with a status of 400 and more; `retry_after` goes with 429."""

    def __init__(self, status: int, detail: str = "", retry_after: str = "1"):
        super().__init__(detail)
        self.status, self.retry_after = status, retry_after


@dataclass
class Attribute:
    id: int
    name: str
    mutable: bool = False
    default: str = ""


@dataclass
class FakeLabel:
    id: int
    name: str
    kind: str = "any"
    attributes: Sequence[Attribute] = ()


@dataclass
class FakeJob:
    """Annotations are held as the API gives them. `read_only`: they may be seen, but not changed."""

    id: int
    start: int
    stop: int
    kind: str = "annotation"
    state: str = "new"
    stage: str = "annotation"
    forbidden: bool = False
    read_only: bool = False
    shapes: list[dict[str, Any]] = field(default_factory=list)
    tracks: list[dict[str, Any]] = field(default_factory=list)
    tags: list[dict[str, Any]] = field(default_factory=list)
    honeypots: Sequence[int] = ()


@dataclass
class FakeTask:
    """`frames`: uint8 (H, W, 3) each; sizes may differ in image tasks.

    `slow_chunks`: chunk -> how many requests for it come before it is made; they are answered with 429 and
    `retry_after`.
    """

    id: int
    frames: Sequence[np.ndarray]
    jobs: list[FakeJob]
    labels: list[FakeLabel]
    name: str = "clip"
    is_video: bool = False
    chunk_size: int = 36
    deleted: Sequence[int] = ()
    start_frame: int = 0
    step: int = 1
    dimension: str = "2d"
    project: int | None = None
    subset: str = ""
    validation_mode: str | None = None
    organization: str | None = None
    forbidden: bool = False
    broken_chunks: Sequence[int] = ()
    slow_chunks: dict[int, int] = field(default_factory=dict)
    retry_after: str = "10"


class CvatState:
    """All tasks, and the ids that they share. Holds its lock for every change."""

    def __init__(self, tasks: Sequence[FakeTask], version: str = "2.42.0", projects: Sequence[int] = ()):
        self.tasks = {task.id: task for task in tasks}
        self.jobs = {job.id: (task, job) for task in tasks for job in task.jobs}
        self.version, self.projects = version, set(projects)
        self.issues: dict[int, dict[str, Any]] = {}
        self.lock = threading.RLock()
        self._last_id = 0

    def fresh_id(self) -> int:
        self._last_id += 1
        return self._last_id

    @property
    def has_scores(self) -> bool:
        return tuple(map(int, self.version.split(".")[:2])) >= (2, 56)

    def read(self, job: FakeJob) -> dict[str, Any]:
        """All annotations; attributes that nobody has set come with their defaults."""
        task = self.jobs[job.id][0]
        labels = {label.id: label for label in task.labels}
        content = {"version": 0, **{name: copy.deepcopy(getattr(job, name)) for name in _LISTS}}
        for shape in content["shapes"]:
            _extend(shape, labels.get(shape["label_id"]), (True, False))
        for track in content["tracks"]:
            label = labels.get(track["label_id"])
            _extend(track, label, (False,))
            before: list[dict[str, Any]] | None = None
            for shape in track["shapes"]:
                if before is None:
                    _extend(shape, label, (True,))
                else:
                    given = {a["spec_id"] for a in shape["attributes"]}
                    shape["attributes"] += [a for a in before if a["spec_id"] not in given]
                before = shape["attributes"]
        return content

    def create(self, job: FakeJob, body: dict[str, Any]) -> dict[str, Any]:
        """Whatever comes is stored: frames outside the job, boxes outside the image, mask tracks."""
        task = self.jobs[job.id][0]
        if body.get("tracks") and task.validation_mode == "gt_pool":
            raise RefusedError(400, "tracks are not supported in tasks with honeypots")
        labels = {label.id: label for label in task.labels}
        made = {name: [self._item(name, item, labels) for item in body.get(name) or ()] for name in _LISTS}
        for name, items in made.items():
            getattr(job, name).extend(copy.deepcopy(items))
        return {"version": 0, **made}

    def delete(self, job: FakeJob, body: dict[str, Any]) -> dict[str, Any]:
        """By id; unknown ids do no harm."""
        for name in _LISTS:
            ids = {item.get("id") for item in body.get(name) or ()}
            setattr(job, name, [item for item in getattr(job, name) if item["id"] not in ids])
        return body

    def update(self, job: FakeJob, body: dict[str, Any]) -> dict[str, Any]:
        """Deletes and creates: new ids, and unknown ones are inserted."""
        self.delete(job, body)
        return self.create(job, body)

    def create_in_task(self, task: FakeTask, body: dict[str, Any]) -> dict[str, Any]:
        """Shapes on no job's frames vanish silently, those where jobs overlap are doubled."""
        made: dict[str, Any] = {"version": 0, **{name: [] for name in _LISTS}}
        for job in task.jobs:
            inside = {
                name: [item for item in body.get(name) or () if job.start <= item["frame"] <= job.stop]
                for name in _LISTS
            }
            for name, items in self.create(job, inside).items():
                if name in _LISTS:
                    made[name] += items
        return made

    def _item(self, name: str, item: dict[str, Any], labels: dict[int, FakeLabel]) -> dict[str, Any]:
        for key in ("label_id", "frame"):
            if type(item.get(key)) is not int:
                raise RefusedError(400, f"{key}: a valid integer is required")
        label = labels.get(item["label_id"])
        if label is None:
            raise RefusedError(400, f"label_id {item['label_id']} is invalid")
        known = {a.id: a for a in label.attributes}
        stored = {
            "id": self.fresh_id(),
            "frame": item["frame"],
            "label_id": label.id,
            "group": item.get("group") or 0,
            "source": item.get("source") or "manual",
            "attributes": _attributes(item, known),
        }
        if name == "shapes":
            stored |= _shape(item)
            if self.has_scores:
                stored["score"] = float(item.get("score", 1.0))
        if name == "tracks":
            stored["elements"] = []
            stored["shapes"] = [
                {
                    "id": self.fresh_id(),
                    "frame": shape["frame"],
                    "attributes": _attributes(shape, known),
                    **{key: value for key, value in _shape(shape).items() if key != "elements"},
                }
                for shape in item["shapes"]
            ]
        return stored


_LISTS = ("tags", "shapes", "tracks")


def _shape(item: dict[str, Any]) -> dict[str, Any]:
    if item.get("type") not in ("rectangle", "polygon", "polyline", "points", "ellipse", "cuboid", "mask", "skeleton"):
        raise RefusedError(400, "type: not a valid choice")
    return {
        "type": item["type"],
        "points": [float(p) for p in item.get("points") or ()],
        "occluded": bool(item.get("occluded")),
        "outside": bool(item.get("outside")),
        "z_order": item.get("z_order") or 0,
        "rotation": float(item.get("rotation") or 0),
        "elements": [],
    }


def _attributes(item: dict[str, Any], known: dict[int, Attribute]) -> list[dict[str, Any]]:
    for attribute in item.get("attributes") or ():
        if attribute["spec_id"] not in known:
            raise RefusedError(400, f"spec_id {attribute['spec_id']} is invalid")
    return [{"spec_id": a["spec_id"], "value": str(a["value"])} for a in item.get("attributes") or ()]


def _extend(item: dict[str, Any], label: FakeLabel | None, mutable: Sequence[bool]) -> None:
    given = {a["spec_id"] for a in item["attributes"]}
    for a in label.attributes if label else ():
        if a.mutable in mutable and a.id not in given:
            item["attributes"].append({"spec_id": a.id, "value": a.default})
