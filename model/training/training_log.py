"""The record of a training: one CSV line per step or validation, and their curves as a picture."""

import csv
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from model.training.trainer import StepLosses

_STEP_COLUMNS = ("step", "cross_entropy", "dice", "gradient", "wait_s", "step_s")
_VALIDATION_COLUMNS = ("step", "J", "F", "J&F")


class TrainingLog:
    """`steps.csv` and `validation.csv` in a folder; on resuming, lines of what is done again are dropped."""

    def __init__(self, folder: Path, first_step: int):
        """Opens the record of a training whose next step is `first_step`."""
        self._folder = folder
        _keep(folder / "steps.csv", _STEP_COLUMNS, lambda step: step < first_step)
        # A validation is numbered by the steps before it.
        _keep(folder / "validation.csv", _VALIDATION_COLUMNS, lambda step: step <= first_step)

    def step(self, step: int, losses: StepLosses, wait: float, seconds: float) -> None:
        """One training step; `wait` is the time spent waiting for data, both in seconds."""
        numbers = (losses.cross_entropy, losses.dice, losses.gradient, wait, seconds)
        _append(self._folder / "steps.csv", [step, *(f"{x:.6g}" for x in numbers)])

    def validation(self, step: int, j: float, f: float) -> None:
        """Accuracy of the averaged network after a number of steps, 0..1."""
        _append(self._folder / "validation.csv", [step, *(f"{x:.4f}" for x in (j, f, (j + f) / 2))])

    def draw(self) -> None:
        """`curves.png`: both losses (smoothed) and the accuracy over the steps.

        Raises:
            ImportError: matplotlib is not installed.
        """
        from matplotlib.figure import Figure

        steps, checks = (_columns(self._folder / name) for name in ("steps.csv", "validation.csv"))
        figure = Figure((10, 4), dpi=120, layout="constrained")
        losses, accuracy = figure.subplots(1, 2)
        if steps["step"]:
            for name in ("cross_entropy", "dice"):
                losses.plot(steps["step"], _smooth(steps[name]), label=name.replace("_", " "))
            waited = sum(steps["wait_s"]) / max(1e-9, sum(steps["step_s"]))
            losses.set(
                xlabel="step", title=f"training losses ({waited:.1%} of the time waiting for data)", yscale="log"
            )
            losses.legend()
        for name in ("J", "F", "J&F"):
            accuracy.plot(checks["step"], checks[name], marker=".", label=name)
        accuracy.set(xlabel="step", title="validation")
        accuracy.legend()
        for axes in (losses, accuracy):
            axes.grid(alpha=0.3)
        figure.savefig(self._folder / "curves.png")


def _keep(path: Path, columns: tuple[str, ...], wanted: Callable[[int], bool]) -> None:
    kept = []
    if path.is_file():
        with open(path, newline="", encoding="utf-8") as file:
            rows = list(csv.reader(file))[1:]
        # A kill may have left half a line.
        kept = [row for row in rows if len(row) == len(columns) and row[0].isdecimal() and wanted(int(row[0]))]
    new = path.with_suffix(".new")
    with open(new, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([columns, *kept])
    os.replace(new, path)


def _append(path: Path, row: list[Any]) -> None:
    with open(path, "a", newline="", encoding="utf-8") as file:
        csv.writer(file).writerow(row)


def _columns(path: Path) -> dict[str, list[float]]:
    with open(path, newline="", encoding="utf-8") as file:
        names, *rows = csv.reader(file)
    return {name: [float(row[i]) for row in rows] for i, name in enumerate(names)}


def _smooth(values: list[float], keep: float = 0.97) -> list[float]:
    """Exponential mean without the bias of its start."""
    smoothed, total, weight = [], 0.0, 0.0
    for value in values:
        total, weight = keep * total + (1 - keep) * value, keep * weight + 1 - keep
        smoothed.append(total / weight)
    return smoothed
