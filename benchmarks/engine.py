"""The engine's speed and memory: frames per second, seconds by part, peak memory, and the fraction of what is possible.

Each configuration (network, clip length, objects, size) runs in a process of its own, so that peak memory is its own:
first as it is used (8-bit integers, bfloat16 or float16 where the device has them), then, in the same process, as plain
eager float32 with no optimisation: the ratio of the two depends little on how noisy the machine is. The arithmetic of
the plain run is counted (convolutions and matrix products) and compared with the rate that the same device reaches on
large matrix products in bfloat16 or float16, measured in the same process: the fraction of the floor. What is left out
(regions without an object) or done in 8-bit integers counts in full.

Full sizes take long on a processor; --networks, --clip-lengths, --objects and --sizes choose. Writes engine-DEVICE.json
and engine-DEVICE.md; configurations that are there already stay unless they are measured again.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.part_times import part_times
from model.errors import InputError
from model.keyframe import Keyframe
from model.network.checkpoint import load_network
from model.network.config import NETWORKS, network_config
from model.network.networks import new_network
from model.network.segmentation_network import SegmentationNetwork
from model.options import PropagationOptions
from model.program.command_line import Parser, run_program
from model.propagation.propagator import Propagator
from plugin.local_run.sample import render_sample
from plugin.sources import open_source

SIZES = {"480p": (480, 854), "720p": (720, 1280), "1080p": (1080, 1920)}
_LENGTH = 60  # frames of the clip
_SECONDS = 12.0  # of a measurement, after the first clips
_PLAIN: dict[str, Any] = {
    "dtype": "float32",
    "fold_batchnorm": False,
    "channels_last": False,
    "fuse_activations": False,
    "focus": False,
    "thin_memory": False,
}


@dataclass(frozen=True)
class Configuration:
    """What is measured.

    Attributes:
        network: a name of `model.network.config.NETWORKS`.
        clip_length: frames segmented at once.
        objects: number of objects.
        size: a name of `SIZES`; the network sees frames as they are.
    """

    network: str
    clip_length: int
    objects: int
    size: str


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print and write; gives the exit code."""
    parser = Parser(
        prog="python -m benchmarks.engine", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--networks", default="perclip-lite", metavar="NAME,...", help="default perclip-lite")
    parser.add_argument("--clip-lengths", default="5,10,15,25", metavar="N,...")
    parser.add_argument("--objects", default="1,3,5", metavar="N,...")
    parser.add_argument("--sizes", default="480p", metavar="NAME,...", help="480p, 720p, 1080p (default 480p)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda (default auto)")
    parser.add_argument("--seconds", type=float, default=_SECONDS, help=f"of each measurement (default {_SECONDS:g})")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"), metavar="DIR")
    parser.add_argument("--one", help=argparse.SUPPRESS)  # a configuration as JSON: measured in this process
    return run_program(parser, run, argv)


def run(arguments: argparse.Namespace) -> None:
    """All measurements as the arguments say; raises PerclipError."""
    if arguments.one:
        print(json.dumps(measure(Configuration(**json.loads(arguments.one)), arguments.device, arguments.seconds)))
        return
    wanted = [Configuration(*values) for values in product(*_choices(arguments))]
    rows: list[dict[str, Any]] = []
    path: Path | None = None
    for number, configuration in enumerate(wanted, 1):
        row = _in_a_process(configuration, arguments)
        if path is None:
            path = arguments.out / f"engine-{row['device']}.json"
            rows = json.loads(path.read_text()) if path.is_file() else []
        rows = [other for other in rows if any(other[name] != value for name, value in asdict(configuration).items())]
        rows.append(row)
        rows.sort(key=lambda r: (r["network"], list(SIZES).index(r["size"]), r["objects"], r["clip_length"]))
        arguments.out.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
        path.with_suffix(".md").write_text(table(rows), encoding="utf-8")
        print(f"{number}/{len(wanted)} {table([row]).splitlines()[-1]}", flush=True)


def _choices(arguments: argparse.Namespace) -> list[list[Any]]:
    networks, sizes = arguments.networks.split(","), arguments.sizes.split(",")
    for given, known, what in ((networks, list(NETWORKS), "network"), (sizes, list(SIZES), "size")):
        for name in given:
            if name not in known:
                raise InputError(f"unknown {what} {name!r}; use {', '.join(known)}")
    try:
        numbers = [[int(n) for n in text.split(",")] for text in (arguments.clip_lengths, arguments.objects)]
    except ValueError as error:
        raise InputError(f"--clip-lengths and --objects are whole numbers with commas between them: {error}") from None
    return [networks, *numbers, sizes]


def _in_a_process(configuration: Configuration, arguments: argparse.Namespace) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.engine", "--one", json.dumps(asdict(configuration))]
    command += ["--device", arguments.device, "--seconds", str(arguments.seconds)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise InputError(f"{configuration} failed: {done.stderr.strip().splitlines()[-1:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def measure(configuration: Configuration, device: str, seconds: float) -> dict[str, Any]:
    """One row of the table.

    Args:
        configuration: what is measured.
        device: as `PropagationOptions.device`.
        seconds: of each measurement.
    """
    height, width = SIZES[configuration.size]
    frames, keyframe = sample_clip(height, width, configuration.objects)
    options = PropagationOptions(clip_length=configuration.clip_length, short_side=None, device=device)
    used = Propagator(any_network(configuration.network), options)
    rate, parts = _rate(used, frames, keyframe, seconds)
    peak = peak_gigabytes(used.device)
    possible = _matrix_rate(used.device, used.network.dtype)
    plain = Propagator(any_network(configuration.network), replace(options, **_PLAIN))
    plain_rate, _ = _rate(plain, frames, keyframe, seconds / 2)
    gigaflops = _arithmetic(plain, frames, keyframe)  # the counter does not know fused convolutions
    floor = possible / gigaflops  # frames per second
    return asdict(configuration) | {
        "device": used.device.type,
        "dtype": used.number_format,
        "fps": round(rate, 3),
        "plain fp32 fps": round(plain_rate, 3),
        "times plain": round(rate / plain_rate, 2),
        "peak GB": round(peak, 3),
        "GFLOP per frame": round(gigaflops, 1),
        "floor fps": round(floor, 2),
        "of the floor": round(rate / floor, 3),
        "ms per frame": {name: round(1000 * value, 2) for name, value in parts.items()},
    }


def any_network(name: str) -> SegmentationNetwork:
    """With its weights, or random ones where none ship: speed does not depend on them."""
    if name == "perclip-lite":
        return load_network(name)
    torch.manual_seed(0)
    return new_network(network_config(name))


def sample_clip(height: int, width: int, objects: int) -> tuple[Sequence[np.ndarray], Keyframe]:
    """Decoded frames, and a keyframe with as many upright ellipses as objects."""
    folder = Path("out/engine-benchmark") / f"{width}x{height}"
    if not (folder / "sample.mp4").is_file():
        render_sample(folder, frames=_LENGTH, height=height, width=width)
    with open_source(folder / "sample.mp4") as source:
        frames = source[:]
    rows, columns = np.mgrid[:height, :width]
    label_map = np.zeros((height, width), np.uint8)
    for o in range(objects):
        x, y = width * (o % 5 + 0.5) / 5, height * (0.4 + 0.3 * (o // 5))
        label_map[((columns - x) / (width / 12)) ** 2 + ((rows - y) / (height / 5)) ** 2 < 1] = o + 1
    return frames, Keyframe(0, label_map)


def _rate(
    propagator: Propagator, frames: Sequence[np.ndarray], keyframe: Keyframe, seconds: float
) -> tuple[float, dict[str, float]]:
    """Frames per second behind the first clip, and the seconds per frame of each part (of another run)."""
    first = propagator.options.clip_frames
    timed_results(propagator, frames, keyframe, first + 1, 0.0)  # warm
    count, took = timed_results(propagator, frames, keyframe, first + 1, seconds)
    with part_times(propagator.device) as parts:
        timed_count, timed_took = timed_results(propagator, frames, keyframe, 0, seconds / 2)
    each = {name: value / timed_count for name, value in parts.items()}
    return count / took, each | {"other": timed_took / timed_count - sum(each.values())}


def timed_results(
    propagator: Propagator, frames: Sequence[np.ndarray], keyframe: Keyframe, skip: int, seconds: float
) -> tuple[int, float]:
    """Runs until the clip or the time is over, whole clips; gives frames and seconds behind the first `skip`."""
    began, count = time.perf_counter(), 0
    length = propagator.options.clip_frames
    for result in propagator.run(frames, [keyframe]):
        if result.index == skip - 1:
            began = time.perf_counter()
        count = result.index + 1 - skip
        took = time.perf_counter() - began
        if count > 0 and count % length == 0 and took > seconds:
            break
    return max(count, 1), took


def peak_gigabytes(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def _arithmetic(propagator: Propagator, frames: Sequence[np.ndarray], keyframe: Keyframe) -> float:
    """GFLOP per frame of convolutions and matrix products, over the second to the third clip."""
    length = propagator.options.clip_frames
    low, high = 1 + length, min(1 + 3 * length, len(frames))

    def count(stop: int) -> int:
        with FlopCounterMode(display=False) as counter:
            list(propagator.run(frames, [keyframe], stop=stop))
        return counter.get_total_flops()

    return (count(high) - count(low)) / 1e9 / (high - low)


def _matrix_rate(device: torch.device, dtype: torch.dtype) -> float:
    """GFLOP per second of a large matrix product, the best of several."""
    n = 8192 if device.type == "cuda" else 2048
    a = torch.randn(n, n, device=device).to(dtype)
    best = float("inf")
    for _ in range(6):
        began = time.perf_counter()
        a @ a
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        best = min(best, time.perf_counter() - began)
    return 2 * n**3 / best / 1e9


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as a Markdown table; milliseconds per frame of each part in the last columns."""
    columns = ["network", "size", "objects", "clip_length", "dtype", "fps", "times plain", "peak GB"]
    columns += ["GFLOP per frame", "of the floor"]
    parts = list(rows[0]["ms per frame"])
    lines = ["| " + " | ".join([*columns, *(f"{part}, ms" for part in parts)]) + " |"]
    lines.append("|" + "---|" * (len(columns) + len(parts)))
    for row in rows:
        cells = [str(row[column]) for column in columns] + [f"{row['ms per frame'][part]:.1f}" for part in parts]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
