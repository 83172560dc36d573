"""Clip calls through the real handler."""

import time

import numpy as np
import pytest

from model import Keyframe, PropagationOptions, Propagator, load_network
from model.evaluation.metrics import region_similarity
from model.learning.recipe import LearningRecipe
from model.propagation.run_record import RunRecord
from model.tracking.bounded_cache import BoundedCache
from plugin.shapes import decode_mask, polygons_to_mask
from serverless.chain_learning import ChainLearning
from serverless.clip_call import answer_clip
from tests.serverless.calls import HEIGHT, WIDTH, Worker, mask_shape


def keyframe(squares, index, kind=None, **named):
    """Keyframe fields of the squares at a frame; `named` gives our ids by name."""
    shapes = [mask_shape(squares.labels[index] == obj, object=name) for name, obj in named.items()]
    return {"frame": 100 + 2 * index, "shapes": shapes}


def clip(squares, images, keyframes, sent=range(24), **fields):
    """A clip call about CVAT's frames 100, 102, ..., as many as there are images; some bring theirs."""
    frames = [{"frame": 100 + 2 * i} | ({"image": image} if i in sent else {}) for i, image in enumerate(images)]
    return {
        "clip": {"version": 1, "width": WIDTH, "height": HEIGHT, "frames": frames, "keyframes": keyframes, **fields}
    }


def masks(frames):
    """Frame -> object -> mask of an answer's frames, all masks."""
    return {f["frame"]: {s["object"]: decode_mask(s["points"], HEIGHT, WIDTH) for s in f["shapes"]} for f in frames}


def test_a_whole_clip_in_one_call(worker, squares, images):
    answer = worker.answered(clip(squares, images, [keyframe(squares, 0, left=1, right=2)]))
    assert answer["continue"] is None and answer["warnings"] == []
    found = masks(answer["frames"])
    assert sorted(found) == [100 + 2 * i for i in range(24)]
    assert found[100] == {}  # what a person drew is not answered
    for i in range(1, 24):
        for name, obj in (("left", 1), ("right", 2)):
            assert region_similarity(found[100 + 2 * i][name], squares.labels[i] == obj) > 0.6, (i, name)
    shape = answer["frames"][5]["shapes"][0]
    assert set(shape) == {"object", "type", "points", "confidence"} and 0 < shape["confidence"] < 1
    assert answer["timing"]["total"] == pytest.approx(
        sum(answer["timing"][part] for part in ("parse", "decode", "network", "encode")), abs=1e-3
    )


def follow_chain(workers, squares, images, keyframes, batch, **fields):
    """All frames of a chain of calls to the workers in turn, each with `batch` new images at most, and its length."""
    body, frames, calls = (
        clip(squares, images, keyframes, sent=[k["frame"] // 2 - 50 for k in keyframes], **fields),
        [],
        0,
    )
    while True:
        answer = workers[calls % len(workers)].answered(body)
        frames += answer["frames"]
        calls += 1
        going_on = answer["continue"]
        if going_on is None:
            return frames, calls
        assert calls < 40
        sent = [f // 2 - 50 for f in going_on["needed"] + going_on["next"][:batch]]
        body = clip(squares, images, keyframes, sent=sent, **fields | {"continue": going_on["state"]})


@pytest.mark.parametrize(
    ("ends", "direction"), [([0], "forward"), ([13], "backward"), ([0, 13], "both"), ([7], "both"), ([3, 10], "both")]
)
def test_two_replicas_in_turn_give_what_the_engine_gives_in_one_run(worker, squares, images, ends, direction):
    other = Worker()
    keyframes = [keyframe(squares, i, a=1, b=2) for i in ends]
    frames, calls = follow_chain([worker, other], squares, images[:14], keyframes, 5, direction=direction)
    assert calls > 2
    options = PropagationOptions(device="cpu", short_side=96, memory="spread")
    whole = Propagator(load_network("perclip-lite"), options).run(
        squares.frames[:14],
        [Keyframe(i, squares.labels[i]) for i in ends],
        direction=direction,
        record=RunRecord(),
        size=(HEIGHT, WIDTH),
    )
    found = masks(frames)
    given = {100 + 2 * r.index: r for r in whole}
    assert sorted(found) == sorted(given)
    for number, result in given.items():
        for name, obj in (("a", 1), ("b", 2)):
            expected = (result.label_map == obj) & (not result.is_keyframe)
            np.testing.assert_array_equal(found[number].get(name, np.zeros((HEIGHT, WIDTH), bool)), expected)
    confidences = {f["frame"]: {s["object"]: s["confidence"] for s in f["shapes"]} for f in frames}
    for number, result in given.items():
        if not result.is_keyframe:
            assert confidences[number] == {n: round(result.confidence[o], 4) for n, o in (("a", 1), ("b", 2))}


def test_a_call_stops_when_its_time_is_over_and_the_chain_ends(worker, squares, images):
    keyframes = [keyframe(squares, 0, a=1)]
    body, got, calls = clip(squares, images, keyframes, max_seconds=0.0001), [], 0
    while True:
        answer = worker.answered(body)
        got += [f["frame"] for f in answer["frames"]]
        calls += 1
        if answer["continue"] is None:
            break
        body = clip(squares, images, keyframes, max_seconds=0.0001, **{"continue": answer["continue"]["state"]})
    assert got == [100 + 2 * i for i in range(24)] and calls == 5


def test_polygons_rectangles_and_masks_answer_as_drawn(worker, squares, images):
    square = squares.labels[0] == 1
    top, left = np.argwhere(square).min(0)
    bottom, right = np.argwhere(square).max(0) + 1
    polygon = [left, top, right, top, right, bottom, left, bottom]
    shapes = [
        {"object": 1, "type": "polygon", "points": [float(v) for v in polygon]},
        mask_shape(squares.labels[0] == 2, object=2),
    ]
    body = clip(squares, images, [{"frame": 100, "shapes": shapes}], sent=range(6))
    frames = worker.answered(body)["frames"][1:]
    assert len(frames) == 5
    for i, frame in enumerate(frames, 1):
        drawn, masked = frame["shapes"]
        assert (drawn["type"], masked["type"]) == ("polygon", "mask")
        filled = polygons_to_mask([drawn["points"]], HEIGHT, WIDTH)
        assert region_similarity(filled, squares.labels[i] == 1) > 0.6
        assert len(drawn["points"]) <= 40
    boxes = worker.answered(body | {"clip": body["clip"] | {"output": "rectangle"}})["frames"][1:]
    for i, frame in enumerate(boxes, 1):
        (x1, y1, x2, y2) = frame["shapes"][0]["points"]
        truth = np.argwhere(squares.labels[i] == 1)
        assert np.abs(np.array([y1, x1]) - truth.min(0)).max() < 8 and np.abs([y2, x2] - truth.max(0)).max() < 8


def test_shapes_come_in_full_frame_pixels_from_smaller_images(worker, squares, images):
    big = np.kron(squares.labels[0], np.ones((3, 3), np.uint8))
    body = clip(squares, images, [{"frame": 100, "shapes": [mask_shape(big == 1, object=1)]}])
    body["clip"] |= {"width": 3 * WIDTH, "height": 3 * HEIGHT}
    for i, frame in enumerate(worker.answered(body)["frames"][1:], 1):
        mask = decode_mask(frame["shapes"][0]["points"], 3 * HEIGHT, 3 * WIDTH)
        assert region_similarity(mask, np.kron(squares.labels[i] == 1, np.ones((3, 3))) > 0) > 0.6


def test_an_empty_entry_says_that_the_object_is_absent_from_there_on(worker, squares, images):
    for empty in ([], [{"object": "a", "type": "mask", "points": []}]):
        keyframes = [keyframe(squares, 0, a=1), {"frame": 120, "shapes": empty}]
        frames = worker.answered(clip(squares, images, keyframes, direction="forward"))["frames"]
        shown = [f["frame"] for f in frames if f["shapes"]]
        assert 102 in shown and max(shown) < 120


def test_calls_through_cvat_carry_the_clip_in_the_first_shape_and_get_errors_with_200(worker, squares, images):
    inner = clip(squares, images, [keyframe(squares, 0, a=1)], sent=range(6))
    outer = {"image": images[0], "shapes": [{"type": "mask", "points": [], **inner}], "states": []}
    answer = worker.answered(outer)
    assert answer["states"] == [] and len(answer["frames"]) == 6
    inner["clip"]["width"] = -1
    status, answer = worker.call(outer)
    assert status == 200 and answer["states"] == [] and "width" in answer["error"]["message"]
    status, answer = worker.call(inner)
    assert status == 400 and answer["error"]["code"] == "bad_request"


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        ({"version": 2}, "bad_version", "version 2"),
        ({"frames": None}, "bad_request", "frames must be a list"),
        ({"keyframes": []}, "no_keyframe", "no keyframe"),
        ({"direction": "up"}, "bad_request", "direction"),
        ({"clip_length": 0}, "bad_request", "clip_length"),
        ({"clip_length": 10**400}, "bad_request", "clip_length"),
        ({"width": 30}, "bad_shape", "not inside the 30x96 picture"),
        ({"continue": "x"}, "bad_continue", "continue"),
        (
            {"keyframes": [{"frame": 100, "shapes": [{"object": 1, "type": "ellipse", "points": []}]}]},
            "bad_shape",
            "type",
        ),
    ],
)
def test_bad_calls_are_refused_with_a_reason(worker, squares, images, change, code, message):
    body = clip(squares, images, [keyframe(squares, 0, a=1)])
    status, answer = worker.call({"clip": body["clip"] | change})
    assert status == 400 and answer["error"]["code"] == code and message in answer["error"]["message"]


def test_a_bad_image_names_its_frame(worker, squares, images):
    body = clip(squares, [*images[:3], "bm8gaW1hZ2U=", *images[4:]], [keyframe(squares, 0, a=1)])
    status, answer = worker.call(body)
    assert status == 400 and answer["error"]["code"] == "bad_image" and "frame 106" in answer["error"]["message"]


def test_a_continuation_of_another_chain_or_a_damaged_one_is_refused(worker, squares, images):
    keyframes = [keyframe(squares, 0, a=1)]
    state = worker.answered(clip(squares, images, keyframes, max_seconds=0.0001))["continue"]["state"]
    for text, code in ((state[:-2], "bad_continue"), (state.replace("reached", "reacted"), "bad_continue")):
        status, answer = worker.call(clip(squares, images, keyframes, **{"continue": text}))
        assert (status, answer["error"]["code"]) == (400, code)
    other = Worker(Worker.settings(short_side=64))
    for answering, drawn in ((worker, [keyframe(squares, 0, a=2)]), (other, keyframes)):
        status, answer = answering.call(clip(squares, images, drawn, **{"continue": state}))
        assert (status, answer["error"]["code"]) == (400, "bad_continue")
        assert "another network" in answer["error"]["message"]


def test_a_polygon_without_tolerance_and_a_call_without_time(worker, squares, images):
    drawn = [keyframe(squares, 0, a=1)]
    answer = worker.answered(clip(squares, images, drawn, output="polygon", polygon_tolerance=0, max_seconds=0))
    assert 0 < len(answer["frames"]) < len(images) and answer["continue"]
    assert all(shape["type"] == "polygon" for frame in answer["frames"] for shape in frame["shapes"])


def test_many_objects_are_segmented_in_shorter_clips(worker, images):
    shapes = [{"object": i, "type": "rectangle", "points": [i, 2, i + 20, 60]} for i in range(100)]
    body = {"version": 1, "width": 128, "height": 96, "frames": [{"frame": 0, "image": images[0]}, {"frame": 1}]}
    answer = worker.answered({"clip": body | {"keyframes": [{"frame": 0, "shapes": shapes}], "clip_length": 50}})
    assert any("5 frames instead" in warning for warning in answer["warnings"])


@pytest.mark.parametrize("length", [1, 3])
def test_a_call_that_names_no_clip_length_gets_the_network_s_own(lite, squares, images, length):
    body = clip(squares, images, [keyframe(squares, 0, a=1)], max_seconds=0, direction="forward")["clip"]
    assert "clip_length" not in body
    own = lite.with_options(clip_length=length)
    learning = ChainLearning(load_network("perclip-lite"), lite.options, 9.0, (), LearningRecipe(), BoundedCache(0))
    answered = answer_clip(own, learning, body, "name", 0.0, time.perf_counter())["frames"]
    assert len([frame for frame in answered if frame["frame"] > 100]) == length
    asked = answer_clip(own, learning, body | {"clip_length": 2}, "name", 0.0, time.perf_counter())["frames"]
    assert len([frame for frame in asked if frame["frame"] > 100]) == 2
