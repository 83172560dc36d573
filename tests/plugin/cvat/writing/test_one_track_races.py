"""`--output one-track` while people, pages and other programs change the same tracks."""

import copy
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from plugin.shapes.keyframe_mark import is_marked
from tests.cvat_server import FakeCvat, FakeJob, FakeLabel
from tests.plugin.cvat.program import (
    JOB,
    NearestKeyframe,
    Program,
    blank_task,
    content,
    draw,
    mask_shape,
    polygon_track,
    square,
    state_of,
)
from tests.plugin.cvat.writing.one_track import (
    ATTRIBUTES,
    LENGTH,
    drawn_keyframes,
    perclips,
    polygon,
    rich_task,
    rich_track,
    save,
    shown,
    the_track,
    with_keyframe,
)
from tests.plugin.cvat.writing.test_human_work import Meddler, masks


@pytest.mark.parametrize("when", ["during the run", "between reading and writing", "after the run"])
@pytest.mark.parametrize("frame", [0, 10, 14])
def test_a_page_that_knows_the_old_track_and_saves_it_wins(program_for, frame, when) -> None:
    """CVAT inserts a track whose id is gone: the person's is there then beside the one that was filled in."""
    state = state_of(blank_task(LENGTH))
    draw(state, tracks=[polygon_track({0: square(2, 2), 10: square(4, 2)})])
    program = program_for(state)
    opened = the_track(state)
    saves = lambda: save(state, opened, shapes=with_keyframe(opened, frame, points=polygon(square(4, 4))))  # noqa: E731
    if when == "during the run":
        program.engine = Meddler(saves)
        program.propagate(output="one-track")
    elif when == "between reading and writing":
        acts = iter([saves])
        program.fake.fault = lambda method, path: [act() for act in acts] and None if "action=update" in path else None
        program.propagate(output="one-track")
        assert len(state.jobs[JOB][1].tracks) == 1  # seen at the end of the run
    else:
        program.propagate(output="one-track")
        saves()
        assert len(state.jobs[JOB][1].tracks) == 2
    program.engine = NearestKeyframe()
    program.propagate(output="one-track")
    program.propagate(output="one-track")
    after = the_track(state)
    assert np.array_equal(shown(after, frame), square(4, 4))
    assert np.array_equal(shown(after, frame + 1), square(4, 4))
    assert {s["frame"] for s in drawn_keyframes(after)} == {0, 10, frame}
    program.undo()
    assert content(the_track(state))["shapes"] == [
        content(s) for s in with_keyframe(opened, frame, points=polygon(square(4, 4)))
    ]


def test_undo_after_such_a_save_leaves_the_persons_track_alone(program_for) -> None:
    state = state_of(blank_task(LENGTH))
    draw(state, tracks=[polygon_track({0: square(2, 2), 10: square(4, 2)})])
    program = program_for(state)
    opened = the_track(state)
    program.propagate(output="one-track")
    saved = save(state, opened, shapes=with_keyframe(opened, 10, points=polygon(square(4, 4))))
    program.undo()
    assert content(the_track(state)) == content(state.read(state.jobs[JOB][1])["tracks"][0])
    assert [s["points"] for s in the_track(state)["shapes"]] == [s["points"] for s in saved["shapes"]]


def test_two_tracks_that_may_be_one_are_left_for_the_person_to_judge(program_for) -> None:
    """A page that puts its only keyframe elsewhere, or a second object beside the first: nobody can tell."""
    state = state_of(blank_task(LENGTH))
    draw(state, tracks=[polygon_track({0: square(2, 2)})])
    program = program_for(state)
    opened = the_track(state)
    program.propagate(output="one-track")
    save(state, opened, shapes=with_keyframe(opened, 0, points=polygon(square(3, 2))))
    outcome = program.propagate(output="one-track")
    tracks = state.read(state.jobs[JOB][1])["tracks"]
    assert sorted(s["points"] for t in tracks for s in drawn_keyframes(t)) == sorted(
        polygon(square(left, 2)) for left in (2, 3)
    )
    assert sum("two tracks show much the same on frame 0" in w for w in outcome.warnings) == 1


def test_another_track_of_the_label_is_no_successor(program_for) -> None:
    state = state_of(blank_task(LENGTH))
    draw(state, tracks=[polygon_track({0: square(2, 2), 10: square(4, 2)})])
    program = program_for(state)
    program.propagate(output="one-track")
    draw(state, tracks=[polygon_track({0: square(20, 12), 10: square(20, 10)})])
    program.propagate(output="one-track")
    tracks = state.read(state.jobs[JOB][1])["tracks"]
    assert sorted(len(drawn_keyframes(t)) for t in tracks) == [2, 2] and all(map(perclips, tracks))


def test_a_track_that_a_person_deletes_stays_away(program_for) -> None:
    state = state_of(blank_task(LENGTH))
    draw(state, tracks=[polygon_track({0: square(2, 2)})], shapes=[mask_shape(0, square(20, 12), label=2)])
    program = program_for(state)
    program.propagate(output="one-track")
    job = state.jobs[JOB][1]
    with state.lock:
        state.delete(job, {"tracks": list(job.tracks)})
    program.propagate(output="one-track")
    program.undo()
    assert not job.tracks and len(job.shapes) == 1


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_lost_connection_doubles_nothing(program_for, moment) -> None:
    state = rich_task()
    draw(state, tracks=[rich_track()])
    before = content(the_track(state))
    program = program_for(state)
    cut = iter([moment])
    program.fake.fault = lambda method, path: next(cut, None) if "action=update" in path else None
    program.propagate(output="one-track")
    assert perclips(the_track(state))
    program.undo()
    assert content(the_track(state)) == before


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_run_that_dies_at_the_moment_of_writing_is_taken_up(program_for, moment) -> None:
    """The server has the track, or has not; the journal only knows that it was to be sent."""
    state = rich_task()
    draw(state, tracks=[rich_track()])
    before = content(the_track(state))
    program = program_for(state)
    program.server = program.log_in(patience=0.0)
    cut = iter([moment])
    program.fake.fault = lambda method, path: next(cut, None) if "action=update" in path else None
    assert program.attempt(output="one-track").error is not None
    assert bool(perclips(the_track(state))) == (moment == "after")
    program.propagate(output="one-track")
    assert perclips(the_track(state)) and drawn_keyframes(the_track(state)) == before["shapes"]
    program.undo()
    assert content(the_track(state)) == before


def test_a_dry_run_changes_nothing_and_counts_the_tracks(program_for) -> None:
    state = rich_task()
    draw(state, tracks=[rich_track()])
    before = the_track(state)
    program = program_for(state)
    assert program.propagate(output="one-track", dry=True).written.created == 1
    assert the_track(state) == before and not any(method == "PATCH" for method, _ in program.fake.log)
    program.propagate(output="one-track")
    assert program.propagate(output="one-track", dry=True).written.created == 0


def test_a_track_that_is_written_in_parts_counts_once(program_for, monkeypatch) -> None:
    state = state_of(blank_task(LENGTH))
    draw(state, tracks=[polygon_track({6: square(2, 2), 20: square(8, 8)})])
    program = program_for(state)
    monkeypatch.setattr("plugin.cvat.run.task_writer._LEAST_SECONDS", 0.0)
    monkeypatch.setattr("plugin.cvat.run.task_writer._PATIENCE", 0.0)
    assert program.propagate(output="one-track").written.created == 1
    assert sum("action=update" in path for _, path in program.fake.log) > 1


def test_a_job_that_may_not_be_written_to_keeps_its_track(program_for) -> None:
    state = rich_task()
    draw(state, tracks=[rich_track()])
    before = the_track(state)
    program = program_for(state)
    program.fake.fault = lambda method, path: 403 if method == "PATCH" else None
    assert JOB in program.attempt(output="one-track").failed
    assert the_track(state) == before
    program.fake.fault = lambda method, path: None
    program.propagate(output="one-track")
    assert perclips(the_track(state))


def test_a_request_that_is_carried_out_late_leaves_one_track(program_for) -> None:
    state = rich_task()
    draw(state, tracks=[rich_track()])
    before = content(the_track(state))
    program = program_for(state)
    sent: list[dict[str, Any]] = []
    update = state.update
    state.update = lambda job, body: (sent.append(copy.deepcopy(body)), update(job, body))[1]
    program.propagate(output="one-track")
    state.update = update
    with state.lock:
        state.update(state.jobs[JOB][1], sent[0])  # a second time
    assert len(state.jobs[JOB][1].tracks) == 2
    program.propagate(output="one-track")
    assert perclips(the_track(state))
    with state.lock:
        state.update(state.jobs[JOB][1], sent[0])
    program.undo()
    assert content(the_track(state)) == before


def test_a_server_that_rounds_coordinates_gets_its_track_back(program_for) -> None:
    state = rich_task()
    draw(state, tracks=[rich_track()])
    before = the_track(state)
    program = program_for(state)
    update = state.update

    def rounding(job: FakeJob, body: dict[str, Any]) -> dict[str, Any]:
        for track in body["tracks"]:
            for shape in track["shapes"]:
                shape["points"] = [round(p, 2) for p in shape["points"]]
        return update(job, body)

    state.update = rounding
    outcome = program.attempt(output="one-track")
    assert "--output track" in outcome.failed[JOB]
    assert [s["frame"] for s in the_track(state)["shapes"]] == [s["frame"] for s in before["shapes"]]


SHORT = 10


@st.composite
def drawn_tracks(draw_one: Any) -> list[dict[str, Any]]:
    """One to three tracks, each with a keyframe that shows something, apart from one another."""
    tracks = []
    for number in range(draw_one(st.integers(1, 3))):
        keyframes = draw_one(st.dictionaries(st.integers(0, SHORT - 1), st.one_of(masks, st.none()), max_size=4))
        keyframes[draw_one(st.integers(0, SHORT - 1))] = draw_one(masks)
        track = polygon_track(keyframes, label=1 + number % 2, group=draw_one(st.sampled_from((0, number + 1))))
        for shape in track["shapes"]:
            shape |= {"occluded": draw_one(st.booleans()), "z_order": number + 3 * draw_one(st.integers(0, 1))}
            shape["attributes"] = [{"spec_id": 12, "value": draw_one(st.sampled_from(("left", "right")))}]
        tracks.append(track)
    return tracks


@settings(
    max_examples=12,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
    database=None,
)
@given(st.data())
def test_no_keyframe_of_a_person_is_ever_changed(data: st.DataObject) -> None:
    labels = [FakeLabel(number, name, attributes=[ATTRIBUTES[1]]) for number, name in ((1, "car"), (2, "person"))]
    state = state_of(blank_task(SHORT, labels=labels))
    draw(state, tracks=data.draw(drawn_tracks()))
    job = state.jobs[JOB][1]

    def theirs() -> list[list[Any]]:
        """The person's keyframes of all tracks: those without a mark."""
        tracks = state.read(job)["tracks"]
        return sorted(
            (
                [content(s) for s in t["shapes"] if not is_marked(s["points"], s["outside"])]
                for t in tracks
                if t["source"] == "manual"
            ),
            key=json.dumps,
        )

    expected = theirs()

    def meddle() -> None:
        nonlocal expected
        tracks = [t for t in state.read(job)["tracks"] if t["source"] == "manual"]
        track = data.draw(st.sampled_from(tracks))
        ours = [s for s in track["shapes"] if is_marked(s["points"], s["outside"])]
        what = data.draw(st.sampled_from(("move", "hide", "new", "nothing")))
        if what == "nothing" or (what != "new" and not ours):
            return
        shapes = copy.deepcopy(track["shapes"])
        if what == "new":
            frame = data.draw(st.integers(track["frame"], SHORT - 1))
            shapes = with_keyframe(track, frame, points=polygon(data.draw(masks)), outside=False)
        else:
            frame = data.draw(st.sampled_from(ours))["frame"]
            shape = next(s for s in shapes if s["frame"] == frame)
            shape |= {"points": polygon(data.draw(masks))} if what == "move" else {"outside": not shape["outside"]}
        save(state, track, shapes=shapes)
        expected = theirs()

    with tempfile.TemporaryDirectory() as folder, FakeCvat(state) as fake:
        program = Program(fake, Path(folder))
        for _ in range(data.draw(st.integers(1, 3))):
            program.engine = Meddler(meddle if data.draw(st.booleans()) else None)
            output = data.draw(st.sampled_from(("one-track", "one-track", "as-drawn", "mask")))
            program.propagate(output=output, direction=data.draw(st.sampled_from(("both", "forward"))))
            assert theirs() == expected
            meddle()
        program.engine = NearestKeyframe()
        program.propagate(output="one-track")
        assert theirs() == expected
        assert [t["source"] for t in job.tracks] == ["manual"] * len(expected) and not job.shapes  # one for each
        program.undo()
        assert (
            sorted(([content(s) for s in t["shapes"]] for t in state.read(job)["tracks"]), key=json.dumps) == expected
        )


def test_a_group_that_people_give_is_none_that_the_journal_alone_knows(program_for) -> None:
    state = state_of(blank_task(LENGTH))
    draw(state, tracks=[polygon_track({6: square(2, 2)})])
    program = program_for(state)
    program.propagate(output="one-track")
    before = state.read(state.jobs[JOB][1])["tracks"][0]
    # The page counts from what the server has: nothing bears a number there.
    theirs = [mask_shape(frame, square(20, 10), label=2, group=1) for frame in (0, 20)]
    draw(state, shapes=theirs)
    outcome = program.propagate(output="one-track")
    assert outcome.drawn == {1: [6], 2: [0, 20]}
    read = state.read(state.jobs[JOB][1])
    assert [content(t) for t in read["tracks"]] == [content(before)]
    assert {s["frame"] for s in read["shapes"] if s["source"] == "auto" and s["group"] == 2} == {*range(LENGTH)} - {
        0,
        20,
    }
    assert program.undo().restored == 1


@pytest.mark.parametrize("output", ["one-track", "as-drawn"])
def test_two_tracks_of_one_group_that_are_seen_at_once_are_filled_in_each_on_its_own(program_for, output):
    state = state_of(blank_task(10))
    draw(state, tracks=[polygon_track({0: square(2, 2), 4: square(3, 2)}, group=4)])
    draw(state, tracks=[polygon_track({2: square(20, 12), 6: square(21, 12)}, group=4)])
    program = program_for(state)
    outcome = program.propagate(output=output)
    assert sorted(outcome.drawn.values()) == [[0, 4], [2, 6]]
    # Else a track of its own for each stretch: two of the one, three of the other.
    assert len(state.jobs[JOB][1].tracks) == (2 if output == "one-track" else 2 + 5)
    assert program.propagate(output=output).frames == 0
