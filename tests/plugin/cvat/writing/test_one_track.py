"""`--output one-track`: Perclip's keyframes go into the track that a person drew, and the person's stay as they are."""

import json
from typing import Any

import numpy as np
import pytest

from plugin.shapes import polygons_to_mask
from tests.cvat_server import FakeJob
from tests.plugin.cvat.program import (
    HEIGHT,
    JOB,
    WIDTH,
    NearestKeyframe,
    blank_task,
    content,
    draw,
    mask_shape,
    polygon_track,
    square,
    state_of,
)
from tests.plugin.cvat.review.test_review import review
from tests.plugin.cvat.writing.one_track import (
    LENGTH,
    drawn_keyframes,
    keyframe,
    perclips,
    polygon,
    rich_task,
    rich_track,
    save,
    shown,
    the_track,
    with_keyframe,
)


def test_one_track_has_the_persons_keyframes_as_they_were_and_perclips_between(program_for) -> None:
    state = rich_task()
    drawn = draw(state, tracks=[rich_track(group=4, source="semi-auto")])[0]
    before = state.read(state.jobs[JOB][1])["tracks"][0]
    outcome = program_for(state).propagate(output="one-track")
    after = the_track(state)
    assert not [w for w in outcome.warnings if "beside" in w]
    assert drawn_keyframes(after) == [content(s) for s in before["shapes"]]
    for field in ("label_id", "group", "source", "attributes", "elements"):
        assert after[field] == before[field] and (field != "source" or after[field] == "semi-auto")
    ours = perclips(after)
    assert ours and set(ours).isdisjoint({5, 15, 25}) and after["frame"] == min(ours) == 0
    # CVAT's interpolation repeats what the keyframe before says: so do ours.
    for frame, shape in ours.items():
        like = keyframe(before, 15 if 15 < frame < 25 else 25 if frame > 25 else 5)
        assert [shape[k] for k in ("occluded", "z_order", "attributes")] == [
            like[k] for k in ("occluded", "z_order", "attributes")
        ]
    for frame in range(LENGTH):
        nearest = min((5, 15, 25), key=lambda f: abs(f - frame))
        expected = polygons_to_mask([keyframe(before, nearest)["points"]], HEIGHT, WIDTH)
        assert np.array_equal(shown(after, frame), expected), frame
    assert drawn["id"] != after["id"]


def test_undo_restores_the_drawn_track_exactly(program_for) -> None:
    state = rich_task()
    draw(state, tracks=[rich_track(), polygon_track({3: square(20, 10), 9: None, 12: square(21, 10)}, label=2)])
    before = [content(t) for t in state.read(state.jobs[JOB][1])["tracks"]]
    program = program_for(state)
    program.propagate(output="one-track")
    program.propagate(output="one-track", direction="forward")
    assert [content(t) for t in state.read(state.jobs[JOB][1])["tracks"]] != before
    assert program.undo(dry=True).restored == 2
    assert program.undo().restored == 2
    assert sorted(map(json.dumps, (content(t) for t in state.read(state.jobs[JOB][1])["tracks"]))) == sorted(
        map(json.dumps, before)
    )
    assert program.undo().restored == 0
    program.propagate(output="one-track")  # and it can be filled in again
    assert all(perclips(t) for t in state.read(state.jobs[JOB][1])["tracks"])


def test_a_second_run_changes_nothing(program_for) -> None:
    state = rich_task()
    draw(state, tracks=[rich_track()])
    program = program_for(state)
    program.propagate(output="one-track")
    before = the_track(state)
    program.engine = NearestKeyframe()
    program.propagate(output="one-track")
    assert the_track(state) == before and not program.engine.runs


@pytest.mark.parametrize(
    "changes",
    [
        {"points": polygon(square(12, 12))},
        {"outside": True},
        {"occluded": True},
        {"z_order": 7},
        {"attributes": [{"spec_id": 12, "value": "behind"}]},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_a_keyframe_of_perclip_that_a_person_changes_is_theirs(program_for, changes) -> None:
    state = rich_task()
    draw(state, tracks=[polygon_track({0: square(2, 2), 20: square(4, 2)})])
    program = program_for(state)
    program.propagate(output="one-track")
    frame = 10
    track = the_track(state)
    saved = save(state, track, shapes=with_keyframe(track, frame, **changes))
    theirs = content(keyframe(saved, frame))
    outcome = program.propagate(output="one-track")
    after = the_track(state)
    assert content(keyframe(after, frame)) == theirs
    assert [s["frame"] for s in after["shapes"] if s["frame"] in (0, 20)] == [0, 20]
    assert outcome.drawn[next(iter(outcome.drawn))] == [0, 10, 20]
    if "points" in changes:  # and it is a keyframe: its neighbours follow
        assert np.array_equal(shown(after, 12), square(12, 12)) and np.array_equal(shown(after, 8), square(12, 12))
        assert np.array_equal(shown(after, 4), square(2, 2))
    program.undo()
    restored = the_track(state)
    assert not perclips(restored) or "points" not in changes
    assert [s["frame"] for s in restored["shapes"]] == [0, frame, 20] and content(keyframe(restored, frame)) == theirs


def test_a_correction_of_a_drawn_keyframe_repairs_its_neighbourhood_alone(program_for) -> None:
    state = state_of(blank_task(LENGTH))
    draw(state, tracks=[polygon_track({0: square(2, 2), 10: square(4, 2), 20: square(6, 2), 30: square(8, 2)})])
    program = program_for(state)
    program.propagate(output="one-track")
    track = the_track(state)
    save(state, track, shapes=with_keyframe(track, 10, points=polygon(square(4, 12))))
    program.engine = NearestKeyframe()
    program.propagate(output="one-track")
    assert program.engine.runs == [(1, 9, (1,))] * 2  # the two beside it
    after = the_track(state)
    assert np.array_equal(shown(after, 8), square(4, 12)) and np.array_equal(shown(after, 13), square(4, 12))
    assert np.array_equal(shown(after, 2), square(2, 2)) and np.array_equal(shown(after, 22), square(6, 2))
    late = [s for s in track["shapes"] if s["frame"] > 20]
    assert [content(s) for s in after["shapes"] if s["frame"] > 20] == [content(s) for s in late]


def test_a_drawn_keyframe_that_a_person_deletes_is_filled_in(program_for) -> None:
    state = state_of(blank_task(LENGTH))
    draw(state, tracks=[polygon_track({0: square(2, 2), 10: square(4, 12), 20: square(2, 2)})])
    program = program_for(state)
    program.propagate(output="one-track")
    track = the_track(state)
    save(state, track, shapes=[s for s in track["shapes"] if s["frame"] != 10])
    program.propagate(output="one-track")
    after = the_track(state)
    assert all(np.array_equal(shown(after, frame), square(2, 2)) for frame in range(LENGTH))
    assert [s["frame"] for s in drawn_keyframes(after)] == [0, 20]


def test_what_a_person_hides_stays_hidden(program_for) -> None:
    state = state_of(blank_task(LENGTH))
    draw(state, tracks=[polygon_track({2: square(2, 2), 6: square(2, 2), 8: None, 16: square(4, 2), 17: None})])
    before = [content(s) for s in the_track(state)["shapes"]]
    outcome = program_for(state).propagate(output="one-track")
    after = the_track(state)
    assert drawn_keyframes(after) == before
    hidden = {*range(8, 16), *range(17, LENGTH)}
    assert {f for f in range(LENGTH) if shown(after, f) is None} == hidden
    assert any("outside" in w for w in outcome.warnings)


class Vanishing(NearestKeyframe):
    """The object is not to be seen on some frames."""

    def run(self, *args: Any, **options: Any) -> Any:
        for result in super().run(*args, **options):
            if result.index in (3, 4, 5, 28, 29, 30):
                result.label_map[:] = 0
            yield result


def test_where_the_object_is_not_seen_the_track_is_outside(program_for) -> None:
    state = state_of(blank_task(LENGTH))
    draw(state, tracks=[polygon_track({0: square(2, 2)})])
    program_for(state, Vanishing()).propagate(output="one-track")
    after = the_track(state)
    assert {f for f in range(LENGTH) if shown(after, f) is None} == {3, 4, 5, 28, 29, 30}
    assert after["shapes"][-1]["frame"] == 28


def test_behind_what_was_asked_for_the_track_ends_and_between_keyframes_it_goes_on(program_for) -> None:
    state = state_of(blank_task(LENGTH))
    draw(state, tracks=[polygon_track({5: square(2, 2), 20: square(4, 2)})])
    program_for(state).propagate(output="one-track", max_gap=3)
    after = the_track(state)
    assert {f for f in range(LENGTH) if shown(after, f) is None} == {0, 1, *range(24, LENGTH)}


def test_an_own_track_of_an_earlier_run_gives_way_and_comes_back(program_for) -> None:
    state = state_of(blank_task(LENGTH))
    draw(state, tracks=[polygon_track({0: square(2, 2), 10: square(4, 2)})])
    before = content(the_track(state))
    program = program_for(state)
    program.propagate()
    job = state.jobs[JOB][1]
    assert len(job.tracks) == 3
    program.propagate(output="one-track")
    assert perclips(the_track(state))
    program.propagate()
    assert len(job.tracks) == 3
    assert [content(t) for t in state.read(job)["tracks"] if t["source"] == "manual"] == [before]
    program.propagate(output="one-track")
    program.undo()
    assert content(the_track(state)) == before


def test_each_job_keeps_its_own_track_and_shapes_are_written_as_drawn(program_for) -> None:
    state = state_of(blank_task(20, [FakeJob(JOB, 0, 9), FakeJob(8, 10, 19)]))
    draw(state, tracks=[polygon_track({2: square(2, 2)})], shapes=[mask_shape(4, square(22, 14), label=2)])
    outcome = program_for(state).propagate(output="one-track")
    first, second = (state.jobs[number][1] for number in (JOB, 8))
    assert [t["source"] for t in first.tracks] == ["manual"] and perclips(first.tracks[0])
    assert [t["source"] for t in second.tracks] == ["auto"]  # nobody drew one there
    assert {s["type"] for s in (*first.shapes, *second.shapes)} == {"mask"}
    assert outcome.written.created == 1 + 1 + 19


def test_a_mask_that_a_person_drew_besides_takes_the_place_of_the_track(program_for) -> None:
    state = state_of(blank_task(LENGTH))
    draw(state, shapes=[mask_shape(6, square(10, 2), group=3)], tracks=[polygon_track({0: square(2, 2)}, group=3)])
    program_for(state).propagate(output="one-track")
    job = state.jobs[JOB][1]
    assert len(job.shapes) == 1 and len(job.tracks) == 1
    assert shown(job.tracks[0], 6) is None and np.array_equal(shown(job.tracks[0], 7), square(10, 2))


def test_review_lists_what_nobody_has_touched(program_for) -> None:
    state = state_of(blank_task(LENGTH))
    draw(state, tracks=[polygon_track({0: square(2, 2)})])
    program = program_for(state)
    program.propagate(output="one-track")
    rows = review(program).rows
    assert {frame for frame, *_ in rows} == set(range(1, LENGTH)) and any(seen for *_, seen in rows)
    track = the_track(state)
    save(state, track, shapes=with_keyframe(track, 10, points=polygon(square(12, 12))))
    assert {frame for frame, *_ in review(program).rows} == set(range(1, LENGTH)) - {10}
    with state.lock:
        state.delete(state.jobs[JOB][1], {"tracks": list(state.jobs[JOB][1].tracks)})
    assert not review(program).rows


def filled_by_the_page(program: Any, state: Any) -> dict[str, Any]:
    """A track with marked keyframes that no journal here knows."""
    program.propagate(output="one-track")
    track = the_track(state)
    with program.journal() as journal:
        for table in ("joint", "joint_keyframe", "item", "done", "member", "plan"):
            journal._run(f"DELETE FROM {table}")
    return track


@pytest.mark.parametrize("output", ["one-track", "track", "mask"])
def test_keyframes_of_the_page_are_nobodys_truth(program_for, output) -> None:
    state = rich_task()
    draw(state, tracks=[rich_track()])
    program = program_for(state)
    filled_by_the_page(program, state)
    before = [content(t) for t in state.read(state.jobs[JOB][1])["tracks"]]
    outcome = program.propagate(output=output)
    assert list(outcome.drawn.values()) == [[5, 15, 25]]
    program.undo()
    assert [content(t) for t in state.read(state.jobs[JOB][1])["tracks"]] == before
