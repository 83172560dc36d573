"""Memory and time per frame against the length of the video: `python -m benchmarks.long_video --memory bounded`.

The video is the sample clip, played forth and back for as long as asked, so that only the engine's memory can grow.
"""

import argparse
import csv
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.forth_and_back import ForthAndBack
from model import Keyframe, PropagationOptions, Propagator, load_network
from model.evaluation.metrics import region_similarity
from model.options import MEMORY_POLICIES
from plugin.local_run.sample import render_sample
from plugin.sources import open_source


def resident_megabytes() -> float:
    """Memory that this process holds now."""
    with open("/proc/self/status", encoding="ascii") as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmRSS"))


def main() -> None:
    """Run and write one row per 100 frames."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.long_video", description=__doc__)
    parser.add_argument("--frames", type=int, default=3000)
    parser.add_argument("--memory", choices=MEMORY_POLICIES, default="bounded")
    parser.add_argument("--memory-tokens", type=int)
    parser.add_argument("--clip-length", type=int, default=5)
    parser.add_argument("--short-side", type=int, default=480)
    parser.add_argument("--out", type=Path, help="CSV file")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        sample = render_sample(folder)
        with open_source(sample.video) as source:
            frames = ForthAndBack(source[:], args.frames)
        truth = ForthAndBack([np.asarray(Image.open(path)) for path in sample.masks], args.frames)
    options = PropagationOptions(
        clip_length=args.clip_length,
        short_side=args.short_side,
        memory=args.memory,
        memory_tokens=args.memory_tokens,
    )
    propagator = Propagator(load_network("perclip-lite"), options)
    rows, scores, began = [], [], time.perf_counter()
    for result in propagator.run(frames, [Keyframe(0, truth[0])]):
        scores.append(np.mean([region_similarity(result.label_map == o, truth[result.index] == o) for o in (1, 2)]))
        if result.index % 100 == 99:
            seconds = (time.perf_counter() - began) / 100
            rows.append([result.index + 1, f"{resident_megabytes():.0f}", f"{seconds:.4f}", f"{np.mean(scores):.4f}"])
            print(*rows[-1], flush=True)
            scores, began = [], time.perf_counter()
    if args.out:
        with open(args.out, "w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([["frame", "resident_MB", "seconds_per_frame", "J"], *rows])


if __name__ == "__main__":
    main()
