"""What a task is made of: its frames, jobs and labels."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from model.errors import InputError
from plugin.cvat.server.client import Server
from plugin.cvat.server.errors import CvatError


@dataclass(frozen=True)
class Label:
    """A label of a task.

    Attributes:
        id: on the server.
        name: what people call it.
        kind: the only type of shape it may have; "any" for all.
        mutable: whether each of its attributes, by spec_id, may change inside a track.
        defaults: value of each attribute where nobody has set it.
    """

    id: int
    name: str
    kind: str
    mutable: Mapping[int, bool]
    defaults: Mapping[int, str]


@dataclass(frozen=True)
class Job:
    """A job of a task.

    Attributes:
        id: on the server.
        frames: task-relative numbers.
        kind: "annotation", "ground_truth" or "replica".
        state: "new", "in progress", "completed" or "rejected".
        stage: "annotation", "validation" or "acceptance".
    """

    id: int
    frames: range
    kind: str
    state: str
    stage: str


@dataclass(frozen=True)
class Media:
    """Where the images of some frames come from, in chunks.

    Attributes:
        path: of the API.
        parameter: what names a chunk there.
        frames: task-relative numbers; chunk k has `chunk_size` of them from `frames[k * chunk_size]` on.
        chunk_size: frames in a chunk; the last one may have fewer.
        version: changes when the images change.
    """

    path: str
    parameter: str
    frames: range
    chunk_size: int
    version: str

    def chunk_of(self, frame: int) -> int:
        """The number of the chunk that holds a frame."""
        return (frame - self.frames.start) // self.chunk_size

    def chunk_frames(self, chunk: int) -> range:
        """The frames of a chunk."""
        return self.frames[chunk * self.chunk_size : (chunk + 1) * self.chunk_size]

    @property
    def chunks(self) -> int:
        """How many there are."""
        return -(-len(self.frames) // self.chunk_size)


@dataclass(frozen=True)
class TaskLayout:
    """A task as this login sees it.

    Attributes:
        id: on the server.
        name: what people call it.
        jobs: that are written to, by first frame.
        left_out: why other jobs are not, one sentence each.
        labels: by id.
        media: of the frames of the jobs.
        sizes: (H, W) of each frame of the jobs, in pixels.
        unused: frames that are deleted or show another image than the sequence has there (honeypots).
        takes_tracks: whether the server takes tracks here.
        neighbours: annotation jobs that are not written to, but share frames with some that are: what people drew
            there counts.
    """

    id: int
    name: str
    jobs: tuple[Job, ...]
    left_out: tuple[str, ...]
    labels: Mapping[int, Label]
    media: tuple[Media, ...]
    sizes: Mapping[int, tuple[int, int]]
    unused: frozenset[int]
    takes_tracks: bool
    neighbours: tuple[Job, ...] = ()

    @cached_property
    def sequences(self) -> list[list[int]]:
        """Frames that belong together, ascending: of jobs that touch, of one size, without the unused ones."""
        found: list[list[int]] = []
        last, size = None, None
        for frame in sorted({frame for job in self.jobs for frame in job.frames}):
            begins = last is None or frame != last + 1
            last = frame
            if frame in self.unused:
                size = None if begins else size
                continue
            if size is None or begins or self.sizes[frame] != size:
                found.append([])
            size = self.sizes[frame]
            found[-1].append(frame)
        return found

    def last_frame(self, job: int) -> int:
        """The last frame of a job or neighbour."""
        return next(j.frames[-1] for j in (*self.jobs, *self.neighbours) if j.id == job)

    def jobs_with(self, frame: int) -> list[Job]:
        """The jobs that have a frame; where jobs overlap there are two."""
        return [job for job in self.jobs if frame in job.frames]


def read_task(
    server: Server, task: int, jobs: Iterable[int] | None = None, states: Iterable[str] = (), stages: Iterable[str] = ()
) -> TaskLayout:
    """Reads a task, or the named jobs of it, with no more rights than these need.

    Args:
        server: logged in.
        task: its id.
        jobs: ids; None: all annotation jobs.
        states: only jobs in one of these; none: all.
        stages: likewise.

    Raises:
        InputError: it is a 3-D task, has no frames yet, or a job is named that cannot be written to.
        CvatError: the server refuses something.
    """
    try:
        fields = server.get(f"/api/tasks/{task}", f"task {task}")
        listed = list(server.get_all("/api/jobs", f"the jobs of task {task}", task_id=task))
    except CvatError as error:
        if jobs is None or error.status not in (403, 404):
            raise
        fields, listed = None, [server.get(f"/api/jobs/{job}", f"job {job}") for job in jobs]
    facts = fields or listed[0]
    name = str((fields or {}).get("name") or facts.get("task_name") or f"task {task}")
    if any(item.get("dimension", "2d") == "3d" for item in [facts, *listed]):
        raise InputError(f"task {task} is 3-D (point clouds): only images and videos can be propagated")
    if not listed:
        raise InputError(f"task {task} has no jobs yet: upload its images first")
    found = [_job(item) for item in listed]
    chosen, left_out = _choose(task, found, jobs, set(states), set(stages))
    frames = {frame for job in chosen for frame in job.frames}
    others = [job for job in found if job.kind == "annotation" and job not in chosen]
    neighbours = tuple(job for job in others if frames.intersection(job.frames))
    media: list[Media] = []
    sizes: dict[int, tuple[int, int]] = {}
    deleted: set[int] = set()
    places = [f"/api/tasks/{task}"] if fields is not None else [f"/api/jobs/{job.id}" for job in chosen]
    for place in places if chosen else []:
        part, part_sizes, part_deleted = _media(server, place, facts, chosen)
        media.append(part)
        sizes |= part_sizes
        deleted |= part_deleted
    honeypots = _honeypots(server, task, fields, chosen)
    scope = {"task_id": task} if fields is not None else {"job_id": listed[0]["id"]}
    labels = {label.id: label for label in map(_label, server.get_all("/api/labels", "the labels", **scope))}
    has_honeypots = bool(honeypots) or (fields or {}).get("validation_mode") == "gt_pool"
    unused = frozenset(deleted | honeypots)
    return TaskLayout(
        task, name, tuple(chosen), tuple(left_out), labels, tuple(media), sizes, unused, not has_honeypots, neighbours
    )


def _choose(
    task: int, found: list[Job], wanted: Iterable[int] | None, states: set[str], stages: set[str]
) -> tuple[list[Job], list[str]]:
    """The jobs to write to, by first frame, and why not the others."""
    by_id = {job.id: job for job in found}
    left_out = []
    if wanted is not None:
        for job in map(by_id.get, wanted):
            if job is not None and job.kind == "ground_truth":
                raise InputError(f"job {job.id} is the ground truth of task {task}, which is never written to")
        chosen = [by_id[job] for job in dict.fromkeys(wanted) if job in by_id]
    else:
        chosen = [job for job in found if job.kind == "annotation"]
        for kind, what in (("ground_truth", "ground truth"), ("replica", "replicas for a consensus")):
            ids = [str(job.id) for job in found if job.kind == kind]
            if ids:
                left_out.append(f"{what} (job {', '.join(ids)}) left alone")
    for job in list(chosen):
        if (states and job.state not in states) or (stages and job.stage not in stages):
            chosen.remove(job)
            left_out.append(f"job {job.id} is {job.state}, stage {job.stage}: not asked for")
    if len({job.frames for job in chosen}) < len(chosen):
        raise InputError("two of these jobs are copies of the same frames for two people: name one of them at a time")
    return sorted(chosen, key=lambda job: (job.frames.start, job.id)), left_out


def _job(fields: Mapping[str, Any]) -> Job:
    first, last = fields["start_frame"], fields["stop_frame"]
    if type(first) is not int or type(last) is not int:
        raise InputError(f"job {fields['id']} has no frames yet: upload the task's images first")
    kind, state, stage = (str(fields.get(name) or default) for name, default in _JOB_DEFAULTS)
    return Job(fields["id"], range(first, last + 1), kind, state, stage)


_JOB_DEFAULTS = (("type", "annotation"), ("state", "new"), ("stage", "annotation"))


def _label(fields: Mapping[str, Any]) -> Label:
    attributes = fields.get("attributes") or []
    mutable = {a["id"]: bool(a.get("mutable")) for a in attributes}
    defaults = {a["id"]: str(a.get("default_value") or "") for a in attributes}
    return Label(fields["id"], fields["name"], str(fields.get("type") or "any"), mutable, defaults)


def _media(
    server: Server, place: str, facts: Mapping[str, Any], jobs: list[Job]
) -> tuple[Media, dict[int, tuple[int, int]], set[int]]:
    """The media at a task or job, the sizes of its frames, and its deleted frames."""
    meta = server.get(f"{place}/data/meta")
    is_task = place.startswith("/api/tasks/")
    job = next((job for job in jobs if place == f"/api/jobs/{job.id}"), None)
    frames = range(meta.get("size") or 0) if job is None else job.frames
    described = meta.get("frames")
    if not described or not frames:
        raise InputError(f"{server.url}{place} has no images yet: wait until CVAT has read them")
    if len(described) not in (1, len(frames)):
        raise CvatError(f"{server.url}{place}: {len(described)} frames are described, {len(frames)} were expected")
    if not all(type(item.get(side)) is int and item[side] > 0 for item in described for side in ("height", "width")):
        raise CvatError(f"{server.url}{place} does not say how large its frames are: upload the images again")
    sizes = {
        frame: (item["height"], item["width"])
        for frame, item in zip(frames, described if len(described) > 1 else [described[0]] * len(frames))
    }
    chunk_size = meta.get("chunk_size") or facts.get("data_chunk_size")
    if not chunk_size:
        raise CvatError(f"{server.url}{place} does not say how large its chunks are: it is of an unknown version")
    version = str(meta.get("chunks_updated_date") or "")
    parameter = "number" if is_task else "index"
    return Media(f"{place}/data", parameter, frames, chunk_size, version), sizes, set(meta.get("deleted_frames") or ())


def _honeypots(server: Server, task: int, fields: Mapping[str, Any] | None, jobs: list[Job]) -> set[int]:
    """Frames that show an image of the ground truth in the place of their own."""
    if fields is not None:
        if fields.get("validation_mode") != "gt_pool":
            return set()
        places = [f"/api/tasks/{task}"]
    else:
        places = [f"/api/jobs/{job.id}" for job in jobs]
    found: set[int] = set()
    for place in places:
        try:
            found.update((server.get(f"{place}/validation_layout") or {}).get("honeypot_frames") or ())
        except CvatError as error:
            if fields is not None or error.status not in (400, 403, 404):
                raise  # of a single job, older servers know none
    return found
