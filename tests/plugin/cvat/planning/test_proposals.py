"""A detector's shapes as keyframes (`--propose detector`): which of them stay is decided by their sequences."""

import pytest

from tests.plugin.cvat.program import JOB, blank_task, draw, mask_shape, remove, square, state_of

WHOLE = square(4, 4, 10)
UPPER, LOWER = WHOLE.copy(), WHOLE.copy()
UPPER[11:] = False
LOWER[:8] = False  # both overlap the whole by more than a half, and each other by less


def own(job):
    """What Perclip has written, behind what was there."""
    return list(job.shapes[3:])


def detected(frame, mask, score=None, **fields):
    return mask_shape(frame, mask, source="auto", **({} if score is None else {"score": score}), **fields)


@pytest.mark.parametrize("upper, lower, stays", [(0.4, 0.9, 1), (0.9, 0.4, 0), (None, 0.9, 0)])
def test_of_two_shapes_of_one_object_that_of_the_higher_score_is_the_keyframe(program_for, upper, lower, stays):
    state = state_of(blank_task(), version="2.56.0")  # older ones keep no score
    shapes = [detected(0, WHOLE, 0.5), detected(6, UPPER, upper), detected(6, LOWER, lower)]
    draw(state, shapes=shapes)
    program = program_for(state)
    outcome = program.propagate(proposals=2)
    assert list(outcome.names) == [1]
    (told,) = [text for text in outcome.joined if "shows what" in text]
    where = ["at (8, 7)", "at (8, 10)"]
    assert where[stays] in told.split("shows")[0] and where[1 - stays] in told.split("shows", 1)[1]
    job = state.jobs[JOB][1]
    mine = own(job)
    written = {s["frame"]: s["points"] for s in mine}
    assert written[7] == mask_shape(7, (UPPER, LOWER)[stays])["points"]
    assert [s["points"] for s in job.shapes[:3]] == [s["points"] for s in shapes]  # theirs stay as they are
    again = program.propagate(proposals=2)
    assert own(job) == mine and list(again.names) == [1] and again.joined == []


def test_without_the_shape_that_showed_it_better_a_shape_is_looked_at_again(program_for):
    state = state_of(blank_task())
    _, upper, _ = draw(state, shapes=[detected(0, WHOLE), detected(6, UPPER, 0.9), detected(6, LOWER, 0.4)])
    program = program_for(state)
    program.propagate(proposals=2)
    remove(state, upper)
    outcome = program.propagate(proposals=2)
    assert outcome.drawn == {1: [0, 6]}


def test_what_a_person_draws_or_names_all_stays(program_for):
    state = state_of(blank_task())
    draw(state, shapes=[mask_shape(0, WHOLE), mask_shape(6, UPPER), mask_shape(6, LOWER)])
    assert len(program_for(state).propagate(proposals=2).names) == 2
    state = state_of(blank_task())
    draw(state, shapes=[detected(0, WHOLE), detected(6, UPPER, 0.9, group=1), detected(6, LOWER, 0.1, group=2)])
    assert len(program_for(state).propagate(proposals=2).names) == 2


def test_a_shape_with_a_group_stays_whatever_its_score(program_for):
    state = state_of(blank_task(), version="2.56.0")
    draw(state, shapes=[detected(0, WHOLE, 0.9), detected(0, UPPER, 0.1, group=3), detected(6, WHOLE, 0.5, group=3)])
    assert list(program_for(state).propagate(proposals=2).names) == [3]


def test_what_was_left_out_stays_so_after_a_run_that_wrote_nothing(program_for):
    state = state_of(blank_task(), version="2.56.0")
    draw(state, shapes=[detected(0, WHOLE, 0.5), detected(6, UPPER, 0.9), detected(6, LOWER, 0.4)])
    program = program_for(state)
    program.propagate(proposals=2)
    job = state.jobs[JOB][1]
    for _ in range(2):
        del job.shapes[3:]  # all that Perclip wrote
        outcome = program.propagate(proposals=2)
        assert list(outcome.names) == [1] and outcome.joined == []
