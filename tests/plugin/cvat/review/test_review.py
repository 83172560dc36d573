"""Looking again, and the marks that are left on doubtful frames."""

import re
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from plugin.cvat.open_task import OpenTask
from plugin.cvat.run.task_review import review_task
from plugin.cvat.task.layout import read_task
from tests.cvat_server import FakeJob, FakeLabel
from tests.plugin.cvat.program import (
    JOB,
    TASK,
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


def review(program, below=0.5):
    with program.journal() as journal:
        layout = read_task(program.server, TASK)
        with OpenTask(program.server, layout, journal, program.folder / "cache", dry=True) as task:
            return review_task(task, below)


def test_review_lists_what_is_still_in_doubt(program_for):
    state = state_of(blank_task(30))
    draw(state, shapes=[mask_shape(0, square(2, 2)), mask_shape(29, square(2, 2))])
    program = program_for(state)
    program.propagate()
    first = review(program)
    assert next(p.doubt.frame for p in first.pictures) in (14, 15)
    assert all(p.jpeg.startswith(b"\xff\xd8") for p in first.pictures)
    frames = {f for f, *_ in first.rows}
    job = state.jobs[JOB][1]
    remove(state, next(s for s in job.shapes if s["frame"] == 14))
    edit(state, next(s for s in job.shapes if s["frame"] == 15), points=mask_shape(0, square(9, 9))["points"])
    assert frames - {f for f, *_ in review(program).rows} == {14, 15}
    program.propagate()
    assert not {14, 15} & {p.doubt.frame for p in review(program).pictures}
    assert review(program, below=0.0).pictures == []
    remove(state, next(s for s in job.shapes if s["frame"] == 7))
    program.propagate()  # does nothing, and the person has looked
    assert 7 not in {f for f, *_ in review(program).rows} and 6 in {f for f, *_ in review(program).rows}


def test_doubtful_frames_get_tags(program_for):
    labels = [FakeLabel(1, "car"), FakeLabel(9, "look here", kind="tag")]
    state = state_of(blank_task(40, labels=labels))
    draw(state, shapes=[mask_shape(0, square(2, 2))])
    program = program_for(state)
    outcome = program.propagate(review="tag")
    job = state.jobs[JOB][1]
    assert outcome.marks == len(job.tags) == 4 and {t["label_id"] for t in job.tags} == {9}
    frames = {t["frame"] for t in job.tags}
    assert max(frames) == 39 and min(frames) > 1  # the nearest of all is sure
    with state.lock:
        state.delete(job, {"tags": [t for t in job.tags if t["frame"] == 39]})  # a person has looked
    program.propagate(review="tag")
    assert {t["frame"] for t in job.tags} == frames - {39}
    draw(state, shapes=[mask_shape(39, square(2, 2))])  # where nothing is in doubt any more, the tags go
    program.propagate(review="tag")
    assert frames != {t["frame"] for t in job.tags} and 39 not in {t["frame"] for t in job.tags} and job.tags
    program.undo()
    assert job.tags == []
    assert "no label 'nope' that takes tags" in program.attempt(review="tag", review_label="nope").error


def test_doubtful_frames_get_issues_once(program_for):
    state = state_of(blank_task(25, [FakeJob(JOB, 0, 24)]))
    draw(state, shapes=[mask_shape(0, square(2, 2))])
    program = program_for(state)
    lost = iter(["after"])
    program.fake.fault = lambda m, path: next(lost, None) if (m, path) == ("POST", "/api/issues") else None
    program.server = program.log_in(patience=0.0)
    assert "connection" in program.attempt(review="issue").error  # the issue was made, but nobody heard of it
    assert len(state.issues) == 1
    program.server, lost = program.log_in(patience=1e9), iter(["after", "before", 502])
    for _ in range(2):
        program.propagate(review="issue")
        assert sorted(i["frame"] for i in state.issues.values()) == [4, 14, 24]
    assert all(re.search(r"not sure of car .* confidence 0\.\d\d", i["comments"][0]) for i in state.issues.values())
    answered, removed, _ = state.issues.values()
    answered["comments"].append("I looked")
    del state.issues[removed["id"]]
    program.propagate(review="issue")
    assert len(state.issues) == 2
    program.undo()
    assert list(state.issues) == [answered["id"]]


def is_on(mask, issue):
    x, y = issue["position"]
    return bool(mask[int(y), int(x)])


@pytest.mark.parametrize("output", ["mask", "polygon", "rectangle", "track"])
def test_issues_sit_on_the_object_that_is_in_doubt(program_for, output):
    state = state_of(blank_task(40))
    ring = square(4, 4, 10) & ~square(6, 6, 6)  # its middle is no part of it
    draw(state, shapes=[mask_shape(0, ring, 1), mask_shape(39, ring, 1)])
    program_for(state).propagate(review="issue", output=output)
    assert len(state.issues) > 1 and all(is_on(ring, issue) for issue in state.issues.values())


class Lost(NearestKeyframe):
    """Loses what it follows, without being sure, from a frame on."""

    first = 5

    def run(self, *args, **options):
        for result in super().run(*args, **options):
            if result.index < self.first:
                yield replace(result, confidence=dict.fromkeys(result.confidence, 0.9))
            else:
                unsure = dict.fromkeys(result.confidence, 0.1)
                yield replace(result, masks=np.zeros_like(result.label_map), confidence=unsure)


def test_an_issue_about_an_object_that_was_lost_sits_where_it_was_seen_last(program_for):
    state = state_of(blank_task(20))
    draw(state, shapes=[mask_shape(0, square(20, 14), 1), mask_shape(0, square(2, 2), 2)])
    program_for(state, Lost()).propagate(review="issue", labels=("car",))
    assert state.issues and all(is_on(square(20, 14), issue) for issue in state.issues.values())


def test_issues_that_a_later_run_makes_up_for_sit_on_the_object_too(program_for):
    """Nothing is computed any more then: the annotations tell where it is."""
    state = state_of(blank_task(30))
    draw(state, shapes=[mask_shape(0, square(22, 2), 2)])
    program = program_for(state)
    program.propagate()
    assert not state.issues and program.propagate(review="issue").frames == 0
    assert len(state.issues) == 3 and all(is_on(square(22, 2), issue) for issue in state.issues.values())


@pytest.mark.parametrize("marks", ["none", "issue"])
@pytest.mark.parametrize("first", [1, 5, 30])
@pytest.mark.parametrize("output", ["mask", "track", "one-track"])
def test_review_finds_what_the_run_found_and_no_mark_changes_what_is_done(program_for, output, first, marks):
    """Of an object that was never seen there are marks alone; between the keyframes of a track it is seen."""
    state = state_of(blank_task(20))
    draw(state, tracks=[polygon_track({0: square(2, 2)})])
    engine = Lost()
    engine.first = first
    program = program_for(state, engine)
    found = program.propagate(output=output, review=marks)
    assert len(found.rows) == 19 and bool(state.issues) == (marks == "issue" and first < 20)
    assert review(program).rows == found.rows
    assert program.propagate(output=output, review=marks).frames == 0
    assert review(program).rows == found.rows


def test_an_issue_about_a_track_that_was_filled_in_before_sits_where_it_was_seen_last(program_for):
    state = state_of(blank_task(20))

    class Moved(Lost):
        def run(self, *args, **options):
            for result in super().run(*args, **options):
                yield replace(result, masks=np.roll(result.label_map, 8, axis=1))

    draw(state, tracks=[polygon_track({0: square(2, 2)})])
    program = program_for(state, Moved())
    program.propagate(output="one-track")
    assert program.propagate(output="one-track", review="issue").frames == 0
    assert state.issues and all(is_on(square(10, 2), issue) for issue in state.issues.values())


def test_marks_follow_corrections(program_for):
    """Those of a stretch that is no more go with it."""
    state = state_of(blank_task(30))
    draw(state, shapes=[mask_shape(0, square(2, 2))])
    program = program_for(state)
    program.propagate(review="issue")
    assert sorted(i["frame"] for i in state.issues.values()) == [9, 19, 29]
    draw(state, shapes=[mask_shape(25, square(2, 2))])
    program.propagate(review="issue")
    frames = sorted(i["frame"] for i in state.issues.values())
    assert frames and all(b - a >= 10 for a, b in pairwise(frames))


def test_a_job_that_takes_no_marks_does_not_stop_the_others(program_for):
    state = state_of(blank_task(40, [FakeJob(JOB, 0, 19), FakeJob(8, 20, 39)]))
    draw(state, shapes=[mask_shape(0, square(2, 2))])
    program = program_for(state)
    program.fake.fault = lambda m, path: 403 if "issues?" in path and "job_id=7" in path else None
    outcome = program.attempt(review="issue")
    assert "job 7: doubtful frames could not be marked" in outcome.error and outcome.pictures
    assert {i["job"] for i in state.issues.values()} == {8}


def test_every_object_that_is_doubtful_on_a_frame_has_an_issue_of_its_own(program_for):
    state = state_of(blank_task(6))
    draw(state, shapes=[mask_shape(0, square(2, 2)), mask_shape(0, square(20, 12))])
    program = program_for(state)
    assert program.propagate(review="issue", doubt_below=0.2).marks == 2  # on the last frame, 5 from the keyframe
    issues = sorted(state.issues.values(), key=lambda issue: issue["position"])
    assert [issue["frame"] for issue in issues] == [5, 5]
    for issue, mask, group in zip(issues, (square(2, 2), square(20, 12)), (1, 2)):
        x, y = issue["position"]
        assert mask[int(y), int(x)] and f"(group {group})" in issue["comments"][0]
    program.propagate(review="issue", doubt_below=0.2)
    assert len(state.issues) == 2
    assert program.undo().kept == 0 and state.issues == {}
