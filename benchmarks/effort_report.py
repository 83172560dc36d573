"""What the effort benchmark says: curves of J&F against the number of keyframes, as table, JSON and picture."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import effort_gain
from benchmarks.effort_gain import LearningGain

TARGET = 0.90
"""J&F of a sequence that counts as good enough to stop."""

NOTE = """\
J&F as DAVIS counts it: means over frames, objects and sequences, the first and the last frame left out. "All frames"
counts the frames that the annotator corrected too: they come back as they were given, with J&F 1, so that a part of
every gain is the annotator's own work. "Never annotated" leaves them out and is the network's work alone; but frames
chosen for being bad are the ones left out, which flatters the rest. The gain on never annotated frames compares the
same frames before and after a correction and is free of both.
"""
_COLOURS = {"confidence": "tab:blue", "truth": "tab:green", "even": "tab:orange"}
_LINES = {"forward": "--", "fusion": "-", "learning": "-."}
_MARKERS = {"forward": "o", "fusion": "o", "learning": "s"}


@dataclass(frozen=True)
class Curve:
    """What became of all sequences under one policy in one mode; lists go by the number of keyframes, from 1.

    Attributes:
        policy: one of `annotator.POLICIES`.
        mode: one of `annotator.MODES`, or "learning".
        everything: mean J&F over all scored frames.
        rest: mean J&F over the frames that were never annotated.
        rest_gain: mean gain in J&F, on the frames that were never annotated, of the last correction.
        rerun: mean number of frames that the last correction made the engine run again.
        to_target: by sequence, how many keyframes until its J&F over all frames is TARGET; None: not reached.
    """

    policy: str
    mode: str
    everything: list[float]
    rest: list[float]
    rest_gain: list[float]
    rerun: list[float]
    to_target: dict[str, int | None]

    @classmethod
    def of(cls, policy: str, mode: str, rows: Sequence[Mapping[str, str]], rounds: int) -> "Curve":
        """From the rows of the CSV file that are of this policy and mode, a row per sequence and round."""
        mine = [row for row in rows if (row["policy"], row["mode"]) == (policy, mode)]
        by_round = [[row for row in mine if int(row["keyframes"]) == n] for n in range(1, rounds + 1)]

        def means(column: str) -> list[float]:
            return [float(np.mean([float(row[column]) for row in of_round])) for of_round in by_round]

        rest, before = means("J&F rest"), means("J&F rest before")
        reached: dict[str, int | None] = {}
        for row in sorted(mine, key=lambda row: int(row["keyframes"])):
            if reached.setdefault(row["sequence"], None) is None and float(row["J&F"]) >= TARGET:
                reached[row["sequence"]] = int(row["keyframes"])
        gain = [a - b for a, b in zip(rest, before)]
        return cls(policy, mode, means("J&F"), rest, gain, means("rerun"), reached)

    @property
    def mean_to_target(self) -> int | None:
        """How many keyframes until the mean over the sequences is TARGET, over all frames."""
        return next((n for n, jf in enumerate(self.everything, 1) if jf >= TARGET), None)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "J&F": self.everything,
            "J&F never annotated": self.rest,
            "gain of the last keyframe, never annotated": self.rest_gain,
            "frames run again": self.rerun,
            f"keyframes to {TARGET:.2f}": {"mean of sequences": self.mean_to_target, "sequences": self.to_target},
        }


def bars(curves: Sequence[Curve]) -> dict[str, Any]:
    """The two bars of the benchmark: what the second keyframe gains with fusion, and how many keyframes TARGET takes.

    By the policy "confidence", which is what an annotator can do; None where it was not measured.
    """
    of_fusion = (c for c in curves if (c.policy, c.mode) == ("confidence", "fusion") and len(c.everything) > 1)
    fusion = next(of_fusion, None)
    return {
        "gain of the second keyframe (confidence, fusion)": {
            "all frames": fusion.everything[1] - fusion.everything[0] if fusion else None,
            "never annotated": fusion.rest_gain[1] if fusion else None,
        },
        f"keyframes to a mean J&F of {TARGET:.2f} over the sequences": {
            f"{c.policy}, {c.mode}": c.mean_to_target for c in curves
        },
    }


def table(curves: Sequence[Curve], sequences: Sequence[str], gains: Sequence[LearningGain] = ()) -> str:
    """Markdown: J&F against the number of keyframes, what learning gains, and the bars."""
    rounds = range(1, len(curves[0].everything) + 1)
    lines = ["# J&F against the number of corrected keyframes", "", NOTE]
    lines += [f"{len(sequences)} sequences: {', '.join(sequences)}.", ""]
    for title, column in (("All frames", "everything"), ("Never annotated frames", "rest")):
        lines += [f"| {title} | {' | '.join(map(str, rounds))} |", "|---|" + "---|" * len(rounds)]
        lines += [f"| {c.policy}, {c.mode} | {' | '.join(f'{v:.3f}' for v in getattr(c, column))} |" for c in curves]
        lines.append("")
    if gains:
        lines += [effort_gain.NOTE, *(line for gain in gains for line in gain.lines())]
    second, target = bars(curves).values()
    if second["all frames"] is not None:
        lines += [
            f"The second keyframe, chosen by confidence and used between both, gains {second['all frames']:+.3f} over",
            f"all frames and {second['never annotated']:+.3f} on never annotated ones.",
            "",
        ]
    lines.append(f"Keyframes until the J&F over all frames is {TARGET:.2f}:")
    lines += ["", f"| | mean of the sequences | {' | '.join(sequences)} |", "|---|---|" + "---|" * len(sequences)]
    for c in curves:
        counts = [target[f"{c.policy}, {c.mode}"], *(c.to_target[s] for s in sequences)]
        cells = [f"> {len(rounds)}" if n is None else str(n) for n in counts]
        lines.append(f"| {c.policy}, {c.mode} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def write_report(
    folder: Path,
    curves: Sequence[Curve],
    sequences: Sequence[str],
    settings: Mapping[str, object],
    gains: Sequence[LearningGain] = (),
) -> str:
    """Writes effort.json, effort.md and effort.png; gives back the text of effort.md."""
    text = table(curves, sequences, gains)
    (folder / "effort.md").write_text(text, encoding="utf-8")
    summary = {
        "bars": bars(curves),
        "note": " ".join(NOTE.split()),
        "curves": {policy: {c.mode: c.to_dict() for c in curves if c.policy == policy} for policy in _policies(curves)},
        "learning": {gain.policy: gain.to_dict() for gain in gains},
        "sequences": list(sequences),
        "settings": dict(settings),
    }
    (folder / "effort.json").write_text(json.dumps(summary, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    draw(folder / "effort.png", curves, gains)
    return text


def draw(path: Path, curves: Sequence[Curve], gains: Sequence[LearningGain] = ()) -> None:
    """The curves as a picture: all frames, never annotated ones, and what learning gains where it was measured."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(16.5 if gains else 11, 4.5), dpi=110, layout="constrained")
    left, right, *more = figure.subplots(1, 3 if gains else 2)
    right.sharey(left)
    for axes in more:
        _draw_gains(axes, gains)
    for axes, title, column in zip(
        (left, right),
        ("all frames (corrected ones count 1)", "never annotated frames"),
        ("everything", "rest"),
    ):
        for c in curves:
            values = getattr(c, column)
            style = {"color": _COLOURS[c.policy], "linestyle": _LINES[c.mode], "markersize": 4}
            style["marker"] = _MARKERS[c.mode]
            axes.plot(range(1, len(values) + 1), values, label=f"{c.policy}, {c.mode}", **style)
        axes.axhline(TARGET, color="grey", linewidth=0.8, linestyle=":")
        axes.set(xlabel="annotated keyframes", title=title, xticks=range(1, len(curves[0].everything) + 1))
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel("J&F, mean over sequences")
    figure.axes[0].legend(fontsize=8)
    figure.savefig(path)


def _draw_gains(axes: Any, gains: Sequence[LearningGain]) -> None:
    rounds = range(1, 1 + len(gains[0].used))
    for gain in gains:
        colour = _COLOURS[gain.policy]
        for values in gain.everything.values():
            axes.plot(rounds, values, color=colour, alpha=0.3, linewidth=0.8)
        axes.plot(rounds, gain.mean, color=colour, marker="s", markersize=4, label=f"{gain.policy}, mean")
    axes.axhline(0, color="grey", linewidth=0.8)
    axes.set(xlabel="annotated keyframes", ylabel="J&F, with less without", xticks=rounds)
    axes.set_title("what learning gains (thin: a sequence each)")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)


def _policies(curves: Sequence[Curve]) -> list[str]:
    return list(dict.fromkeys(c.policy for c in curves))
