"""Semi-supervised evaluation: what a propagator makes of sequences whose true masks are known (DAVIS 2017)."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
import torch
from tqdm import tqdm

from model.data.annotated_sequences import VOID, AnnotatedSequence
from model.errors import InputError
from model.evaluation.metrics import contour_accuracy, region_similarity
from model.evaluation.scores import Evaluation, FrameScore, SequenceScore
from model.keyframe import Keyframe
from model.propagation.propagator import Propagator
from model.result import FrameResult

Watcher = Callable[[AnnotatedSequence, FrameResult, Sequence[FrameScore]], None]


@dataclass(frozen=True, eq=False)
class Task:
    """A sequence as the semi-supervised task poses it: each object's first true mask is given, the rest is asked for.

    The objects are all ids of the annotations but 0 and 255. The first and the last frame of the sequence are not
    scored, nor is an object on the frame that gives it and before. An object of the last frame alone is none.

    Attributes:
        sequence: frames and true masks.
        given: the objects whose first mask is on a frame, both ascending; never empty.
        scored: the objects to score in each frame that is scored, both ascending; never empty.

    Raises:
        InputError: no object, or none with a frame to score; names the sequence.
    """

    sequence: AnnotatedSequence
    given: dict[int, tuple[int, ...]]
    scored: dict[int, tuple[int, ...]]

    def __init__(self, sequence: AnnotatedSequence):
        seen: set[int] = set()
        given: dict[int, tuple[int, ...]] = {}
        scored: dict[int, tuple[int, ...]] = {}
        for index in range(len(sequence.frames) - 1):  # the last frame neither gives nor is scored
            truth = _truth(sequence, index)
            if truth is None:
                continue
            if seen:  # never on the first frame
                scored[index] = tuple(sorted(seen))
            new = set(np.flatnonzero(np.bincount(truth.ravel())).tolist()) - {0, VOID} - seen
            if new:
                given[index] = tuple(sorted(new))
                seen |= new
        if not seen:
            raise InputError(f"{sequence.name} has no object: annotate one with an id of 1..254 before the last frame")
        if not scored:
            raise InputError(
                f"{sequence.name} has no frame to score: annotate one behind the first mask, other than the last frame"
            )
        object.__setattr__(self, "sequence", sequence)
        object.__setattr__(self, "given", given)
        object.__setattr__(self, "scored", scored)

    @property
    def keyframes(self) -> list[Keyframe]:
        """The given masks, ascending; each speaks for the objects that it gives and no other."""
        return [
            Keyframe(index, np.where(np.isin(truth, new), truth, 0), new)
            for index, new in self.given.items()
            if (truth := _truth(self.sequence, index)) is not None
        ]


def evaluate(
    propagator: Propagator,
    sequences: Sequence[AnnotatedSequence],
    watcher: Watcher | None = None,
    progress: bool = False,
) -> Evaluation:
    """Runs and scores all sequences, see `Task` for what is given and what is scored.

    Args:
        propagator: network and options.
        sequences: at least one; frames and masks are read when they are needed and not kept.
        watcher: is told of every frame right after it is scored, off the clock: the sequence, the result, and the
            scores of its objects (none where the frame is not scored).
        progress: show a bar on standard error.

    Raises:
        InputError: a sequence cannot be scored (before any is run), or its masks are not of its frames' size.
    """
    if not sequences:
        raise InputError("no sequence to evaluate")
    tasks = [Task(sequence) for sequence in sequences]
    done = []
    with tqdm(tasks, unit="sequence", disable=not progress) as bar:
        for task in bar:
            bar.set_description(task.sequence.name)
            done.append(evaluate_task(propagator, task, watcher))
    return Evaluation(tuple(done))


def evaluate_task(propagator: Propagator, task: Task, watcher: Watcher | None = None) -> SequenceScore:
    """Runs and scores one sequence, forward from the given masks, see `evaluate`."""
    sequence = task.sequence
    running, decoding = _Stopwatch(propagator.device), _Stopwatch(propagator.device)
    scores: list[FrameScore] = []
    frames = 0
    with running:
        results = propagator.run(_TimedFrames(sequence.frames, decoding), task.keyframes, direction="forward")
    while True:
        with running:
            result = next(results, None)
        if result is None:
            break
        frames += 1
        asked = task.scored.get(result.index, ())
        found = score_frame(sequence, result, asked)
        scores += found
        if watcher is not None:
            watcher(sequence, result, found)
    return SequenceScore(sequence.name, tuple(scores), frames, running.seconds, decoding.seconds)


def score_frame(sequence: AnnotatedSequence, result: FrameResult, objects: Sequence[int]) -> list[FrameScore]:
    """Scores some objects of a result, each with its own mask; void pixels count for nothing.

    Raises:
        InputError: the frame is not annotated, or the annotation has another size.
    """
    if not objects:
        return []
    truth = _truth(sequence, result.index)
    if truth is None:
        raise InputError(f"{sequence.name}, frame {result.index}: there is no true mask to compare with")
    if truth.shape != result.masks.shape:
        sizes = [f"{m.shape[1]}x{m.shape[0]}" for m in (truth, result.masks)]
        raise InputError(f"{sequence.name}, frame {result.index}: the true mask is {sizes[0]}, the frame {sizes[1]}")
    counts = truth != VOID
    scores = []
    for obj in objects:
        mask, true_mask = result.mask(obj) & counts, truth == obj
        j, f = region_similarity(mask, true_mask), contour_accuracy(mask, true_mask)
        scores.append(FrameScore(sequence.name, obj, result.index, j, f, result.confidence.get(obj, 0.0)))
    return scores


def _truth(sequence: AnnotatedSequence, index: int) -> np.ndarray | None:
    """The label map of a frame, integers (H, W), or None; raises InputError for one that is no label map."""
    truth = sequence.label_maps[index]
    if truth is not None and (truth.ndim != 2 or truth.dtype.kind not in "iu"):
        raise InputError(
            f"{sequence.name}, frame {index}: the annotation is {truth.dtype} {truth.shape}; give a palette or grey "
            "PNG whose pixels are object ids"
        )
    return truth


class _Stopwatch:
    """Adds up time spent in `with` blocks; waits for a GPU at both ends, so that each block bears its own work only."""

    def __init__(self, device: torch.device):
        self.seconds = 0.0
        self._device, self._start = device, 0.0

    def __enter__(self) -> None:
        self._wait()
        self._start = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self._wait()
        self.seconds += time.perf_counter() - self._start

    def _wait(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)


class _TimedFrames(Sequence[np.ndarray]):
    """Frames that time their decoding."""

    def __init__(self, frames: Sequence[np.ndarray], stopwatch: _Stopwatch):
        self._frames, self._stopwatch = frames, stopwatch

    def __len__(self) -> int:
        return len(self._frames)

    @overload
    def __getitem__(self, index: int) -> np.ndarray: ...

    @overload
    def __getitem__(self, index: slice) -> list[np.ndarray]: ...

    def __getitem__(self, index: int | slice) -> np.ndarray | list[np.ndarray]:
        with self._stopwatch:
            # A slice of lazy frames would decode them behind our back.
            return list(self._frames[index]) if isinstance(index, slice) else self._frames[index]
