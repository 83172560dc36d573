"""What each part of the method brings: refinement, progressive matching, clip length and memory, in J, F and speed.

Each row of the table is one evaluation (`python -m model.evaluate`) of the same weights with other options; --extra
adds rows of other checkpoints. A row that ablation.csv has already, of the same weights and settings, is not measured
again, so that a killed run goes on where it ended. Writes ablation.csv (every row ever measured) and ablation.md.
"""

import argparse
import dataclasses
import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.ablation_table import COLUMNS, markdown
from benchmarks.measured import Weights, add_measured_arguments, archives_of, options_of, sequences_of
from benchmarks.row_log import RowLog
from model.data.annotated_sequences import AnnotatedSequence
from model.errors import InputError
from model.evaluation.scores import Evaluation
from model.evaluation.semi_supervised import evaluate
from model.options import PropagationOptions
from model.program.command_line import Parser, run_program
from model.propagation.propagator import Propagator

# 8 frames of 480 x 854, half of the default budget, which the 80 frames of a DAVIS video hardly fill.
_HALF_BUDGET = 8 * 30 * 54

ROWS: dict[str, dict[str, Any]] = {
    "L5": {},
    "L5 no refinement": {"refinement": False},
    "L1": {"clip_length": 1},
    "L10": {"clip_length": 10},
    "L15": {"clip_length": 15},
    "L25": {"clip_length": 25},
    # Clips of 5 frames know no progressive matching: its interval is 5.
    "L10 no progressive": {"clip_length": 10, "progressive_interval": None},
    "L15 no progressive": {"clip_length": 15, "progressive_interval": None},
    "L25 no progressive": {"clip_length": 25, "progressive_interval": None},
    "L25 no refinement": {"clip_length": 25, "refinement": False},
    "L5 spread": {"memory": "spread"},
    "L5 bounded": {"memory": "bounded"},
    "L5 bounded by half": {"memory": "bounded", "memory_tokens": _HALF_BUDGET},
    # With 5 frames and more "previous" is "every".
    "L1 previous": {"clip_length": 1, "memory": "previous"},
}
"""Options of each row that differ from the default ones."""


@dataclass(frozen=True)
class Row:
    """One evaluation.

    Attributes:
        name: in the table.
        weights: of the network.
        options: how it runs.
    """

    name: str
    weights: Weights
    options: PropagationOptions


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; gives the exit code."""
    return run_program(_parser(), run, argv)


def _parser() -> Parser:
    parser = Parser(
        prog="python -m benchmarks.ablation",
        description=__doc__,
        epilog=f"rows: {', '.join(ROWS)}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_measured_arguments(parser)
    parser.add_argument("--rows", default=",".join(ROWS), metavar="NAME,...", help="default: all, see below")
    parser.add_argument(
        "--extra",
        action="append",
        default=[],
        metavar="NAME=FILE",
        help="another checkpoint, in rows of its own; may be repeated",
    )
    parser.add_argument(
        "--extra-rows", default="L5", metavar="NAME,...", help="which rows the extra checkpoints have (default L5)"
    )
    return parser


def run(arguments: argparse.Namespace) -> None:
    """Measure as the arguments say; raises PerclipError."""
    rows = rows_of(arguments)
    sequences = sequences_of(arguments)
    log = RowLog(arguments.out / "ablation.csv", COLUMNS, resume=True)
    for number, row in enumerate(rows, 1):
        known = find(log, row, arguments)
        print(f"{number} of {len(rows)}: {row.name}{', measured before' if known else ''}", file=sys.stderr, flush=True)
        if known is None:
            log.append([measure(row, sequences, arguments)])
        found = [cells for r in rows if (cells := find(log, r, arguments))]
        text = markdown(found, [s.name for s in sequences])
        (arguments.out / "ablation.md").write_text(text, encoding="utf-8")
    print(text)


def rows_of(arguments: argparse.Namespace) -> list[Row]:
    """The rows that are asked for; raises InputError."""
    default = options_of(arguments)
    shipped = Weights.find(arguments.weights)
    rows = [Row(name, shipped, replace(default, **ROWS[name])) for name in _known(arguments.rows)]
    for extra in arguments.extra:
        label, equals, file = extra.partition("=")
        if not (label and equals and file):
            raise InputError(f"--extra {extra!r}: give NAME=FILE")
        weights = Weights.find(Path(file))
        for name in _known(arguments.extra_rows):
            rows.append(Row(f"{label}, {name}", weights, replace(default, **ROWS[name])))
    if not rows:
        raise InputError("no row to measure: name one with --rows or --extra")
    return rows


def measure(row: Row, sequences: Sequence[AnnotatedSequence], arguments: argparse.Namespace) -> dict[str, object]:
    """Evaluates and gives the cells of the row."""
    network, o = row.weights.load(), row.options
    evaluation = evaluate(Propagator(network, o), sequences, progress=True)
    return {
        "row": row.name,
        "weights": row.weights.digest,
        "clip length": o.clip_frames,
        "refinement": "yes" if o.refinement and network.refine_transformer is not None else "no",
        "progressive": o.progressive_interval or "no",
        "memory": o.memory if o.memory_tokens is None else f"{o.memory} {o.memory_tokens}",
        "J": f"{evaluation.mean.j:.4f}",
        "F": f"{evaluation.mean.f:.4f}",
        "J&F": f"{evaluation.mean.jf:.4f}",
        "J&F several objects": _mean_jf(evaluation, several=True),
        "J&F one object": _mean_jf(evaluation, several=False),
        "fps": f"{evaluation.fps:.2f}",
        "fps without decoding": f"{evaluation.fps_without_decoding:.2f}",
        "settings": _digest(row, arguments),
    }


def find(log: RowLog, row: Row, arguments: argparse.Namespace) -> Mapping[str, str] | None:
    """The cells of a row that was measured before, with the same weights, options and sequences; the latest."""
    wanted = (row.name, row.weights.digest, _digest(row, arguments))
    return next((c for c in reversed(log.rows) if (c["row"], c["weights"], c["settings"]) == wanted), None)


def _digest(row: Row, arguments: argparse.Namespace) -> str:
    what = [archives_of(arguments), arguments.sequences, arguments.frames, dataclasses.asdict(row.options)]
    return hashlib.sha256(json.dumps(what).encode()).hexdigest()[:8]


def _mean_jf(evaluation: Evaluation, several: bool) -> str:
    """Mean over the sequences with several objects, or over those with one; empty where there is none."""
    found = [s.mean.jf for s in evaluation.sequences if (len(s.objects) > 1) == several]
    return f"{np.mean(found):.4f}" if found else ""


def _known(names: str) -> list[str]:
    found = list(dict.fromkeys(name.strip() for name in names.split(",") if name.strip()))
    for name in found:
        if name not in ROWS:
            raise InputError(f"no row {name!r}; there are {', '.join(ROWS)}")
    return found


if __name__ == "__main__":
    sys.exit(main())
