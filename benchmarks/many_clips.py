"""Memory of a worker that lives long: `python -m benchmarks.many_clips`.

One process is given clips of different sizes, lengths and objects, one after the other, once for each number format
that the processor has; float32 as on a processor with AVX2 alone. Where the format is what the processor takes by
itself, every second one goes through the function: a clip call, then a few tracker calls, without a worker's cache,
whose size is set. The figure after 10 clips is compared with the highest later on. Writes many_clips.csv, a row for
each clip, and many_clips.md.

For the figures with the caches of oneDNN and torch as they are by default:
`ONEDNN_PRIMITIVE_CACHE_CAPACITY=1024 LRU_CACHE_CAPACITY=1024 python -m benchmarks.many_clips`.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.function_calls import answer, image_text
from benchmarks.long_video import resident_megabytes
from benchmarks.moving_objects import MovingObjects, render_moving_objects
from benchmarks.row_log import RowLog
from model.device.cpu_features import has_bfloat16
from model.errors import PerclipError
from model.network.checkpoint import load_network
from model.network.quantised_convolution import can_quantise
from model.options import PropagationOptions
from model.program.command_line import Parser, run_program
from model.propagation.propagator import Propagator
from plugin.shapes import encode_label_map
from serverless.perclip_function import PerclipFunction, Settings

_SIZES = ((480, 854), (480, 640), (720, 1280), (360, 640), (1080, 1920), (854, 480), (600, 600), (576, 720))
_COLUMNS = ("format", "clip", "height", "width", "frames", "objects", "clip_length", "resident_MB", "cpu_seconds")
_DESKTOP = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}
_EARLY = 10  # clips after which a worker should have met what it needs


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print and write; gives the exit code."""
    parser = Parser(
        prog="python -m benchmarks.many_clips",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--clips", type=int, default=100, metavar="N", help=f"more than {_EARLY} (default 100)")
    parser.add_argument("--format", metavar="DTYPE", help="only this one, in this process, without many_clips.md")
    parser.add_argument("--short-side", type=int, default=480, metavar="PIXELS")
    parser.add_argument("--seed", type=int, default=0, help="other clips")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"), metavar="DIR")
    return run_program(parser, run, argv)


def run(arguments: argparse.Namespace) -> None:
    """All formats, each in a process of its own, or one; raises PerclipError."""
    path = arguments.out / "many_clips.csv"
    if arguments.format is not None:
        log = RowLog(path, _COLUMNS, resume=True)
        for row in _rows(arguments):
            print(*row.values(), flush=True)
            log.append([row])
        return
    RowLog(path, _COLUMNS, resume=False)
    formats = ["float32", *["bfloat16"] * has_bfloat16(), *["int8"] * can_quantise()]
    for name in formats:
        command = [sys.executable, "-m", "benchmarks.many_clips", "--format", name, "--out", str(arguments.out)]
        options = {"clips": arguments.clips, "short-side": arguments.short_side, "seed": arguments.seed}
        command += [f"--{option}={value}" for option, value in options.items()]
        environment = os.environ | (_DESKTOP if name == "float32" else {})
        if subprocess.run(command, env=environment, check=False).returncode:
            raise PerclipError(f"the process for {name} has failed")
    text = _summary(RowLog(path, _COLUMNS, resume=True).rows)
    print(text)
    (arguments.out / "many_clips.md").write_text(text, encoding="utf-8")


def _rows(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """One row after each clip."""
    rng = np.random.default_rng(arguments.seed)
    options = PropagationOptions(device="cpu", dtype=arguments.format, short_side=arguments.short_side)
    propagator = Propagator(load_network("perclip-lite"), options)
    function = PerclipFunction(Settings(device="cpu", short_side=arguments.short_side, cache_megabytes=0))
    called = function.status()["dtype"] == arguments.format
    for number in range(1, arguments.clips + 1):
        height, width = _SIZES[rng.integers(len(_SIZES))]
        width = int(width * rng.uniform(0.8, 1.2))
        height, width = (side * arguments.short_side // 480 for side in (height, width))
        frames, objects = int(rng.integers(5, 13)), int(rng.integers(1, 4))
        clip_length = int(rng.choice([5, 5, 5, 10, 25]))
        clip = render_moving_objects(rng, height, width, frames, objects)
        began = time.process_time()
        if number % 2 or not called:
            for _ in propagator.with_options(clip_length=clip_length).run(list(clip.frames), [clip.keyframe]):
                pass
        else:
            _call(function, clip, clip_length)
        seconds = time.process_time() - began
        del clip
        size = (number, height, width, frames, objects, clip_length)
        values = (arguments.format, *size, round(resident_megabytes()), round(seconds, 2))
        yield dict(zip(_COLUMNS, values, strict=True))


def _call(function: PerclipFunction, clip: MovingObjects, clip_length: int) -> None:
    """A clip call, and tracker calls over a few of its frames."""
    shapes = [{"type": "mask", "points": points} for points in encode_label_map(clip.keyframe.label_map).values()]
    images = [image_text(frame, "JPEG") for frame in clip.frames]
    body = {
        "version": 1,
        "height": clip.frames.shape[1],
        "width": clip.frames.shape[2],
        "frames": [{"frame": i, "image": image} for i, image in enumerate(images)],
        "keyframes": [{"frame": 0, "shapes": [{"object": i} | shape for i, shape in enumerate(shapes)]}],
        "clip_length": clip_length,
    }
    while (reply := answer(function, {"clip": body}))["continue"] is not None:
        body["continue"] = reply["continue"]["state"]
    states = answer(function, {"image": images[0], "shapes": shapes, "states": []})["states"]
    for image in images[1:4]:
        states = answer(function, {"image": image, "shapes": [None] * len(states), "states": states})["states"]


def _summary(rows: Sequence[dict[str, str]]) -> str:
    """A table in Markdown: memory after some clips, and how much of it came late."""
    marks = (1, 2, 5, _EARLY, 20)
    early = " | ".join(f"after {n}" for n in marks)
    lines = [
        "One process for each format. Resident memory in MB.",
        "",
        f"| format | {early} | after all | highest later / after {_EARLY} | CPU seconds |",
        f"|---|{'---|' * (len(marks) + 3)}",
    ]
    for name in dict.fromkeys(row["format"] for row in rows):
        own = [row for row in rows if row["format"] == name]
        memory = {int(row["clip"]): int(row["resident_MB"]) for row in own}
        growth = max(m for n, m in memory.items() if n >= _EARLY) / memory[_EARLY]
        seconds = sum(float(row["cpu_seconds"]) for row in own)
        some = " | ".join(str(memory.get(n, "")) for n in marks)
        lines.append(f"| {name} | {some} | {memory[len(own)]} ({len(own)} clips) | {growth:.3f} | {seconds:.0f} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
