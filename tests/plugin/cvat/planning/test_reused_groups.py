"""A group number of an object that people have deleted means whatever they give it to next."""

import pytest

from tests.cvat_server import FakeJob
from tests.plugin.cvat.program import JOB, blank_task, draw, edit, mask_shape, remove, square, state_of

NEXT = 8
OLD, OTHER, NEW = square(2, 2), square(22, 12), square(12, 2)


@pytest.fixture
def filled(program_for):
    """Two objects over two jobs, the first one drawn in both; and the program that has filled them in."""
    state = state_of(blank_task(12, [FakeJob(JOB, 0, 5), FakeJob(NEXT, 6, 11)]))
    draw(state, shapes=[mask_shape(0, OLD, group=1), mask_shape(0, OTHER, group=2)])
    draw(state, NEXT, shapes=[mask_shape(8, OLD)])
    program = program_for(state)
    assert sorted(program.propagate().names) == [1, 2]
    return state, program


def of_group(state, job, group):
    return [s for s in state.jobs[job][1].shapes if s["group"] == group]


def left_edges(state, job, group):
    """Left edges of what Perclip has written under a group number, by frame."""
    return {s["frame"]: int(s["points"][-4]) for s in of_group(state, job, group) if s["source"] == "auto"}


def test_a_number_that_is_used_again_in_one_job_is_not_the_object_of_another_job(filled):
    state, program = filled
    for shape in of_group(state, JOB, 1):
        remove(state, shape)
    draw(state, shapes=[mask_shape(f, NEW, group=1) for f in (1, 4)])
    outcome = program.propagate()
    assert sorted(outcome.names) == [1, 2, 3] and outcome.drawn == {1: [8], 2: [0], 3: [1, 4]}
    assert set(left_edges(state, JOB, 3).values()) == {12} and set(left_edges(state, NEXT, 1).values()) == {2}
    assert len(left_edges(state, JOB, 1)) == 6
    assert program.propagate().frames == 0  # and it stays so


def test_a_number_of_which_nothing_is_left_anywhere_is_taken_as_people_give_it(filled):
    state, program = filled
    deleted = [(job, shape) for job in (JOB, NEXT) for shape in of_group(state, job, 1)]
    deleted += [(NEXT, shape) for shape in of_group(state, NEXT, 0)]
    for job, shape in deleted:
        remove(state, shape, job)
    draw(state, shapes=[mask_shape(f, NEW, group=1) for f in (1, 4)])
    outcome = program.propagate()
    assert outcome.drawn == {1: [1, 4], 2: [0]} and set(left_edges(state, NEXT, 1).values()) == {12}
    # The first one comes back, as by undo in the page: it is itself and no other.
    draw(state, shapes=[mask_shape(0, OLD)])
    assert program.propagate().drawn == {1: [1, 4], 2: [0], 3: [0]}


def test_a_keyframe_that_is_drawn_anew_beside_what_was_written_is_still_the_object(filled):
    state, program = filled
    remove(state, of_group(state, JOB, 1)[0])
    draw(state, shapes=[mask_shape(3, NEW, group=1)])
    assert program.propagate().drawn == {1: [3, 8], 2: [0]}


@pytest.mark.parametrize("source", ["semi-auto", "auto"])
def test_a_mask_that_was_edited_is_still_the_object_when_all_others_are_gone(filled, source):
    state, program = filled
    first, *others = of_group(state, JOB, 1)
    for shape in (first, *others[1:]):
        remove(state, shape)
    edit(state, others[0], points=mask_shape(0, NEW)["points"], source=source)
    assert program.propagate().drawn == {1: [1, 8], 2: [0]}


def test_a_keyframe_of_which_nothing_was_written_keeps_its_number_when_it_is_drawn_anew(program_for):
    state = state_of(blank_task(1, [FakeJob(JOB, 0, 0)]))
    shape, _ = draw(state, shapes=[mask_shape(0, OLD, group=3), mask_shape(0, OTHER, group=5)])
    program = program_for(state)
    assert sorted(program.propagate().names) == [3, 5]
    edit(state, shape, points=mask_shape(0, NEW)["points"])
    assert sorted(program.propagate().names) == [3, 5]
