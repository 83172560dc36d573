"""A deployed function as the engine: the real handler behind `perclip serve`, in a process of its own."""

import os
import subprocess
import sys
import threading
import types
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import requests

from model.errors import InputError
from model.evaluation.metrics import region_similarity
from model.keyframe import Keyframe
from plugin.cvat.engine.function_engine import FunctionEngine
from plugin.cvat.server.errors import FunctionError

LENGTH = 12


@contextmanager
def served(**environment: str):
    """The address of a function."""
    command = [sys.executable, "-m", "plugin.cli", "serve", "--port", "0"]
    settings = {"PERCLIP_SHORT_SIDE": "96", "PERCLIP_DEVICE": "cpu", "GOMP_SPINCOUNT": "1000", **environment}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env={**os.environ, **settings}
    )
    try:
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait()


@pytest.fixture(scope="module")
def url():
    with served(PERCLIP_MAX_SECONDS="0.2") as address:  # short calls: long chains
        yield address


@contextmanager
def in_front_of(url, answers):
    """A gateway that gives some answers of its own first: a status, or None to close the connection."""
    log = []

    class Gateway(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            log.append(len(body))
            answer = answers.pop(0) if answers else requests.post(url, data=body, timeout=60)
            if answer is None:
                self.close_connection = True
                return
            if isinstance(answer, bytes):
                answer = types.SimpleNamespace(status_code=200, content=answer)
            status, content = (answer, b"busy") if isinstance(answer, int) else (answer.status_code, answer.content)
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def do_GET(self):
            content = requests.get(url, timeout=60).content
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Gateway)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", log
    finally:
        server.shutdown()
        server.server_close()


def masks(engine, squares, keyframes, **options):
    return {r.index: r for r in engine.run(squares.frames[:LENGTH], keyframes, **options)}


@pytest.mark.parametrize(
    "drawn, direction, clip_length",
    [((0,), "both", 5), ((5,), "both", None), ((0, 11), "both", 5), ((4,), "forward", 5)],
)
def test_the_masks_are_those_of_the_network_here(url, squares, lite, drawn, direction, clip_length):
    """Without a clip length the function takes its network's own, which is 5, too."""
    keyframes = [squares.keyframe(index) for index in drawn]
    theirs = masks(FunctionEngine([url], clip_length=clip_length), squares, keyframes, direction=direction)
    ours = masks(lite, squares, keyframes, direction=direction)
    assert theirs.keys() == ours.keys()
    for index, result in ours.items():
        assert theirs[index].is_keyframe == result.is_keyframe
        for obj in (1, 2):  # JPEG, and memory as it travels, make a small difference
            assert region_similarity(theirs[index].label_map == obj, result.label_map == obj) > 0.93
            assert abs(theirs[index].confidence[obj] - result.confidence[obj]) < 0.15


def test_overlapping_masks_are_those_of_the_network_here(url, squares, lite):
    """A square and the upper half of it, on top; later the half alone, drawn over what is carried on."""
    square = squares.labels == 1
    half = square.copy()
    half[:, 26:] = False
    keyframes = [Keyframe(0, {1: half[0], 2: square[0]}), Keyframe(7, {1: half[7]})]
    options = {"direction": "forward", "stop": LENGTH, "labels": {1: "part", 2: "whole"}}
    theirs = masks(FunctionEngine([url], clip_length=5), squares, keyframes, **options)
    ours = masks(lite, squares, keyframes, **options)
    assert theirs.keys() == ours.keys()
    for index, result in ours.items():
        for obj, least in ((1, 0.7), (2, 0.9)):  # nothing shows where the half ends
            assert region_similarity(theirs[index].mask(obj), result.mask(obj)) > least
        assert region_similarity(theirs[index].mask(2), square[index]) > 0.8
        assert theirs[index].masks.order == (2, 1)
    assert np.array_equal(theirs[0].mask(2), square[0]) and np.array_equal(theirs[7].mask(1), half[7])


def test_a_part_alone_is_the_same_as_in_the_whole(url, squares):
    engine = FunctionEngine([url], clip_length=5)
    whole = masks(engine, squares, [squares.keyframe(0)])
    part = masks(engine, squares, [squares.keyframe(0)], start=4, stop=9)
    assert sorted(part) == [4, 5, 6, 7, 8]
    assert all(np.array_equal(part[i].label_map, whole[i].label_map) for i in part)


def test_a_keyframe_that_says_absent_is_told(url, squares):
    first, last = squares.keyframe(0), squares.keyframe(6, 1)
    gone = type(last)(6, last.label_map, (1, 2))
    found = masks(FunctionEngine([url], clip_length=5), squares, [first, gone], direction="forward")
    assert not any((found[i].label_map == 2).any() for i in range(6, LENGTH))


def test_busy_replicas_and_lost_answers_are_tried_again(url, squares):
    pauses = []
    with in_front_of(url, [503, None, 502, 504]) as (gateway, log):
        engine = FunctionEngine([gateway], clip_length=5, pause=pauses.append)
        found = masks(engine, squares, [squares.keyframe(0)])
        assert sorted(found) == list(range(LENGTH)) and len(pauses) == 4 and pauses == sorted(pauses)
        assert len(log) > 5


def test_a_function_that_is_gone_gives_up_after_a_while(url, squares):
    with in_front_of(url, [None] * 100) as (gateway, _):
        engine = FunctionEngine([gateway], clip_length=5, patience=0.0)
        with pytest.raises(FunctionError, match=r"no answer from .* is the function running"):
            masks(engine, squares, [squares.keyframe(0)])
        assert not engine._free.empty()


def test_a_replica_that_dies_is_left_and_its_call_goes_to_another(url, squares):
    with in_front_of(url, [None] * 100) as (gateway, log):
        engine = FunctionEngine([gateway, url], clip_length=5, patience=0.0)
        for _ in range(2):
            assert sorted(masks(engine, squares, [squares.keyframe(0)])) == list(range(LENGTH))
        assert len(log) == 1


def test_what_the_function_refuses_is_passed_on(url, squares):
    with in_front_of(url, [400]) as (gateway, _):
        engine = FunctionEngine([gateway], clip_length=5)
        with pytest.raises(FunctionError, match="refuses: status 400"):
            masks(engine, squares, [squares.keyframe(0)])


@pytest.mark.parametrize("answer", [b"{}", b'{"frames": []}', b'{"frames": [{"frame": 1}], "continue": null}', b"[]"])
def test_an_answer_of_another_form_is_the_functions_fault(url, squares, answer):
    with (
        in_front_of(url, [answer]) as (gateway, _),
        pytest.raises(FunctionError, match=r"form that is not known|refuses"),
    ):
        masks(FunctionEngine([gateway], clip_length=5), squares, [squares.keyframe(0)])


@pytest.mark.parametrize("address", ["nonsense", "http://127.0.0.1:9"])
def test_an_address_without_function_is_refused_at_once(address):
    with pytest.raises(InputError, match="--function-url"):
        FunctionEngine([address], clip_length=5, patience=0.0)
