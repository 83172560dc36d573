"""What learning is worth in the effort benchmark: sessions with it against the same annotator's without."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

NOTE = """\
With learning the network learns from all that is drawn before each round, on from what it had learned, and the check
decides what runs; without is `fusion`. Both annotators correct as many frames, but each the ones that it is shown as
the least sure. "Never annotated" are each session's own frames. "Used": sessions in which what runs was learned.
"""


@dataclass(frozen=True)
class LearningGain:
    """With learning less without, under one policy; lists go by the number of keyframes, from 1.

    Attributes:
        policy: one of `annotator.POLICIES`.
        everything: J&F over all scored frames, with less without, by sequence.
        rest: the same over the frames that were never annotated.
        used: in how many sequences what was learned was used in that round.
    """

    policy: str
    everything: dict[str, list[float]]
    rest: dict[str, list[float]]
    used: list[int]

    @classmethod
    def of(cls, policy: str, rows: Sequence[Mapping[str, str]]) -> "LearningGain | None":
        """From the rows of the CSV file; None where a policy was not measured with and without."""
        off, on = (
            {(r["sequence"], int(r["keyframes"])): r for r in rows if (r["policy"], r["mode"]) == (policy, mode)}
            for mode in ("fusion", "learning")
        )
        if not off or off.keys() != on.keys():
            return None
        rounds = range(1, 1 + max(keyframes for _, keyframes in off))
        names = list(dict.fromkeys(name for name, _ in off))

        def gains(column: str) -> dict[str, list[float]]:
            return {s: [float(on[s, n][column]) - float(off[s, n][column]) for n in rounds] for s in names}

        used = [sum(on[s, n]["learning"] in ("used", "earlier") for s in names) for n in rounds]
        return cls(policy, gains("J&F"), gains("J&F rest"), used)

    @property
    def mean(self) -> list[float]:
        """Mean over the sequences, over all frames."""
        return [float(v) for v in np.mean(list(self.everything.values()), axis=0)]

    @property
    def mean_rest(self) -> list[float]:
        """Mean over the sequences, over the frames that were never annotated."""
        return [float(v) for v in np.mean(list(self.rest.values()), axis=0)]

    @property
    def worst(self) -> list[tuple[float, str]]:
        """The largest loss of any sequence over all frames, 0 or less, and whose it is; empty: nobody's."""
        least = [min((v, s) for s, v in zip(self.everything, of)) for of in zip(*self.everything.values())]
        return [(v, s) if v < 0 else (0.0, "") for v, s in least]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "gain, all frames": self.mean,
            "gain, never annotated": self.mean_rest,
            "worst loss of a sequence, all frames": [value for value, _ in self.worst],
            "whose": [name for _, name in self.worst],
            "used": self.used,
            "gain by sequence, all frames": self.everything,
        }

    def lines(self) -> list[str]:
        """Markdown: the means, the losses, and every sequence."""
        rounds = range(1, 1 + len(self.used))
        rows = {
            "mean gain, all frames": [f"{v:+.3f}" for v in self.mean],
            "mean gain, never annotated": [f"{v:+.3f}" for v in self.mean_rest],
            "worst loss, all frames": [f"{v:.3f} {s}" if s else "none" for v, s in self.worst],
            "used": [f"{n} of {len(self.everything)}" for n in self.used],
            **{name: [f"{v:+.3f}" for v in values] for name, values in self.everything.items()},
        }
        head = [f"| Learning, {self.policy} | {' | '.join(map(str, rounds))} |", "|---|" + "---|" * len(rounds)]
        return [*head, *(f"| {name} | {' | '.join(cells)} |" for name, cells in rows.items()), ""]
