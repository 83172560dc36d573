"""What `perclip cvat propagate` costs beside the network: a 100-frame 480p video task, end to end.

A local server that speaks CVAT's API (`tests.cvat_server`) runs in a process of its own. The bare engine over decoded
frames and the whole program (downloading, decoding, planning, network, shapes, writing, pictures) run in turns, in one
process, in the same minutes; nothing is cached between them but the network itself. Writes bulk.json.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from model.keyframe import Keyframe
from model.options import PropagationOptions
from model.program.command_line import Parser, run_program
from plugin.cvat.engine.engine import LocalEngine
from plugin.cvat.open_task import Workplace
from plugin.cvat.run.bulk import BulkRun, Target, TargetFilter
from plugin.cvat.run.task_run import TaskOutcome
from plugin.cvat.server.client import Server
from plugin.cvat.server.login import Login
from plugin.cvat.settings import BulkSettings
from plugin.local_run.sample import render_sample
from plugin.shapes import encode_mask
from plugin.sources import open_source
from tests.cvat_server import CvatState, FakeCvat, FakeJob, FakeLabel, FakeTask
from tests.cvat_server.server import TOKEN

_FRAMES = 100
_SIZE = (480, 854)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print and write; gives the exit code."""
    parser = Parser(
        prog="python -m benchmarks.bulk", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--turns", type=int, default=3, metavar="N", help="of each kind; the best counts (default 3)")
    parser.add_argument("--clip-length", type=int, default=5, metavar="L", help="default 5")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda (default auto)")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"), metavar="DIR")
    return run_program(parser, lambda arguments: _serve() if arguments.serve else run(arguments), argv)


def run(arguments: argparse.Namespace) -> None:
    """All measurements; raises PerclipError."""
    frames, mask = _sample()
    engine = LocalEngine(
        "perclip-lite", None, PropagationOptions(device=arguments.device, clip_length=arguments.clip_length)
    )
    command = [sys.executable, "-m", "benchmarks.bulk", "--serve"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        url = process.stdout.readline().strip()
        found: dict[str, dict[str, Any]] = {}
        _bare(engine, frames[:30], mask)  # warms up
        for output in ("mask", "polygon"):
            bare, whole, outcomes = [], [], []
            for _ in range(arguments.turns):
                bare.append(_bare(engine, frames, mask))
                seconds, outcome = _whole(engine, url, output)
                whole.append(seconds)
                outcomes.append(outcome)
            best = int(np.argmin(whole))
            found[output] = {
                "bare engine, seconds": round(min(bare), 3),
                "whole program, seconds": round(whole[best], 3),
                "ratio": round(whole[best] / min(bare), 3),
                "all bare": [round(s, 3) for s in bare],
                "all whole": [round(s, 3) for s in whole],
                "stages of the best": {name: round(s, 3) for name, s in outcomes[best].seconds.items()},
                "annotations": outcomes[best].written.created,
            }
        process.stdin.close()
    text = json.dumps({"frames": _FRAMES, "size": _SIZE, "clip length": arguments.clip_length, **found}, indent=1)
    print(text)
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "bulk.json").write_text(text + "\n", encoding="utf-8")


def _sample() -> tuple[list[np.ndarray], np.ndarray]:
    """Frames, uint8 (480, 854, 3) each, and the first mask as a label map."""
    height, width = _SIZE
    sample = render_sample(Path("out/bulk-benchmark"), frames=_FRAMES, height=height, width=width)
    with open_source(sample.video) as source:
        return source[:], np.array(Image.open(sample.masks[0]))


def _bare(engine: LocalEngine, frames: Sequence[np.ndarray], mask: np.ndarray) -> float:
    began = time.perf_counter()
    for _ in engine.run(frames, [Keyframe(0, mask)]):
        pass
    return time.perf_counter() - began


def _whole(engine: LocalEngine, url: str, output: str) -> tuple[float, TaskOutcome]:
    """Seconds of a run with an empty cache; what it wrote is taken back by the server's own program."""
    with tempfile.TemporaryDirectory() as folder, Server(Login(url, TOKEN)) as server:
        place = Path(folder)
        settings = BulkSettings(output=output)
        bulk = BulkRun(Workplace(server, place / "c", place / "j"), engine, settings, TargetFilter())
        began = time.perf_counter()
        outcome = bulk.run([Target(1)])[0]
        seconds = time.perf_counter() - began
        if outcome.error is not None:
            raise RuntimeError(outcome.error)
        content = server.get("/api/jobs/1/annotations/")
        body = {"shapes": [s for s in content["shapes"] if s["source"] == "auto"], "tracks": [], "tags": []}
        server.patch("/api/jobs/1/annotations/", body, repeatable=True, action="delete")
        return seconds, outcome


def _serve() -> None:
    """The server, until standard input ends."""
    frames, mask = _sample()
    task = FakeTask(1, frames, [FakeJob(1, 0, _FRAMES - 1)], [FakeLabel(1, "thing")], is_video=True)
    state = CvatState([task])
    objects = [int(i) for i in np.unique(mask) if i]
    shapes = [
        {"type": "mask", "frame": 0, "label_id": 1, "points": encode_mask(mask == i), "group": i} for i in objects
    ]
    state.create(task.jobs[0], {"shapes": shapes})
    with FakeCvat(state) as fake:
        with Server(Login(fake.url, TOKEN)) as server:  # chunks are made when CVAT takes a task in
            for number in range(-(-_FRAMES // task.chunk_size)):
                server.get_bytes("/api/tasks/1/data", type="chunk", number=number, quality="original")
        print(fake.url, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    sys.exit(main())
