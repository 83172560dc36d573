"""From a video file to run-length masks: frames per second, against the bare engine; and the cold start.

Both run over the same clip, the engine over decoded frames, in turns, in the same minutes: decoding ahead and encoding
masks shall hide behind the network. Cold start: from starting the command to the first propagated mask in its folder.
Writes end_to_end.json.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from model.errors import InputError
from model.keyframe import Keyframe
from model.network.checkpoint import load_network
from model.options import PropagationOptions
from model.program.command_line import Parser, run_program
from model.propagation.propagator import Propagator
from plugin.local_run.sample import SampleClip, render_sample
from plugin.shapes import encode_label_map
from plugin.sources import open_source
from plugin.sources.read_ahead import ReadAhead


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print and write; gives the exit code."""
    parser = Parser(
        prog="python -m benchmarks.end_to_end",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--frames", type=int, default=60, metavar="N", help="of the clip (default 60)")
    parser.add_argument("--clip-lengths", default="5,25", metavar="N,...", help="default 5,25")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="the best of these counts (default 3)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda (default auto)")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"), metavar="DIR")
    return run_program(parser, run, argv)


def run(arguments: argparse.Namespace) -> None:
    """All measurements as the arguments say; raises PerclipError."""
    sample = render_sample("out/end-to-end-benchmark", frames=arguments.frames)
    network = load_network("perclip-lite")
    found: dict[str, Any] = {}
    for clip_length in map(int, arguments.clip_lengths.split(",")):
        options = PropagationOptions(clip_length=clip_length, device=arguments.device)
        found[f"clip length {clip_length}"] = _throughput(Propagator(network, options), sample, arguments.rounds)
    found["seconds of a cold start"] = _cold_starts(sample, arguments.rounds)
    text = json.dumps(found, indent=1)
    print(text)
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "end_to_end.json").write_text(text + "\n", encoding="utf-8")


def _throughput(propagator: Propagator, sample: SampleClip, rounds: int) -> dict[str, float]:
    keyframe = Keyframe(0, np.array(Image.open(sample.masks[0])))
    with open_source(sample.video) as source:
        decoded = source[:]

    def bare() -> None:
        for _ in propagator.run(decoded, [keyframe]):
            pass

    def whole() -> None:
        with ReadAhead(open_source(sample.video), 2 * propagator.options.clip_frames) as source:
            for result in propagator.run(source, [keyframe]):
                encode_label_map(result.label_map)

    seconds: dict[str, list[float]] = {"bare": [], "whole": []}
    for _ in range(rounds):
        seconds["bare"].append(_timed(bare))
        seconds["whole"].append(_timed(whole))
    best = {name: min(values) for name, values in seconds.items()}
    return {
        "fps, video to run lengths": round(len(decoded) / best["whole"], 2),
        "fps, bare engine": round(len(decoded) / best["bare"], 2),
        "times the bare engine's time": round(best["whole"] / best["bare"], 3),
    }


def _timed(function: Callable[[], None]) -> float:
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


def _cold_starts(sample: SampleClip, rounds: int) -> dict[str, float]:
    """Best of some: a command's first propagated mask, and its help."""
    firsts, helps = [], []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-m", "plugin.cli", "propagate", str(sample.video), "--keyframe"]
            command += [f"0={sample.masks[0]}", "--out", folder, "--format", "none"]
            began = time.perf_counter()
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                while not (Path(folder) / "masks" / "000001.png").exists():
                    if process.poll() is not None:
                        raise InputError(f"perclip propagate ended with {process.returncode} before its first mask")
                    time.sleep(0.005)
                firsts.append(time.perf_counter() - began)
            finally:
                process.kill()
                process.wait()
        helps.append(_timed(_help))
    return {"first propagated mask": round(min(firsts), 2), "perclip --help": round(min(helps), 2)}


def _help() -> None:
    subprocess.run([sys.executable, "-m", "plugin.cli", "--help"], stdout=subprocess.DEVNULL, check=True)


if __name__ == "__main__":
    sys.exit(main())
