"""Stock tracker calls of CVAT through the real handler."""

import base64
import copy
import json

import numpy as np
import pytest

from model.evaluation.metrics import region_similarity
from plugin.shapes import decode_mask, mask_to_polygons, polygons_to_mask
from serverless.track_state import LARGEST, VERSION
from tests.serverless.calls import HEIGHT, WIDTH, Worker, image_text, mask_shape, sealed


def box_of(mask):
    top, left = np.argwhere(mask).min(0)
    bottom, right = np.argwhere(mask).max(0) + 1
    return [float(v) for v in (left, top, right, bottom)]


def drawn(squares, kind, index=0, obj=1):
    """A drawn square, as CVAT sends it."""
    mask = squares.labels[index] == obj
    points = {"polygon": lambda: mask_to_polygons(mask)[0], "rectangle": lambda: box_of(mask)}
    return mask_shape(mask) if kind == "mask" else {"type": kind, "points": points[kind]()}


def init(worker, image, shapes):
    return worker.answered({"image": image, "shapes": shapes, "states": []})["states"]


def go_on(worker, image, states):
    """Shapes and states of a following frame, as CVAT calls for them."""
    answer = worker.answered({"image": image, "shapes": [None] * len(states), "states": states})
    assert len(answer["shapes"]) == len(answer["states"]) == len(states)
    return answer["shapes"], answer["states"]


def sides(polygon):
    """Start and end of each side of a polygon."""
    corners = np.reshape(polygon, (-1, 2))
    return zip(corners, np.roll(corners, -1, axis=0), strict=True)


def as_mask(shape):
    if shape["type"] == "mask":
        return decode_mask(shape["points"], HEIGHT, WIDTH)
    if shape["type"] == "polygon":
        return polygons_to_mask([shape["points"]], HEIGHT, WIDTH)
    x1, y1, x2, y2 = (round(v) for v in shape["points"])
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[y1:y2, x1:x2] = True
    return mask


@pytest.mark.parametrize("kind", ["mask", "polygon", "rectangle"])
def test_a_shape_is_followed_and_stays_of_its_type(worker, squares, images, kind):
    states = init(worker, images[0], [drawn(squares, kind)])
    for i in range(1, 24):
        (shape,), states = go_on(worker, images[i], states)
        assert shape["type"] == kind
        assert region_similarity(as_mask(shape), squares.labels[i] == 1) > 0.6, i
        assert len(json.dumps(states[0])) <= LARGEST


@pytest.mark.parametrize("kinds", [("mask", "polygon"), ("rectangle", "mask"), ("polygon", "rectangle")])
def test_many_objects_of_mixed_types_and_nulls(worker, squares, images, kinds):
    states = init(worker, images[0], [drawn(squares, kinds[0]), None, drawn(squares, kinds[1], obj=2)])
    assert states[1] is None
    for i in (1, 2, 3):
        shapes, states = go_on(worker, images[i], states)
    assert [s and s["type"] for s in shapes] == [kinds[0], None, kinds[1]] and states[1] is None
    for place, obj in ((0, 1), (2, 2)):
        assert region_similarity(as_mask(shapes[place]), squares.labels[3] == obj) > 0.6


def test_backward_out_of_order_and_repeated_frames(worker, squares, images):
    states = init(worker, images[12], [drawn(squares, "mask", 12)])
    for i in (11, 10, 10, 14, 9, 8, 15):
        (shape,), states = go_on(worker, images[i], states)
        assert region_similarity(as_mask(shape), squares.labels[i] == 1) > 0.6, i


def test_any_worker_gives_the_same_answer_with_and_without_a_cache(worker, squares, images):
    states = init(worker, images[0], [drawn(squares, "mask"), drawn(squares, "polygon", obj=2)])
    for i in range(1, 8):
        _, states = go_on(worker, images[i], states)
    kept = copy.deepcopy(states)
    warm = go_on(worker, images[8], states)
    assert go_on(Worker(), images[8], states) == warm
    assert go_on(worker, images[8], states) == warm and states == kept  # a repeated call, or another branch
    moved = [json.loads(json.dumps({k: s[k] for k in sorted(s, reverse=True)})) for s in states]
    assert go_on(worker, images[8], moved) == warm  # CVAT's server may write the keys in another order


def wide(frame, brightness=16):
    """The red of a frame as a camera of 12 bits stores it, with hot pixels."""
    grays = (frame[..., 0].astype(float) * brightness).astype(np.uint16)
    grays[3::48, 5::48] = 65535
    return grays


@pytest.mark.parametrize("dark", [0, 4])
def test_16_bit_images_are_followed_over_a_dark_one_and_hot_pixels(worker, squares, dark):
    """Each call sees one image: the scale travels with the state."""
    texts = [image_text(wide(frame, 1.4 if i == dark else 16)) for i, frame in enumerate(squares.frames[:9])]
    states = init(worker, texts[0], [drawn(squares, "mask")])
    for i in range(1, 9):
        (shape,), states = go_on(worker, texts[i], states)
        if i != dark and (dark or i < 3):  # it hardly shows anything: what is drawn there is soon lost
            assert region_similarity(as_mask(shape), squares.labels[i] == 1) > 0.6, i
        assert states[0]["depth"] == 12 and len(json.dumps(states[0])) <= LARGEST
    kept = copy.deepcopy(states)
    assert go_on(Worker(), texts[1], states) == go_on(worker, texts[1], kept)


def test_states_of_8_bit_images_say_nothing_of_a_scale(worker, squares, images):
    assert "depth" not in init(worker, images[0], [drawn(squares, "mask")])[0]


@pytest.mark.parametrize("depth", [7, 33, "12", None])
def test_a_state_with_an_impossible_scale_is_refused(worker, squares, images, depth):
    (state,) = init(worker, image_text(wide(squares.frames[0])), [drawn(squares, "mask")])
    status, answer = worker.call({"image": images[1], "shapes": [None], "states": [sealed(state | {"depth": depth})]})
    assert "error" in answer or status != 200


def test_an_object_that_is_gone_is_null_and_comes_back(worker, squares, images):
    ground = squares.frames[0].copy()
    ground[:] = squares.frames[0][:, 40:41]
    empty = image_text(ground)
    for kind in ("mask", "polygon", "rectangle"):
        states = init(worker, images[0], [drawn(squares, kind)])
        (seen,), states = go_on(worker, images[1], states)
        (shape,), states = go_on(worker, empty, states)
        assert shape == (seen if kind == "rectangle" else None)
        (shape,), states = go_on(worker, images[2], states)
        assert region_similarity(as_mask(shape), squares.labels[2] == 1) > 0.5


def test_servers_before_2_40_send_and_get_bare_points(worker, squares, images):
    box = box_of(squares.labels[0] == 1)
    states = init(worker, images[0], [box])
    (points,), _ = go_on(worker, images[1], states)
    assert isinstance(points, list) and len(points) == 4 and np.abs(np.array(points) - box).max() < 12


@pytest.mark.parametrize("size", [(1, 1), (7, 3), (31, 400), (1, 700), (16384, 1), (1080, 1919)])
def test_odd_sizes(worker, size):
    height, width = size
    random = np.random.default_rng(0)
    frame = random.integers(0, 255, (height, width, 3), dtype=np.uint8)
    mask = np.zeros(size, bool)
    mask[: height // 2 + 1, : width // 2 + 1] = True
    states = init(worker, image_text(frame, "JPEG"), [mask_shape(mask)])
    assert len(json.dumps(states[0])) <= LARGEST
    go_on(worker, image_text(frame, "JPEG"), states)


def test_a_noisy_full_hd_state_stays_small_over_many_calls():
    worker = Worker(Worker.settings(short_side=480))
    random = np.random.default_rng(1)
    small = random.integers(0, 255, (360, 640, 3), dtype=np.uint8)
    frame = np.kron(small, np.ones((3, 3, 1), np.uint8))
    mask = random.random((1080, 1920)) > 0.5
    states = init(worker, image_text(frame, "JPEG"), [mask_shape(mask)])
    for _ in range(7):
        _, following = go_on(worker, image_text(frame, "JPEG"), states)
        states = following
        assert len(json.dumps(states[0])) <= LARGEST


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s | {"size": [128, 97]},
        lambda s: s | {"calls": 3},
        lambda s: s | {"memory": []},
        lambda s: {k: v for k, v in s.items() if k != "sum"},
        lambda s: s | {"perclip": VERSION - 1},
        lambda s: s | {"perclip": VERSION + 1},
        lambda s: {"other": "tracker"},
        lambda s: "gASVCgAAAAAAAACMBmtpbGxlZJQu",
        lambda s: [1, 2],
        lambda s: s | {"memory": [[0, s["memory"][0][1][:-40], *s["memory"][0][2:]]]},
    ],
)
def test_a_tampered_truncated_or_foreign_state_is_refused(worker, squares, images, change):
    (state,) = init(worker, images[0], [drawn(squares, "mask")])
    status, answer = worker.call({"image": images[1], "shapes": [None], "states": [change(state)]})
    assert status == 400 and answer["error"]["code"] == "bad_state" and len(answer["error"]["message"]) < 200


def test_a_state_with_a_right_checksum_and_wrong_content_is_refused(worker, squares, images):
    (state,) = init(worker, images[0], [drawn(squares, "mask")])
    for place, content in ((1, b"no image"), (2, b"no logits"), (2, base64.b64decode(state["memory"][0][2])[:20])):
        memory = copy.deepcopy(state["memory"])
        memory[0][place] = base64.b64encode(content).decode()
        forged = sealed(state | {"memory": memory})
        status, answer = worker.call({"image": images[1], "shapes": [None], "states": [forged]})
        assert status == 400 and answer["error"]["code"] == "bad_state"


def test_a_state_of_another_size_or_network_is_refused(worker, squares, images):
    states = init(worker, images[0], [drawn(squares, "mask")])
    status, answer = worker.call({"image": image_text(squares.frames[1][:90]), "states": states})
    assert status == 400 and "128x96" in answer["error"]["message"]
    status, answer = Worker(Worker.settings(short_side=64)).call({"image": images[1], "states": states})
    assert status == 400 and "another network" in answer["error"]["message"]


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("polygon", {"shape": [1.0, 2.0, 3.0]}),
        ("polygon", {"shape": [1.0, 2.0, 3.0, 4.0]}),
        ("polygon", {"shape": [0, 0, 5e6, 0, 5, 5]}),
        ("polygon", {"shape": [0, 0, 9, 0, 5, 5] * 500}),
        ("polygon", {"bare": True}),
        ("mask", {"bare": True}),
        ("mask", {"shape": [1, 2]}),
        ("mask", {"kind": "rectangle"}),
        ("rectangle", {"shape": []}),
        ("rectangle", {"kind": "polygon"}),
    ],
)
def test_a_forged_state_of_the_wrong_form_is_refused(worker, squares, images, kind, fields):
    (state,) = init(worker, images[0], [drawn(squares, kind)])
    status, answer = worker.call({"image": images[1], "shapes": [None], "states": [sealed(state | fields)]})
    assert status == 400 and answer["error"]["code"] == "bad_state"


def test_where_both_lists_come_a_shape_without_a_state_begins(worker, squares, images):
    (state,) = init(worker, images[0], [drawn(squares, "mask")])
    new = drawn(squares, "polygon", 1, 2)
    answer = worker.answered({"image": images[1], "shapes": [None, new, None], "states": [state, None]})
    assert answer["shapes"][1:] == [new, None] and answer["states"][2] is None
    alone, _ = go_on(worker, images[1], [state])
    assert answer["shapes"][0] == alone[0]
    shapes, _ = go_on(worker, images[2], answer["states"])
    assert region_similarity(as_mask(shapes[1]), squares.labels[2] == 2) > 0.7


def test_a_polygon_of_very_many_vertices_is_followed_in_a_small_state(worker, squares, images):
    polygon = drawn(squares, "polygon")["points"]
    dense = np.concatenate([np.linspace(a, b, 15_000, endpoint=False) for a, b in sides(polygon)]).ravel().tolist()
    (state,) = init(worker, images[0], [{"type": "polygon", "points": dense}])
    assert len(json.dumps(state)) <= LARGEST
    (shape,), _ = go_on(worker, images[1], [state])
    assert len(shape["points"]) < 200 and region_similarity(as_mask(shape), squares.labels[1] == 1) > 0.7


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"shapes": []}, "bad_image"),
        ({"image": "%%%", "shapes": []}, "bad_image"),
        ({"image": 5}, "bad_image"),
        ({"image": "good", "shapes": {}}, "bad_request"),
        ({"image": "good", "shapes": [{"type": "points", "points": [1, 2]}]}, "bad_shape"),
        ({"image": "good", "shapes": [{"type": "mask", "points": [1, 0, 0, 0, 0]}]}, "bad_shape"),
        ({"image": "good", "shapes": [{"type": "polygon", "points": [1, 2, 3, 4]}]}, "bad_shape"),
        ({"image": "good", "shapes": [{"type": "rectangle", "points": [500, 500, 600, 600]}]}, "bad_shape"),
        ({"image": "good", "shapes": ["x"]}, "bad_shape"),
    ],
)
def test_bad_calls_are_refused_with_a_reason(worker, images, body, code):
    if body.get("image") == "good":
        body = body | {"image": images[0]}
    status, answer = worker.call(body)
    assert status == 400 and answer["error"]["code"] == code and "\n" not in answer["error"]["message"]


def test_an_empty_get_says_who_is_there(worker):
    status, answer = worker.call(b"", "GET")
    assert status == 200 and answer["name"] == "perclip" and answer["ready"] and answer["clip_version"] == 1


def test_memory_stays_flat_over_many_calls(squares, images):
    worker = Worker(Worker.settings(short_side=32, cache_megabytes=2))
    states = init(worker, images[0], [drawn(squares, "mask"), drawn(squares, "polygon", obj=2)])

    def resident() -> float:
        with open("/proc/self/status", encoding="ascii") as status:
            return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmRSS"))

    for i in range(200):
        if i == 80:
            before = resident()
        _, states = go_on(worker, images[i % 24], states)
    assert resident() - before < 6


def test_a_fault_of_ours_is_a_500_with_a_trace_in_the_log_and_the_worker_lives_on(worker, squares, images, monkeypatch):
    body = {"image": images[0], "shapes": [drawn(squares, "mask")], "states": []}
    with monkeypatch.context() as patch:
        patch.setattr("serverless.track_call.shape_to_mask", lambda *_: 1 / 0)
        answer = worker.context.user_data.perclip.answer("POST", body)
    assert answer.outcome == "failed"
    assert answer.status == 500 and "ZeroDivisionError" in answer.log["trace"] and "ZeroDivision" not in answer.body
    worker.answered(body)
