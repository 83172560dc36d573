"""Whatever comes in, an answer with a status below 500 goes out, and the worker lives on."""

import copy
import json
import os

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.serverless.calls import Worker, image_text, mask_shape, sealed, sealed_continuation

_EXAMPLES = int(os.environ.get("PERCLIP_HOSTILE_BODIES", "100"))
_SETTINGS = settings(
    max_examples=_EXAMPLES, deadline=None, phases=set(Phase) - {Phase.shrink}, suppress_health_check=list(HealthCheck)
)

_LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([10**400, -1, 0, 1, 2**31, 2**63, 1e308, 1.5])
    | st.floats()
    | st.text(max_size=20)
)
_JSON = st.recursive(
    _LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@pytest.fixture(scope="module")
def worker():
    return Worker(Worker.settings(short_side=32, max_seconds=0.05))


@pytest.fixture(scope="module")
def good_bodies(worker, squares):
    """Calls of every kind that are answered."""
    frames = [{"frame": i, "image": image_text(squares.frames[i], "JPEG")} for i in range(6)]
    keyframes = [{"frame": 0, "shapes": [mask_shape(squares.labels[0] == 1, object=1)]}]
    clip = {"version": 1, "width": 128, "height": 96, "frames": frames, "keyframes": keyframes, "output": "polygon"}
    paused = worker.answered({"clip": clip | {"max_seconds": 1e-6, "clip_length": 1}})
    further = clip | {"continue": paused["continue"]["state"], "clip_length": 1}
    image = frames[0]["image"]
    shapes = [mask_shape(squares.labels[0] == 1), {"type": "rectangle", "points": [5, 5, 60, 60]}]
    states = worker.answered({"image": image, "shapes": shapes, "states": []})["states"]
    return [
        {"clip": clip},
        {"clip": further},
        {"image": image, "shapes": [{"type": "mask", "points": [], "clip": clip}], "states": []},
        {"image": image, "shapes": shapes, "states": []},
        {"image": image, "shapes": [None, None], "states": states},
    ]


def answers(worker, body):
    status, answer = worker.call(body)
    assert 200 <= status < 500 and isinstance(answer, dict)
    assert ("error" in answer) <= (status >= 400 or "states" in answer)
    if "error" in answer:
        assert answer["error"]["code"] and "\n" not in answer["error"]["message"]
        assert len(answer["error"]["message"]) < 1000


@_SETTINGS
@given(body=st.binary(max_size=60) | st.text(max_size=60) | _JSON)
def test_any_body(worker, body):
    answers(worker, body)


def paths(value, here=()):
    """The places of all values in a JSON document."""
    yield here
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from paths(inner, (*here, key))
    elif isinstance(value, list):
        for key, inner in enumerate(value[:30]):
            yield from paths(inner, (*here, key))


@_SETTINGS
@given(data=st.data())
def test_good_bodies_with_something_changed(worker, good_bodies, data):
    body = copy.deepcopy(good_bodies[data.draw(st.integers(0, len(good_bodies) - 1))])
    changed(body, data)
    answers(worker, json.dumps(body).encode())


def changed(body, data):
    """Changes a JSON document in up to three places."""
    for _ in range(data.draw(st.integers(1, 3))):
        places = [p for p in paths(body) if p]
        if not places:
            break
        *above, last = data.draw(st.sampled_from(places))
        inner = body
        for key in above:
            inner = inner[key]
        kind = data.draw(st.sampled_from(["replace", "remove", "cut"]))
        if kind == "cut" and isinstance(inner[last], str):
            inner[last] = inner[last][: data.draw(st.integers(0, max(0, len(inner[last]) - 1)))]
        elif kind == "remove":
            del inner[last]
        else:
            inner[last] = data.draw(_JSON)


@_SETTINGS
@given(data=st.data())
def test_states_with_something_changed_and_a_right_checksum(worker, good_bodies, data):
    body = copy.deepcopy(good_bodies[-1])
    state = body["states"][data.draw(st.integers(0, 1))]
    changed(state, data)
    body["states"] = [sealed(state)]
    answers(worker, body)


@_SETTINGS
@given(data=st.data())
def test_continuations_with_something_changed_and_a_right_checksum(worker, good_bodies, data):
    clip = good_bodies[1]["clip"]
    content = json.loads(clip["continue"][32:])
    changed(content, data)
    answers(worker, {"clip": clip | {"continue": sealed_continuation(content)}})


def test_the_worker_lives_on(worker, good_bodies):
    for body in good_bodies:
        worker.answered(body)
