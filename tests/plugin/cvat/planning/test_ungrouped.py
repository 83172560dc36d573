"""Drawn shapes without a name: what they were taken for is told, and finding out has a bounded cost."""

import numpy as np
import pytest

from model.keyframe import Keyframe
from plugin.cli import main
from plugin.cvat.planning.comparison import MOST_BETWEEN, compare
from tests.cvat_server import FakeCvat, FakeJob
from tests.cvat_server.server import TOKEN
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

CHILDREN = [square(x, y, 4) for x, y in ((1, 1), (9, 1), (17, 1), (25, 1), (1, 12), (9, 12), (17, 12))]
MOVED = [square(x, y, 4) for x, y in ((26, 18), (20, 18), (14, 18))]


def seven_children(length=30):
    """Seven alike on frame 0; on frame 20 one is drawn where it was, and three where nothing was before."""
    state = state_of(blank_task(length, [FakeJob(JOB, 0, length - 1)]))
    draw(state, shapes=[mask_shape(0, mask) for mask in CHILDREN])
    draw(state, shapes=[mask_shape(20, mask) for mask in (CHILDREN[0], *MOVED)])
    return state


def test_every_shape_that_was_joined_and_every_one_that_matched_nothing_is_named(program_for):
    program = program_for(seven_children())
    outcome = program.propagate()
    assert len(outcome.names) == 10
    assert len(outcome.joined) == 1
    assert "frame 0, at (2, 2)" in outcome.joined[0] and "frame 20, at (2, 2)" in outcome.joined[0]
    assert len(outcome.unmatched) == 3
    for text, (x, y) in zip(outcome.unmatched, ((28, 20), (22, 20), (16, 20))):
        assert f"frame 20, at ({x}, {y}) matched nothing" in text and "is a new object" in text
        assert "nearest" not in text and "same group" in text  # nothing drawn before overlaps


def test_of_what_overlaps_too_little_the_nearest_is_named(program_for):
    state = state_of(blank_task(30))
    draw(state, shapes=[mask_shape(0, mask) for mask in CHILDREN])
    draw(state, shapes=[mask_shape(20, mask) for mask in (CHILDREN[0], square(11, 1, 4), square(26, 18, 4))])
    unmatched = program_for(state).propagate().unmatched
    assert ["nearest" in text for text in unmatched] == [True, False]
    assert "nearest is car (group 2), frame 0, at (10, 2), overlap 0.33 of the 0.5 needed" in unmatched[0]


def test_a_person_is_warned_before_anything_is_written_and_once(program_for):
    program = program_for(seven_children())
    when = []
    tell = program.server.tell
    program.server.tell = lambda line: (when.append(len([1 for m, _ in program.fake.log if m == "PATCH"])), tell(line))
    program.propagate()
    told = [line for line in program.told if "matched nothing" in line]
    assert len(told) == 3 and all(line.startswith("task 12: ") for line in told)
    assert max(when) <= 1  # whether writing is allowed is asked with a change of nothing
    program.told.clear()
    program.propagate()
    assert program.told == []


def test_a_group_that_a_person_gives_makes_two_objects_one(program_for):
    """As the warning says."""
    state = seven_children()
    program = program_for(state)
    before = program.propagate(dry=True)
    job = state.jobs[JOB][1]
    there = [next(s for s in job.shapes if s["frame"] == 20 and s["points"][-4] == left) for left in (26, 20, 14)]
    for group, (late, first) in enumerate(zip(there, job.shapes[1:4]), 1):
        edit(state, late, group=group)
        edit(state, first, group=group)
    outcome = program.propagate()
    assert len(before.unmatched) == 3 and outcome.unmatched == [] and len(outcome.names) == 7


def test_one_shape_per_frame_is_said_to_be_one_object(program_for):
    state = state_of(blank_task())
    draw(state, shapes=[mask_shape(0, square(2, 2)), mask_shape(6, square(20, 12))])
    outcome = program_for(state).propagate()
    assert len(outcome.joined) == 1 and outcome.unmatched == []
    assert (
        "frame 0, at (4, 4) and frame 6, at (22, 14)" in outcome.joined[0] and "no frame has two" in outcome.joined[0]
    )


def test_what_people_have_named_is_not_called_in_question(program_for):
    state = state_of(blank_task(20))
    draw(state, tracks=[polygon_track({0: square(2, 2), 9: square(3, 2)})])
    draw(state, shapes=[mask_shape(f, square(20, 12), group=3) for f in (0, 9)])
    draw(state, shapes=[mask_shape(9, square(10, 12), group=4)])
    outcome = program_for(state).propagate()
    assert outcome.joined == [] and outcome.unmatched == [] and len(outcome.names) == 3


def test_a_keyframe_that_is_redrawn_goes_on_as_its_object_and_is_not_called_new(program_for):
    state = state_of(blank_task(20))
    _, second = draw(state, shapes=[mask_shape(0, square(2, 2)), mask_shape(0, square(20, 12))])
    program = program_for(state)
    program.propagate()
    remove(state, second)
    draw(state, shapes=[mask_shape(4, square(20, 8))])
    draw(state, shapes=[mask_shape(4, square(2, 2))])
    outcome = program.propagate()
    assert outcome.unmatched == [] and sorted(outcome.names) == [1, 2]


class Counting(NearestKeyframe):
    """Counts the frames that it is asked for."""

    def __init__(self):
        super().__init__()
        self.frames = 0

    def run(self, *args, **options):
        for result in super().run(*args, **options):
            self.frames += 1
            yield result


@pytest.mark.parametrize("length", [10, 100, 400])
def test_the_cost_of_telling_apart_does_not_grow_with_the_video_nor_with_the_labels(program_for, length):
    state = state_of(blank_task(length, [FakeJob(JOB, 0, length - 1)]))
    for label, (left, right) in ((1, (2, 20)), (2, (8, 26))):
        for frame in (0, length - 1):
            draw(state, shapes=[mask_shape(frame, square(x, 2, 4), label) for x in (left, right)])
    engine = Counting()
    outcome = program_for(state, engine).propagate(frames=(range(0, 1),))
    assert len(outcome.names) == 4 and len(outcome.joined) == 4
    assert engine.frames <= 2 * (MOST_BETWEEN + 2)


def test_a_new_shape_among_many_that_are_known_costs_no_more_than_its_neighbours(program_for):
    state = state_of(blank_task(200, [FakeJob(JOB, 0, 199)]))
    for frame in range(0, 200, 20):
        draw(state, shapes=[mask_shape(frame, square(x, 2, 4), group=g) for g, x in ((1, 2), (2, 20))])
    draw(state, shapes=[mask_shape(110, square(2, 2, 4)), mask_shape(110, square(20, 2, 4))])
    engine = Counting()
    outcome = program_for(state, engine).propagate(frames=(range(0, 1),))
    assert sorted(outcome.names) == [1, 2] and len(outcome.joined) == 2
    assert engine.frames <= 4 * (MOST_BETWEEN + 2)


def test_progress_is_told_until_all_is_compared():
    frames = np.zeros((200, 24, 32, 3), np.uint8)
    label_map = square(2, 2).astype(np.uint8)
    told = []
    keyframes = [Keyframe(place, label_map) for place in (3, 50, 51, 199)]
    found = compare(NearestKeyframe(), frames, keyframes, {}, lambda done, total: told.append((done, total)))
    assert told[-1][0] == told[-1][1] and [done for done, _ in told] == list(range(1, told[-1][1] + 1))
    assert [(link.before, link.behind) for link in found.links] == [
        ((3, 1), (50, 1)),
        ((50, 1), (51, 1)),
        ((51, 1), (199, 1)),
    ]


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("CVAT_ACCESS_TOKEN", TOKEN)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("plugin.cli.cvat._engine", lambda arguments, options: NearestKeyframe())
    return tmp_path


@pytest.mark.parametrize("dry", [True, False])
def test_dry_run_and_report_name_the_shapes_too(place, capsys, dry):
    with FakeCvat(seven_children()) as fake:
        options = ["--dry-run"] if dry else []
        assert main(["cvat", "propagate", "--url", fake.url, "--task", "12", "--report", "r.html", *options]) == 0
    said, page = capsys.readouterr(), (place / "r.html").read_text()
    assert (said.out + said.err).count("matched nothing drawn before it") == 3
    assert page.count("matched nothing drawn before it") == 3 and page.count("overlap 1.00") == 1
    assert ("overlap 1.00" in said.out) == dry


@pytest.mark.parametrize("tasks", ["12", "12,13"])
def test_an_error_is_printed_once(place, capsys, tasks):
    """Of one task at the end, of several as it happens; what befalls a job always as it happens."""
    state = seven_children()
    state.tasks[12].broken_chunks = range(100)
    with FakeCvat(state) as fake:
        assert main(["cvat", "propagate", "--url", fake.url, "--task", tasks]) == 2
    said = capsys.readouterr()
    assert (said.out + said.err).count("cannot be had") == 1
    assert sum("error:" in line for line in said.err.splitlines()) == 1


def test_the_reason_why_a_job_is_left_out_is_printed_once(place, capsys):
    state = seven_children()
    with FakeCvat(state) as fake:
        fake.read_only = True
        assert main(["cvat", "propagate", "--url", fake.url, "--task", "12"]) == 2
    said = capsys.readouterr()
    assert (said.out + said.err).count("token is read-only") == 1
