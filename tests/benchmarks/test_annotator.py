"""The simulated annotator: which frames are corrected, what that costs, and what is counted."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest

from benchmarks.annotator import MODES, POLICIES, CorrectedSequence, annotate, changed_by
from model import FrameResult, InputError
from model.data.annotated_sequences import AnnotatedSequence
from model.evaluation.semi_supervised import Task, score_frame

LENGTH = 12


class Fake:
    """Stands for a propagator: prepared label maps and confidences, keyframes as they are; remembers its calls."""

    def __init__(self, answers: Sequence[np.ndarray], confidence: dict[int, dict[int, float]] | None = None):
        self.answers, self.confidence, self.calls = answers, confidence or {}, []

    def run(self, frames, keyframes, start, stop, direction):
        drawn = {k.index: k for k in keyframes}
        self.calls.append((sorted(drawn), start, stop, direction))
        self.drawn = drawn
        for index in range(start, stop):
            label_map = self.answers[index]
            if index in drawn:
                kept = np.where(np.isin(label_map, drawn[index].objects), 0, label_map)
                label_map = np.where(drawn[index].label_map > 0, drawn[index].label_map, kept)
            yield FrameResult(index, label_map, {1: 0.8, 3: 0.8} | self.confidence.get(index, {}), index in drawn)


@pytest.fixture
def truth() -> np.ndarray:
    """Object 1 on all frames; object 3 on the frames 2 and on; some void."""
    labels = np.zeros((LENGTH, 40, 60), np.uint8)
    labels[:, 4:14, 4:14] = 1
    labels[2:, 20:30, 30:40] = 3
    labels[:, 0, :5] = 255
    return labels


@pytest.fixture
def bad(truth) -> np.ndarray:
    """Answers that are wrong everywhere, and most on frame 7."""
    answers = np.roll(np.where(truth == 255, 0, truth), 2, axis=2)
    answers[7] = np.roll(answers[7], 2, axis=1)
    return answers


def corrected_sequence(propagator, truth: np.ndarray, frames: np.ndarray | None = None) -> CorrectedSequence:
    frames = np.zeros((*truth.shape, 3), np.uint8) if frames is None else frames
    return CorrectedSequence(propagator, Task(AnnotatedSequence("s", frames, list(truth))))


def corrections(propagator, truth, policy: str, rounds: int, **more) -> tuple[int, ...]:
    return list(annotate(corrected_sequence(propagator, truth), policy, "fusion", rounds, **more))[-1].corrected


def test_confidence_corrects_the_frame_with_the_least_confident_object(bad, truth):
    fake = Fake(bad, {5: {1: 0.9, 3: 0.2}, 8: {1: 0.4, 3: 0.4}, 9: {3: 0.5}})
    assert corrections(fake, truth, "confidence", 4) == (5, 8, 9)


def test_confidence_that_does_not_follow_the_truth_does_not_know_it(bad, truth):
    fake = Fake(bad, {4: {1: 0.1}})
    assert corrections(fake, truth, "confidence", 2) == (4,)
    assert corrections(fake, truth, "truth", 2) == (7,)


def test_even_halves_the_longest_stretch(bad, truth):
    # Frame 2 gives object 3: it is not corrected, the one behind it is.
    assert corrections(Fake(bad), truth, "even", 4) == (6, 3, 9)


def test_frames_near_annotated_ones_are_passed_over_while_there_are_others(bad, truth):
    fake = Fake(bad, {i: {1: c} for i, c in ((6, 0.1), (7, 0.2), (5, 0.3), (10, 0.4), (3, 0.5), (9, 0.6))})
    assert corrections(fake, truth, "confidence", 4) == (6, 7, 5)
    # 3 and 4 are near to frame 2, which gives an object; behind 10 nothing is left but near ones.
    assert corrections(fake, truth, "confidence", 4, distance=3) == (6, 10, 7)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("policy", POLICIES)
def test_no_annotated_frame_is_chosen_again_and_none_that_is_not_scored(bad, truth, policy, mode):
    # Doubt that a correction does not dispel, as of a confidence that is always low where something is thin.
    fake = Fake(bad, {i: {1: 0.1} for i in (0, 2, 5, LENGTH - 1)})
    rounds = list(annotate(corrected_sequence(fake, truth), policy, mode, 9))
    corrected = rounds[-1].corrected
    assert len(set(corrected)) == 8
    assert set(corrected) <= set(range(1, LENGTH - 1)) - {2}
    assert [r.keyframes for r in rounds] == list(range(1, 10))
    assert [r.corrected for r in rounds] == [corrected[:n] for n in range(9)]


def test_more_rounds_than_frames_are_an_error(bad, truth):
    with pytest.raises(InputError, match="s has 9 frames to choose from: too few for 10 rounds"):
        list(annotate(corrected_sequence(Fake(bad), truth), "even", "fusion", 10))


def test_a_corrected_frame_counts_as_perfect_and_the_rest_is_measured_apart(bad, truth):
    rounds = list(annotate(corrected_sequence(Fake(bad), truth), "even", "fusion", 5))
    everything = [r.everything.jf for r in rounds]
    # The answers do not learn from corrections: all that is gained is the annotator's own work.
    assert all(later > earlier for earlier, later in pairwise(everything))
    assert all(r.rest == r.rest_before for r in rounds)
    assert rounds[0].rest == rounds[0].everything
    assert rounds[-1].corrected == (6, 3, 9, 1)

    def j(index: int) -> list[float]:
        result = FrameResult(index, bad[index], {}, False)
        return [s.j for s in score_frame(AnnotatedSequence("s", [], list(truth)), result, (1, 3))]

    # Object 1 is scored on the frames 1 to 10; object 3 on 3 to 10, 3 of them corrected. Frame 7 is the worst.
    worst, others = j(7), j(4)
    expected = [(4 + worst[0] + 5 * others[0]) / 10, (3 + worst[1] + 4 * others[1]) / 8]
    assert rounds[-1].everything.j == pytest.approx(np.mean(expected))
    expected = [(worst[0] + 5 * others[0]) / 6, (worst[1] + 4 * others[1]) / 5]
    assert rounds[-1].rest.j == pytest.approx(np.mean(expected))


def test_the_rest_before_is_that_of_the_same_frames(bad, truth):
    class Learning(Fake):
        def run(self, frames, keyframes, start, stop, direction):
            if len(keyframes) > 2:
                self.answers = np.where(truth == 255, 0, truth)
            yield from super().run(frames, keyframes, start, stop, direction)

    first, second = annotate(corrected_sequence(Learning(bad), truth), "truth", "fusion", 2)
    assert second.rest.jf == 1
    assert first.rest.jf < second.rest_before.jf < 1  # frame 7, the worst, is not among them


def test_a_correction_speaks_for_all_objects_and_void_is_none(bad, truth):
    truth[6][truth[6] == 1] = 0  # hidden
    fake = Fake(bad)
    list(annotate(corrected_sequence(fake, truth), "even", "fusion", 2))
    assert fake.drawn[6].objects == (1, 3)
    assert fake.drawn[6].present == (3,)


def test_only_the_stretches_around_a_correction_are_run(bad, truth):
    """The masks of round 1 lie on the frames 0 and 2; behind them, `even` corrects the frames 6, 3 and 9."""
    fake = Fake(bad)
    sequence = corrected_sequence(fake, truth)
    rounds = list(annotate(sequence, "even", "forward", 4))
    assert fake.calls == [
        ([0, 2], 1, 11, "forward"),
        ([0, 2, 6], 6, 11, "forward"),
        ([0, 2, 3], 3, 6, "forward"),
        ([0, 2, 9], 9, 11, "forward"),
    ]
    assert [(r.rerun.start, r.rerun.stop) for r in rounds] == [(0, 12), (6, 12), (3, 6), (9, 12)]
    fake.calls.clear()
    rounds = list(annotate(sequence, "even", "fusion", 4))
    # Behind the last mask nothing acts back: those stretches are known from the forward ones.
    assert fake.calls == [
        ([0, 2], 1, 11, "both"),
        ([0, 2, 6], 1, 6, "both"),
        ([0, 2, 3], 1, 3, "both"),
        ([0, 2, 3, 6], 3, 6, "both"),
        ([0, 2, 6, 9], 6, 9, "both"),
    ]
    assert [(r.rerun.start, r.rerun.stop) for r in rounds] == [(0, 12), (0, 12), (0, 6), (6, 12)]
    fake.calls.clear()
    list(annotate(sequence, "even", "fusion", 4))
    assert not fake.calls


def full_run(propagator, sequence: CorrectedSequence, corrected: Sequence[int], mode: str) -> dict:
    """The scores from runs over the whole sequence that share nothing: one, or forward one for each stretch."""
    task = sequence.task

    def run(keyframes: Sequence[int], direction: str) -> dict:
        given = [*task.keyframes, *(sequence._correction(i) for i in keyframes)]
        results = propagator.run(task.sequence.frames, given, direction=direction)
        return {r.index: score_frame(task.sequence, r, task.scored[r.index]) for r in results if r.index in task.scored}

    if mode == "fusion":
        return run(corrected, "both")
    found = run((), "forward")
    for cut in sorted(corrected):
        whole = run([i for i in corrected if i <= cut], "forward")
        found |= {i: scores for i, scores in whole.items() if i >= cut}
    return found


@pytest.mark.parametrize("mode", MODES)
def test_what_is_run_again_gives_the_same_bits_as_running_all(lite, few, mode):
    """With the network; the second object is given on frame 2. Confidences are compared too, they show every bit."""
    late = few.labels.copy()
    late[:2][late[:2] == 2] = 0
    sequence = corrected_sequence(lite, late, few.frames)
    corrected, before = [], None
    for choice in (None, 8, 4, 6):
        if choice is not None:
            changed = changed_by(choice, corrected, 12, mode)
            corrected.append(choice)
        whole = full_run(lite, sequence, corrected, mode)
        assert sequence.scores(corrected, mode) == whole
        if before is not None:
            assert {i for i in whole if whole[i] != before[i]} <= set(changed)
            assert [s.j for s in whole[choice]] == [1, 1]
        before = whole


def test_forward_and_fusion_differ_before_a_correction(lite, squares):
    sequence = corrected_sequence(lite, squares.labels[:14], squares.frames[:14])
    forward, fusion = (sequence.scores([10], mode) for mode in MODES)
    assert all(forward[i] == fusion[i] for i in range(10, 13))
    assert all(forward[i] != fusion[i] for i in range(1, 10))
    assert forward == sequence.scores([], "forward") | {i: forward[i] for i in range(10, 13)}
