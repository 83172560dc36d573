"""All variants of the engine on a GPU in one run: built, checked against eager float32, timed.

A variant is a network, a clip length, a number of objects, a number format, and compiled or not; each runs in a process
of its own. The first runs are timed as its cold start (preparing, compiling, capturing graphs); then come the frames
per second behind the first clip, the peak of the GPU's memory, and the mean IoU of its masks with those of the same
network in eager float32. Networks without shipped weights are random: of these the mean difference of probabilities
says more. No variant is begun that could go beyond --minutes; what was left out is named. Writes gpu.json and gpu.md.
"""

import argparse
import json
import subprocess
import sys
import time
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.engine import any_network, peak_gigabytes, sample_clip, timed_results
from benchmarks.forth_and_back import ForthAndBack
from model.errors import InputError
from model.evaluation.metrics import region_similarity
from model.inference.prepared_network import choose_device
from model.keyframe import Keyframe
from model.options import PropagationOptions
from model.program.command_line import Parser, run_program
from model.propagation.propagator import Propagator
from plugin.keyframes.label_map import read_label_map
from plugin.sources import open_source

_MINUTES = 9.0
_LONGEST = 75.0  # seconds of a variant, compiling included, before one was measured
_SECONDS = 4.0  # of each timing
_CHECKED = 26  # frames


@dataclass(frozen=True)
class Variant:
    """What is measured; `device_memory` is a bound in gigabytes."""

    network: str
    clip_length: int
    objects: int
    dtype: str
    compile: bool
    device_memory: float | None = None


# The most telling first.
VARIANTS = (
    Variant("pcvos", 25, 1, "bfloat16", False),
    Variant("pcvos", 25, 1, "bfloat16", True),
    Variant("perclip-lite", 25, 1, "bfloat16", False),
    Variant("perclip-lite", 25, 1, "bfloat16", True),
    Variant("pcvos", 5, 1, "bfloat16", True),
    Variant("pcvos", 25, 5, "bfloat16", True),
    Variant("pcvos", 25, 1, "float16", True),
    Variant("perclip-lite", 5, 1, "bfloat16", True),
    Variant("pcvos", 25, 5, "bfloat16", False, 4.0),
    Variant("perclip-lite", 25, 5, "float16", True),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print and write; gives the exit code."""
    parser = Parser(
        prog="python -m benchmarks.gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda", help="default cuda; cpu to try the program itself")
    parser.add_argument("--size", default="480x854", metavar="HxW", help="of the sample's frames (default 480x854)")
    parser.add_argument("--video", type=Path, metavar="FILE", help="other frames than the sample's, with --mask")
    parser.add_argument("--mask", type=Path, metavar="PNG", help="label map of the video's first frame")
    parser.add_argument("--networks", default="pcvos,perclip-lite", metavar="NAME,...")
    parser.add_argument("--minutes", type=float, default=_MINUTES, help=f"for everything (default {_MINUTES:g})")
    parser.add_argument("--seconds", type=float, default=_SECONDS, help=f"of each timing (default {_SECONDS:g})")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"), metavar="DIR")
    parser.add_argument("--one", help=argparse.SUPPRESS)  # a variant as JSON: measured in this process
    return run_program(parser, run, argv)


def run(arguments: argparse.Namespace) -> None:
    """All variants that fit into the time; raises PerclipError."""
    device = choose_device(arguments.device)
    if arguments.one:
        variant = Variant(**json.loads(arguments.one))
        print(json.dumps(measure(variant, device, *_frames(arguments, variant.objects), arguments.seconds)))
        return
    until = time.perf_counter() + 60 * arguments.minutes
    rows: list[dict[str, Any]] = []
    left_out, longest = [], _LONGEST
    for variant in VARIANTS:
        if variant.network not in arguments.networks.split(",") or not _possible(variant, device):
            continue
        if time.perf_counter() + longest > until:
            left_out.append(variant)
            continue
        began = time.perf_counter()
        rows.append(_in_a_process(variant))
        longest = max(longest, time.perf_counter() - began)
        print(" | ".join(map(str, rows[-1].values())), flush=True)
        _write(arguments.out, device, rows, left_out)
    if not rows:
        raise InputError("nothing was measured: give more --minutes, or the name of a network")
    _write(arguments.out, device, rows, left_out)
    print((arguments.out / "gpu.md").read_text(encoding="utf-8"))


def _possible(variant: Variant, device: torch.device) -> bool:
    return device.type == "cuda" or not (variant.compile or variant.dtype == "float16")


def _in_a_process(variant: Variant) -> dict[str, Any]:
    """The row of a variant; if it fails, one that says so."""
    command = [sys.executable, "-m", "benchmarks.gpu", *sys.argv[1:], "--one", json.dumps(asdict(variant))]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        return asdict(variant) | {"failed": said[-1][:300]}
    return json.loads(done.stdout.strip().splitlines()[-1])


def _write(out: Path, device: torch.device, rows: list[dict[str, Any]], left_out: list[Variant]) -> None:
    facts: dict[str, Any] = {"device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"}
    facts |= {"torch": torch.__version__, "rows": rows, "left out": [asdict(variant) for variant in left_out]}
    out.mkdir(parents=True, exist_ok=True)
    (out / "gpu.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    text = f"{facts['device']}, torch {facts['torch']}\n\n{table(rows)}"
    if left_out:
        text += f"\nNot measured for lack of time: {', '.join(map(str, left_out))}\n"
    (out / "gpu.md").write_text(text, encoding="utf-8")


def measure(
    variant: Variant,
    device: torch.device,
    frames: Sequence[np.ndarray],
    keyframe: Keyframe,
    seconds: float,
) -> dict[str, Any]:
    """One row.

    Args:
        variant: what is measured.
        device: where.
        frames: uint8 (H, W, 3) each.
        keyframe: on the first frame.
        seconds: of the timing.
    """
    network = any_network(variant.network)
    options = PropagationOptions(clip_length=variant.clip_length, short_side=None, device=str(device))
    few = min(_CHECKED, len(frames))

    def results(propagator: Propagator) -> list[Any]:
        return list(propagator.with_options(keep_probabilities=True).run(frames, [keyframe], stop=few))

    torch.backends.cudnn.allow_tf32 = False  # of the reference; torch's default rounds to 10 bits
    expected = results(Propagator(network, replace(options, dtype="float32")))
    torch.backends.cudnn.allow_tf32 = True
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    began = time.perf_counter()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", RuntimeWarning)
        used = Propagator(
            network,
            replace(options, dtype=variant.dtype, compile=variant.compile, device_memory=variant.device_memory),
        )
        found = results(used)
        # Parts are compiled for sizes that come again.
        for _ in range(3):
            timed_results(used, frames, keyframe, 1, 0.0)
        cold = time.perf_counter() - began
        long = ForthAndBack(frames, 100 * len(frames))
        # A memory that grew with the video would be slower the faster the GPU is.
        flat = used.with_options(memory="spread")
        count, took = timed_results(flat, long, keyframe, variant.clip_length + 1, seconds)
    pairs = list(zip(found, expected))[1:]
    ious = [region_similarity(a.label_map == o, b.label_map == o) for a, b in pairs for o in keyframe.present]
    differences = [np.abs(a.probabilities - b.probabilities).mean() for a, b in pairs]
    return asdict(variant) | {
        "fps": round(count / took, 1),
        "cold start, s": round(cold, 1),
        "peak GB": round(peak_gigabytes(device), 2),
        "mean IoU with float32": round(float(np.mean(ious)), 4),
        "mean difference of probabilities": float(f"{np.mean(differences):.2e}"),
        "warnings": sorted({str(w.message) for w in said if issubclass(w.category, RuntimeWarning)}),
    }


def _frames(arguments: argparse.Namespace, objects: int) -> tuple[Sequence[np.ndarray], Keyframe]:
    if (arguments.video is None) != (arguments.mask is None):
        raise InputError("give --video and --mask together")
    if arguments.video is None:
        try:
            height, width = (int(n) for n in arguments.size.split("x"))
        except ValueError:
            raise InputError(f"--size is two whole numbers with an x between them, not {arguments.size!r}") from None
        return sample_clip(height, width, objects)
    with open_source(arguments.video) as source:
        return source[:], Keyframe(0, read_label_map(arguments.mask))


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as a Markdown table."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    for row in rows:
        cells = (row.get(column, "") for column in columns)
        lines.append("| " + " | ".join("; ".join(c) if isinstance(c, list) else str(c) for c in cells) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
