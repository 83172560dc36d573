"""Lost, but sure? `python -m benchmarks.lost_objects [--runs N]`: the confidence on rendered scenes with exact truth.

Objects that are easily lost, and objects that are truly out of sight (`benchmarks.rendered_scenes`). Wanted: of the
masks with J below 0.2 fewer than 1 in 50 should have a confidence of 0.5 or more, and true absences should have one.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.measured import Weights
from benchmarks.rendered_scenes import rendered_runs
from model.evaluation.semi_supervised import score_frame
from model.options import DTYPES, PropagationOptions
from model.program.command_line import Parser, run_program
from model.propagation.propagator import Propagator

_LOST, _RIGHT, _SURE = 0.2, 0.5, 0.5


def main(argv: Sequence[str] | None = None) -> int:
    """Run, judge and print JSON.

    Returns:
        0 done, 2 bad input (one line on standard error says what to do), 130 interrupted.
    """
    parser = Parser(prog="python -m benchmarks.lost_objects", description=__doc__)
    parser.add_argument("--weights", type=Path, metavar="FILE", help="checkpoint (default: the shipped one)")
    parser.add_argument("--runs", type=int, default=12, metavar="N", help="of each kind; default 12")
    parser.add_argument("--dtype", choices=DTYPES, default="auto", help="default auto")
    return run_program(parser, run, argv)


def run(arguments: argparse.Namespace) -> None:
    """Judge as the arguments say; raises PerclipError."""
    options = PropagationOptions(short_side=None, dtype=arguments.dtype)
    propagator = Propagator(Weights.find(arguments.weights).load(), options)
    kinds: dict[str, dict[str, int]] = {}
    for scene in rendered_runs(arguments.runs):
        count = kinds.setdefault(
            scene.kind,
            dict.fromkeys(
                ("masks", "lost", "lost but sure", "absent", "absent and sure", "right", "right and sure"), 0
            ),
        )
        for result in propagator.run(scene.sequence.frames, scene.keyframes, direction=scene.direction):
            for score in score_frame(scene.sequence, result, scene.scored.get(result.index, ())):
                empty = not (result.label_map == score.object).any()
                sure = result.confidence[score.object] >= _SURE
                count["masks"] += 1
                if score.j < _LOST:
                    count["lost"] += 1
                    count["lost but sure"] += sure
                elif score.j > _RIGHT:
                    what = "absent" if empty else "right"
                    count[what] += 1
                    count[f"{what} and sure"] += sure
    print(json.dumps(kinds, indent=2, default=int))


if __name__ == "__main__":
    sys.exit(main())
