"""What a tracker call's small state costs in accuracy: whole sequences through tracker calls, against the engine.

Tracker calls see one frame at a time, and what they know of the past travels in a state of at most 400 kB per
object. The same sequences run through the engine frame by frame and in clips, with a memory that keeps everything.
Writes tracker_state.csv (J&F per sequence, resumed where it ended) and tracker_state.md.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks.function_calls import answer, image_text
from benchmarks.measured import Weights, add_measured_arguments, options_of, sequences_of
from benchmarks.row_log import RowLog
from model.evaluation.scores import Evaluation, SequenceScore
from model.evaluation.semi_supervised import Task, evaluate_task, score_frame
from model.program.command_line import Parser, run_program
from model.propagation.propagator import Propagator
from model.result import FrameResult
from plugin.shapes import decode_mask, encode_mask
from serverless.perclip_function import PerclipFunction, Settings

_TRACKER = "tracker calls"
_ENGINE: dict[str, dict[str, Any]] = {
    "engine, every frame": {"clip_length": 1},
    "engine, clips of 5": {"clip_length": 5},
}
_COLUMNS = ("weights", "short side", "sequence", "frames", "way", "J", "F", "J&F", "largest state, kB")


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print and write; gives the exit code."""
    parser = Parser(
        prog="python -m benchmarks.tracker_state",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_measured_arguments(parser)
    return run_program(parser, run, argv)


def run(arguments: argparse.Namespace) -> None:
    """Measure as the arguments say; raises PerclipError."""
    weights, options = Weights.find(arguments.weights), options_of(arguments)
    log = RowLog(arguments.out / "tracker_state.csv", _COLUMNS, resume=True)
    settings = Settings(weights.network, weights.path, arguments.device, short_side=arguments.short_side)
    network = weights.load()
    wanted = []
    for sequence in sequences_of(arguments):
        task = Task(sequence)
        for way in (_TRACKER, *_ENGINE):
            key = {"weights": weights.digest, "short side": str(arguments.short_side), "sequence": sequence.name}
            key |= {"frames": str(len(sequence.frames)), "way": way}
            row = next((r for r in log.rows if key.items() <= r.items()), None)
            if row is None:
                print(f"{sequence.name}: {way}", file=sys.stderr, flush=True)
                largest = 0
                if way == _TRACKER:
                    score, largest = tracked(PerclipFunction(settings), task)
                else:
                    score = evaluate_task(Propagator(network, replace(options, **_ENGINE[way])), task)
                measures = Evaluation((score,)).mean
                cells = (measures.j, measures.f, measures.jf)
                row = key | dict(zip(("J", "F", "J&F"), (f"{x:.4f}" for x in cells), strict=True))
                row["largest state, kB"] = f"{largest / 1000:.0f}" if largest else ""
                log.append([row])
            wanted.append(row)
    text = markdown(wanted)
    (arguments.out / "tracker_state.md").write_text(text, encoding="utf-8")
    print(text)


def tracked(function: PerclipFunction, task: Task) -> tuple[SequenceScore, int]:
    """Sends a sequence through tracker calls, as CVAT's page does, frame by frame, with mask shapes.

    Returns:
        The scores, and the characters of the largest state.
    """
    sequence = task.sequence
    objects: list[int] = []
    states: list[object] = []
    scores, largest = [], 0
    keyframes = {k.index: k for k in task.keyframes}
    for index, frame in enumerate(sequence.frames):
        image = image_text(frame)
        height, width = frame.shape[:2]
        label_map = np.zeros((height, width), np.uint8)
        if states:
            reply = answer(function, {"image": image, "shapes": [None] * len(states), "states": states})
            states = reply["states"]
            for obj, shape in zip(objects, reply["shapes"], strict=True):
                if shape is not None:
                    label_map[decode_mask(shape["points"], height, width)] = obj
        scores += score_frame(sequence, FrameResult(index, label_map, {}, False), task.scored.get(index, ()))
        if index in keyframes:
            drawn = keyframes[index]
            shapes = [{"type": "mask", "points": encode_mask(drawn.label_map == obj)} for obj in drawn.objects]
            states = states + answer(function, {"image": image, "shapes": shapes, "states": []})["states"]
            objects += drawn.objects
        largest = max([largest, *(len(json.dumps(state)) for state in states)])
    return SequenceScore(sequence.name, tuple(scores), len(sequence.frames), 0.0, 0.0), largest


def markdown(rows: Sequence[dict[str, str]]) -> str:
    """A table: a line per sequence and their mean, J&F of each way."""
    ways = (_TRACKER, *_ENGINE)
    names = list(dict.fromkeys(row["sequence"] for row in rows))
    found = {(row["sequence"], row["way"]): row for row in rows}
    lines = [
        "# Accuracy of tracker calls",
        "",
        "J&F; each object's first mask is given. A tracker call knows the past from a state of at most 400 kB per",
        "object, the engine remembers everything.",
        "",
        f"| sequence | {' | '.join(ways)} | largest state, kB |",
        "|" + "---|" * (len(ways) + 2),
    ]
    for name in names:
        cells = [found[name, way]["J&F"] for way in ways]
        lines.append(f"| {name} | {' | '.join(cells)} | {found[name, _TRACKER]['largest state, kB']} |")
    means = [f"**{np.mean([float(found[name, way]['J&F']) for name in names]):.4f}**" for way in ways]
    lines += [f"| mean | {' | '.join(means)} | |", "", f"Weights: {rows[0]['weights']}."]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
