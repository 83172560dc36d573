"""What a flat memory costs in accuracy: long sequences with every memory policy.

The validation sequences of at least 80 frames, played forth and back five times, so that 791 frames are scored with
the first mask given. Writes memory_policies.csv (a row per sequence and policy, resumed where it ended) and
memory_policies.md with the differences to "every", which forgets nothing.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from benchmarks.forth_and_back import ForthAndBack
from benchmarks.measured import Weights, add_measured_arguments, options_of, sequences_of
from benchmarks.row_log import RowLog
from model.data.annotated_sequences import AnnotatedSequence
from model.errors import InputError
from model.evaluation.scores import Evaluation
from model.evaluation.semi_supervised import Task, evaluate_task
from model.program.command_line import Parser, run_program
from model.propagation.propagator import Propagator

_POLICIES = ("every", "bounded", "spread")
_LEAST = 80  # frames of a sequence
_ROUNDS = 5
_COLUMNS = ("weights", "sequence", "frames", "clip length", "policy", "J", "F", "J&F", "seconds per frame")


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print and write; gives the exit code."""
    parser = Parser(
        prog="python -m benchmarks.memory_policies",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_measured_arguments(parser)
    parser.add_argument("--clip-length", type=int, default=5, metavar="N", help="default 5")
    parser.add_argument("--least", type=int, default=_LEAST, metavar="N", help=f"frames (default {_LEAST})")
    return run_program(parser, run, argv)


def run(arguments: argparse.Namespace) -> None:
    """Measure as the arguments say; raises PerclipError."""
    weights, options = Weights.find(arguments.weights), options_of(arguments)
    log = RowLog(arguments.out / "memory_policies.csv", _COLUMNS, resume=True)
    network = weights.load()
    long = [s for s in sequences_of(arguments) if len(s.frames) >= arguments.least]
    if not long:
        raise InputError(f"no sequence of {arguments.least} frames: give a smaller --least")
    wanted = []
    for sequence in map(repeated, long):
        for policy in _POLICIES:
            key = {"weights": weights.digest, "sequence": sequence.name, "frames": str(len(sequence.frames))}
            key |= {"clip length": str(arguments.clip_length), "policy": policy}
            row = next((r for r in log.rows if key.items() <= r.items()), None)
            if row is None:
                print(f"{sequence.name}: {policy}", file=sys.stderr, flush=True)
                changed = replace(options, memory=policy, clip_length=arguments.clip_length)
                score = evaluate_task(Propagator(network, changed), Task(sequence))
                measures = Evaluation((score,)).mean
                row = key | {"J": f"{measures.j:.4f}", "F": f"{measures.f:.4f}", "J&F": f"{measures.jf:.4f}"}
                row["seconds per frame"] = f"{score.seconds / score.frames:.3f}"
                log.append([row])
            wanted.append(row)
    text = markdown(wanted)
    (arguments.out / "memory_policies.md").write_text(text, encoding="utf-8")
    print(text)


def repeated(sequence: AnnotatedSequence) -> AnnotatedSequence:
    """The sequence played forth and back five times; decoded once."""
    length = 2 * _ROUNDS * (len(sequence.frames) - 1) + 1
    frames = ForthAndBack(list(sequence.frames), length)
    return AnnotatedSequence(sequence.name, frames, ForthAndBack(list(sequence.label_maps), length))


def markdown(rows: Sequence[dict[str, str]]) -> str:
    """A table: a line per sequence and their mean, J&F of each policy and the difference to "every" in points."""
    lengths = " or ".join(sorted({row["frames"] for row in rows}))
    names = list(dict.fromkeys(row["sequence"] for row in rows))
    found = {(row["sequence"], row["policy"]): float(row["J&F"]) for row in rows}
    lines = [
        "# Accuracy of the memory policies over long videos",
        "",
        f"J&F over {lengths} frames: each sequence forth and back {_ROUNDS} times, clips of "
        f"{rows[0]['clip length']}, the first",
        "mask given; in brackets points gained or lost against a memory that forgets nothing.",
        "",
        f"| sequence | {' | '.join(_POLICIES)} |",
        "|" + "---|" * (len(_POLICIES) + 1),
    ]
    means = {p: float(np.mean([found[name, p] for name in names])) for p in _POLICIES}
    for name, values in [*((n, {p: found[n, p] for p in _POLICIES}) for n in names), ("**mean**", means)]:
        others = [f"{values[p]:.4f} ({100 * (values[p] - values['every']):+.1f})" for p in _POLICIES[1:]]
        lines.append(f"| {name} | {values['every']:.4f} | {' | '.join(others)} |")
    return "\n".join([*lines, "", f"Weights: {rows[0]['weights']}."]) + "\n"


if __name__ == "__main__":
    sys.exit(main())
