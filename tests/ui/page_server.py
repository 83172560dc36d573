"""A stand-in for the CVAT server behind the page: a job's frames, and the lambda endpoint before the real function.

The endpoint forwards what CVAT forwards and nothing else: the frame's image, shapes and states (CVAT_CONTRACT 1).
Started by the browser tests; prints its address as one line and ends when its standard input closes.
"""

import base64
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import requests
from PIL import Image

from plugin.local_run.sample import render_sample
from plugin.shapes.rle import encode_label_map
from plugin.sources import open_source

FRAMES, HEIGHT, WIDTH = 24, 180, 320
_HERE = Path(__file__).parent
_MODULES = _HERE.parents[1] / "plugin" / "ui" / "perclip"
_HEADERS = {  # of CVAT's own nginx
    "Content-Security-Policy": "default-src 'self'; script-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "style-src 'self' 'unsafe-inline'; object-src 'none'; base-uri 'self'; worker-src 'self'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "credentialless",
}
_TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".png": "image/png"}
_SHAPE_TYPES = ("rectangle", "mask", "polygon")


class PageServer(ThreadingHTTPServer):
    """The page, its frames and the lambda endpoint on a free port.

    Attributes:
        frames: PNG files of the job.
        truth: mask points by object, for each frame.
        faults: of the next lambda calls: {"status": 503}, {"delay": 0.5}, {"answer": {...}} or None for none.
        calls: bodies of all lambda calls, without images.
    """

    daemon_threads = True

    def __init__(self, function_url: str, folder: Path):
        super().__init__(("127.0.0.1", 0), _Handler)
        clip = render_sample(folder, frames=FRAMES, height=HEIGHT, width=WIDTH)
        with open_source(clip.video) as source:
            self.frames = [
                cv2.imencode(".png", cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))[1].tobytes() for frame in source
            ]
        masks = [np.array(Image.open(path)) for path in clip.masks]
        self.truth = [{str(o): points for o, points in encode_label_map(mask).items()} for mask in masks]
        self.function_url = function_url
        self.faults: list[dict[str, Any] | None] = []
        self.calls: list[dict[str, Any]] = []


class _Handler(BaseHTTPRequestHandler):
    server: PageServer
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if frame := re.fullmatch(r"/frames/(\d+)\.png", path):
            self._send(200, self.server.frames[int(frame[1])], "image/png")
        elif path == "/job.json":
            job = {"frames": FRAMES, "width": WIDTH, "height": HEIGHT, "truth": self.server.truth}
            self._json(200, job)
        elif path == "/calls.json":
            self._json(200, self.server.calls)
        else:
            module = re.fullmatch(r"/perclip/\w+/(\w+\.js)", path)  # as CVAT's nginx after add-script-tag.sh
            file = _MODULES / module[1] if module else _HERE / "page" / (path.strip("/") or "index.html")
            if file.is_file():
                self._send(200, file.read_bytes(), _TYPES[file.suffix])
            else:
                self._json(404, {"detail": "Not found."})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/faults":
            self.server.faults, self.server.calls = body, []
            self._json(200, {})
        elif self.path == "/api/lambda/functions/pth-perclip":
            self._lambda(body)
        else:
            self._json(404, {"detail": "Not found."})

    def _lambda(self, body: dict[str, Any]) -> None:
        clip = (body.get("shapes") or [{}])[0].get("clip", {})
        # What the page asks by itself, at any time, is none of the calls that tests are about.
        is_asked = clip.get("ask") == "status"
        fault = (self.server.faults.pop(0) if self.server.faults and not is_asked else None) or {}
        images = [item["frame"] for item in clip.get("frames", ()) if "image" in item]
        facts = {"images": images, "characters": sum(len(item.get("image", "")) for item in clip.get("frames", ()))}
        told = ("keyframes", "direction", "clip_length", "max_seconds", "output", "learn")
        if not is_asked:
            self.server.calls.append(facts | {name: clip.get(name) for name in told})
        time.sleep(fault.get("delay", 0))
        if "status" in fault:
            self._send(fault["status"], b"<h1>nginx</h1>", "text/html")
        elif "answer" in fault:
            self._json(200, {"states": [], "shapes": []} | fault["answer"])
        elif not all("type" in shape for shape in body["shapes"]):
            self._json(500, {"detail": "KeyError"})
        elif not all(shape["type"] in _SHAPE_TYPES for shape in body["shapes"]):
            self._json(400, {"detail": "bad shape type"})
        else:
            image = base64.b64encode(self.server.frames[body["frame"]]).decode()
            sent = {"image": image, "shapes": body["shapes"], "states": body.get("states", [])}
            answer = requests.post(self.server.function_url, json=sent, timeout=120)
            if answer.status_code != 200:  # the text of errors does not pass
                self._json(500, {"detail": f"{answer.status_code} Server Error: for url"})
            elif "states" not in answer.json():
                self._json(500, {"detail": "KeyError"})
            else:
                self._json(200, answer.json())

    def _json(self, status: int, value: Any) -> None:
        self._send(status, json.dumps(value).encode(), "application/json")

    def _send(self, status: int, content: bytes, kind: str) -> None:
        self.send_response(status)
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        with suppress(ConnectionError):  # the page was closed
            self.end_headers()
            self.wfile.write(content)


def main() -> None:
    """Serve until standard input closes."""
    environment = os.environ | {"PERCLIP_SHORT_SIDE": str(HEIGHT), "PERCLIP_DEVICE": "cpu"}
    command = [sys.executable, "-m", "plugin.cli", "serve", "--port", "0"]
    function = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment)
    try:
        with tempfile.TemporaryDirectory() as folder:
            server = PageServer(function.stdout.readline().strip(), Path(folder))
            threading.Thread(target=server.serve_forever, daemon=True).start()
            print(f"http://127.0.0.1:{server.server_address[1]}", flush=True)
            sys.stdin.read()
    finally:
        function.terminate()
        function.wait()


if __name__ == "__main__":
    main()
