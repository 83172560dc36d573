"""What learning from the keyframes gains: J&F with and without, for each sequence and number of keyframes.

The keyframes are each object's first mask and further whole frames, evenly spaced (`even` of `benchmarks.effort`). The
same number of steps is made everywhere, whatever the machine; what was learned is measured whether the check would
take it or not, so that learning.csv also says how well the check tells which is better. "chosen" is what a user gets.
What confidences are worth is measured of the same masks, with and without.

Writes learning.csv (a row per sequence and number of keyframes), learning-confidence.csv (a row per mask) and
learning.md, the tables. --resume goes on after a kill.
"""

import argparse
import hashlib
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace

import numpy as np

from benchmarks import learning_confidence
from benchmarks.annotator import CorrectedSequence, choose
from benchmarks.learning_annotator import fixed_steps, learned_from
from benchmarks.measured import Weights, add_measured_arguments, options_of, sequences_of
from benchmarks.row_log import RowLog
from model.errors import InputError
from model.evaluation.scores import FrameScore, SequenceScore
from model.evaluation.semi_supervised import Task
from model.learning.lesson import Lesson
from model.learning.recipe import LearningRecipe
from model.network.segmentation_network import SegmentationNetwork
from model.options import PropagationOptions
from model.program.command_line import Parser, run_program
from model.propagation.propagator import Propagator

COLUMNS = (
    "sequence",
    "keyframes",
    "steps",
    "check",  # what it asked
    "check before",
    "check after",
    "taken",  # 1 where the check takes what was learned
    "off",  # J&F over the frames that were never annotated
    "learned",
    "chosen",
    "seconds",  # of learning and checking
    "settings",
)
_RECIPE = LearningRecipe()


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; gives the exit code."""
    return run_program(_parser(), run, argv)


def _parser() -> Parser:
    parser = Parser(
        prog="python -m benchmarks.learning",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_measured_arguments(parser)
    parser.add_argument(
        "--keyframes", default="1", metavar="N,...", help="numbers of keyframes, like 1,2,3,4 (default 1)"
    )
    for name, what in (("most_steps", "steps"), ("rate", "rate"), ("trunk_rate", "trunk-rate")):
        default = getattr(_RECIPE, name)
        parser.add_argument(f"--{what}", type=type(default), default=default, dest=name, help=f"default {default}")
    for name in ("frozen_blocks", "faults", "batch", "crop", "margin", "cycle_margin"):
        default = getattr(_RECIPE, name)
        option = "--" + name.replace("_", "-")
        parser.add_argument(option, type=type(default), default=default, help=f"default {default}")
    parser.add_argument("--resume", action="store_true", help="go on where an earlier run ended")
    return parser


def run(arguments: argparse.Namespace) -> None:
    """Measure as the arguments say; raises PerclipError."""
    given = {f.name: getattr(arguments, f.name) for f in fields(LearningRecipe) if hasattr(arguments, f.name)}
    recipe = fixed_steps(LearningRecipe(**{**given, "least_steps": 1}), arguments.most_steps)
    try:
        counts = [int(part) for part in arguments.keyframes.split(",")]
    except ValueError:
        raise InputError(f"--keyframes {arguments.keyframes}: give numbers like 1,2,3,4") from None
    weights, options = Weights.find(arguments.weights), options_of(arguments)
    settings = f"{weights.digest} frames {arguments.frames} {options.short_side} {recipe.identity}"
    log = RowLog(arguments.out / "learning.csv", COLUMNS, arguments.resume)
    done = {(row["sequence"], int(row["keyframes"])) for row in log.rows if row["settings"] == settings}
    masks = RowLog(arguments.out / "learning-confidence.csv", learning_confidence.COLUMNS, arguments.resume)
    # Of a kill between both files, the masks alone count for nothing.
    whole = {(row["sequence"], row["keyframes"], _digest(row["settings"])) for row in log.rows}
    masks.keep([row for row in masks.rows if (row["sequence"], row["keyframes"], row["settings"]) in whole])
    network = weights.load()
    for sequence in sequences_of(arguments):
        task = Task(replace(sequence, frames=list(sequence.frames), label_maps=list(sequence.label_maps)))
        for count in counts:
            if (sequence.name, count) not in done:
                found, scores = _measured(network, options, recipe, task, count)
                row = {**found, "settings": settings}
                for kind, some in scores.items():
                    masks.append(learning_confidence.rows_of(some, count, kind, _digest(settings)))
                log.append([row])
                print({k: row[k] for k in COLUMNS[:-1]}, flush=True)
    mine = [row for row in log.rows if row["settings"] == settings]
    mine_masks = [row for row in masks.rows if row["settings"] == _digest(settings)]
    taken = {(row["sequence"], int(row["keyframes"])): row["taken"] == "1" for row in mine}
    text = "\n\n".join(["# What learning gains", table(mine), learning_confidence.table(mine_masks, taken)])
    (arguments.out / "learning.md").write_text(text.rstrip() + "\n", encoding="utf-8")
    print(text)


def _measured(
    network: SegmentationNetwork, options: PropagationOptions, recipe: LearningRecipe, task: Task, count: int
) -> tuple[dict[str, object], dict[str, tuple[FrameScore, ...]]]:
    """The row, but for its settings; and what its masks are worth, "off" and "learned"."""
    off = CorrectedSequence(Propagator(network, options), task)
    corrected: list[int] = []
    while len(corrected) < count - 1:
        corrected.append(choose("even", off, {}, corrected))
    sequence = task.sequence
    lesson = Lesson(sequence.frames, off.drawn(corrected))
    began = time.perf_counter()
    open_minded = replace(recipe, margin=-1.0, cycle_margin=-1.0)
    learned = learned_from(lesson, network, options, open_minded, progress=sys.stderr.isatty())
    seconds = time.perf_counter() - began
    record = learned.record
    before, after = record.before or 0.0, record.after or 0.0
    held_out = record.check.startswith("held")
    is_taken = record.used and after - before >= (recipe.margin if held_out else recipe.cycle_margin)
    found = {
        "off": _rest(off, corrected),
        "learned": _rest(CorrectedSequence(Propagator(learned.network, options), task), corrected),
    }
    scores, with_it = (SequenceScore(sequence.name, some, 0, 0.0, 0.0).mean.jf for some in found.values())
    row: dict[str, object] = {
        "sequence": sequence.name,
        "keyframes": count,
        "steps": record.steps,
        "check": record.check or record.words,
        "check before": f"{before:.4f}",
        "check after": f"{after:.4f}",
        "taken": int(is_taken),
        "off": f"{scores:.4f}",
        "learned": f"{with_it:.4f}",
        "chosen": f"{with_it if is_taken else scores:.4f}",
        "seconds": f"{seconds:.1f}",
    }
    return row, found


def _digest(settings: str) -> str:
    return hashlib.sha256(settings.encode()).hexdigest()[:8]


def _rest(sequence: CorrectedSequence, corrected: Sequence[int]) -> tuple[FrameScore, ...]:
    """The scores of the frames that were never annotated."""
    scores = sequence.scores(corrected, "fusion")
    return tuple(score for i, found in scores.items() if i not in corrected for score in found)


def table(rows: Sequence[Mapping[str, str]]) -> str:
    """Means by number of keyframes: without, with, as chosen by the check, the best of both; the largest loss."""
    lines = ["| keyframes | sequences | off | learned | chosen | best of both | worst loss | taken |"]
    lines.append("|---|---|---|---|---|---|---|---|")
    for count in sorted({int(row["keyframes"]) for row in rows}):
        mine = [row for row in rows if int(row["keyframes"]) == count]
        off, learned, chosen = (np.array([float(r[c]) for r in mine]) for c in ("off", "learned", "chosen"))
        best = np.maximum(off, learned).mean()
        lines.append(
            f"| {count} | {len(mine)} | {off.mean():.4f} | {learned.mean():.4f} | {chosen.mean():.4f} | {best:.4f} | "
            f"{min(0.0, (chosen - off).min()):.4f} | {sum(int(r['taken']) for r in mine)} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
