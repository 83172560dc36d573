"""What confidences are worth after learning: those of every mask, with and without, against the true J."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from benchmarks.confidence_report import calibration_error, rank_correlations, spearman
from model.evaluation.scores import FrameScore

COLUMNS = (
    "sequence",
    "keyframes",
    "weights",  # off or learned
    "object",
    "frame",  # that was never annotated
    "J",
    "confidence",
    "settings",  # digest of what learning.csv has in words
)

NOTE = """\
Confidences of every mask on frames that were never annotated, against its true J. "Calibration error": mean distance
of mean confidence and mean J over ten groups of equal size, by confidence. "Rank correlation": of confidence and J,
over all masks, and the mean over sequences of the mean over their objects. "There": in the sequences where the check
takes what was learned.
"""


def rows_of(scores: Iterable[FrameScore], keyframes: int, weights: str, settings: str) -> list[dict[str, object]]:
    """A row per mask; COLUMNS says what is in it."""
    return [
        {
            "sequence": s.sequence,
            "keyframes": keyframes,
            "weights": weights,
            "object": s.object,
            "frame": s.frame,
            "J": f"{s.j:.4f}",
            "confidence": f"{s.confidence:.4f}",
            "settings": settings,
        }
        for s in scores
    ]


def table(masks: Sequence[Mapping[str, str]], taken: Mapping[tuple[str, int], bool]) -> str:
    """Markdown: by number of keyframes the measures without, with, and as the check chooses; empty without masks.

    Args:
        masks: rows of the CSV file.
        taken: whether the check takes what was learned, by sequence and number of keyframes.
    """
    columns = ("masks", "mean J", "mean confidence", "calibration error", "rank correlation", "within sequences")
    lines = [NOTE, f"| keyframes | weights | {' | '.join(columns)} |", "|---" * (2 + len(columns)) + "|"]
    for count in sorted({int(row["keyframes"]) for row in masks}):
        mine = [row for row in masks if int(row["keyframes"]) == count and (row["sequence"], count) in taken]
        off, learned = ([row for row in mine if row["weights"] == weights] for weights in ("off", "learned"))
        off_there, learned_there = ([r for r in of if taken[r["sequence"], count]] for of in (off, learned))
        chosen = [r for r in off if not taken[r["sequence"], count]] + learned_there
        kinds = {
            "off": off,
            "learned": learned,
            "chosen": chosen,
            "off, there": off_there,
            "learned, there": learned_there,
        }
        lines += [f"| {count} | {name} | {_measures(of)} |" for name, of in kinds.items() if of]
    return "\n".join(lines) if masks else ""


def _measures(rows: Sequence[Mapping[str, str]]) -> str:
    j, confidence = (np.array([float(row[column]) for row in rows]) for column in ("J", "confidence"))
    within = rank_correlations([(row["sequence"], int(row["object"])) for row in rows], confidence, j)
    values = [j.mean(), confidence.mean(), calibration_error(confidence, j), spearman(confidence, j)]
    return " | ".join([str(len(rows)), *(f"{v:.3f}" for v in (*values, np.mean(list(within.values()))))])
