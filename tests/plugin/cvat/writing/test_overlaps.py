"""Objects that overlap: each is read, carried and written whole."""

import copy

import numpy as np
import pytest

from model.errors import PerclipError
from model.keyframe import Keyframe
from plugin.cvat.planning.stretches import Window
from plugin.cvat.planning.task_plan import SequencePlan
from plugin.cvat.run.task_run import keyframes_in
from plugin.shapes import decode_mask
from tests.cvat_server import FakeJob, FakeLabel
from tests.plugin.cvat.program import (
    HEIGHT,
    JOB,
    WIDTH,
    NearestKeyframe,
    blank_task,
    draw,
    edit,
    mask_shape,
    polygon_shape,
    remove,
    state_of,
)

LABELS = [FakeLabel(1, "person"), FakeLabel(2, "helmet"), FakeLabel(3, "vest")]


def box(left, top, right, bottom):
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[top:bottom, left:right] = True
    return mask


PERSON, HELMET, VEST = box(6, 2, 20, 22), box(9, 2, 17, 8), box(6, 9, 20, 16)
Z_ORDER = {1: 0, 2: 5, 3: 2}


def worn(frame, dx=0, **fields):
    """A person with helmet and vest, the helmet on top."""
    masks = {1: PERSON, 2: HELMET, 3: VEST}
    return [mask_shape(frame, np.roll(masks[i], dx, 1), i, z_order=z, **fields) for i, z in Z_ORDER.items()]


def found(job, frame):
    """Label -> mask and z_order of what Perclip wrote on a frame."""
    return {
        s["label_id"]: (decode_mask(s["points"], HEIGHT, WIDTH), s["z_order"])
        for s in job.shapes
        if s["frame"] == frame and s["source"] == "auto"
    }


def check(job, frame, dx=0):
    masks = found(job, frame)
    assert sorted(masks) == [1, 2, 3], frame
    for label, true in ((1, PERSON), (2, HELMET), (3, VEST)):
        mask, z_order = masks[label]
        assert np.array_equal(mask, np.roll(true, dx, 1)), (frame, label)
        assert z_order == Z_ORDER[label]


@pytest.mark.parametrize("fields", [{}, {"group": 3}])
@pytest.mark.parametrize("order", [1, -1])
def test_a_person_with_helmet_and_vest_comes_back_as_three_whole_masks(program_for, order, fields):
    """Whatever the order in which they were drawn, and though one group ties them together; what was drawn stays."""
    state = state_of(blank_task(labels=LABELS))
    drawn = draw(state, shapes=worn(0, **fields)[::order])
    drawn += draw(state, shapes=worn(9, 2, **fields)[::order])
    before = copy.deepcopy(drawn)
    program_for(state).propagate()
    job = state.jobs[JOB][1]
    for frame in range(1, 9):
        check(job, frame, 0 if frame < 5 else 2)
    assert [s for s in job.shapes if s["source"] == "manual"] == before
    assert len(job.shapes) == 30


def test_a_shape_of_one_object_does_not_keep_the_others_from_its_frame(program_for):
    state = state_of(blank_task(labels=LABELS))
    draw(state, shapes=worn(0))
    draw(state, shapes=[mask_shape(4, PERSON, 1)])
    program_for(state).propagate()
    job = state.jobs[JOB][1]
    assert sorted(found(job, 4)) == [2, 3]
    assert np.array_equal(found(job, 4)[2][0], HELMET) and np.array_equal(found(job, 4)[3][0], VEST)


def test_what_is_drawn_within_an_object_during_the_run_takes_nothing_from_it(program_for):
    state = state_of(blank_task(labels=LABELS))
    draw(state, shapes=worn(0))

    class Busy(NearestKeyframe):
        def run(self, *args, **options):
            for result in super().run(*args, **options):
                if result.index == 2:
                    draw(state, shapes=[mask_shape(5, HELMET, 2)])
                yield result

    program_for(state, Busy()).propagate()
    masks = found(state.jobs[JOB][1], 5)
    assert sorted(masks) == [1, 3] and np.array_equal(masks[1][0], PERSON)


def test_a_corrected_part_is_carried_beside_its_whole(program_for):
    """The whole is not drawn where the new stretches begin and end: what was written of it there is whole, too."""
    state = state_of(blank_task(labels=LABELS))
    draw(state, shapes=worn(0))
    program = program_for(state)
    program.propagate()
    job = state.jobs[JOB][1]
    written = next(s for s in job.shapes if s["frame"] == 4 and s["label_id"] == 2)
    small = box(10, 3, 16, 7)
    edit(state, written, points=mask_shape(4, small)["points"], source="semi-auto")
    program.propagate()
    for frame in (1, 3, 5, 9):
        masks = found(job, frame)
        assert np.array_equal(masks[1][0], PERSON) and np.array_equal(masks[3][0], VEST)
        assert np.array_equal(masks[2][0], HELMET if frame == 1 else small if frame > 4 else masks[2][0])
    assert np.array_equal(found(job, 4)[1][0], PERSON)


def test_a_part_that_is_deleted_and_drawn_anew_in_the_group_of_all_takes_nothing_from_its_whole(program_for):
    state = state_of(blank_task(labels=LABELS))
    draw(state, shapes=worn(0, group=3))
    program = program_for(state)
    program.propagate()
    job = state.jobs[JOB][1]
    remove(state, next(s for s in job.shapes if s["frame"] == 4 and s["label_id"] == 2))
    draw(state, shapes=[mask_shape(4, box(10, 3, 16, 7), 2, group=3)])
    for _ in range(2):
        program.propagate()
        masks = found(job, 4)
        assert sorted(masks) == [1, 3] and np.array_equal(masks[1][0], PERSON)


def test_two_people_in_one_anothers_way_are_told_apart_with_what_they_wear(program_for):
    """Nothing ties their shapes together but where they are; what lies on top of a shape takes nothing from it."""
    state = state_of(blank_task(labels=LABELS))
    other = np.roll(PERSON, 8, 1), np.roll(HELMET, 8, 1)
    for frame, step in ((0, 1), (9, -1)):
        shapes = [mask_shape(frame, m, 1) for m in (PERSON, other[0])]
        shapes += [mask_shape(frame, m, 2, z_order=1) for m in (HELMET, other[1])]
        draw(state, shapes=shapes[::step])
    program_for(state).propagate()
    job = state.jobs[JOB][1]
    own = [s for s in job.shapes if s["source"] == "auto"]
    assert len(own) == 32 and len({s["group"] for s in own}) == 4
    for group in {s["group"] for s in own}:
        masks = [decode_mask(s["points"], HEIGHT, WIDTH) for s in own if s["group"] == group]
        assert len(masks) == 8 and all(np.array_equal(mask, masks[0]) for mask in masks)
        assert any(np.array_equal(masks[0], true) for true in (PERSON, HELMET, *other))


def test_an_object_drawn_twice_comes_back_twice(program_for):
    """As two shapes of one label on one frame, a mask and a polygon: two objects, and none eats the other."""
    state = state_of(blank_task(labels=LABELS))
    draw(state, shapes=[mask_shape(0, PERSON), polygon_shape(0, PERSON)])
    program_for(state).propagate()
    job = state.jobs[JOB][1]
    for frame in range(1, 10):
        shapes = [s for s in job.shapes if s["frame"] == frame]
        assert sorted(s["type"] for s in shapes) == ["mask", "polygon"]
        mask = next(s for s in shapes if s["type"] == "mask")
        assert np.array_equal(decode_mask(mask["points"], HEIGHT, WIDTH), PERSON)
    assert len({s["group"] for s in job.shapes} - {0}) == 2


def test_jobs_that_overlap_take_a_part_for_its_own_copy(program_for):
    """Whole and part of one label, half of it and more, drawn in both jobs on a frame of both."""
    jobs = [FakeJob(JOB, 0, 5), FakeJob(8, 4, 9)]
    state = state_of(blank_task(10, jobs, labels=LABELS))
    part = box(6, 2, 20, 15)
    for job, masks in ((JOB, (PERSON, part)), (8, (part, PERSON))):
        draw(state, job, shapes=[mask_shape(5, mask) for mask in masks])
    program_for(state).propagate()
    for job, frame in ((JOB, 1), (8, 9)):
        shapes = [s for s in state.jobs[job][1].shapes if s["frame"] == frame]
        areas = sorted(int(decode_mask(s["points"], HEIGHT, WIDTH).sum()) for s in shapes)
        assert areas == [part.sum(), PERSON.sum()]
    groups = {
        (s["group"], int(decode_mask(s["points"], HEIGHT, WIDTH).sum()))
        for job in (JOB, 8)
        for s in state.jobs[job][1].shapes
        if s["source"] == "auto"
    }
    assert len(groups) == 2


def test_a_run_that_was_cut_off_goes_on_with_whole_masks(program_for):
    state = state_of(blank_task(labels=LABELS))
    draw(state, shapes=worn(0))

    class Failing(NearestKeyframe):
        def run(self, *args, **options):
            for result in super().run(*args, **options):
                if result.index == 5:
                    raise PerclipError("cut off")
                yield result

    program = program_for(state, Failing())
    assert program.attempt().error
    program.engine = NearestKeyframe()
    program.propagate()
    for frame in range(1, 10):
        check(state.jobs[JOB][1], frame)


@pytest.mark.parametrize("is_drawn_over", [True, False])
def test_a_correction_covers_what_was_written_of_neighbours_but_not_of_what_it_lies_on(is_drawn_over):
    """Where a window begins on it; numbers are the window's own."""
    left, right, wider = box(4, 8, 12, 16), box(12, 8, 20, 16), box(4, 8, 15, 16)
    first = Keyframe(0, {2: left, 5: PERSON if is_drawn_over else right})
    context = {(4, 5): right}
    plan = SequencePlan(range(10), [], [first, Keyframe(4, {2: wider})], context=context)
    (keyframe,), numbers = keyframes_in(plan, Window(4, 9, ()))
    assert numbers == {1: 2, 2: 5} and keyframe.index == 0 and keyframe.objects == (1, 2)
    assert np.array_equal(keyframe.mask(1), wider)
    assert np.array_equal(keyframe.mask(2), right if is_drawn_over else right & ~wider)
