"""How the time per frame grows with objects, memory frames, pixels and length, beside the expected laws.

The laws: a + b x for objects (the image is encoded once, the rest is per object); a + b x for memory frames (one
comparison with each position); a x + b x^2 for pixels (convolutions are linear; every position is compared with every
position of the memory); constant in the length of the video for the policies "spread" and "bounded", a + b x for
"every". Points are the best of some rounds, lines least-squares fits of the law: a point far above its line is a
surprise. perclip-lite. Writes scaling.json and scaling.png.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch

from benchmarks.forth_and_back import ForthAndBack
from model.keyframe import Keyframe
from model.memory.memory_bank import MemoryBank
from model.network.checkpoint import load_network
from model.options import PropagationOptions
from model.program.command_line import Parser, run_program
from model.propagation.propagator import Propagator
from plugin.local_run.sample import render_sample
from plugin.sources import open_source

_LINEAR, _SQUARE, _CONSTANT = ((0, 1), (1, 2), (0,))  # powers of x


@dataclass(frozen=True)
class Series:
    """One curve.

    Attributes:
        name: what it is.
        quantity: what x counts.
        powers: of x in the expected law.
        x: where it was measured.
        milliseconds: per frame.
    """

    name: str
    quantity: str
    powers: tuple[int, ...]
    x: Sequence[float]
    milliseconds: Sequence[float]

    def law(self, at: Sequence[float] | np.ndarray) -> np.ndarray:
        """The fitted law at some x, every point with the weight of its own size."""
        weights = 1 / np.array(self.milliseconds)
        terms = np.stack([np.array(self.x, float) ** p for p in self.powers], 1)
        factors = np.linalg.lstsq(terms * weights[:, None], np.ones(len(weights)), rcond=None)[0]
        return np.stack([f * np.array(at, float) ** p for f, p in zip(factors, self.powers)]).sum(0)

    def to_json(self) -> dict[str, object]:
        """All numbers, and how far each point lies above its law."""
        excess = np.array(self.milliseconds) / self.law(self.x) - 1
        return {
            "name": self.name,
            self.quantity: self.x,
            "ms per frame": [round(m, 2) for m in self.milliseconds],
            "above the law, percent": [round(100 * e, 1) for e in excess],
        }


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print and write; gives the exit code."""
    parser = Parser(
        prog="python -m benchmarks.scaling", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--length", type=int, default=600, metavar="N", help="frames of the long video (default 600)")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="the best of these counts (default 3)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda (default auto)")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"), metavar="DIR")
    return run_program(parser, run, argv)


def run(arguments: argparse.Namespace) -> None:
    """All measurements as the arguments say; raises PerclipError."""
    sample = render_sample("out/scaling-benchmark", frames=31)
    with open_source(sample.video) as source:
        frames = source[:]
    propagator = Propagator(load_network("perclip-lite"), PropagationOptions(device=arguments.device))
    found = [
        _objects(propagator, frames, arguments.rounds),
        _memory_frames(propagator, arguments.rounds),
        _pixels(propagator, frames, arguments.rounds),
        *(_length(propagator, frames, arguments.length, memory) for memory in ("every", "spread", "bounded")),
    ]
    arguments.out.mkdir(parents=True, exist_ok=True)
    text = json.dumps([series.to_json() for series in found], indent=1)
    print(text)
    (arguments.out / "scaling.json").write_text(text + "\n", encoding="utf-8")
    _plot(found, arguments.out / "scaling.png")


def _keyframe(height: int, width: int, objects: int) -> Keyframe:
    """A grid of boxes."""
    label_map = np.zeros((height, width), np.uint8)
    for o in range(objects):
        y, x = height * (o // 5) // 4, width * (o % 5) // 5
        label_map[y + height // 40 : y + height // 5, x + width // 40 : x + width // 6] = o + 1
    return Keyframe(0, label_map)


def _best(function: Callable[[], object], rounds: int) -> float:
    """Seconds, after one run that does not count."""
    function()
    seconds = []
    for _ in range(rounds):
        began = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def _run_through(propagator: Propagator, frames: Sequence[np.ndarray], keyframe: Keyframe, stop: int) -> None:
    for _ in propagator.run(frames, [keyframe], stop=stop):
        pass


def _read(bank: MemoryBank, queries: torch.Tensor) -> None:
    bank.read(queries)[1].sum().item()  # a number: waits for the device


def _objects(propagator: Propagator, frames: Sequence[np.ndarray], rounds: int) -> Series:
    counts, stop = [1, 2, 5, 10, 20], 11
    milliseconds = []
    height, width = frames[0].shape[:2]
    for count in counts:
        keyframe = _keyframe(height, width, count)
        seconds = _best(partial(_run_through, propagator, frames, keyframe, stop), rounds)
        milliseconds.append(1000 * seconds / (stop - 1))
    return Series("480p, clips of 5", "objects", _LINEAR, counts, milliseconds)


def _memory_frames(propagator: Propagator, rounds: int) -> Series:
    """Reading alone, one frame's queries, one object."""
    rows, columns = propagator.grid(480, 854)
    tokens, device = rows * columns, propagator.device
    dtype = propagator.network.dtype if device.type == "cpu" else torch.float32
    counts, milliseconds = [1, 2, 5, 10, 25, 50, 100], []
    with torch.inference_mode():
        for count in counts:
            bank = MemoryBank((1,), 0, tokens, propagator.options)
            for index in range(count):
                key, value = (torch.randn(tokens, dim, device=device).to(dtype) for dim in (64, 128))
                bank.add(index, key, {1: value})
            queries = torch.randn(tokens, 64, device=device).to(dtype)
            milliseconds.append(1000 * _best(partial(_read, bank, queries), 3 * rounds))
    return Series("reading, 480p, one object", "memory frames", _LINEAR, counts, milliseconds)


def _pixels(propagator: Propagator, frames: Sequence[np.ndarray], rounds: int) -> Series:
    sides, stop, megapixels, milliseconds = [240, 360, 480, 720, 1080], 11, [], []
    for side in sides:
        size = (side * 16 // 9, side)
        resized = [cv2.resize(frame, size) for frame in frames[:stop]]
        megapixels.append(size[0] * size[1] / 1e6)
        as_they_are = propagator.with_options(short_side=None)
        keyframe = _keyframe(side, size[0], 1)
        seconds = _best(partial(_run_through, as_they_are, resized, keyframe, stop), rounds)
        milliseconds.append(1000 * seconds / (stop - 1))
    return Series("one object, clips of 5", "megapixels", _SQUARE, megapixels, milliseconds)


def _length(propagator: Propagator, frames: Sequence[np.ndarray], length: int, memory: str) -> Series:
    """Time per frame of each hundredth frame, at 240p."""
    small = [cv2.resize(frame, (426, 240)) for frame in frames]
    run = propagator.with_options(memory=memory, short_side=None).run(
        ForthAndBack(small, length), [_keyframe(240, 426, 1)]
    )
    at, milliseconds, began = [], [], time.perf_counter()
    for result in run:
        if result.index % 100 == 99:
            at.append(result.index + 1)
            milliseconds.append(10 * (time.perf_counter() - began))
            began = time.perf_counter()
    return Series(f"240p, memory {memory}", "frames", _LINEAR if memory == "every" else _CONSTANT, at, milliseconds)


def _plot(found: Sequence[Series], path: Path) -> None:
    from matplotlib.figure import Figure

    quantities = list(dict.fromkeys(series.quantity for series in found))
    figure = Figure(figsize=(12, 8), layout="constrained")
    for axes, quantity in zip(figure.subplots(2, 2).flat, quantities):
        for series in found:
            if series.quantity == quantity:
                at = np.linspace(min(series.x), max(series.x), 100)
                (line,) = axes.plot(at, series.law(at), linewidth=1)
                axes.plot(series.x, series.milliseconds, "o", color=line.get_color(), label=series.name)
        axes.set(xlabel=quantity, ylabel="ms per frame", ylim=(0, None))
        axes.legend()
    figure.suptitle("perclip-lite: points are measured, lines the expected laws, fitted")
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    sys.exit(main())
