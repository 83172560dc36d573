"""A run over many tasks: one after the other, or several at a time where several functions answer."""

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from tqdm import tqdm

from model.errors import InputError, PerclipError
from plugin.cvat.engine.engine import Engine
from plugin.cvat.open_task import Workplace
from plugin.cvat.run.concurrent_work import run_concurrently
from plugin.cvat.run.task_run import TaskOutcome, TaskRun
from plugin.cvat.server.client import Server
from plugin.cvat.server.errors import ConnectionLostError, CvatError, NothingDrawnError
from plugin.cvat.settings import BulkSettings
from plugin.cvat.task.layout import read_task


@dataclass(frozen=True)
class Target:
    """A task to be worked on.

    Attributes:
        task: its id.
        jobs: only these; None: all its annotation jobs.
        frames: how many there are, about.
    """

    task: int
    jobs: tuple[int, ...] | None = None
    frames: int = 0


@dataclass(frozen=True)
class TargetFilter:
    """Which tasks of a project, and jobs of tasks.

    Attributes:
        subset: only tasks of this subset.
        name: only tasks whose name contains this.
        states: only jobs in one of these states; none: all.
        stages: only jobs at one of these stages; none: all.
        limit: at most so many tasks; None: all.
    """

    subset: str | None = None
    name: str | None = None
    states: Sequence[str] = ()
    stages: Sequence[str] = ()
    limit: int | None = None


def find_targets(
    server: Server, tasks: Iterable[int], jobs: Iterable[int], projects: Iterable[int], chosen: TargetFilter
) -> tuple[list[Target], list[str]]:
    """The tasks that are meant, without doubles; and why others cannot be worked on, a sentence each.

    Raises:
        InputError: nothing is left.
        ConnectionLostError: the server is gone.
    """
    found = [Target(task) for task in tasks]
    refused: list[str] = []
    by_task: dict[int, list[tuple[int, int]]] = {}
    for number in jobs:
        try:
            job = server.get(f"/api/jobs/{number}", f"job {number}")
            by_task.setdefault(job["task_id"], []).append((number, job.get("frame_count") or 0))
        except CvatError as error:
            _note(error, refused)
    named = {target.task for target in found}  # whole: their jobs are among what is meant
    found += [
        Target(task, tuple(job for job, _ in js), sum(count for _, count in js))
        for task, js in by_task.items()
        if task not in named
    ]
    for project in projects:
        try:
            server.get(f"/api/projects/{project}", f"project {project}")  # says so where there is none
            listed = sorted(
                server.get_all("/api/tasks", f"the tasks of project {project}", project_id=project),
                key=lambda task: task["id"],
            )
        except CvatError as error:
            _note(error, refused)
            continue
        for task in listed:
            if chosen.subset not in (None, task.get("subset")) or (chosen.name or "") not in task["name"]:
                continue
            if task.get("size") and task.get("dimension", "2d") == "2d":
                found.append(Target(task["id"], None, task["size"]))
    unique: dict[int, Target] = {}
    for target in found:
        unique.setdefault(target.task, target)
    if not unique:
        raise InputError("; ".join(refused) or "no task is left: check the project and the filters")
    return list(unique.values())[: chosen.limit], refused


def projects_of(server: Server, tasks: Iterable[int]) -> set[int | None]:
    """The projects that tasks belong to; None: a task has none. Raises CvatError."""
    return {server.get(f"/api/tasks/{task}", f"task {task}").get("project_id") for task in tasks}


def _note(error: CvatError, refused: list[str]) -> None:
    if isinstance(error, ConnectionLostError):
        raise error
    refused.append(str(error))


class _StoppedError(PerclipError):
    """Told to stop, as the run ends."""


class BulkRun:
    """Propagates tasks.

    Args:
        place: where.
        engine: that propagates; tells how many tasks are worked on at a time.
        settings: what is asked for.
        chosen: which jobs.

    Attributes:
        outcomes: of all tasks, as far as they have come.
    """

    def __init__(self, place: Workplace, engine: Engine, settings: BulkSettings, chosen: TargetFilter):
        self._place, self._engine, self._settings, self._chosen = place, engine, settings, chosen
        self._server = place.server
        self._stop = threading.Event()
        self.outcomes: list[TaskOutcome] = []

    def run(self, targets: Sequence[Target]) -> list[TaskOutcome]:
        """Works on all tasks; one that fails does not stop the others.

        Raises:
            KeyboardInterrupt: interrupted; what is written stays.
        """
        outcomes = self.outcomes = [TaskOutcome(target.task) for target in targets]
        total = sum(target.frames for target in targets)
        try:
            with tqdm(total=total or None, unit="frame", desc="propagating", dynamic_ncols=True, smoothing=0.1) as bar:
                if self._engine.parallel == 1 or len(targets) == 1:
                    for target, outcome in zip(targets, outcomes):
                        self._one(target, outcome, bar)
                else:
                    self._concurrently(targets, outcomes, bar)
        except KeyboardInterrupt:
            raise KeyboardInterrupt("what was written stays; run the same command again to go on") from None
        return outcomes

    def _concurrently(self, targets: Sequence[Target], outcomes: Sequence[TaskOutcome], bar: tqdm) -> None:
        jobs = [partial(self._one, target, outcome, bar) for target, outcome in zip(targets, outcomes)]
        run_concurrently(jobs, self._engine.parallel, self._stop.set)

    def _one(self, target: Target, outcome: TaskOutcome, bar: tqdm) -> None:
        """Works on a task; what is wrong with it stands in its outcome."""
        if self._stop.is_set():
            outcome.error = outcome.error or "not begun"
            return
        expected = target.frames

        def planned(frames: int) -> None:
            nonlocal expected
            bar.total = (bar.total or 0) - expected + frames
            expected = frames
            bar.refresh()

        def advanced() -> None:
            if self._stop.is_set():
                raise _StoppedError("stopped, as the run ended: run again to go on")
            bar.update()

        bar.set_postfix_str(f"task {target.task}")
        try:
            layout = read_task(self._server, target.task, target.jobs, self._chosen.states, self._chosen.stages)
            outcome.layout = layout
            if not layout.jobs:
                outcome.warnings = [*layout.left_out, "no job is left"]
                planned(0)
                return
            with self._place.open(layout) as task:
                TaskRun(task, self._engine, self._settings, planned, advanced).run(outcome)
            if outcome.failed:
                outcome.error = "; ".join(f"job {job}: {why}" for job, why in outcome.failed.items())
                outcome.is_told = True
        except NothingDrawnError as error:
            planned(0)
            if len(self.outcomes) > 1:  # in a project that is not ready everywhere
                outcome.warnings = [*outcome.warnings, str(error)]
            else:
                outcome.error = str(error)
        except PerclipError as error:
            outcome.error = str(error)
            planned(outcome.frames)
            self._tell(outcome)
            if isinstance(error, CvatError) and error.is_about_server and self._is_gone():
                self._stop.set()  # the others would wait for the same server
        except Exception as error:  # a fault of ours in one task is none in the others
            outcome.error = f"Perclip failed ({type(error).__name__}: {error}): please report it"
            planned(outcome.frames)
            self._tell(outcome)

    def _tell(self, outcome: TaskOutcome) -> None:
        """Says at once what is wrong with a task; a single one's error is the last word of the program."""
        if len(self.outcomes) > 1:
            self._server.tell(f"task {outcome.task}: {outcome.error}")
            outcome.is_told = True

    def _is_gone(self) -> bool:
        """Whether the server cannot be reached at all, or knows the login no more."""
        try:
            self._server.get("/api/users/self")
        except CvatError:
            return True
        return False
