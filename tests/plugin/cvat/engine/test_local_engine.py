"""The network in this process, learning from a task's keyframes for real: from the server and back to it."""

from itertools import count

import pytest

import model.learning.learner as learner
from model import PropagationOptions
from model.learning.check import Check
from model.learning.lesson import Lesson
from model.learning.recipe import LearningRecipe
from plugin.cvat.engine.engine import LocalEngine
from tests.cvat_server import FakeJob, FakeLabel, FakeTask
from tests.plugin.cvat.program import JOB, TASK, draw, mask_shape, state_of

_OPTIONS = PropagationOptions(short_side=48, dtype="float32", device="cpu")


@pytest.fixture
def one_step(tmp_path, monkeypatch):
    """Learning is one step, that the check finds better."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    tiny = LearningRecipe(most_steps=1, least_steps=1, batch=1, crop=64, clip_frames=1, objects=1)
    monkeypatch.setattr(learner, "LearningRecipe", lambda: tiny)
    monkeypatch.setattr(learner, "_PROBES", 1)
    rising = count()
    monkeypatch.setattr(Check, "score", lambda check, propagator, between=None: 0.3 + next(rising) / 20)


def test_a_task_is_learned_from_and_a_correction_learns_on(few, program_for, one_step):
    task = FakeTask(TASK, few.frames, [FakeJob(JOB, 0, 11)], labels=[FakeLabel(1, "car")], chunk_size=4)
    state = state_of(task)
    draw(state, shapes=[mask_shape(0, few.labels[0] == 1, group=1)])
    engine = LocalEngine("perclip-lite", None, _OPTIONS, learn=1e4)
    plain = LocalEngine("perclip-lite", None, _OPTIONS)
    assert engine.identity != plain.identity and engine.made_with == plain.made_with
    program = program_for(state, engine)
    assert program.propagate().frames == 11
    draw(state, shapes=[mask_shape(8, few.labels[8] == 1, group=1)])
    outcome = program.propagate()
    with program.journal() as journal:
        first, second = journal.learning()
    assert first.used and second.used and second.start == first.weights != first.network
    assert "held-out keyframe 8" in outcome.learning
    assert outcome.made_with == {f"{plain.made_with} learned {second.weights}": 2}
    assert plain.learned(lambda: pytest.fail("it reads"), [], lambda record: None) == (plain, None)


def test_what_learned_is_what_propagates(few, one_step):
    engine = LocalEngine("perclip-lite", None, _OPTIONS, learn=1e4)
    lesson = Lesson(few.frames, [few.keyframe(0)])
    learned, record = engine.learned(lambda: [lesson], [], lambda record: None)
    assert record is not None and record.used
    assert learned.identity == engine.identity and record.weights in learned.made_with
    after, before = ([r.confidence for r in e.run(few.frames, lesson.keyframes, 1, 4)] for e in (learned, engine))
    assert after != before
