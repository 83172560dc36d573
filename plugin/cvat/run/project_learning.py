"""Learning from all human keyframes of a project. Nothing is written to the server."""

import json
import shutil
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from model.errors import InputError
from model.learning.kept_lessons import KeptLesson, read_lessons
from model.learning.lesson import Lesson
from model.learning.project_check import NothingToLearnError, ProjectCheck, mean_score
from model.learning.project_learner import Budget, ProjectLearned, ProjectLearner
from model.learning.recipe import LearningRecipe, refuse_unsuited
from model.network.checkpoint import save_network
from model.network.pcvos import PCVOS
from model.program.atomic_write import atomic_write
from model.program.folder_lock import FolderLock
from model.training.samples.keyframe_clips import kept_lines
from plugin.cvat.engine.engine import LocalEngine
from plugin.cvat.open_task import Workplace
from plugin.cvat.run.bulk import Target
from plugin.cvat.run.learned_project import LearnedFiles, LearnedProject
from plugin.cvat.run.task_run import TaskOutcome, TaskRun, lessons_of
from plugin.cvat.server.errors import ConnectionLostError, CvatError, NothingDrawnError
from plugin.cvat.settings import BulkSettings
from plugin.cvat.task.layout import read_task
from plugin.sources.stand_in_frames import StandInFrames

_MARGIN = 0.01  # J&F on held-out keyframes: what a whole project is to follow must be clearly better
_RATE = 1e-4  # of hours rather than a minute
_SETTINGS = "settings.json"
_FETCHED = "fetched.json"  # all keyframes are there
_DONE = "done.json"  # those of a task are there
_ALL_LINES = 1_000_000  # of frames that go into the network as they are


@dataclass(frozen=True, eq=False)
class ProjectOutcome:
    """What came of learning from a project.

    Attributes:
        check: what was held out.
        learned: what was found there.
        facts: about what was learned; of the checkpoint, where that is used.
        tasks: how many have keyframes.
        used: whether the checkpoint was written.
        earlier: an earlier checkpoint, which stays in use where this one is not.
        warnings: what a person should know.
    """

    check: ProjectCheck
    learned: ProjectLearned
    facts: LearnedProject
    tasks: int
    used: bool
    earlier: LearnedProject | None
    warnings: list[str] = field(default_factory=list)

    @property
    def words(self) -> str:
        """One sentence for people."""
        if self.used:
            return self.facts.words
        end = "" if self.earlier is None else f"; the earlier ones stay: {self.earlier.words}"
        return f"not used, as they are not clearly better: {self.facts.words}{end}"


class ProjectLearning:
    """Learns from a project, or goes on with what an earlier run has begun there. A context: it owns the folder.

    Args:
        place: where; dry.
        engine: the network to begin with.
        files: where all of it is kept.
        recipe: of learning; None: the usual one.

    Raises:
        InputError: the network cannot learn, or another run works there.
    """

    def __init__(
        self, place: Workplace, engine: LocalEngine, files: LearnedFiles, recipe: LearningRecipe | None = None
    ):
        self._place, self._engine, self._files = replace(place, dry=True), engine, files
        self._recipe = LearningRecipe(rate=_RATE, margin=_MARGIN) if recipe is None else recipe
        self._run = files.work / "run"
        self._lock = FolderLock(files.work)

    def __enter__(self) -> "ProjectLearning":
        return self

    def __exit__(self, *exception: object) -> None:
        self._lock.release()
        with suppress(OSError):
            self._files.work.rmdir()  # where nothing is left to go on with

    def begin(self, tasks: Sequence[int], budget: Budget, anew: bool = False) -> bool:
        """Begins, or goes on where an earlier run has ended early.

        Args:
            tasks: that a person named; none: all of the project.
            budget: how long to learn.
            anew: forget what an earlier run has begun.

        Returns:
            Whether there is something to go on with.

        Raises:
            InputError: what an earlier run has begun has other settings.
        """
        if anew:
            self._forget()
        path = self._run / _SETTINGS
        settings = {
            "weights": self._engine.identity,
            "tasks": ", ".join(map(str, sorted(tasks))) or "all",
            "budget": f"{budget.steps} steps" if budget.steps else f"{budget.seconds:g} seconds",
            "recipe": self._recipe.identity,
        }
        if path.exists():
            try:
                known = dict(json.loads(path.read_text(encoding="utf-8")))
            except (OSError, ValueError, TypeError):
                raise InputError(f"{path} is damaged: begin again with --anew") from None
            for name, value in settings.items():
                if known.get(name) != value:
                    raise InputError(
                        f"an unfinished run has other {name} ({known.get(name)}, not {value}): give the same to go on "
                        "with it, or --anew to begin again"
                    )
            return True
        with atomic_write(path) as part:
            part.write_text(json.dumps(settings), encoding="utf-8")
        return False

    def learn(self, targets: Sequence[Target], budget: Budget) -> ProjectOutcome:
        """All of it, but for what an earlier run has done.

        Raises:
            NothingToLearnError: nobody has drawn anything that will do, or nothing can be held out.
            InputError: the folder cannot be used.
            PerclipError: of the server or the network.
            KeyboardInterrupt: interrupted; what was done is kept.
        """
        network = self._engine.loaded
        if not isinstance(network, PCVOS) or not network.compact:
            refuse_unsuited(network.config.name)
        assert isinstance(network, PCVOS)
        try:
            lessons, check, learned, warnings = self._learned(network, targets, budget)
        except NothingToLearnError:
            self._forget()  # so that the next run reads what people have drawn by then
            raise
        facts = LearnedProject(
            network.config.name,
            self._engine.weights,
            check.words,
            round(mean_score(learned.before), 4),
            round(mean_score(learned.after), 4),
            sum(len(indices) for _, indices in check.learned_from),
            learned.steps,
            time.strftime("%Y-%m-%d"),
            self._place.server.url,
        )
        earlier = self._files.read()
        if learned.is_better:
            with atomic_write(self._files.checkpoint) as part:
                save_network(learned.network, part, torch.float32)
            with atomic_write(self._files.facts) as part:
                part.write_text(self._files.facts_json(facts), encoding="utf-8")
        self._lock.check()
        tasks = len({lesson.task for lesson in lessons})
        return ProjectOutcome(check, learned, facts, tasks, learned.is_better, earlier, warnings)

    def _learned(
        self, network: PCVOS, targets: Sequence[Target], budget: Budget
    ) -> tuple[list[KeptLesson], ProjectCheck, ProjectLearned, list[str]]:
        warnings = self._fetch(targets)
        lessons = self._lessons()
        if not any(k.present for lesson in lessons for k in lesson.keyframes):
            why = f" ({'; '.join(warnings[:3])})" if warnings else ""
            raise NothingToLearnError(
                f"no keyframe to learn from: draw a mask or polygon on some frames of the tasks{why}"
            )
        check = ProjectCheck(lessons)
        self._fetch_between(check)
        learner = ProjectLearner(network, check, self._run, self._engine.options, self._recipe)
        return lessons, check, learner.learn(budget), warnings

    def finish(self) -> None:
        """Removes what only a run that goes on would need; once all else is written."""
        self._forget()

    def _forget(self) -> None:
        # Without its settings the rest counts no more, however far the removal comes.
        with suppress(OSError):
            (self._run / _SETTINGS).unlink()
        shutil.rmtree(self._run, ignore_errors=True)

    def _lessons(self) -> list[KeptLesson]:
        done = sorted(self._run.glob(f"task-*/{_DONE}"), key=lambda path: int(path.parent.name.removeprefix("task-")))
        folders = [path.parent / str(number) for path in done for number in range(self._note(path)["videos"])]
        return list(read_lessons(folders))

    def _fetch(self, targets: Sequence[Target]) -> list[str]:
        """Takes the keyframes of all tasks from the server, but for those that are here; gives warnings."""
        fetched = self._run / _FETCHED
        if not fetched.exists():
            warnings: list[str] = []
            with tqdm(targets, desc="reading keyframes", unit="task", dynamic_ncols=True, file=sys.stderr) as bar:
                for target in bar:
                    try:
                        warnings += self._fetch_task(target.task)
                    except ConnectionLostError:
                        raise
                    except CvatError as error:
                        if len(targets) == 1:
                            raise
                        warnings.append(f"task {target.task} is left out: {error}")
            with atomic_write(fetched) as part:
                part.write_text(json.dumps({"videos": 0, "warnings": warnings}), encoding="utf-8")
        return list(self._note(fetched)["warnings"])

    def _fetch_task(self, number: int) -> list[str]:
        folder = self._run / f"task-{number}"
        done = folder / _DONE
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)  # half of a task counts as none
            warnings, videos = [], 0
            lines = self._engine.options.short_side
            with self._place.open(read_task(self._place.server, number)) as task:
                outcome = TaskOutcome(number)
                found: Sequence[Lesson] = ()
                try:
                    plan = TaskRun(task, self._engine, BulkSettings()).plan(outcome)
                    found = lessons_of(plan, [task.frames_of(sequence.numbers) for sequence in plan.sequences])
                except NothingDrawnError:
                    pass
                except InputError as error:  # too many objects
                    warnings.append(str(error))
                for lesson in found:  # a keyframe's own picture or none
                    lines_kept = _ALL_LINES if lines is None else kept_lines(lines)
                    _, left_out = KeptLesson.keep(folder / str(videos), str(number), lesson, lines_kept)
                    warnings += left_out
                    videos += 1
                warnings += [f"job {job}: {why}" for job, why in outcome.failed.items()]
            with atomic_write(done) as part:
                notes = [f"task {number}: {warning}" for warning in warnings]
                part.write_text(json.dumps({"videos": videos, "warnings": notes}), encoding="utf-8")
        return list(self._note(done)["warnings"])

    def _fetch_between(self, check: ProjectCheck) -> None:
        """Takes the frames that the check looks at from the server, but for those that are here."""
        missing = list(check.missing())
        with tqdm(
            total=sum(len(indices) for _, indices in missing),
            desc="reading frames",
            unit="frame",
            dynamic_ncols=True,
            file=sys.stderr,
            disable=not missing,
        ) as bar:
            for lesson, indices in missing:
                with self._place.open(read_task(self._place.server, int(lesson.task))) as task:
                    frames = StandInFrames(task.frames_of(lesson.numbers))
                    for index in indices:
                        lesson.add(index, frames[index])
                        bar.update()

    def _note(self, path: Path) -> dict[str, Any]:
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            return {"videos": int(found["videos"]), "warnings": [str(text) for text in found["warnings"]]}
        except (OSError, ValueError, TypeError, KeyError):
            raise InputError(f"{path} is damaged: begin again with --anew") from None
