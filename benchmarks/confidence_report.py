"""Judges confidences by the true J: rank correlation, how soon failures are found, calibration; and draws both."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

from benchmarks.confidence_samples import Sample
from benchmarks.failing_runs import KINDS

matplotlib.use("Agg")
from matplotlib import pyplot

WORST = 0.2  # the part that an annotator looks at first
FAILED = 0.5  # J below which a mask has failed
_BINS = 10


def spearman(a: Sequence[float] | np.ndarray, b: Sequence[float] | np.ndarray) -> float:
    """Rank correlation, -1..1, with mean ranks for ties; 0 where all of one are equal."""
    x, y = _ranks(np.asarray(a)), _ranks(np.asarray(b))
    return float(np.corrcoef(x, y)[0, 1]) if np.ptp(x) and np.ptp(y) else 0.0


def _ranks(values: np.ndarray) -> np.ndarray:
    _, inverse, count = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(count) - (count - 1) / 2)[inverse]


def found_in_worst(confidence: np.ndarray, j: np.ndarray, part: float = WORST) -> float:
    """Share of the failed masks that lie in the part of least confidence; of ties the first; 1 where none failed."""
    failed = j < FAILED
    worst = np.argsort(confidence, kind="stable")[: round(part * len(j))]
    return float(failed[worst].sum() / failed.sum()) if failed.any() else 1.0


def calibration_error(confidence: np.ndarray, j: np.ndarray) -> float:
    """Mean distance of mean confidence and mean J over ten groups of equal size, by confidence."""
    groups = [g for g in np.array_split(np.argsort(confidence, kind="stable"), _BINS) if len(g)]
    return float(
        np.average([abs(confidence[g].mean() - j[g].mean()) for g in groups], weights=[len(g) for g in groups])
    )


def summary(samples: Sequence[Sample], confidence: np.ndarray) -> dict[str, Any]:
    """All measures, for JSON.

    "within sequences" is the mean over sequences of the mean over their objects of the rank correlation over an
    object's frames. "worst fifth" pools every predicted mask of all failing runs, one per frame and object, keyframes
    excluded, and takes the fifth of least confidence; it cannot hold more than "possible" of the failed ones.
    """
    j = np.array([s.j for s in samples])
    normal = np.array([s.kind == "normal" for s in samples])
    failing = np.array([s.fails for s in samples])
    objects = [(s.run, s.object) for s in samples if s.kind == "normal"]
    within = rank_correlations(objects, confidence[normal], j[normal])
    kinds = {kind: np.array([s.kind == kind for s in samples]) for kind in KINDS}
    failed = float((j[failing] < FAILED).mean())
    return {
        "normal runs": {
            "masks": int(normal.sum()),
            "mean J": float(j[normal].mean()),
            "mean confidence": float(confidence[normal].mean()),
            "calibration error": calibration_error(confidence[normal], j[normal]),
            "rank correlation pooled": spearman(confidence[normal], j[normal]),
            "rank correlation within sequences": float(np.mean(list(within.values()))),
            "by sequence": within,
        },
        "failing runs": {
            "masks": int(failing.sum()),
            "mean J": float(j[failing].mean()),
            "mean confidence": float(confidence[failing].mean()),
            "calibration error": calibration_error(confidence[failing], j[failing]),
            "share of J < 0.5": failed,
            "in the worst fifth": found_in_worst(confidence[failing], j[failing]),
            "possible": min(1.0, WORST / failed) if failed else 1.0,
            "by kind": {kind: _kind(confidence[of], j[of]) for kind, of in kinds.items() if of.any()},
        },
    }


def _kind(confidence: np.ndarray, j: np.ndarray) -> dict[str, float | None]:
    failed = j < FAILED
    return {
        "masks": len(j),
        "share of J < 0.5": float(failed.mean()),
        "mean confidence of J < 0.5": float(confidence[failed].mean()) if failed.any() else None,
        "mean confidence of others": float(confidence[~failed].mean()) if not failed.all() else None,
    }


def rank_correlations(objects: Sequence[tuple[str, int]], confidence: np.ndarray, j: np.ndarray) -> dict[str, float]:
    """By sequence, the mean over its objects of the rank correlation over an object's frames.

    Args:
        objects: of each mask, the sequence and the object.
        confidence: of each mask.
        j: of each mask.
    """
    of: dict[str, dict[int, list[tuple[float, float]]]] = {}
    for (sequence, obj), c, value in zip(objects, confidence, j):
        of.setdefault(sequence, {}).setdefault(obj, []).append((c, value))
    return {name: float(np.mean([spearman(*zip(*pairs)) for pairs in some.values()])) for name, some in of.items()}


def plot(samples: Sequence[Sample], confidence: np.ndarray, path: Path) -> None:
    """A PNG: left, J against confidence; right, how many failures are found by looking at the least sure."""
    j = np.array([s.j for s in samples])
    normal = np.array([s.kind == "normal" for s in samples])
    failing = np.array([s.fails for s in samples])
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 5), layout="constrained")
    left.plot([0, 1], [0, 1], color="grey", linewidth=1)
    for chosen, name, colour in ((normal, "validation sequences", "tab:blue"), (failing, "failing runs", "tab:red")):
        left.scatter(confidence[chosen], j[chosen], s=3, alpha=0.15, color=colour, linewidths=0)
        groups = np.array_split(np.flatnonzero(chosen)[np.argsort(confidence[chosen], kind="stable")], _BINS)
        means = [(confidence[g].mean(), j[g].mean()) for g in groups if len(g)]
        left.plot(*zip(*means), "o-", color=colour, label=name)
    left.set(
        xlabel="confidence", ylabel="true J", xlim=(0, 1), ylim=(0, 1), title="Reliability (ten groups of equal size)"
    )
    left.legend()
    parts = np.linspace(0, 1, 101)
    curve = [found_in_worst(confidence[failing], j[failing], part) for part in parts]
    best = [found_in_worst(j[failing], j[failing], part) for part in parts]
    right.plot(parts, best, color="grey", linewidth=1, label="if the true J were known")
    right.plot(parts, curve, color="tab:red", label="by confidence")
    right.axvline(WORST, color="black", linewidth=0.5)
    right.set(
        xlabel="part of the failing runs looked at, least confident first",
        ylabel="part of the masks with J < 0.5 found",
        xlim=(0, 1),
        ylim=(0, 1.02),
        title="How soon failures are found",
    )
    right.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
