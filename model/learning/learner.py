"""Learning from the keyframes of a task: bounded in time, checked, and used only where the check says better."""

import copy
import hashlib
import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from tqdm import tqdm

from model.errors import InputError, PerclipError
from model.inference.prepared_network import choose_device
from model.learning.check import Check
from model.learning.keyframe_samples import KeyframeSamples
from model.learning.learned_weights import LearnedWeights, weights_digest
from model.learning.lesson import Lesson
from model.learning.recipe import DEFAULT_SECONDS, USUAL_TIME, LearningRecipe, refuse_unsuited
from model.learning.record import LearningRecord
from model.network.pcvos import PCVOS
from model.network.segmentation_network import SegmentationNetwork
from model.options import PropagationOptions
from model.propagation.propagator import Propagator
from model.training.recipe import Recipe
from model.training.trainer import Trainer

_PROBES = 2  # steps that are made to see how long one takes; the first is slow
_WAY_OUT = " (Ctrl-C: go on unlearned)"
_PLANNED = 0.75  # of the time after which it gives up, at most: a step may take longer than it did at first


class TimeIsUpError(PerclipError):
    """The time after which learning gives up is over."""


def seconds_on(device: str, asked: float) -> float:
    """How long to learn on a device, as `PropagationOptions.device` has it; `USUAL_TIME` becomes the usual one."""
    return DEFAULT_SECONDS[choose_device(device).type] if asked == USUAL_TIME else asked


@dataclass(frozen=True, eq=False)
class Learned:
    """What came of learning: the network that is to run, and what is to be said of it."""

    network: SegmentationNetwork
    record: LearningRecord


class Learner:
    """Learns from keyframes.

    The same weights, keyframes, settings and number of steps give the same network on one machine: what is drawn
    depends on the key alone. The number follows from what a step takes, is fixed before the first one, and kept.

    Args:
        network: as it is; of perclip-lite's kind. It is left alone.
        options: of the propagation, by which is checked.
        seconds: for all of it, the check included; about.
        recipe: what else decides.
        kept: where what was learned is looked for and kept; None: nowhere.
        progress: show a bar on standard error.
        ends: seconds after which it gives up, however far it is; never in the middle of a step or of a question of the
            check. None: it takes what it takes. What is learned does not depend on it.
    """

    def __init__(
        self,
        network: SegmentationNetwork,
        options: PropagationOptions,
        seconds: float,
        recipe: LearningRecipe | None = None,
        kept: LearnedWeights | None = None,
        progress: bool = False,
        ends: float | None = None,
    ):
        if not isinstance(network, PCVOS) or not network.compact:
            refuse_unsuited(network.config.name)
        assert isinstance(network, PCVOS)
        if not 0 < seconds < 1e6:
            raise InputError(f"--learn {seconds:g}: give the seconds to learn for, more than 0")
        self._network, self._options, self._seconds = network, options, seconds
        self._recipe = LearningRecipe() if recipe is None else recipe
        self._kept, self._progress, self._ends = kept, progress, ends
        self._deadline = math.inf

    def learn(
        self,
        lessons: Sequence[Lesson],
        known: Sequence[LearningRecord] = (),
        note: Callable[[LearningRecord], None] = lambda record: None,
    ) -> Learned:
        """Learns, or finds again what was learned.

        Neither Ctrl-C nor a failure ends the run: the network is given back as it was. Where it is known what runs and
        only has to be learned again, Ctrl-C is a KeyboardInterrupt as everywhere.

        Args:
            lessons: what to learn from.
            known: what earlier runs have noted of the same videos, the last one last. Of the same keyframes the number
                of steps and the verdict hold; of others, what was learned is what to begin with.
            note: told what is known by now, before the first step and at the end.
        """
        began = self._begin()
        left_out = tuple(sorted(lesson.number(i) for lesson in lessons for i in lesson.left_out))
        lessons = [lesson for lesson in lessons if lesson.keyframes]
        key = self.key(lessons)
        mine = next((record for record in reversed(known) if record.key == key), None)
        start, before = self._start(lessons, mine, known)
        begins = weights_digest(start)
        if mine is not None and mine.outcome == "earlier" and mine.weights != begins:
            mine = None  # what was learned before is not kept any more: all is to be learned anew
        if mine is None and self._kept is not None:
            mine = self._kept.record(key, begins)
        begun = LearningRecord(key, self._digest, "begun", start=begins, left_out=left_out)
        if mine is not None and mine.over:
            known_now = replace(mine, left_out=left_out)
            learned = self._again(known_now, lessons, start)  # it is decided what runs: Ctrl-C ends the run
        else:
            learned = Learned(self._network, replace(begun, weights=self._digest))
            steps = None if mine is None else mine.steps
            try:
                learned = self._anew(begun, lessons, start, Check(lessons, before), steps, note, began)
            except KeyboardInterrupt:
                learned = replace(learned, record=replace(learned.record, outcome="stopped"))
            except TimeIsUpError as error:
                learned = replace(learned, record=replace(learned.record, outcome="too slow", note=str(error)))
            except (PerclipError, torch.OutOfMemoryError) as error:
                why = str(error).splitlines()[0][:200]
                learned = replace(learned, record=replace(learned.record, outcome="failed", note=why))
            if learned.record.used:
                drawn = {d for lesson in lessons for masks in lesson.mask_digests for d in masks.values()}
                seen = before if learned.record.outcome == "earlier" else tuple(sorted({*before, *drawn}))
                learned = replace(learned, record=replace(learned.record, seen=seen))
            self._keep(learned)
        note(learned.record)
        return learned

    @cached_property
    def _digest(self) -> str:
        return weights_digest(self._network)

    def _start(
        self, lessons: Sequence[Lesson], mine: LearningRecord | None, known: Sequence[LearningRecord]
    ) -> tuple[PCVOS, tuple[str, ...]]:
        """The network to begin with, and the keyframes that it has learned from.

        As for the same keyframes before; else what was last learned, if it is kept, and a keyframe is left to check it.
        """
        plain = self._network, ()
        if self._kept is None:
            return plain
        if mine is None:
            last = next((r for r in reversed(known) if r.used and r.network == self._digest), None)
        else:
            last = next((r for r in known if r.used and r.weights == mine.start), None)
        if last is None or last.weights is None or not Check(lessons, last.seen).holds_out:
            return plain
        found = self._kept.network(last.weights)
        return plain if found is None else (found, last.seen)

    def again(self, known: LearningRecord, lessons: Sequence[Lesson]) -> Learned:
        """What an earlier run has learned from the same keyframes, beginning with this very network.

        Args:
            known: what that run has noted; over.
            lessons: the same.

        Returns:
            The network by the same steps, and what is noted of it: `weights` are those that were come to here.

        Raises:
            TimeIsUpError: they cannot be made in time.
            PerclipError: it fails.
        """
        self._begin()
        return self._again(known, lessons, self._network)

    def _begin(self) -> float:
        began = time.perf_counter()
        self._deadline = math.inf if self._ends is None else began + self._ends
        return began

    def _in_time(self) -> None:
        if time.perf_counter() > self._deadline:
            raise TimeIsUpError(f"{max(0.0, self._ends or 0.0):.2g} s are not enough")

    def key(self, lessons: Sequence[Lesson]) -> str:
        """Of all that decides what is learned, 32 hexadecimal digits; as `LearningRecord.key`."""
        facts = [
            self._digest,
            repr([(len(lesson.frames), lesson.mask_digests) for lesson in lessons]),
            self._recipe.identity,
            repr(sorted(self._options.deciding.items())),
            choose_device(self._options.device).type,
            repr(float(self._seconds)),
        ]
        return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:32]

    def _again(self, known: LearningRecord, lessons: Sequence[Lesson], start: PCVOS) -> Learned:
        """What an earlier run has learned, from where it is kept or by the same steps."""
        if not known.used:
            return Learned(self._network, known)
        if known.outcome == "earlier":
            return Learned(start, known)
        found = None if self._kept is None or known.weights is None else self._kept.network(known.weights)
        if found is None:
            samples = self._samples(lessons, known.key)
            with self._bar(known.steps) as bar:
                found = self._trained(start, samples, known.steps, bar)
            known = replace(known, start=weights_digest(start), weights=weights_digest(found))
            if self._kept is not None:
                self._kept.put(known, found)
        return Learned(found, known)

    def _anew(
        self,
        record: LearningRecord,
        lessons: Sequence[Lesson],
        start: PCVOS,
        check: Check,
        steps: int | None,
        note: Callable[[LearningRecord], None],
        began: float,
    ) -> Learned:
        def end(outcome: str, why: str = "") -> Learned:
            return Learned(self._network, replace(record, outcome=outcome, weights=self._digest, note=why))

        def before_that(why: str) -> Learned:
            """What was learned before this correction runs on."""
            assert earlier is not None
            after = round(earlier, 4)
            return Learned(start, replace(record, outcome="earlier", after=after, weights=record.start, note=why))

        recipe = self._recipe
        if not any(keyframe.present for lesson in lessons for keyframe in lesson.keyframes):
            return end("nothing to learn")
        if not check.possible:
            return end("no check", "there is one keyframe and hardly a frame beside it")
        samples = self._samples(check.lessons, record.key)
        if samples.empty:
            return end("nothing to learn")
        margin = recipe.margin if check.holds_out else recipe.cycle_margin
        with self._bar(None) as bar:
            bar.set_description_str(f"checking the network as it is{_WAY_OUT}")
            clock = time.perf_counter()
            before = check.score(Propagator(self._network, self._options), self._in_time)
            record = replace(record, check=check.words, before=round(before, 4))
            if 1 - before < margin:
                return end("nothing to gain")
            earlier = None if start is self._network else check.score(Propagator(start, self._options), self._in_time)
            # What the check takes another time.
            again = (time.perf_counter() - clock) / (1 if earlier is None else 2)
            rounds = 2 if check.holds_out else 1
            if steps is None:
                step = self._probe(start, samples)
                seconds = self._seconds if self._ends is None else min(self._seconds, _PLANNED * self._ends)
                left = seconds - (time.perf_counter() - began) - again
                steps = min(recipe.most_steps, int(left / step / rounds))
                if steps < recipe.least_steps:
                    if earlier is not None and earlier - before >= margin:
                        return before_that("the time is too short to learn on")
                    needed = time.perf_counter() - began + again + recipe.least_steps * rounds * step
                    return end("too slow", f"a step takes {step:.2g} s, {max(1, round(needed * 1.2))} seconds would do")
            record = replace(record, steps=steps)
            note(record)
            bar.reset(rounds * steps)
            bar.set_description_str(f"learning{_WAY_OUT}")
            learned = self._trained(start, samples, steps, bar)
            bar.set_description_str(f"checking{_WAY_OUT}")
            after = check.score(Propagator(learned, self._options), self._in_time)
            if earlier is not None and earlier - before >= margin and earlier >= after:
                return before_that(f"{steps} further steps made it no better")
            record = replace(record, after=round(after, 4))
            if after - before < margin:
                return end("not better")
            if check.holds_out:
                bar.set_description_str(f"learning from all keyframes{_WAY_OUT}")
                learned = self._trained(start, self._samples(lessons, record.key), steps, bar)
        return Learned(learned, replace(record, outcome="used", weights=weights_digest(learned)))

    def _keep(self, learned: Learned) -> None:
        # What was too slow today may not be so tomorrow.
        if self._kept is not None and learned.record.outcome not in ("too slow", "stopped", "failed"):
            network = learned.network if learned.record.used else None
            self._kept.put(learned.record, network if isinstance(network, PCVOS) else None)

    def _probe(self, network: PCVOS, samples: KeyframeSamples) -> float:
        """Seconds that a step takes."""
        trainer = self._trainer(network, self._recipe.training(self._recipe.most_steps, 0))
        taken = []
        for number in range(_PROBES):
            self._in_time()
            clock = time.perf_counter()
            trainer.learn(*samples.batch(number, self._recipe.most_steps))
            taken.append(time.perf_counter() - clock)
        return max(1e-6, taken[-1])

    def _trained(self, network: PCVOS, samples: KeyframeSamples, steps: int, bar: tqdm) -> PCVOS:
        """A copy of a network after so many steps, averaged; float32, on the CPU."""
        trainer = self._trainer(network, self._recipe.training(steps, samples.seed))
        for batch in samples.batches(steps):
            self._in_time()
            trainer.learn(*batch)
            bar.update()
        return averaged(trainer, network)

    def _samples(self, lessons: Sequence[Lesson], key: str) -> KeyframeSamples:
        return KeyframeSamples(lessons, self._recipe, self._options.short_side, key)

    def _trainer(self, network: PCVOS, recipe: Recipe) -> Trainer:
        return Trainer(copy.deepcopy(network), recipe, choose_device(self._options.device))

    def _bar(self, steps: int | None) -> tqdm:
        return tqdm(
            total=steps,
            desc="learning",
            unit="step",
            dynamic_ncols=True,
            file=sys.stderr,
            disable=not self._progress,
            leave=False,
        )


def averaged(trainer: Trainer, network: PCVOS) -> PCVOS:
    """What a training has come to: a copy of a network with the averaged weights; float32, on the CPU."""
    average = trainer.average.to("cpu", memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    # Laid out as a network that was read from a file, so that both compute the same.
    learned = copy.deepcopy(network)
    learned.load_state_dict(average.state_dict())
    return learned.eval()
