"""The function over real HTTP, in a process of its own."""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import requests

from plugin.cli import main
from tests.serverless.calls import image_text, mask_shape


def start(**environment):
    """A server process and its address."""
    process = subprocess.Popen(
        [sys.executable, "-m", "plugin.cli", "serve", "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PERCLIP_SHORT_SIDE": "96", "PERCLIP_DEVICE": "cpu"} | environment,
    )
    return process, process.stdout.readline().strip()


@pytest.fixture(scope="module")
def address():
    process, address = start()
    yield address
    process.kill()
    process.wait()


@pytest.fixture(scope="module")
def body(squares):
    frames = [{"frame": i, "image": image_text(squares.frames[i], "JPEG")} for i in range(8)]
    keyframes = [{"frame": 0, "shapes": [mask_shape(squares.labels[0] == 1, object=1)]}]
    return {"clip": {"version": 1, "width": 128, "height": 96, "frames": frames, "keyframes": keyframes}}


def test_a_get_tells_version_and_readiness(address):
    answer = requests.get(address, timeout=60)
    assert answer.status_code == 200 and answer.json()["ready"] is True


def test_calls_over_one_connection_and_at_once(address, body, squares):
    with requests.Session() as session:
        first = session.post(address, json=body, timeout=120)
        assert first.status_code == 200 and len(first.json()["frames"]) == 8
        image = image_text(squares.frames[0])
        answer = session.post(
            address, json={"image": image, "shapes": [mask_shape(squares.labels[0] == 1)]}, timeout=60
        )
        assert answer.json()["states"][0]["perclip"] == 2
    answers = []
    threads = [
        threading.Thread(target=lambda: answers.append(requests.post(address, json=body, timeout=120).json()["frames"]))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [first.json()["frames"]] * 3


def test_direct_callers_get_proper_statuses(address):
    answer = requests.post(address, data=b"{", headers={"Content-Type": "application/json"}, timeout=60)
    assert answer.status_code == 400 and answer.json()["error"]["code"] == "not_json"
    host, port = address.removeprefix("http://").split(":")
    for header, status in (
        ("Content-Length: 99999999999", 413),
        (f"Content-Length: {'9' * 5000}", 411),
        ("Content-Length: -4", 411),
        ("X: 1", 411),
    ):
        with socket.create_connection((host, int(port)), timeout=60) as connection:
            connection.sendall(f"POST / HTTP/1.1\r\nHost: x\r\n{header}\r\n\r\n".encode())
            assert f" {status} ".encode() in connection.recv(4096)
    assert requests.get(address, timeout=60).status_code == 200
    assert requests.head(address, timeout=60).status_code == 200
    answer = requests.put(address, data=b"{}", timeout=60)
    assert answer.status_code == 405 and answer.json()["error"]["code"] == "bad_http"


def test_a_refused_caller_may_send_all_before_reading_the_answer(address):
    host, port = address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -4\r\n\r\n" + b"x" * 2**17)
        select.select([connection], [], [], 60)  # the answer is there
        for _ in range(10):
            time.sleep(0.05)
            connection.sendall(b"x" * 2**17)
        assert b" 411 " in connection.makefile("rb").readline()


def test_a_stop_finishes_the_call_waits_for_no_idle_connection_and_leaves_quietly(body):
    process, address = start()
    idle = requests.Session()
    assert idle.get(address, timeout=60).status_code == 200
    host, port = address.removeprefix("http://").split(":")
    slow = json.dumps({"clip": body["clip"] | {"clip_length": 1}}).encode()
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        head = f"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: {len(slow)}\r\n\r\n"
        connection.sendall(head.encode())
        assert connection.recv(4096).startswith(b"HTTP/1.1 100")  # the server has it, however busy the machine is
        connection.sendall(slow)
        process.send_signal(signal.SIGTERM)
        answer = connection.makefile("rb").read()
    _, errors = process.communicate(timeout=25)  # for the idle one it would wait 30 s
    idle.close()
    assert answer.startswith(b"HTTP/1.1 200") and answer.endswith(b"}")
    assert process.returncode == 0 and "Traceback" not in errors


def test_too_many_calls_at_once_are_told_to_come_again(address, body):
    with ThreadPoolExecutor(24) as callers:
        answers = list(callers.map(lambda _: requests.post(address, json=body, timeout=120), range(24)))
    statuses = {answer.status_code for answer in answers}
    assert statuses == {200, 503}
    assert {a.json()["error"]["code"] for a in answers if a.status_code == 503} == {"busy"}


def test_a_port_in_use_and_wrong_settings_are_said_in_one_line(address, capsys, monkeypatch):
    port = address.rsplit(":", 1)[1]
    for arguments, environment, message in (
        (["--port", port], {}, "choose another port"),
        (["--port", "0"], {"PERCLIP_NETWORK": "nonsense"}, "nonsense"),
        (["--port", "0"], {"PERCLIP_MAX_SECONDS": "soon"}, "PERCLIP_MAX_SECONDS"),
    ):
        with monkeypatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value)
            assert main(["serve", *arguments]) == 2
        error = capsys.readouterr().err
        assert error.startswith("perclip: error: ") and error.count("\n") == 1 and message in error


def test_the_log_has_timings_and_no_pixels(body):
    process, address = start()
    requests.post(address, json=body, timeout=120)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert '"timing"' in errors and '"kind": "clip"' in errors
    assert max(map(len, errors.splitlines())) < 1000 and body["clip"]["frames"][0]["image"][:40] not in errors
    assert np.all([line.startswith("{") for line in errors.splitlines()])
