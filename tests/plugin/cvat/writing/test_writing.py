"""What ends up on the server, and where."""

import numpy as np
import pytest

from plugin.shapes import decode_mask
from tests.cvat_server import Attribute, FakeJob, FakeLabel
from tests.plugin.cvat.program import (
    HEIGHT,
    JOB,
    WIDTH,
    NearestKeyframe,
    blank_task,
    draw,
    mask_shape,
    polygon_shape,
    polygon_track,
    square,
    state_of,
)


def own(job, name="shapes"):
    return sorted((i for i in getattr(job, name) if i["source"] == "auto"), key=lambda i: i["frame"])


def test_masks_come_as_shapes_of_each_frame_tied_by_a_group(program_for):
    state = state_of(blank_task())
    draw(state, shapes=[mask_shape(0, square(2, 2)), mask_shape(0, square(20, 9), label=2)])
    program_for(state).propagate()
    job = state.jobs[JOB][1]
    for label, mask in ((1, square(2, 2)), (2, square(20, 9))):
        mine = [s for s in own(job) if s["label_id"] == label]
        assert [s["frame"] for s in mine] == list(range(1, 10))
        assert {s["type"] for s in mine} == {"mask"} and len({s["group"] for s in mine} - {0}) == 1
        assert all(np.array_equal(decode_mask(s["points"], HEIGHT, WIDTH), mask) for s in mine)
    assert job.tracks == []


def test_a_group_that_people_gave_is_kept_unless_others_use_it(program_for):
    state = state_of(blank_task())
    draw(state, shapes=[mask_shape(0, square(2, 2), group=5), mask_shape(0, square(20, 9), label=2, group=6)])
    draw(state, shapes=[{**mask_shape(4, square(9, 9), label=2, group=6), "type": "points", "points": [1, 2]}])
    program_for(state).propagate()
    groups = {label: {s["group"] for s in own(state.jobs[JOB][1]) if s["label_id"] == label} for label in (1, 2)}
    assert groups[1] == {5} and groups[2] != {6} and 0 not in groups[2]


def test_large_batches_not_single_requests(program_for):
    state = state_of(blank_task(100, [FakeJob(JOB, 0, 99)]))
    draw(state, shapes=[mask_shape(0, square(2, 2))])
    program = program_for(state)
    program.propagate()
    assert len([m for m, _ in program.fake.log if m == "PATCH"]) == 2  # may I?, and all shapes


def test_attributes_z_order_follow_the_nearest_keyframe(program_for):
    attributes = [Attribute(11, "colour", mutable=False, default="none"), Attribute(12, "pose", mutable=True)]
    state = state_of(blank_task(labels=[FakeLabel(1, "car", attributes=attributes)]))
    first = [{"spec_id": 11, "value": "red"}, {"spec_id": 12, "value": "left"}]
    draw(
        state,
        shapes=[mask_shape(0, square(2, 2), attributes=first, z_order=3), mask_shape(9, square(2, 2), z_order=1)],
    )
    program_for(state).propagate()
    job = state.jobs[JOB][1]
    found = {s["frame"]: ({a["spec_id"]: a["value"] for a in s["attributes"]}, s["z_order"]) for s in own(job)}
    assert all(found[f] == ({11: "red", 12: "left"}, 3) for f in range(1, 5))
    assert all(found[f] == ({11: "none", 12: ""}, 1) for f in range(5, 9))


@pytest.mark.parametrize("version, has_score", [("2.42.0", False), ("2.56.1", True)])
def test_scores_where_the_server_knows_them(program_for, version, has_score):
    state = state_of(blank_task(), version=version)
    draw(state, shapes=[mask_shape(0, square(2, 2))])
    program = program_for(state)
    program.propagate()
    shapes = own(state.jobs[JOB][1])
    assert [s.get("score") for s in shapes] == ([round(1 / (1 + f), 4) if has_score else None for f in range(1, 10)])
    program.fake.log.clear()
    program.propagate()
    assert not [m for m, _ in program.fake.log if m == "PATCH"]


def test_what_was_drawn_decides_the_type(program_for):
    state = state_of(blank_task(labels=[FakeLabel(1, "car"), FakeLabel(2, "person"), FakeLabel(3, "dog")]))
    draw(
        state,
        shapes=[polygon_shape(0, square(2, 2)), mask_shape(0, square(20, 9), label=2)],
        tracks=[polygon_track({0: square(12, 2)}, label=3)],
    )
    program_for(state).propagate()
    job = state.jobs[JOB][1]
    assert {s["type"] for s in own(job) if s["label_id"] == 1} == {"polygon"}
    assert {s["type"] for s in own(job) if s["label_id"] == 2} == {"mask"}
    assert [t["label_id"] for t in own(job, "tracks")] == [3]


def test_tracks_end_where_the_next_keyframe_is_and_before_the_job_ends(program_for):
    state = state_of(blank_task(12, [FakeJob(JOB, 0, 5), FakeJob(8, 6, 11)]))
    draw(state, shapes=[mask_shape(2, square(2, 2)), mask_shape(4, square(9, 2))])
    program_for(state).propagate(output="track")
    visible = {}
    for number in (JOB, 8):
        job = state.jobs[number][1]
        for track in own(job, "tracks"):
            shapes = {s["frame"]: s["outside"] for s in track["shapes"]}
            assert min(shapes) >= job.start and max(shapes) <= job.stop
            last = None
            for frame in range(min(shapes), job.stop + 1):
                last = shapes.get(frame, last)
                if not last:
                    assert frame not in visible
                    visible[frame] = number
    assert sorted(visible) == [0, 1, 3, *range(5, 12)]
    assert all(number == (JOB if frame <= 5 else 8) for frame, number in visible.items())


def test_a_label_of_one_type_gets_that_type(program_for):
    state = state_of(blank_task(labels=[FakeLabel(1, "car", kind="polygon")]))
    draw(state, shapes=[polygon_shape(0, square(2, 2))])
    program_for(state).propagate(output="mask")
    assert {s["type"] for s in state.jobs[JOB][1].shapes} == {"polygon"}


def test_jobs_get_the_frames_of_their_own_range_overlaps_both(program_for):
    state = state_of(blank_task(12, [FakeJob(JOB, 0, 6), FakeJob(8, 5, 11)]))
    draw(state, shapes=[mask_shape(0, square(2, 2))])
    program_for(state).propagate()
    assert [s["frame"] for s in own(state.jobs[JOB][1])] == list(range(1, 7))
    assert [s["frame"] for s in own(state.jobs[8][1])] == list(range(5, 12))


def test_deleted_frames_are_neither_written_nor_keyframes(program_for):
    state = state_of(blank_task(deleted=(3, 4)))
    draw(state, shapes=[mask_shape(0, square(2, 2)), mask_shape(4, square(20, 9))])
    program_for(state).propagate()
    job = state.jobs[JOB][1]
    assert [s["frame"] for s in own(job)] == [1, 2, 5, 6, 7, 8, 9]
    assert len({tuple(s["points"]) for s in own(job)}) == 1


def test_named_jobs_alone_are_written(program_for):
    state = state_of(blank_task(12, [FakeJob(JOB, 0, 5), FakeJob(8, 6, 11)]))
    draw(state, shapes=[mask_shape(0, square(2, 2))])
    program_for(state).propagate(jobs=(JOB,))
    assert [s["frame"] for s in own(state.jobs[JOB][1])] == [1, 2, 3, 4, 5]
    assert state.jobs[8][1].shapes == []


@pytest.mark.parametrize(
    "chosen, frames",
    [
        ({"direction": "forward"}, [5, 6, 7, 8, 9]),
        ({"direction": "backward"}, [0, 1, 2, 3]),
        ({"max_gap": 2}, [2, 3, 5, 6]),
        ({"min_confidence": 0.3}, [2, 3, 5, 6]),
        ({"frames": [range(0, 3), range(8, 9)]}, [0, 1, 2, 8]),
        ({"direction": "forward", "max_gap": 1}, [5]),
    ],
)
def test_limits(program_for, chosen, frames):
    state = state_of(blank_task())
    draw(state, shapes=[mask_shape(4, square(2, 2))])
    program_for(state).propagate(**chosen)
    assert [s["frame"] for s in own(state.jobs[JOB][1])] == frames


def test_only_the_labels_asked_for(program_for):
    state = state_of(blank_task())
    draw(state, shapes=[mask_shape(0, square(2, 2)), mask_shape(0, square(20, 9), label=2)])
    program = program_for(state)
    program.propagate(labels=["person"])
    assert {s["label_id"] for s in own(state.jobs[JOB][1])} == {2}
    assert "no label 'horse', only car, person" in program.attempt(labels=["horse"]).error


def test_a_dry_run_writes_nothing_and_remembers_nothing(program_for):
    state = state_of(blank_task())
    draw(state, shapes=[mask_shape(0, square(2, 2))])
    program = program_for(state)
    outcome = program.propagate(dry=True)
    assert outcome.frames == 9 and outcome.written.created == 9 and outcome.pictures
    assert not [m for m, _ in program.fake.log if m != "GET"]
    assert not list(program.folder.glob("journal/**/*"))
    program.propagate()
    before = [dict(s) for s in state.jobs[JOB][1].shapes]
    draw(state, shapes=[mask_shape(5, square(12, 12))])
    program.propagate(dry=True)
    assert state.jobs[JOB][1].shapes[:10] == before and len(state.jobs[JOB][1].shapes) == 11


@pytest.mark.parametrize("output", ["mask", "polygon", "track"])
def test_a_dry_run_tells_what_the_run_will_do(program_for, output):
    state = state_of(blank_task(20))
    draw(state, shapes=[mask_shape(f, square(2, 2)) for f in (0, 19)])
    program = program_for(state)
    for shape in (None, mask_shape(7, square(12, 12)), mask_shape(12, square(2, 2))):
        draw(state, shapes=[shape] if shape else [])
        said, done = (program.propagate(output=output, dry=dry).written for dry in (True, False))
        assert said == done and done.created


def test_frames_that_a_function_forgets_are_noticed(program_for):
    state = state_of(blank_task())
    draw(state, shapes=[mask_shape(0, square(2, 2))])

    class Forgetful(NearestKeyframe):
        def run(self, *args, **options):
            return (r for r in super().run(*args, **options) if r.index != 5)

    program = program_for(state, Forgetful())
    assert "1 frames were left out, the first is 5" in program.attempt().error
    assert [s["frame"] for s in own(state.jobs[JOB][1])] == [1, 2, 3, 4, 6, 7, 8, 9]
    program.engine = NearestKeyframe()
    program.propagate()
    assert len(own(state.jobs[JOB][1])) == 9


def test_a_detectors_sparse_shapes_become_objects(program_for, squares, lite):
    task = blank_task()
    task.frames, task.jobs[0].stop = squares.frames, 23
    state = state_of(task)
    detected = [mask_shape(f, squares.labels[f] == i, source="auto") for f in (0, 6, 12, 18, 23) for i in (1, 2)]
    draw(state, shapes=detected)
    program = program_for(state, RealNetwork(lite))
    assert "no keyframe" in program.attempt().error
    outcome = program.propagate(proposals=3)
    assert len(outcome.names) == 2 and len(outcome.joined) == 4
    job = state.jobs[JOB][1]
    theirs, mine = job.shapes[:10], job.shapes[10:]
    assert [{**s, "points": list(map(int, s["points"]))}["points"] for s in theirs] == [d["points"] for d in detected]
    for group in {s["group"] for s in mine}:
        shown = {s["frame"]: decode_mask(s["points"], 96, 128) for s in mine if s["group"] == group}
        assert sorted(shown) == [f for f in range(24) if f not in (0, 6, 12, 18, 23)]
        which = max((1, 2), key=lambda i: np.count_nonzero(shown[1] & (squares.labels[1] == i)))
        overlaps = [
            np.count_nonzero(m & (squares.labels[f] == which)) / np.count_nonzero(m | (squares.labels[f] == which))
            for f, m in shown.items()
        ]
        assert np.mean(overlaps) > 0.7
    program.propagate(proposals=3)
    assert job.shapes == [*theirs, *mine]


class RealNetwork(NearestKeyframe):
    """The shipped network, small."""

    identity = "lite"

    def __init__(self, propagator):
        super().__init__()
        self._propagator = propagator

    def run(self, *args, **options):
        return self._propagator.run(*args, **options)


def test_rectangles_by_choice(program_for):
    state = state_of(blank_task())
    box = {"type": "rectangle", "frame": 0, "label_id": 1, "points": [4, 4, 16, 14], "source": "manual"}
    draw(state, shapes=[box])
    program = program_for(state)
    assert "--rectangles" in program.attempt().error
    program.propagate(rectangles=True)
    assert {s["type"] for s in own(state.jobs[JOB][1])} == {"rectangle"}
    assert len(own(state.jobs[JOB][1])) == 9


def test_honeypots_are_left_alone_and_tracks_become_polygons(program_for):
    task = blank_task(10, [FakeJob(JOB, 0, 9, honeypots=(2, 6))], validation_mode="gt_pool")
    state = state_of(task)
    draw(state, shapes=[mask_shape(0, square(2, 2)), mask_shape(2, square(20, 2))])
    program_for(state).propagate(output="track")
    job = state.jobs[JOB][1]
    assert job.tracks == [] and [s["frame"] for s in own(job)] == [1, 3, 4, 5, 7, 8, 9]
    assert {s["type"] for s in own(job)} == {"polygon"}


def test_a_job_without_rights_does_not_stop_the_others(program_for):
    state = state_of(blank_task(12, [FakeJob(JOB, 0, 5), FakeJob(8, 6, 11, forbidden=True)]))
    draw(state, shapes=[mask_shape(0, square(2, 2))])
    program = program_for(state)
    outcome = program.attempt()
    assert [s["frame"] for s in own(state.jobs[JOB][1])] == [1, 2, 3, 4, 5]
    assert "job 8" in outcome.error and "no rights" in outcome.error and "\n" not in outcome.error
    state.jobs[8][1].forbidden = False
    program.propagate()
    assert [s["frame"] for s in own(state.jobs[8][1])] == list(range(6, 12))
    assert [s["frame"] for s in own(state.jobs[JOB][1])] == [1, 2, 3, 4, 5]


def test_a_job_that_refuses_writing_does_not_stop_the_others(program_for):
    state = state_of(blank_task(12, [FakeJob(JOB, 0, 5), FakeJob(8, 6, 11)]))
    draw(state, shapes=[mask_shape(0, square(2, 2))])
    program = program_for(state)
    program.fake.fault = lambda method, path: 403 if method == "PATCH" and "/jobs/7/" in path else None
    outcome = program.attempt()
    assert own(state.jobs[JOB][1]) == [] and len(own(state.jobs[8][1])) == 6
    assert "job 7" in outcome.error
    program.fake.fault = lambda method, path: None
    program.propagate()
    assert len(own(state.jobs[JOB][1])) == 5 and len(own(state.jobs[8][1])) == 6


def test_shapes_that_the_server_silently_drops_are_noticed(program_for):
    state = state_of(blank_task())
    draw(state, shapes=[mask_shape(0, square(2, 2))])
    program = program_for(state)
    create = state.create

    def forgetful(job, body):
        return create(job, {**body, "shapes": body["shapes"][:-2]})

    state.create = forgetful
    outcome = program.attempt()
    assert "kept 7 of 9 annotations" in outcome.error
    state.create = create
    program.propagate()
    assert [s["frame"] for s in own(state.jobs[JOB][1])] == list(range(1, 10))


@pytest.mark.parametrize(
    "spoil, words",
    [
        (lambda task, state: None, "has no keyframe: draw a mask or polygon"),
        (lambda task, state: draw(state, shapes=[mask_shape(0, square(2, 2))]) and task.labels.pop(0), "was removed"),
        (lambda task, state: draw(state, shapes=[{**mask_shape(0, square(2, 2)), "points": [1e400] * 6}]), "damaged"),
        (
            lambda task, state: (
                setattr(task, "broken_chunks", (1,)) or draw(state, shapes=[mask_shape(0, square(2, 2))])
            ),
            "frames 4 to 7 cannot be had",
        ),
        (lambda task, state: setattr(task, "dimension", "3d"), "3-D"),
        (lambda task, state: task.jobs[0].tags.append({"id": 1}), "update Perclip"),
    ],
)
def test_errors_are_one_line_that_says_what_to_do(program_for, spoil, words):
    task = blank_task()
    state = state_of(task)
    spoil(task, state)
    outcome = program_for(state).attempt()
    assert words in outcome.error and "\n" not in outcome.error


def test_a_shape_that_cannot_be_used_is_left_out_with_a_warning(program_for):
    state = state_of(blank_task())
    broken = {**mask_shape(3, square(2, 2)), "points": [5, 5, 0, 0, 99, 99]}
    draw(state, shapes=[mask_shape(0, square(2, 2)), broken])
    outcome = program_for(state).propagate()
    assert any("frame 3, mask of car: it cannot be used" in w for w in outcome.warnings)
    assert 3 not in [s["frame"] for s in own(state.jobs[JOB][1])]  # a person's shape is there
