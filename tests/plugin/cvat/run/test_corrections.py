"""After people have corrected frames, a further run repairs what lies beside them and nothing else."""

import pytest

from plugin.cvat.settings import OUTPUTS
from tests.cvat_server import FakeJob
from tests.plugin.cvat.program import (
    JOB,
    NearestKeyframe,
    blank_task,
    draw,
    edit,
    mask_shape,
    polygon_track,
    remove,
    square,
    state_of,
)


def ids_by_frame(state, group=None):
    return {s["frame"]: s["id"] for s in state.jobs[JOB][1].shapes if group is None or s["group"] == group}


def test_a_second_run_does_nothing(program_for):
    state = state_of(blank_task(20))
    draw(state, shapes=[mask_shape(0, square(2, 2)), mask_shape(10, square(9, 9))])
    program = program_for(state)
    program.propagate()
    before = [dict(s) for s in state.jobs[JOB][1].shapes]
    program.engine = NearestKeyframe()
    program.fake.log.clear()
    outcome = program.propagate()
    assert state.jobs[JOB][1].shapes == before
    assert program.engine.runs == [] and outcome.frames == 0
    assert not [m for m, _ in program.fake.log if m != "GET"]


@pytest.mark.parametrize("output", ["as-drawn", "polygon", "track"])
def test_only_the_stretches_beside_a_correction_are_computed_and_written(program_for, output):
    state = state_of(blank_task(40))
    draw(state, shapes=[mask_shape(f, square(2 + f // 4, 2)) for f in (0, 10, 20, 30)])
    program = program_for(state)
    program.propagate(output=output)
    job = state.jobs[JOB][1]
    before = {i["id"]: i for name in ("shapes", "tracks") for i in map(dict, getattr(job, name))}
    program.engine = NearestKeyframe()
    draw(state, shapes=[mask_shape(15, square(20, 12))])  # the person draws beside what is there
    program.propagate(output=output)
    assert [run[:2] for run in program.engine.runs] == [(1, 4), (1, 4)]  # in the windows 10..15 and 15..20
    after = {i["id"]: i for name in ("shapes", "tracks") for i in map(dict, getattr(job, name))}
    changed = [i for i in (*before, *after) if (i in before) != (i in after)]
    frames = {(before.get(i) or after[i])["frame"] for i in changed}
    assert frames and min(frames) >= 11 and max(frames) <= 19
    on_fifteen = [s for s in job.shapes if s["frame"] == 15]
    assert [s["source"] for s in on_fifteen] == ["manual"]
    assert all(before[i] == after[i] for i in before.keys() & after.keys())


def test_an_edited_shape_becomes_a_keyframe_whatever_its_new_id(program_for):
    state = state_of(blank_task(40))
    draw(state, shapes=[mask_shape(f, square(2, 2)) for f in (0, 20, 39)])
    program = program_for(state)
    program.propagate()
    ours = next(dict(s) for s in state.jobs[JOB][1].shapes if s["frame"] == 30)
    edit(state, ours, points=mask_shape(30, square(15, 15))["points"], source="semi-auto")
    before = ids_by_frame(state)
    program.propagate()
    after = ids_by_frame(state)
    # Those that are nearer to 30 than to 20 and 39; others come out as they were and stay.
    assert {f for f in after if after[f] != before[f]} == set(range(26, 35)) - {30}
    assert sorted(after) == list(range(40))


def test_a_shape_that_a_person_deleted_stays_away(program_for):
    state = state_of(blank_task(20))
    draw(state, shapes=[mask_shape(0, square(2, 2))])
    program = program_for(state)
    program.propagate()
    job = state.jobs[JOB][1]
    remove(state, next(s for s in job.shapes if s["frame"] == 7))
    program.propagate()
    assert sorted(s["frame"] for s in job.shapes) == [f for f in range(20) if f != 7]


def test_when_a_person_deleted_all_of_an_object_it_is_filled_again(program_for):
    state = state_of(blank_task(20))
    draw(state, shapes=[mask_shape(0, square(2, 2)), mask_shape(10, square(9, 9))])
    program = program_for(state)
    program.propagate()
    job = state.jobs[JOB][1]
    for stretch in (range(1, 10), range(11, 20)):
        for shape in [s for s in job.shapes if s["frame"] in stretch]:
            remove(state, shape)
        program.propagate()
        expected = [0, *range(10, 20)] if stretch.start == 1 else range(20)  # a stretch alone stays as they left it
        assert sorted(s["frame"] for s in job.shapes) == list(expected)


def test_a_new_keyframe_joins_the_object_that_earlier_runs_found(program_for):
    """One car per frame, none grouped: the corrected one is the same car, and our group stays the same."""
    state = state_of(blank_task(20))
    draw(state, shapes=[mask_shape(0, square(2, 2))])
    program = program_for(state)
    program.propagate()
    job = state.jobs[JOB][1]
    groups = {s["group"] for s in job.shapes if s["source"] == "auto"}
    remove(state, next(s for s in job.shapes if s["frame"] == 10))
    draw(state, shapes=[mask_shape(10, square(20, 10))])
    outcome = program.propagate()
    assert {s["group"] for s in job.shapes if s["source"] == "auto"} == groups
    assert len(outcome.names) == 1 and sorted(s["frame"] for s in job.shapes) == list(range(20))


def test_the_other_objects_come_from_what_was_written_of_them(program_for):
    """Where one object is corrected, the network is told where the others are at both ends of the stretch."""
    state = state_of(blank_task(40))
    cars = [mask_shape(f, square(2, 2)) for f in (0, 10, 20, 39)]
    draw(state, shapes=[*cars, mask_shape(0, square(20, 14), label=2)])
    program = program_for(state)
    program.propagate()
    people = ids_by_frame(state, group=2)
    program.engine = NearestKeyframe()
    draw(state, shapes=[mask_shape(15, square(9, 9))])
    program.propagate()
    assert program.engine.runs == [(1, 4, (1, 2)), (1, 4, (1, 2))]
    assert ids_by_frame(state, group=2) == people


def test_changing_the_keyframe_of_a_persons_track_repairs_its_neighbourhood(program_for):
    state = state_of(blank_task(30))
    track = draw(state, tracks=[polygon_track({0: square(2, 2), 10: square(4, 2), 20: square(6, 2)})])[0]
    program = program_for(state)
    program.propagate()
    job = state.jobs[JOB][1]
    before = {t["id"] for t in job.tracks}
    with state.lock:
        changed = {**track, "shapes": polygon_track({0: square(2, 2), 10: square(4, 9), 20: square(6, 2)})["shapes"]}
        state.update(job, {"tracks": [changed]})
    program.propagate()
    ours = [t for t in job.tracks if t["source"] == "auto"]
    assert sorted(t["frame"] for t in ours) == [1, 11, 21]
    assert [t["frame"] for t in ours if t["id"] in before] == [21]


@pytest.mark.parametrize("output", OUTPUTS)
def test_another_output_replaces_what_was_written(program_for, output):
    state = state_of(blank_task(12))
    draw(state, shapes=[mask_shape(0, square(2, 2))])
    program = program_for(state)
    program.propagate(output="mask")
    program.propagate(output=output)
    job = state.jobs[JOB][1]
    ours = [s for s in job.shapes if s["source"] == "auto"]
    if output == "track":
        assert not ours and len(job.tracks) == 1
    else:
        kind = "mask" if output in ("as-drawn", "one-track") else output
        assert {s["type"] for s in ours} == {kind} and sorted(s["frame"] for s in ours) == list(range(1, 12))


def test_frames_are_filled_in_parts(program_for):
    """A range today, the rest tomorrow; what was done is not done again."""
    state = state_of(blank_task(30, [FakeJob(JOB, 0, 29)]))
    draw(state, shapes=[mask_shape(0, square(2, 2))])
    program = program_for(state)
    program.propagate(frames=[range(5, 10)])
    program.propagate(frames=[range(20, 30)])
    job = state.jobs[JOB][1]
    assert sorted(s["frame"] for s in job.shapes) == [0, *range(5, 10), *range(20, 30)]
    program.propagate()
    assert sorted(s["frame"] for s in job.shapes) == list(range(30))
    assert [run[:2] for run in program.engine.runs] == [(5, 9), (20, 29), (1, 19)]


def test_tracks_are_written_whole_whatever_frames_are_named(program_for):
    """A part of a track would take the place of the whole one."""
    state = state_of(blank_task(12))
    draw(state, shapes=[mask_shape(0, square(2, 2))])
    program = program_for(state)
    job = state.jobs[JOB][1]

    def shown():
        ours = [t["shapes"] for t in job.tracks]
        return [(min(s["frame"] for s in t), max(s["frame"] for s in t)) for t in ours]

    program.propagate(output="track", frames=[range(3, 6)])
    assert shown() == [(1, 11)]
    draw(state, shapes=[mask_shape(4, square(20, 9))])
    program.propagate(output="track", frames=[range(6, 8)])
    assert sorted(shown()) == [(1, 4), (5, 11)]


@pytest.mark.parametrize(
    "before, options, change, left",
    [
        ((0, 2), {}, lambda state: draw(state, shapes=[mask_shape(1, square(9, 9))]), [3, 4, 5]),
        ((1,), {}, lambda state: draw(state, shapes=[mask_shape(0, square(9, 9))]), [2, 3, 4, 5]),
        ((0, 5), {"max_gap": 1}, lambda state: remove(state, state.jobs[JOB][1].shapes[1]), [1]),
        ((1, 3), {"direction": "forward"}, lambda state: remove(state, state.jobs[JOB][1].shapes[0]), [4, 5]),
    ],
)
@pytest.mark.parametrize("output", ["mask", "track"])
def test_what_no_keyframe_accounts_for_any_more_goes(program_for, before, options, change, left, output):
    """Though no frame beside it is to be filled in."""
    state = state_of(blank_task(6))
    draw(state, shapes=[mask_shape(f, square(2, 2)) for f in before])
    program = program_for(state)
    program.propagate(output=output, **options)
    change(state)
    program.propagate(output=output, **options)
    job = state.jobs[JOB][1]
    shapes = {s["frame"] for s in job.shapes if s["source"] == "auto"}
    for track in job.tracks:
        keyframes = {s["frame"]: s["outside"] for s in track["shapes"]}
        state_now = True
        for frame in range(6):
            state_now = keyframes.get(frame, state_now)
            shapes |= set() if state_now else {frame}
    assert sorted(shapes) == left


def test_a_persons_outside_keyframe_takes_the_masks_behind_it_away(program_for):
    state = state_of(blank_task(10))
    track = draw(state, tracks=[polygon_track({0: square(2, 2)})])[0]
    program = program_for(state)
    program.propagate(output="mask")
    job = state.jobs[JOB][1]
    with state.lock:
        state.update(job, {"tracks": [{**track, "shapes": polygon_track({0: square(2, 2), 5: None})["shapes"]}]})
    program.propagate(output="mask")
    assert [s["frame"] for s in job.shapes] == [1, 2]  # 3 and 4 are nearer to where it is absent


@pytest.mark.parametrize("cut", [False, True])
def test_an_edited_track_of_perclip_is_the_persons_wherever_it_is_to_be_seen(program_for, cut):
    state = state_of(blank_task(12))
    draw(state, shapes=[mask_shape(0, square(2, 2)), mask_shape(9, square(4, 2))])
    program = program_for(state)
    program.propagate(output="track")
    job = state.jobs[JOB][1]
    ours = next(t for t in job.tracks if t["frame"] == 1)
    moved = [{**s, "points": [p + 3 for p in s["points"]]} for s in ours["shapes"]]
    if cut:  # they begin it later
        moved = [{**moved[0], "frame": 4}, *moved[1:]]
    with state.lock:
        state.update(job, {"tracks": [{**ours, "shapes": moved}]})
    tracks = [dict(t) for t in job.tracks]
    outcome = program.propagate(output="track")
    assert [t for t in job.tracks if t in tracks] == tracks
    assert all(t["frame"] < 4 and t["shapes"][-1]["frame"] <= 4 for t in job.tracks if t not in tracks)
    assert bool(cut) == (len(job.tracks) > len(tracks)) and any(
        "edited by a person and are theirs" in w for w in outcome.warnings
    )


def test_redrawing_the_only_keyframe_replaces_all_that_came_of_it(program_for):
    """A saved change gives the shape a new id and content; nothing else tells whose the old masks are."""
    state = state_of(blank_task(12))
    drawn = draw(state, shapes=[mask_shape(4, square(2, 2)), mask_shape(4, square(22, 14))])  # two cars
    program = program_for(state)
    program.propagate()
    job = state.jobs[JOB][1]
    groups = {s["group"] for s in job.shapes}
    for item, place in zip(drawn, (3, 21)):
        edit(state, item, points=mask_shape(4, square(place, 10))["points"])
    program.propagate()
    ours = [s for s in job.shapes if s["source"] == "auto"]
    assert sorted(s["frame"] for s in ours) == sorted([f for f in range(12) if f != 4] * 2)
    assert {s["group"] for s in job.shapes} == groups
    assert {tuple(s["points"]) for s in ours} == {tuple(s["points"]) for s in job.shapes if s["source"] == "manual"}


def test_redrawn_far_away_the_only_object_of_its_label_is_still_the_same(program_for):
    state = state_of(blank_task(12))
    drawn = draw(state, shapes=[mask_shape(4, square(2, 2))])
    program = program_for(state)
    program.propagate()
    edit(state, drawn[0], points=mask_shape(4, square(22, 14))["points"])
    program.propagate()
    assert sorted(s["frame"] for s in state.jobs[JOB][1].shapes) == list(range(12))


def test_a_run_that_ends_early_leaves_no_doubles_where_it_came(program_for):
    state = state_of(blank_task(20, chunk_size=4))
    draw(state, shapes=[mask_shape(f, square(2, 2)) for f in (0, 10, 19)])
    program = program_for(state)
    program.propagate()
    draw(state, shapes=[mask_shape(f, square(12, 9)) for f in (5, 15)])
    for chunk in program.folder.glob("cache/*/*"):
        chunk.unlink()
    state.tasks[12].broken_chunks = (4,)  # frames 16 to 19
    assert program.attempt().error
    shapes = [s for s in state.jobs[JOB][1].shapes if s["frame"] < 10]
    assert sorted(s["frame"] for s in shapes) == list(range(10))
    assert {tuple(s["points"]) for s in shapes if s["frame"] in (4, 6)} == {
        tuple(mask_shape(0, square(12, 9))["points"])
    }


def test_another_label_for_the_only_keyframe_is_another_label_for_all(program_for):
    state = state_of(blank_task(12))
    drawn = draw(state, shapes=[mask_shape(4, square(2, 2))])
    program = program_for(state)
    program.propagate()
    edit(state, drawn[0], label_id=2)
    program.propagate()
    shapes = state.jobs[JOB][1].shapes
    assert sorted(s["frame"] for s in shapes) == list(range(12)) and {s["label_id"] for s in shapes} == {2}
