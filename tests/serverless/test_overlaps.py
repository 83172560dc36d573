"""Shapes that overlap in one call, through the real handler: each comes back whole."""

import numpy as np
import pytest

from model.evaluation.metrics import region_similarity
from plugin.shapes import decode_mask
from tests.serverless.calls import HEIGHT, WIDTH, Worker, image_text, mask_shape

LENGTH = 6
LEAST = {"person": 0.9, "vest": 0.7, "helmet": 0.7}
"""Overlap with the truth; small things are hard to follow in frames of 96 lines, whatever else is drawn."""


class Nested:
    """A person with a helmet and a vest, moving over a textured ground.

    Attributes:
        frames: uint8 (T, H, W, 3).
        masks: of each object in each frame.
    """

    def __init__(self) -> None:
        random = np.random.default_rng(4)
        texture = random.normal(0, 12, (HEIGHT, WIDTH, 3))
        self.frames, self.masks = [], []
        for t in range(LENGTH):
            frame = np.full((HEIGHT, WIDTH, 3), (90, 110, 90)) + texture
            left = 30 + 4 * t
            boxes = {"person": (12, 84, 0, 40), "vest": (44, 72, 2, 38), "helmet": (12, 36, 4, 36)}
            colours = {"person": (200, 90, 60), "vest": (40, 60, 220), "helmet": (240, 220, 40)}
            masks = {}
            for name, (top, bottom, first, last) in boxes.items():
                mask = np.zeros((HEIGHT, WIDTH), bool)
                mask[top:bottom, left + first : left + last] = True
                frame[mask] = np.array(colours[name]) + texture[mask]
                masks[name] = mask
            self.frames.append(np.clip(frame, 0, 255).astype(np.uint8))
            self.masks.append(masks)
        self.images = [image_text(frame) for frame in self.frames]


@pytest.fixture(scope="module")
def nested() -> Nested:
    return Nested()


def box_shape(mask):
    top, left = np.argwhere(mask).min(0)
    bottom, right = np.argwhere(mask).max(0) + 1
    return {"type": "rectangle", "points": [float(v) for v in (left, top, right, bottom)]}


def box_mask(points):
    mask = np.zeros((HEIGHT, WIDTH), bool)
    left, top, right, bottom = (round(p) for p in points)
    mask[top:bottom, left:right] = True
    return mask


def follow(workers, images, states):
    """The masks on each following frame, by workers in turn."""
    found = []
    for i, image in enumerate(images):
        body = {"image": image, "shapes": [None] * len(states), "states": states}
        answer = workers[i % len(workers)].answered(body)
        states = answer["states"]
        found.append([decode_mask(s["points"], HEIGHT, WIDTH) for s in answer["shapes"]])
    return found


@pytest.mark.parametrize("together", [True, False])
def test_tracker_calls_follow_a_whole_and_its_parts(worker, nested, together):
    """Drawn in one call or one after the other, and followed by two workers that know nothing of each other."""
    shapes = [mask_shape(mask) for mask in nested.masks[0].values()]
    calls = [shapes] if together else [[shape] for shape in shapes]
    bodies = [{"image": nested.images[0], "shapes": call, "states": []} for call in calls]
    states = [state for body in bodies for state in worker.answered(body)["states"]]
    for i, found in enumerate(follow([worker, Worker()], nested.images[1:], states), 1):
        for mask, (name, true) in zip(found, nested.masks[i].items(), strict=True):
            assert region_similarity(mask, true) > LEAST[name], (i, name)


def test_one_object_as_mask_and_as_rectangle_is_not_two_rivals(worker, nested):
    """Each comes back as it does when it is alone."""
    person = nested.masks[0]["person"]
    shapes = [mask_shape(person), box_shape(person)]
    states = worker.answered({"image": nested.images[0], "shapes": shapes, "states": []})["states"]
    for i in range(1, LENGTH):
        answer = worker.answered({"image": nested.images[i], "shapes": [None, None], "states": states})
        states = answer["states"]
        mask, box = answer["shapes"]
        true = nested.masks[i]["person"]
        assert region_similarity(decode_mask(mask["points"], HEIGHT, WIDTH), true) > 0.85
        assert region_similarity(box_mask(box["points"]), true) > 0.8


def clip(nested, shapes, images=range(LENGTH), **fields):
    frames = [{"frame": i} | ({"image": nested.images[i]} if i in images else {}) for i in range(LENGTH)]
    keyframes = [{"frame": 0, "shapes": shapes}]
    return {
        "clip": {"version": 1, "width": WIDTH, "height": HEIGHT, "frames": frames, "keyframes": keyframes, **fields}
    }


def whole(nested, frame, shapes):
    return {
        s["object"]: region_similarity(decode_mask(s["points"], HEIGHT, WIDTH), nested.masks[frame][s["object"]])
        for s in shapes
    }


def test_a_clip_call_gives_each_object_whole_and_from_bottom_to_top(worker, nested):
    shapes = [mask_shape(mask, object=name) for name, mask in nested.masks[0].items()]
    answer = worker.answered(clip(nested, shapes, clip_length=3))
    assert answer["warnings"] == []  # nothing is covered
    for frame in answer["frames"][1:]:
        found = whole(nested, frame["frame"], frame["shapes"])
        assert next(iter(found)) == "person"  # what was drawn first lies below
        assert sorted(found) == ["helmet", "person", "vest"]
        assert all(found[name] > least for name, least in LEAST.items()), (frame["frame"], found)


def test_a_chain_of_clip_calls_gives_what_one_call_gives(worker, nested):
    shapes = [mask_shape(mask, object=name, label=name) for name, mask in nested.masks[0].items()]
    at_once = worker.answered(clip(nested, shapes, clip_length=2))["frames"]
    frames, state, sent, workers = [], None, [0, 1, 2], [worker, Worker()]
    for call in range(9):
        going_on = {} if state is None else {"continue": state}
        answer = workers[call % 2].answered(clip(nested, shapes, sent, clip_length=2, **going_on))
        frames += answer["frames"]
        if answer["continue"] is None:
            break
        state = answer["continue"]["state"]
        sent = answer["continue"]["needed"] + answer["continue"]["next"][:2]
    assert call > 0
    by_frame = {frame["frame"]: frame["shapes"] for frame in frames}
    assert sorted(by_frame) == [frame["frame"] for frame in at_once]
    for frame in at_once[1:]:
        masks = {s["object"]: decode_mask(s["points"], HEIGHT, WIDTH) for s in by_frame[frame["frame"]]}
        for shape in frame["shapes"]:
            true = decode_mask(shape["points"], HEIGHT, WIDTH)
            assert region_similarity(masks[shape["object"]], true) > 0.99


def test_shapes_of_one_object_are_joined_whole_beneath_another(worker, nested):
    """A part between two parts of an object cuts nothing out of it."""
    person = nested.masks[0]["person"]
    upper = person.copy()
    upper[48:] = False
    shapes = [
        mask_shape(upper, object="person"),
        mask_shape(nested.masks[0]["vest"], object="vest"),
        mask_shape(person & ~upper, object="person"),
    ]
    answer = worker.answered(clip(nested, shapes))
    for frame in answer["frames"][1:]:
        found = whole(nested, frame["frame"], frame["shapes"])
        assert all(found[name] > LEAST[name] for name in ("person", "vest")), found


@pytest.mark.parametrize("label", [True, [], "x" * 101])
def test_a_label_that_is_none_is_refused(worker, nested, label):
    shape = mask_shape(nested.masks[0]["vest"], object=1, label=label)
    _, answer = worker.call(clip(nested, [shape]))
    assert answer["error"]["code"] == "bad_shape" and "label" in answer["error"]["message"]


def test_piles_of_overlapping_shapes_are_refused_before_they_fill_the_memory(worker, nested, monkeypatch):
    monkeypatch.setattr("serverless.clip_request._MOST_KEYFRAME_PIXELS", 3 * HEIGHT * WIDTH)
    shapes = [mask_shape(nested.masks[0]["person"], object=i) for i in range(4)]
    assert worker.answered(clip(nested, shapes[:3]))["frames"]
    status, answer = worker.call(clip(nested, shapes))
    assert status == 413 and answer["error"]["code"] == "too_large"


def test_a_worker_whose_cache_is_full_gives_the_same_answers(worker, nested):
    shapes = [mask_shape(mask) for mask in nested.masks[0].values()]
    states = worker.answered({"image": nested.images[0], "shapes": shapes, "states": []})["states"]
    body = {"image": nested.images[1], "shapes": [None] * 3, "states": states}
    assert Worker(Worker.settings(cache_megabytes=0.0)).answered(body) == worker.answered(body)
