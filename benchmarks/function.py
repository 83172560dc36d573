"""What the function costs beside the network: tracker call latency, and clip calls over HTTP against the bare engine.

Tracker calls: milliseconds of a call through the handler, for frame sizes and numbers of objects, with a warm cache and
with none (a worker that has never seen the object). Clip calls: a chain over HTTP (`perclip serve` in a process of its
own) against `Propagator.run` over the same decoded frames, in turns, in the same minutes. Memory: of that process, on
Linux. Writes function.json.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import requests
from PIL import Image

from benchmarks.function_calls import answer, image_text
from model.keyframe import Keyframe
from model.network.checkpoint import load_network
from model.options import PropagationOptions
from model.program.command_line import Parser, run_program
from model.propagation.propagator import Propagator
from model.propagation.run_record import RunRecord
from plugin.local_run.sample import render_sample
from plugin.shapes import encode_label_map, encode_mask
from plugin.sources import open_source
from serverless.perclip_function import PerclipFunction, Settings

_SIZES = {"480p": (480, 854), "1080p": (1080, 1920)}
_FRAMES = 40


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print and write; gives the exit code."""
    parser = Parser(
        prog="python -m benchmarks.function", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda (default auto)")
    parser.add_argument("--calls", type=int, default=8, metavar="N", help="timed calls of each kind (default 8)")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"), metavar="DIR")
    return run_program(parser, run, argv)


def run(arguments: argparse.Namespace) -> None:
    """All measurements as the arguments say; raises PerclipError."""
    found = {"tracker calls, ms": _tracker_calls(arguments)} | _clip_calls(arguments)
    text = json.dumps(found, indent=1)
    print(text)
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "function.json").write_text(text + "\n", encoding="utf-8")


def _tracker_calls(arguments: argparse.Namespace) -> dict[str, dict[str, float]]:
    settings = Settings(device=arguments.device)
    found = {}
    for size, (height, width) in _SIZES.items():
        sample = render_sample(Path("out/function-benchmark") / size, frames=8, height=height, width=width)
        with open_source(sample.video) as source:
            images = [image_text(frame, "PNG") for frame in source[:]]
        mask = np.array(Image.open(sample.masks[0])) == 1
        for objects in (1, 5):
            shapes = [{"type": "mask", "points": encode_mask(np.roll(mask, 7 * i, 1))} for i in range(objects)]
            warm, cold = PerclipFunction(settings), PerclipFunction(replace(settings, cache_megabytes=0.0))
            found[f"{size}, {objects} objects"] = {
                "warm cache": _track(warm, images, shapes, arguments.calls),
                "no cache": _track(cold, images, shapes, arguments.calls),
            }
    return found


def _track(function: PerclipFunction, images: list[str], shapes: list[dict[str, Any]], calls: int) -> float:
    """Median milliseconds of a continuing call."""
    states = answer(function, {"image": images[0], "shapes": shapes, "states": []})["states"]
    times = []
    for i in range(calls + 3):
        body = json.dumps({"image": images[1 + i % 7], "shapes": [None] * len(states), "states": states}).encode()
        began = time.perf_counter()
        states = answer(function, body)["states"]
        times.append(time.perf_counter() - began)
    return round(1000 * median(times[3:]), 1)  # memory has filled up by then


def _clip_calls(arguments: argparse.Namespace) -> dict[str, dict[str, float]]:
    sample = render_sample(Path("out/function-benchmark/clip"), frames=_FRAMES, height=480, width=854)
    with open_source(sample.video) as source:
        frames = list(source[:])
    label_map = np.array(Image.open(sample.masks[0]))
    keyframe = Keyframe(0, label_map)
    shapes = [{"object": o, "type": "mask", "points": p} for o, p in encode_label_map(label_map).items()]
    sent = [{"frame": i, "image": image_text(frame, "JPEG")} for i, frame in enumerate(frames)]
    clip = {"version": 1, "width": 854, "height": 480, "frames": sent, "keyframes": [{"frame": 0, "shapes": shapes}]}
    propagator = Propagator(load_network("perclip-lite"), PropagationOptions(device=arguments.device, memory="spread"))
    server = subprocess.Popen(
        [sys.executable, "-m", "plugin.cli", "serve", "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=os.environ | {"PERCLIP_DEVICE": arguments.device, "PERCLIP_MAX_SECONDS": "20"},
    )
    try:
        assert server.stdout is not None
        address = server.stdout.readline().strip()
        memory: dict[str, float] = {"ready": _resident(server.pid)}
        bare, http, timings = [], [], []
        for _ in range(3):  # in turns, as the machine's speed changes
            bare.append(_seconds(lambda: list(propagator.run(frames, [keyframe], record=RunRecord()))))
            http.append(_seconds(lambda: timings.append(_chain(address, clip))))
        memory["at most, clips of 5"] = _resident(server.pid, "VmHWM")
        _chain(address, clip | {"clip_length": 25})
        memory["at most, clips of 25"] = _resident(server.pid, "VmHWM")
    finally:
        server.kill()
    timing = timings[int(np.argmin(http))]
    compared: dict[str, float] = {
        "frames": _FRAMES,
        "bare engine, s": round(min(bare), 2),
        "over HTTP, s": round(min(http), 2),
        "HTTP over bare": round(min(http) / min(bare), 3),
        **{f"function: {name}, s": round(seconds, 2) for name, seconds in timing.items()},
    }
    return {"clip calls": compared, "memory of a worker, MB": memory}


def _resident(process: int, kind: str = "VmRSS") -> int:
    """Megabytes of memory of a process, now or (VmHWM) at most so far; 0 where there is no /proc."""
    status = Path(f"/proc/{process}/status")
    if not status.is_file():
        return 0
    lines = dict(line.split(":", 1) for line in status.read_text(encoding="utf-8").splitlines() if ":" in line)
    return int(lines[kind].split()[0]) // 1000


def _chain(address: str, clip: dict[str, Any]) -> dict[str, float]:
    """Follows a chain to its end; the function's own times, summed up."""
    timing: dict[str, float] = {}
    body = {"clip": clip}
    while True:
        reply = requests.post(address, json=body, timeout=120).json()
        for name, seconds in reply["timing"].items():
            timing[name] = timing.get(name, 0.0) + seconds
        if reply["continue"] is None:
            return timing
        body = {"clip": clip | {"continue": reply["continue"]["state"]}}


def _seconds(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


if __name__ == "__main__":
    sys.exit(main())
