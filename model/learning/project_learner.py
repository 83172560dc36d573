"""Learning from the keyframes of many videos, for hours: a training that a kill does not end, and its check."""

import copy
import json
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor
from tqdm import tqdm

from model.errors import InputError
from model.inference.prepared_network import choose_device
from model.learning.kept_lessons import KeptLesson
from model.learning.keyframe_samples import MOST_KEYFRAMES, KeyframeSamples
from model.learning.learner import averaged
from model.learning.project_check import NothingToLearnError, ProjectCheck, Score, mean_score
from model.learning.recipe import LearningRecipe
from model.network.pcvos import PCVOS
from model.object_masks import ObjectMasks
from model.options import PropagationOptions
from model.program.atomic_write import atomic_write
from model.propagation.propagator import Propagator
from model.training.trainer import Trainer
from model.training.training_log import TrainingLog

STATE = "state.pt"
"""The file of a training that has begun."""

_PROGRESS = "progress.json"
_TOGETHER = 8  # neighbouring keyframes of a video that stay together
_STAY = 20  # steps with the same keyframes at hand; to make them ready takes as long as some steps
_PROBES = 2  # steps that are made to see how long one takes; the first is slow
_SAVE_EVERY = 60.0  # seconds
_MOST_STEPS = 1_000_000


@dataclass(frozen=True)
class Budget:
    """How long to learn.

    Attributes:
        seconds: about; the number of steps follows from what a step takes, and is fixed before the first one.
        steps: instead.

    Raises:
        InputError: a value is out of its range.
    """

    seconds: float = 3600.0
    steps: int | None = None

    def __post_init__(self) -> None:
        if not 0 < self.seconds < 1e7:
            raise InputError(f"--seconds {self.seconds:g}: give the seconds to learn for, more than 0")
        if self.steps is not None and not 1 <= self.steps <= _MOST_STEPS:
            raise InputError(f"--steps {self.steps}: give 1 to {_MOST_STEPS}")


@dataclass(frozen=True, eq=False)
class ProjectLearned:
    """What came of it.

    Attributes:
        network: that has learned.
        steps: of the optimiser.
        before: of the network as it was, on what is asked.
        after: of the one that has learned.
        answers: masks of the one that has learned, by question.
        is_better: clearly, as the recipe's margin says.
        folder: with `steps.csv`, the losses.
    """

    network: PCVOS
    steps: int
    before: list[Score]
    after: list[Score]
    answers: list[ObjectMasks]
    is_better: bool
    folder: Path


class ProjectLearner:
    """Learns from all that is not held out, in one number of steps that is fixed before the first.

    Whatever is known is kept in a folder at once, and a further run goes on from there: by the same steps to the same
    weights (a GPU nearly).

    Args:
        network: to begin with; it is left alone.
        check: says what is learned from, and what is asked.
        folder: of this learning; with whatever an earlier run has left there.
        options: of the propagation, by which is checked.
        recipe: all other settings but the number of steps.
    """

    def __init__(
        self,
        network: PCVOS,
        check: ProjectCheck,
        folder: Path,
        options: PropagationOptions,
        recipe: LearningRecipe,
    ):
        self._network, self._check, self._folder, self._options = network, check, folder, options
        self._recipe = recipe

    def learn(self, budget: Budget) -> ProjectLearned:
        """Learns, or goes on.

        Args:
            budget: a number of steps that an earlier run has fixed holds instead.

        Raises:
            NothingToLearnError: no keyframe shows an object well enough.
            InputError: the folder is damaged or cannot be written to.
            KeyboardInterrupt: interrupted; the state is kept.
        """
        progress = self._progress()
        samples = _BlockSamples(self._check.learned_from, self._recipe, self._options.short_side)
        before = [Score(**score) for score in progress.get("before", ())]
        if not before:
            before, _ = self._asked(self._network, "checking as it is")
            self._note(before=[asdict(score) for score in before])
        steps = progress.get("steps")
        if steps is None:
            steps = budget.steps or self._steps_in(budget.seconds, samples)
            self._note(steps=steps)
        trainer = self._trained(int(steps), samples)
        network = averaged(trainer, self._network)
        after, answers = self._asked(network, "checking what was learned")
        margin = self._recipe.margin if self._check.holds_out else self._recipe.cycle_margin
        is_better = mean_score(after) - mean_score(before) >= margin
        return ProjectLearned(network, int(steps), before, after, answers, is_better, self._folder)

    def _asked(self, network: PCVOS, what: str) -> tuple[list[Score], list[ObjectMasks]]:
        with _bar(len(self._check.asked), what, "keyframe") as bar:
            return self._check.answers(Propagator(network, self._options), bar.update)

    def _trainer(self, steps: int, resume: bool) -> Trainer:
        recipe, device = self._recipe.training(steps, _BlockSamples.seed), choose_device(self._options.device)
        path = self._folder / STATE
        if resume and path.exists():
            return Trainer.resumed(path, recipe, device)
        return Trainer(copy.deepcopy(self._network), recipe, device)

    def _steps_in(self, seconds: float, samples: "_BlockSamples") -> int:
        trainer, taken = self._trainer(_PROBES, resume=False), 0.0
        samples.batch(0, _PROBES)  # makes the first keyframes ready
        for number in range(_PROBES):
            clock = time.perf_counter()
            trainer.learn(*samples.batch(number, _PROBES))
            taken = time.perf_counter() - clock
        return max(1, min(_MOST_STEPS, int(seconds / max(taken, 1e-6))))

    def _trained(self, steps: int, samples: "_BlockSamples") -> Trainer:
        trainer = self._trainer(steps, resume=True)
        log = TrainingLog(self._folder, trainer.step)
        saved = time.perf_counter()
        with _deferred_interrupt() as interrupted, _bar(steps, "learning", "step", trainer.step) as bar:
            while trainer.step < steps:
                clock = time.perf_counter()
                batch = samples.batch(trainer.step, steps)
                wait = time.perf_counter() - clock
                losses = trainer.learn(*batch)
                log.step(trainer.step - 1, losses, wait, time.perf_counter() - clock)
                bar.update()
                bar.set_postfix(entropy=f"{losses.cross_entropy:.3f}", dice=f"{losses.dice:.3f}")
                over = trainer.step == steps or interrupted()
                if over or time.perf_counter() - saved > _SAVE_EVERY:
                    trainer.save(self._folder / STATE)
                    saved = time.perf_counter()
                if interrupted():
                    raise KeyboardInterrupt
        return trainer

    def _progress(self) -> dict[str, Any]:
        path = self._folder / _PROGRESS
        try:
            progress = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
            return dict(progress)
        except (OSError, ValueError, TypeError):
            raise InputError(f"{path} is damaged: begin again with --anew") from None

    def _note(self, **facts: Any) -> None:
        with atomic_write(self._folder / _PROGRESS) as part:
            part.write_text(json.dumps({**self._progress(), **facts}), encoding="utf-8")


class _BlockSamples:
    """Samples of any number of keyframes, of which as many are at hand at a time as the memory is good for.

    What is drawn depends on the step, the number of steps and the keyframes alone.
    """

    seed = 23

    def __init__(self, videos: Sequence[tuple[KeptLesson, Sequence[int]]], recipe: LearningRecipe, lines: int | None):
        self._recipe, self._lines = recipe, lines
        some = [
            (lesson, indices[first : first + _TOGETHER])
            for lesson, indices in videos
            for first in range(0, len(indices), _TOGETHER)
        ]
        self._blocks: list[list[tuple[KeptLesson, Sequence[int]]]] = [[]]
        for place in np.random.default_rng(self.seed).permutation(len(some)):
            size = sum(len(indices) for _, indices in self._blocks[-1])
            if self._blocks[-1] and size + len(some[place][1]) > MOST_KEYFRAMES:
                self._blocks.append([])
            self._blocks[-1].append(some[place])
        self._ready: tuple[int, KeyframeSamples] | None = None

    def batch(self, step: int, steps: int) -> tuple[Tensor, ...]:
        """As `KeyframeSamples.batch`; raises NothingToLearnError where no keyframe shows an object well."""
        count = len(self._blocks)
        stay = max(1, min(_STAY, steps // count))
        turn, place = divmod(step // stay, count)
        order = np.random.default_rng((self.seed, turn)).permutation(count)
        for block in np.roll(order, -place).tolist():
            samples = self._samples(block)
            if not samples.empty:
                with suppress(InputError):  # nothing is seen well in these: the next ones
                    return samples.batch(step, steps)
        raise NothingToLearnError("no keyframe shows an object well enough to learn from: draw larger objects")

    def _samples(self, block: int) -> KeyframeSamples:
        if self._ready is None or self._ready[0] != block:
            lessons = [lesson.lesson(indices) for lesson, indices in self._blocks[block]]
            self._ready = block, KeyframeSamples(lessons, self._recipe, self._lines, f"{self.seed:08x}")
        return self._ready[1]


@contextmanager
def _deferred_interrupt() -> Iterator[Callable[[], bool]]:
    """Ctrl-C is noted, so that a step is finished and its state kept; the second one interrupts at once."""
    noted = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield noted.is_set
        return

    def note(*_: object) -> None:
        if noted.is_set():
            raise KeyboardInterrupt
        noted.set()

    before = signal.signal(signal.SIGINT, note)
    try:
        yield noted.is_set
    finally:
        signal.signal(signal.SIGINT, before)


def _bar(total: int, what: str, unit: str, initial: int = 0) -> tqdm:
    return tqdm(total=total, initial=initial, desc=what, unit=unit, dynamic_ncols=True, file=sys.stderr, leave=False)
