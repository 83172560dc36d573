"""A simulated annotator, who corrects one whole frame after the other.

Round 1 is the task of `model.evaluation.semi_supervised`: each object's first true mask. In every further round the
annotator looks at the result, chooses a frame and gives the true masks of all objects on it.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from model.data.annotated_sequences import VOID
from model.errors import InputError
from model.evaluation.scores import FrameScore, Measures, SequenceScore
from model.evaluation.semi_supervised import Task, score_frame
from model.keyframe import Keyframe
from model.propagation.propagator import Propagator

POLICIES = ("confidence", "truth", "even")
"""How the annotator chooses the next frame.

confidence: the frame whose least confident object is the lowest, as the product's list of doubtful frames shows it.
truth: the frame with the lowest mean J&F over its objects, which nobody can know; what a perfect confidence chooses.
even: the middle of the longest stretch between keyframes; looks at nothing. With 2, 4 and 8 keyframes they are evenly
spaced.
"""

MODES = ("forward", "fusion")
"""What a correction does.

forward: it acts forward in time only, up to the next corrected frame; frames before it know nothing of it.
fusion: it acts both ways; between two corrected frames both passes have both frames in memory and are fused.
"""

Scores = dict[int, list[FrameScore]]  # by frame, ascending


class CorrectedSequence:
    """The scores of one sequence for any set of corrected frames.

    A corrected frame speaks for all objects, so that it parts the sequence into stretches that know nothing of each
    other. Every stretch is propagated once, whichever policy asks for it.

    Attributes:
        task: what is given in round 1, and what is scored.
        propagated: frames that were propagated so far.
    """

    def __init__(self, propagator: Propagator, task: Task):
        self.task = task
        self.propagated = 0
        self._propagator, self._given = propagator, task.keyframes
        self._objects = sorted(o for given in task.given.values() for o in given)
        self._stretches: dict[tuple[str, int | None, int | None], Scores] = {}

    @property
    def choosable(self) -> list[int]:
        """The frames that an annotator may correct: those that are scored and of which nothing is given in round 1."""
        return [i for i in self.task.scored if i not in self.task.given]

    def scores(self, corrected: Sequence[int], mode: str) -> Scores:
        """The scores of all scored frames, those that are corrected among them."""
        cuts = sorted(corrected)
        found: Scores = {}
        for first, end in zip([None, *cuts], [*cuts, None]):
            found |= self._stretch(first, end, mode)
        return found

    def _stretch(self, first: int | None, end: int | None, mode: str) -> Scores:
        """The scores from a corrected frame, or None for the sequence's beginning, to before the next, or the end."""
        start, stop = first or 0, len(self.task.sequence.frames) if end is None else end
        acts_back = mode == "fusion" and (end is not None or self._given_behind(first))
        # Forward, where a stretch ends changes nothing before its end; so does fusion where nothing acts back.
        key = ("fusion", first, end) if acts_back else ("forward", first, None)
        known = self._stretches.setdefault(key, {})
        wanted = [i for i in self.task.scored if start <= i < stop]
        missing = [i for i in wanted if i not in known]
        if missing:
            corrections = [i for i in (first, end if acts_back else None) if i is not None]
            self._propagate(corrections, missing, "both" if acts_back else "forward", known)
        return {i: known[i] for i in wanted}

    def _given_behind(self, first: int | None) -> bool:
        """True if a mask is given behind the frame that a stretch starts from, so that a backward pass speaks in it."""
        origin = self._given[0].index if first is None else first
        return self._given[-1].index > origin

    def _propagate(self, corrections: Sequence[int], missing: Sequence[int], direction: str, known: Scores) -> None:
        sequence = self.task.sequence
        keyframes = [k for k in self._given if k.index not in corrections] + [self._correction(i) for i in corrections]
        start, stop = missing[0], missing[-1] + 1
        for result in self._propagator.run(sequence.frames, keyframes, start=start, stop=stop, direction=direction):
            self.propagated += 1
            if result.index in self.task.scored:
                known[result.index] = score_frame(sequence, result, self.task.scored[result.index])

    def drawn(self, corrected: Sequence[int]) -> list[Keyframe]:
        """All that the annotator has drawn, ascending: the masks of round 1 and the corrected frames."""
        given = [k for k in self._given if k.index not in corrected]
        return sorted([*given, *map(self._correction, corrected)], key=lambda k: k.index)

    def _correction(self, index: int) -> Keyframe:
        truth = self.task.sequence.label_maps[index]
        assert truth is not None  # only annotated frames are chosen
        return Keyframe(index, np.where(truth == VOID, 0, truth), self._objects)


@dataclass(frozen=True)
class Round:
    """What a sequence looks like after some corrections.

    Attributes:
        corrected: the corrected frames in the order of their correction; empty in round 1.
        rerun: the frames that the last correction changed; all of them in round 1.
        everything: the measures over all scored frames; corrected ones come back as they were given, with J = F = 1.
        rest: the measures over the scored frames that were never corrected.
        rest_before: the measures of these very frames before the last correction; in round 1 the same as `rest`.
    """

    corrected: tuple[int, ...]
    rerun: range
    everything: Measures
    rest: Measures
    rest_before: Measures

    @property
    def keyframes(self) -> int:
        """How many frames were annotated; the masks of round 1 count as one."""
        return 1 + len(self.corrected)


def annotate(sequence: CorrectedSequence, policy: str, mode: str, rounds: int, distance: int = 1) -> Iterator[Round]:
    """The rounds of one annotator, the first masks being round 1.

    Args:
        sequence: to work on.
        policy: one of POLICIES.
        mode: one of MODES.
        rounds: at least 1.
        distance: by confidence, a frame nearer than so many frames to an annotated one is passed over, as long as there
            are others: an annotator who has just corrected a frame sees at once that its neighbour is well.

    Raises:
        InputError: the sequence has too few frames for so many rounds.
    """
    if len(sequence.choosable) < rounds:
        raise InputError(
            f"{sequence.task.sequence.name} has {len(sequence.choosable)} frames to choose from: too few for {rounds} "
            "rounds; ask for fewer"
        )
    corrected: tuple[int, ...] = ()
    scores = before = sequence.scores(corrected, mode)
    rerun = range(len(sequence.task.sequence.frames))
    while True:
        rest = [i for i in scores if i not in corrected]
        yield Round(corrected, rerun, _measures(scores, scores), _measures(scores, rest), _measures(before, rest))
        if len(corrected) == rounds - 1:
            return
        choice = choose(policy, sequence, scores, corrected, distance)
        rerun = changed_by(choice, corrected, len(sequence.task.sequence.frames), mode)
        corrected += (choice,)
        before, scores = scores, sequence.scores(corrected, mode)


def choose(
    policy: str, sequence: CorrectedSequence, scores: Scores, corrected: Sequence[int], distance: int = 1
) -> int:
    """The frame that the annotator corrects next; the earlier of equals. See POLICIES and `annotate`."""
    free = [i for i in sequence.choosable if i not in corrected]
    if policy == "even":
        cuts = [0, *sorted(corrected), len(sequence.task.sequence.frames)]
        longest = max(range(1, len(cuts)), key=lambda n: cuts[n] - cuts[n - 1])
        middle = (cuts[longest - 1] + cuts[longest]) // 2
        return min(free, key=lambda i: abs(i - middle))
    if policy == "truth":
        return min(free, key=lambda i: np.mean([s.j + s.f for s in scores[i]]))
    annotated = (*sequence.task.given, *corrected)
    far = [i for i in free if all(abs(i - other) >= distance for other in annotated)]
    return min(far or free, key=_least_confident(scores))


def _least_confident(scores: Scores) -> Callable[[int], float]:
    return lambda index: min(s.confidence for s in scores[index])


def changed_by(choice: int, corrected: Sequence[int], length: int, mode: str) -> range:
    """The frames whose results a correction can change, given those that are corrected already."""
    before = max((i for i in corrected if i < choice), default=0)
    after = min((i for i in corrected if i > choice), default=length)
    return range(choice if mode == "forward" else before, after)


def _measures(scores: Scores, frames: Iterable[int]) -> Measures:
    chosen = tuple(score for i in frames for score in scores[i])
    return SequenceScore(chosen[0].sequence, chosen, 0, 0.0, 0.0).mean
