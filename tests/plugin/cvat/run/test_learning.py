"""Learning in CVAT tasks: the journal names who made what, and what is not computed again stays as it is."""

from dataclasses import replace

import pytest

from model.learning.record import LearningRecord
from plugin.cvat.run.bulk_report import facts_of
from tests.cvat_server import FakeJob
from tests.plugin.cvat.program import (
    JOB,
    NearestKeyframe,
    Program,
    blank_task,
    content,
    draw,
    edit,
    mask_shape,
    square,
    state_of,
)
from tests.plugin.cvat.task.test_damaged_frames import spoil, task


class Learning(NearestKeyframe):
    """Instead of a network that learns: other keyframes, other weights. Notes what it was told."""

    identity = "nearest learn 60"

    def __init__(self, outcome: str = "used"):
        super().__init__()
        self.outcome = outcome
        self.keyframes: list[tuple[int, ...]] = []
        self.known: list[list[LearningRecord]] = []
        self.after: list[NearestKeyframe] = []

    def learned(self, lessons, known, note):
        lessons = lessons()
        frames = tuple(k.index for lesson in lessons for k in lesson.keyframes)
        assert all(lesson.frames[k.index].shape[:2] == k.masks.shape for lesson in lessons for k in lesson.keyframes)
        assert all(lesson.labels for lesson in lessons)
        self.left_out = tuple(lesson.number(i) for lesson in lessons for i in lesson.left_out)
        self.keyframes.append(frames)
        self.known.append(list(known))
        note(LearningRecord(f"of {frames}", "plain", "begun", 40))
        record = LearningRecord(f"of {frames}", "plain", self.outcome, 40, "", 0.5, 0.7, weights=f"w{frames}")
        note(record)
        engine = NearestKeyframe()
        engine.made_with = f"learned {frames}" if record.used else self.made_with
        self.after.append(engine)
        return engine, record


def own(program: Program, state) -> dict[int, object]:
    job = state.jobs[JOB][1]
    return {shape["frame"]: (shape["id"], content(shape)) for shape in program.own(job)}


@pytest.fixture
def state():
    state = state_of(blank_task(20, [FakeJob(JOB, 0, 19)]))
    draw(state, shapes=[mask_shape(0, square(2, 2), group=1), mask_shape(10, square(6, 2), group=1)])
    return state


def test_the_learned_network_propagates_and_the_journal_and_the_report_say_so(program_for, state):
    engine = Learning()
    program = program_for(state, engine)
    outcome = program.propagate()
    assert engine.keyframes == [(0, 10)] and engine.runs == [] and engine.after[0].runs
    with program.journal() as journal:
        assert set(journal.made_with().values()) == {"learned (0, 10)"}
        (record,) = journal.learning()
    assert record.used and record.steps == 40
    facts = facts_of(outcome)
    assert "0.500 -> 0.700" in facts["learning"] and facts["weights"] == "2 stretches by learned (0, 10)"
    assert any("learned from the keyframes" in line for line in program.told)
    again = program.propagate()
    assert len(engine.keyframes) == 1 and not again.learning  # nothing to do, nothing to learn


def test_a_correction_learns_on_and_stretches_beside_it_alone_are_made_anew(program_for, state):
    engine = Learning()
    program = program_for(state, engine)
    program.propagate()
    before = own(program, state)
    draw(state, shapes=[mask_shape(15, square(9, 9), group=1)])
    outcome = program.propagate()
    assert engine.keyframes == [(0, 10), (0, 10, 15)]
    assert [record.key for record in engine.known[1]] == ["of (0, 10)"]
    after = own(program, state)
    assert {frame: after[frame] for frame in range(1, 10)} == {frame: before[frame] for frame in range(1, 10)}
    assert outcome.made_with == {"learned (0, 10)": 1, "learned (0, 10, 15)": 2}


def test_what_is_gone_on_with_by_other_weights_names_both(program_for, state):
    engine = Learning()
    program = program_for(state, engine)
    program.propagate(frames=(range(0, 5),))
    engine.outcome = "stopped"  # and what was kept is gone
    outcome = program.propagate()
    assert outcome.made_with == {"learned (0, 10); nearest": 1, "nearest": 1}
    assert "stopped" in outcome.learning


def test_with_and_without_learning_are_different_results(program_for, state):
    program = program_for(state, Learning())
    program.propagate()
    program.engine = NearestKeyframe()
    outcome = program.propagate()
    assert outcome.frames == 18 and not outcome.learning and "learning" not in facts_of(outcome)
    with program.journal() as journal:
        current = {stretch for stretch in journal.done()}
        assert {journal.made_with()[stretch] for stretch in current} == {"nearest"}


def test_undo_forgets_what_was_learned(program_for, state):
    program = program_for(state, Learning())
    program.propagate()
    program.undo()
    with program.journal() as journal:
        assert journal.learning() == [] and journal.made_with() == {}


def test_a_record_of_another_version_is_no_record(program_for, state):
    program = program_for(state, Learning())
    program.propagate()
    with program.journal() as journal:
        (record,) = journal.learning()
        journal.note_learning(replace(record, key="other", outcome="of tomorrow"))
        assert journal.learning() == [record]


def test_a_redrawn_keyframe_is_learned_from_anew(program_for, state):
    engine = Learning()
    program = program_for(state, engine)
    program.propagate()
    drawn = next(s for s in state.jobs[JOB][1].shapes if s["frame"] == 10 and s["source"] == "manual")
    edit(state, drawn, points=mask_shape(10, square(12, 12))["points"])
    program.propagate()
    assert len(engine.keyframes) == 2


@pytest.mark.parametrize("is_video", [False, True])
def test_a_keyframe_whose_picture_is_damaged_is_not_learned_from(program_for, is_video):
    state = task(is_video)  # drawn on frames 0 and 7
    engine = Learning()
    program = program_for(state, engine)
    spoil(program, {1: [3]}, is_video)
    program.propagate()
    assert engine.keyframes == [(0,)] and engine.left_out == (7,)
