"""Bodies in the form that CVAT's server was measured to send (shared contract, sections 1 and 4), kept as files.

A state in them is written as `<file index>`: what the answer to that file gave.
"""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.serverless.calls import Worker

_FOLDER = Path(__file__).parent / "cvat_requests"
_STATE = re.compile(r"<(\w+) (\d+)>")

TRACKER_CALLS = {
    "init_mask": ["mask"],
    "init_mixed": ["mask", "polygon", "rectangle"],
    "init_threshold": ["mask"],
    "init_extra_keys": ["mask"],
    "continue_mixed": ["mask", "polygon", "rectangle"],
    "continue_threshold": ["mask"],
    "continue_and_begin": ["mask", "mask"],
}
"""Types of the shapes in the answer to each file."""


def request(worker: Worker, name: str) -> dict[str, Any]:
    """The body of a file, with real states in it."""
    body = json.loads((_FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    for i, state in enumerate(body.get("states", [])):
        if state is not None:
            file, index = _STATE.fullmatch(state).groups()
            body["states"][i] = worker.answered(request(worker, file))["states"][int(index)]
    return body


@pytest.mark.parametrize("name", TRACKER_CALLS)
def test_a_tracker_call_gets_a_state_and_a_shape_of_its_type_for_each_object(worker, name):
    answer = worker.answered(request(worker, name))
    assert [shape["type"] for shape in answer["shapes"]] == TRACKER_CALLS[name]
    assert all(shape["points"] for shape in answer["shapes"])
    assert len(answer["states"]) == len(answer["shapes"]) and None not in answer["states"]


@pytest.mark.parametrize("name", ["init_bare_rectangle", "continue_bare_rectangle"])
def test_servers_before_2_40_get_bare_points(worker, name):
    answer = worker.answered(request(worker, name))
    assert [len(points) for points in answer["shapes"]] == [4] and len(answer["states"]) == 1


def test_a_clip_is_answered_alike_in_the_first_shape_and_at_the_top(worker):
    direct = worker.answered(request(worker, "clip_direct"))
    through_cvat = worker.answered(request(worker, "clip_in_first_shape"))
    assert direct["frames"] == through_cvat["frames"] and [f["frame"] for f in direct["frames"]] == [0, 1, 2]
    assert through_cvat["states"] == []  # the server answers 500 without


def test_an_error_of_a_clip_reaches_the_person_through_cvat(worker):
    status, answer = worker.call(request(worker, "clip_with_error_in_first_shape"))
    assert status == 200 and answer["states"] == [] and "width" in answer["error"]["message"]


def test_every_file_is_used():
    named = {*TRACKER_CALLS, "init_bare_rectangle", "continue_bare_rectangle"}
    named |= {"clip_direct", "clip_in_first_shape", "clip_with_error_in_first_shape"}
    assert {path.stem for path in _FOLDER.glob("*.json")} == named
