"""What an operator reads in the log: one line for each call, of the right kind and level, and why a start failed."""

import io
import json
import types

import nuclio_sdk
import pytest

from model.errors import PerclipError
from serverless import main
from serverless.perclip_function import Settings
from tests.serverless.calls import Worker, image_text, mask_shape


@pytest.fixture(scope="module")
def worker():
    return Worker()


@pytest.fixture(scope="module")
def calls(squares):
    shape = mask_shape(squares.labels[0] == 1)
    clip = {
        "version": 1,
        "width": 128,
        "height": 96,
        "frames": [{"frame": i, "image": image_text(squares.frames[i], "JPEG")} for i in range(2)],
        "keyframes": [{"frame": 0, "shapes": [shape | {"object": 1}]}],
    }
    track = {"image": image_text(squares.frames[0]), "shapes": [shape], "states": []}
    return {
        "track": track,
        "clip": {"clip": clip},
        "a clip through CVAT": {"shapes": [{"clip": clip}]},
        "status": b"",
        "a bad shape": track | {"shapes": [{"type": "mask", "points": [1]}]},
        "a bad image": track | {"image": "AAAA"},
        "a bad clip": {"clip": {"version": 1}},
        "a bad clip through CVAT": {"shapes": [{"clip": {"version": 1}}]},
        "no JSON": b"{",
        "no UTF-8": b"\xff\xfe",
        "a list": [1],
        "a number": b"7",
        "text": "hello",
    }


def logged(log: io.StringIO) -> list[dict]:
    return [json.loads(line) for line in log.getvalue().splitlines()]


@pytest.mark.parametrize(
    ("call", "kind", "level"),
    [
        ("track", "track", "info"),
        ("clip", "clip", "info"),
        ("a clip through CVAT", "clip", "info"),
        ("status", "status", "info"),
        ("a bad shape", "track", "warning"),
        ("a bad image", "track", "warning"),
        ("a bad clip", "clip", "warning"),
        ("a bad clip through CVAT", "clip", "warning"),
        ("no JSON", "malformed", "warning"),
        ("no UTF-8", "malformed", "warning"),
        ("a list", "malformed", "warning"),
        ("a number", "malformed", "warning"),
        ("text", "malformed", "warning"),
    ],
)
def test_a_call_is_one_line_of_its_kind_and_level(worker, calls, call, kind, level):
    worker.log.truncate(0), worker.log.seek(0)
    worker.call(calls[call])
    (line,) = logged(worker.log)
    assert (line["with"]["kind"], line["level"]) == (kind, level)
    assert (line["message"] == "answered") == (line["with"]["error"] is None) == (level == "info")


def test_a_fault_is_an_error_of_its_kind(worker, calls, monkeypatch):
    for name, call in (("answer_clip", "clip"), ("answer_clip", "a clip through CVAT")):
        worker.log.truncate(0), worker.log.seek(0)
        with monkeypatch.context() as patch:
            patch.setattr(f"serverless.perclip_function.{name}", lambda *_: 1 / 0)
            worker.call(calls[call])
        (line,) = logged(worker.log)
        assert (line["with"]["kind"], line["level"], line["message"]) == ("clip", "error", "failed")
        assert "ZeroDivisionError" in line["with"]["trace"]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"PERCLIP_NETWORK": "stcn"}, "PERCLIP_WEIGHTS"),
        ({"PERCLIP_NETWORK": "pcvos", "PERCLIP_WEIGHTS": ""}, "PERCLIP_WEIGHTS"),
        ({"PERCLIP_NETWORK": "nonsense"}, "nonsense"),
        ({"PERCLIP_WEIGHTS": "/nowhere.pth"}, "/nowhere.pth"),
        ({"PERCLIP_DEVICE": "cuda:77"}, "cuda:77"),
        ({"PERCLIP_SHORT_SIDE": "small"}, "PERCLIP_SHORT_SIDE"),
    ],
)
def test_a_start_that_fails_says_why_in_one_line(monkeypatch, settings, words):
    for name, value in ({"PERCLIP_DEVICE": "cpu"} | settings).items():
        monkeypatch.setenv(name, value)
    log, logger = io.StringIO(), nuclio_sdk.Logger(level=0)
    logger.set_handler("default", log, nuclio_sdk.logger.JSONFormatter())
    context = nuclio_sdk.Context(logger=logger)
    context.user_data = types.SimpleNamespace()
    with pytest.raises(PerclipError, match=words):
        main.init_context(context)
    (line,) = logged(log)
    assert line["level"] == "error" and words in line["with"]["reason"] and "\n" not in line["with"]["reason"]


def test_weights_of_ones_own_are_taken_for_every_network():
    for network in ("stcn", "pcvos", "perclip-lite"):
        environment = {"PERCLIP_NETWORK": network, "PERCLIP_WEIGHTS": "/x.pth"}
        assert str(Settings.of(environment).weights) == "/x.pth"
    assert Settings.of({"PERCLIP_NETWORK": ""}).weights is None
