"""Human work is sacred: whatever is on the server, and whatever people do, only Perclip's own is touched."""

import copy
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from plugin.cvat.settings import OUTPUTS
from tests.cvat_server import Attribute, FakeCvat, FakeJob, FakeLabel
from tests.plugin.cvat.program import (
    JOB,
    TASK,
    NearestKeyframe,
    Program,
    blank_task,
    content,
    draw,
    edit,
    mask_shape,
    polygon_shape,
    polygon_track,
    remove,
    square,
    state_of,
)

LENGTH = 8
SOURCES = ("manual", "semi-auto", "file", "consensus", "auto")
masks = st.builds(square, st.integers(0, 22), st.integers(0, 14), st.integers(3, 9))
labels = st.integers(1, 2)


@st.composite
def annotations(draw_one: Any, first: int, last: int) -> dict[str, list[dict[str, Any]]]:
    """Shapes and tracks of every kind and source on some frames."""
    frames = st.integers(first, last)
    shapes = []
    for _ in range(draw_one(st.integers(0, 6))):
        make = draw_one(st.sampled_from((mask_shape, polygon_shape)))
        fields = {"source": draw_one(st.sampled_from(SOURCES)), "group": draw_one(st.integers(0, 2))}
        shapes.append(make(draw_one(frames), draw_one(masks), draw_one(labels), **fields))
    if draw_one(st.booleans()):
        box = {"type": "rectangle", "points": [1, 1, 9, 9], "label_id": 1, "source": "manual"}
        shapes.append({**box, "frame": draw_one(frames), "group": draw_one(st.integers(0, 2))})
    tracks = []
    for _ in range(draw_one(st.integers(0, 2))):
        keyframes = draw_one(st.dictionaries(frames, st.one_of(masks, st.none()), min_size=1, max_size=3))
        tracks.append(polygon_track(keyframes, draw_one(labels), source=draw_one(st.sampled_from(SOURCES))))
    return {"shapes": shapes, "tracks": tracks}


def snapshot(state: Any) -> dict[int, Any]:
    """Everything on the server, by id, with its ids."""
    return {
        item["id"]: copy.deepcopy(item)
        for _, job in state.jobs.values()
        for name in ("shapes", "tracks", "tags")
        for item in getattr(job, name)
    }


class Meddler(NearestKeyframe):
    """A network during which a person works on."""

    def __init__(self, act: Any):
        super().__init__()
        self._act = act

    def run(self, *args: Any, **options: Any) -> Any:
        for number, result in enumerate(super().run(*args, **options)):
            if number == 2 and self._act is not None:
                act, self._act = self._act, None
                act()
            yield result


@settings(
    max_examples=25,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
    database=None,
)
@given(st.data())
def test_only_perclips_own_is_ever_changed_or_deleted(data: st.DataObject) -> None:
    overlap = data.draw(st.integers(0, 2))
    jobs = [FakeJob(JOB, 0, 3 + overlap), FakeJob(8, 4, LENGTH - 1)] if data.draw(st.booleans()) else None
    task = blank_task(LENGTH, jobs, deleted=data.draw(st.sampled_from([(), (2,)])))
    state = state_of(task)
    for job in task.jobs:
        draw(state, job.id, **data.draw(annotations(job.start, job.stop)))
    theirs = snapshot(state)  # all that Perclip must leave alone
    mine: set[int] = set()  # ids that were Perclip's at the end of its last run

    def check(program: Program) -> None:
        now = snapshot(state)
        lost = {i: item for i, item in theirs.items() if now.get(i) != item}
        assert not lost, lost
        mine.clear()
        mine.update(now.keys() - theirs.keys())
        assert all(now[i]["source"] == "auto" for i in mine)
        own = sorted(item["id"] for job in task.jobs for item in program.own(job))
        assert own == sorted(mine)  # nothing is left that the journal does not know
        for job in task.jobs:
            human = {
                (s["frame"], s["label_id"], s["group"])
                for s in job.shapes
                if s["id"] not in mine and s["group"] and s["source"] != "auto"
            }
            assert not [s for s in job.shapes if s["id"] in mine and (s["frame"], s["label_id"], s["group"]) in human]
            places = [(s["frame"], s["group"]) for s in job.shapes if s["id"] in mine]
            assert len(places) == len(set(places))  # one of each object
            assert all(s["frame"] not in task.deleted for s in job.shapes if s["id"] in mine)
            assert all(job.start <= s["frame"] <= job.stop for s in job.shapes if s["id"] in mine)

    def meddle() -> None:
        job = data.draw(st.sampled_from(task.jobs))
        what = data.draw(st.sampled_from(("draw", "edit", "remove", "nothing")))
        own = [s for s in job.shapes if s["id"] not in theirs]
        if what == "draw":
            frame = data.draw(st.integers(job.start, job.stop))
            for item in draw(state, job.id, shapes=[mask_shape(frame, data.draw(masks), data.draw(labels))]):
                theirs[item["id"]] = next(s for s in copy.deepcopy(job.shapes) if s["id"] == item["id"])
        elif own and what == "edit":
            source = data.draw(st.sampled_from(("auto", "semi-auto")))
            points = mask_shape(0, data.draw(masks))["points"]
            before = data.draw(st.sampled_from(own))
            made = edit(state, before, job.id, source=source, type="mask", points=points)
            if content(made) != content(before):  # saved as it was, it is still Perclip's
                theirs[made["id"]] = next(s for s in copy.deepcopy(job.shapes) if s["id"] == made["id"])
        elif own and what == "remove":
            remove(state, data.draw(st.sampled_from(own)), job.id)

    with tempfile.TemporaryDirectory() as folder, FakeCvat(state) as fake:
        program = Program(fake, Path(folder))
        for _ in range(data.draw(st.integers(1, 3))):
            program.engine = Meddler(meddle if data.draw(st.booleans()) else None)
            chosen = {"output": data.draw(st.sampled_from(OUTPUTS[:4])), "rectangles": data.draw(st.booleans())}
            chosen["proposals"] = data.draw(st.sampled_from((0, 2)))
            outcome = program.attempt(TASK, **chosen)
            assert outcome.error is None or "draw" in outcome.error or "rectangles" in outcome.error, outcome.error
            if (Path(folder) / "journal").exists():
                check(program)
            meddle()
        if (Path(folder) / "journal").exists():
            program.undo()
            now = snapshot(state)
            assert {i: now.get(i) for i in theirs} == theirs
            assert {content_key(item) for i, item in now.items() if i not in theirs} == set()


def content_key(item: dict[str, Any]) -> str:
    return repr(content(item))


def test_a_frame_with_a_human_shape_of_the_object_gets_nothing(program_for) -> None:
    state = state_of(blank_task())
    first, second = square(2, 2), square(10, 8)
    drawn = draw(state, shapes=[mask_shape(0, first), mask_shape(6, second)])
    program_for(state).propagate()
    job = state.jobs[JOB][1]
    frames = sorted(s["frame"] for s in job.shapes)
    assert frames == list(range(10))
    assert [s for s in job.shapes if s["source"] == "manual"] == [
        next(s for s in job.shapes if s["id"] == d["id"]) for d in drawn
    ]


def test_what_a_person_draws_during_the_run_wins(program_for) -> None:
    state = state_of(blank_task())
    draw(state, shapes=[mask_shape(0, square(2, 2))])
    program = program_for(state, Meddler(lambda: draw(state, shapes=[mask_shape(5, square(12, 12))])))
    program.propagate()
    on_five = [s for s in state.jobs[JOB][1].shapes if s["frame"] == 5]
    assert [s["source"] for s in on_five] == ["manual"]
    program.engine = NearestKeyframe()
    program.propagate()  # and the next run knows it as a keyframe
    shapes = {s["frame"]: s["points"] for s in state.jobs[JOB][1].shapes}
    assert len(state.jobs[JOB][1].shapes) == 10 and shapes[9] == shapes[5] != shapes[0] == shapes[1]


def test_an_edited_shape_is_human_though_its_source_still_says_auto(program_for) -> None:
    state = state_of(blank_task())
    draw(state, shapes=[mask_shape(0, square(2, 2))])
    program = program_for(state)
    program.propagate()
    job = state.jobs[JOB][1]
    ours = next(s for s in job.shapes if s["frame"] == 5)
    corrected = mask_shape(5, square(14, 10))["points"]
    edited = edit(state, ours, points=corrected)
    assert edited["source"] == "auto"
    program.propagate()
    assert next(s for s in job.shapes if s["frame"] == 5) == edited
    assert [s["points"] == edited["points"] for s in sorted(job.shapes, key=lambda s: s["frame"])] == (
        [False] * 3 + [True] * 7
    )
    assert len(job.shapes) == 10
    program.undo()
    assert {s["frame"] for s in job.shapes} == {0, 5}


def test_shapes_of_other_programs_stay_and_are_no_keyframes(program_for) -> None:
    state = state_of(blank_task())
    draw(state, shapes=[mask_shape(0, square(2, 2)), mask_shape(3, square(20, 15), source="auto")])
    program_for(state).propagate()
    job = state.jobs[JOB][1]
    on_three = [s["points"] for s in job.shapes if s["frame"] == 3]
    assert len(on_three) == 2
    assert np.array_equal(on_three[0], mask_shape(3, square(20, 15))["points"])


def test_an_edit_that_also_changes_group_and_label_is_still_a_persons(program_for) -> None:
    state = state_of(blank_task())
    draw(state, shapes=[mask_shape(0, square(2, 2))])
    program = program_for(state)
    program.propagate()
    job = state.jobs[JOB][1]
    points = mask_shape(5, square(14, 10))["points"]
    edited = edit(state, next(s for s in job.shapes if s["frame"] == 5), group=77, points=points)
    program.propagate()
    program.undo()
    assert [s["frame"] for s in job.shapes] == [0, 5] and edited in job.shapes


def test_what_people_drew_in_a_job_that_was_not_asked_for_counts_where_it_overlaps(program_for) -> None:
    state = state_of(blank_task(10, [FakeJob(JOB, 0, 5), FakeJob(8, 4, 9)]))
    draw(state, shapes=[mask_shape(0, square(2, 2))])
    draw(state, 8, shapes=[mask_shape(5, square(3, 2))])
    program_for(state).propagate(jobs=(JOB,))
    assert [s["frame"] for s in state.jobs[JOB][1].shapes] == [0, 1, 2, 3, 4]
    assert len(state.jobs[8][1].shapes) == 1


def test_a_track_of_boxes_in_the_objects_group_blocks_where_it_is_to_be_seen(program_for) -> None:
    state = state_of(blank_task())
    box = [{"type": "rectangle", "frame": f, "points": [1, 1, 9, 9], "outside": f == 8} for f in (3, 6, 8)]
    track = {"frame": 3, "label_id": 1, "group": 3, "source": "manual", "shapes": box}
    draw(state, shapes=[mask_shape(0, square(2, 2), group=3)], tracks=[track])
    program_for(state).propagate()
    assert [s["frame"] for s in state.jobs[JOB][1].shapes] == [0, 1, 2, 8, 9]


def test_a_persons_work_in_one_of_two_overlapping_jobs_counts_for_both(program_for) -> None:
    state = state_of(blank_task(10, [FakeJob(JOB, 0, 5), FakeJob(8, 4, 9)]))
    draw(state, shapes=[mask_shape(0, square(2, 2))])
    draws = lambda: draw(state, 8, shapes=[mask_shape(4, square(12, 12))])  # noqa: E731
    program_for(state, Meddler(draws)).propagate()
    assert 4 not in [s["frame"] for s in state.jobs[JOB][1].shapes]


def test_a_tag_of_another_program_like_one_of_ours_stays(program_for) -> None:
    labels = [FakeLabel(1, "car"), FakeLabel(9, "look", kind="tag")]
    state = state_of(blank_task(labels=labels))
    draw(state, shapes=[mask_shape(0, square(2, 2))])
    program = program_for(state)
    program.propagate(review="tag")
    job = state.jobs[JOB][1]
    assert len(job.tags) == 1
    with state.lock:
        state.delete(job, {"tags": list(job.tags)})
    theirs = draw(state, tags=[{"frame": 9, "label_id": 9, "source": "auto"}])
    program.propagate(review="tag")
    program.undo()
    assert [t["id"] for t in job.tags] == [theirs[0]["id"]]


def test_a_group_number_means_an_object_only_where_perclip_wrote_it(program_for) -> None:
    """The page numbers groups per job: 1 in another job is somebody else."""
    state = state_of(blank_task(12, [FakeJob(JOB, 0, 5), FakeJob(8, 6, 11)]))
    draw(state, shapes=[mask_shape(0, square(2, 2)), mask_shape(0, square(22, 14))])
    program = program_for(state)
    program.propagate(jobs=(JOB,))
    group = next(s["group"] for s in state.jobs[JOB][1].shapes if s["source"] == "auto")
    other = draw(state, 8, shapes=[mask_shape(8, square(12, 2), group=group, label=2)])
    program.propagate()
    job = state.jobs[8][1]
    assert other[0] in job.shapes
    assert {s["label_id"] for s in job.shapes if s["frame"] == 9} == {1, 2}


def test_a_changed_default_of_an_attribute_makes_nothing_look_edited(program_for) -> None:
    attributes = [Attribute(11, "colour", default="red"), Attribute(12, "pose", mutable=True, default="left")]
    state = state_of(blank_task(labels=[FakeLabel(1, "car", attributes=attributes)]))
    draw(state, shapes=[mask_shape(0, square(2, 2))], tracks=[polygon_track({0: square(20, 10)})])
    program = program_for(state)
    program.propagate()
    job = state.jobs[JOB][1]
    before = copy.deepcopy((job.shapes, job.tracks))
    attributes[0].default, attributes[1].default = "blue", "right"
    ours = len(program.own(job))
    assert ours == 10
    draw(state, shapes=[mask_shape(5, square(3, 2))])
    program.propagate()
    frames = [s["frame"] for s in job.shapes if s["label_id"] == 1]
    assert sorted(frames) == list(range(10))  # one of each, whatever the owner calls the default now
    program.undo()
    assert (job.shapes[:1], job.tracks[:1]) == (before[0][:1], before[1][:1])
    assert len(job.shapes) == 2 and len(job.tracks) == 1


@pytest.mark.parametrize("label", [1, 2])
def test_objects_in_one_group_of_a_person_do_not_block_each_other(program_for, label: int) -> None:
    state = state_of(blank_task(8))
    draw(state, shapes=[mask_shape(0, square(2, 2), group=1), mask_shape(0, square(12, 10), label=2, group=1)])
    draw(state, shapes=[mask_shape(5, square(14, 10), label=2, group=1)])
    program = program_for(state)
    program.propagate(labels=("car",) if label == 1 else ())
    car = {s["frame"] for s in state.read(state.jobs[JOB][1])["shapes"] if s["label_id"] == 1}
    assert car == set(range(8))


def test_an_object_keeps_its_number_when_a_person_gives_it_to_another(program_for) -> None:
    state = state_of(blank_task(8, jobs=[FakeJob(JOB, 0, 3), FakeJob(JOB + 1, 4, 7)]))
    draw(state, JOB + 1, shapes=[mask_shape(5, square(2, 2))])
    program = program_for(state)
    assert program.propagate().drawn == {1: [5]}
    draw(state, shapes=[mask_shape(1, square(20, 10), label=2, group=1)])
    for _ in range(2):
        outcome = program.propagate()
        assert outcome.drawn == {1: [5], 2: [1]} and not outcome.written.deleted
