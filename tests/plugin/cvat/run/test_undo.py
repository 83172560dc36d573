"""Taking back what was written, and the group numbers that this sets free."""

from tests.plugin.cvat.program import (
    JOB,
    blank_task,
    draw,
    edit,
    mask_shape,
    polygon_track,
    remove,
    square,
    state_of,
)


def test_undo_removes_exactly_what_was_written_and_not_touched(program_for):
    state = state_of(blank_task())
    theirs = draw(state, shapes=[mask_shape(0, square(2, 2)), mask_shape(4, square(9, 9), source="auto", label=2)])
    program = program_for(state)
    program.propagate()
    job = state.jobs[JOB][1]
    edited = edit(state, next(s for s in job.shapes if s["frame"] == 5), points=mask_shape(5, square(9, 3))["points"])
    remove(state, next(s for s in job.shapes if s["frame"] == 6))
    undone = program.undo(dry=True)
    assert len(job.shapes) == 10 and undone.deleted == 7
    assert program.undo() == undone
    assert sorted(s["id"] for s in job.shapes) == sorted([*(t["id"] for t in theirs), edited["id"]])
    assert program.undo().deleted == 0
    program.propagate()  # and all can be made again
    assert sorted(s["frame"] for s in job.shapes if s["label_id"] == 1) == list(range(10))


def test_undo_takes_tracks_back_but_not_a_track_that_a_person_edited(program_for):
    state = state_of(blank_task(20))
    draw(state, tracks=[polygon_track({0: square(2, 2), 10: square(8, 2)})])
    program = program_for(state)
    program.propagate()
    job = state.jobs[JOB][1]
    ours = [t for t in job.tracks if t["source"] == "auto"]
    assert len(ours) == 2
    changed = {**ours[0], "shapes": [{**s, "occluded": True} for s in ours[0]["shapes"]]}
    with state.lock:
        state.update(job, {"tracks": [changed]})
    assert program.undo().deleted == 1
    assert len(job.tracks) == 2
    program.propagate()
    assert len([t for t in job.tracks if t["shapes"][0]["occluded"]]) == 1


def groups_of(state, job=JOB):
    return sorted({s["group"] for s in state.jobs[job][1].shapes if s["source"] == "auto"})


def test_after_an_undo_the_lowest_group_numbers_are_free_again(program_for):
    state = state_of(blank_task())
    draw(state, shapes=[mask_shape(0, square(2, 2)), mask_shape(0, square(20, 12))])
    program = program_for(state)
    for _ in range(3):
        program.propagate()
        assert groups_of(state) == [1, 2]
        job = state.jobs[JOB][1]
        remove(state, next(s for s in job.shapes if s["frame"] == 6))  # deleted by a person: nothing bears it any more
        program.undo()


def test_group_numbers_that_anything_on_the_server_bears_are_not_taken(program_for):
    state = state_of(blank_task())
    draw(state, shapes=[mask_shape(0, square(2, 2)), mask_shape(0, square(20, 12))])
    draw(
        state, shapes=[mask_shape(3, square(9, 9), 2, group=1, source="auto"), mask_shape(4, square(9, 9), 2, group=4)]
    )
    program = program_for(state)
    program.propagate(labels=("car",))
    assert groups_of(state) == [1, 2, 3]  # 1 is the other program's
    edited = next(s for s in state.jobs[JOB][1].shapes if s["group"] == 2 and s["frame"] == 5)
    edit(state, edited, points=mask_shape(5, square(9, 3))["points"], label_id=2)
    program.undo()
    program.propagate(labels=("car",))
    assert groups_of(state) == [1, 2, 3, 5]  # and 2 is borne by what a person has kept


def test_undo_counts_what_people_have_touched_whatever_its_source(program_for):
    state = state_of(blank_task())
    draw(state, shapes=[mask_shape(0, square(2, 2))])
    program = program_for(state)
    program.propagate()
    job = state.jobs[JOB][1]
    for frame, source in ((4, "auto"), (5, "manual"), (6, "semi-auto")):
        shape = next(s for s in job.shapes if s["frame"] == frame)
        edit(state, shape, source=source, points=mask_shape(0, square(9, 3))["points"])
    assert program.undo(dry=True).kept == program.undo().kept == program.undo().kept == 3
