"""A simulated annotator's session with learning: what runs when, and what is measured of it."""

from dataclasses import replace
from itertools import count

import numpy as np
import pytest

import model.learning.learner as learner_module
from benchmarks.annotator import CorrectedSequence
from benchmarks.effort_gain import LearningGain
from benchmarks.learning_annotator import LearningSequence, fixed_steps
from model import InputError, PropagationOptions, load_network
from model.data.annotated_sequences import AnnotatedSequence
from model.evaluation.semi_supervised import Task
from model.learning.check import Check
from model.learning.learned_weights import LearnedWeights
from model.learning.recipe import LearningRecipe

_OPTIONS = PropagationOptions(short_side=None, dtype="float32", device="cpu")
_RECIPE = fixed_steps(
    replace(LearningRecipe(), batch=1, crop=64, clip_frames=1, objects=1, rate=1e-3, margin=0.05, cycle_margin=0.05), 1
)


@pytest.fixture
def task(few) -> Task:
    return Task(AnnotatedSequence("s", few.frames, list(few.labels)))


@pytest.fixture
def session(task, tmp_path) -> LearningSequence:
    return LearningSequence(load_network("perclip-lite"), _OPTIONS, task, _RECIPE, LearnedWeights(tmp_path / "kept"))


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(learner_module, "_PROBES", 1)


def test_it_learns_on_and_stretches_away_from_a_correction_keep_their_weights(lite, task, session, monkeypatch):
    rising = count()
    monkeypatch.setattr(Check, "score", lambda check, propagator, between=None: 0.1 + next(rising) / 10)
    plain = CorrectedSequence(lite, task)
    rounds = [session.scores(corrected, "fusion") for corrected in ((), (5,), (5, 8))]
    without = [plain.scores(corrected, "fusion") for corrected in ((), (5,), (5, 8))]
    assert all(on != off for on, off in zip(rounds, without))
    assert [r.outcome for r in session.records] == ["used"] * 3
    assert [r.start for r in session.records] == [session.records[0].network, *(r.weights for r in session.records[:2])]
    assert [r.check for r in session.records] == ["there and back again", "held-out keyframe 5", "held-out keyframe 8"]
    # The third round does not touch what lies before frame 5, although other weights run by then.
    assert all(rounds[2][i] == rounds[1][i] for i in range(1, 6))
    assert all(rounds[2][i] != rounds[1][i] for i in (6, 7, 9))


def test_what_is_refused_changes_nothing(lite, task, session, monkeypatch):
    monkeypatch.setattr(Check, "score", lambda check, propagator, between=None: 0.5)
    plain = CorrectedSequence(lite, task)
    for corrected in ((), (5,)):
        assert session.scores(corrected, "fusion") == plain.scores(corrected, "fusion")
    assert [(r.outcome, r.before, r.after) for r in session.records] == [("not better", 0.5, 0.5)] * 2


@pytest.mark.parametrize("raised", [KeyboardInterrupt, InputError])
def test_learning_that_ends_early_is_not_measured(session, monkeypatch, raised):
    """A user's run would go on without."""

    def end(*_):
        raise raised("no")

    monkeypatch.setattr(Check, "score", lambda check, propagator, between=None: 0.5)
    monkeypatch.setattr(learner_module.Trainer, "learn", end)
    with pytest.raises(raised):
        session.scores((), "fusion")


def row(sequence: str, mode: str, keyframes: int, jf: float, rest: float, learning: str = "") -> dict[str, str]:
    figures = {"keyframes": str(keyframes), "J&F": str(jf), "J&F rest": str(rest)}
    return {"sequence": sequence, "policy": "confidence", "mode": mode, "learning": learning, **figures}


def test_the_gain_is_of_the_same_sequence_and_round():
    rows = [
        row("b", "fusion", 1, 0.5, 0.5),
        row("b", "fusion", 2, 0.6, 0.55),
        row("a", "fusion", 1, 0.9, 0.9),
        row("a", "fusion", 2, 0.9, 0.9),
        row("a", "learning", 1, 0.88, 0.88, "used"),
        row("a", "learning", 2, 0.9, 0.9, "not better"),
        row("b", "learning", 1, 0.7, 0.7, "used"),
        row("b", "learning", 2, 0.64, 0.57, "used"),
    ]
    gain = LearningGain.of("confidence", rows)
    assert gain.mean == pytest.approx([0.09, 0.02]) and gain.mean_rest == pytest.approx([0.09, 0.01])
    assert gain.worst == [(pytest.approx(-0.02), "a"), (0.0, "")] and gain.used == [2, 1]
    assert np.allclose(gain.everything["b"], [0.2, 0.04])
    assert "| worst loss, all frames | -0.020 a | none |" in gain.lines()
    assert LearningGain.of("confidence", rows[:4]) is None and LearningGain.of("even", rows) is None
