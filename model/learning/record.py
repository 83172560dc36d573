"""What came of learning, as it is kept beside results and said to people."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

OUTCOMES = (
    "begun",
    "used",
    "earlier",
    "not better",
    "nothing to gain",
    "too slow",
    "nothing to learn",
    "no check",
    "stopped",
    "failed",
)
"""begun: the number of steps is fixed, no more. used: it was better. earlier: what was
learned from fewer of the keyframes was better, and runs. All others: the network runs as it was."""


@dataclass(frozen=True)
class LearningRecord:
    """What came of learning.

    Attributes:
        key: of all that decides what is learned, but for what it starts from and the number of steps.
        network: digest of the weights as they were before anything was learned.
        outcome: one of `OUTCOMES`.
        steps: of the optimiser, whether what they made runs or not; 0: none were made.
        check: what was asked, in words; empty where nothing was.
        before: J&F of the network as it was, by the check, 0..1; None: unknown.
        after: of the network that has learned; of what was learned earlier, where that runs.
        start: digest of the weights that learning began with.
        seen: digests of the masks that the weights that run have learned from, by `mask_digests`.
        weights: digest of those that run; None: as long as that is open.
        note: what else a person should know.
        left_out: numbers of frames whose keyframes were not learned from, nor asked for.
    """

    key: str
    network: str
    outcome: str
    steps: int = 0
    check: str = ""
    before: float | None = None
    after: float | None = None
    start: str = ""
    seen: tuple[str, ...] = ()
    weights: str | None = None
    note: str = ""
    left_out: tuple[int, ...] = ()

    @property
    def used(self) -> bool:
        """Whether what was learned, now or earlier, runs."""
        return self.outcome in ("used", "earlier")

    @property
    def over(self) -> bool:
        """Whether it is decided what runs."""
        return self.outcome != "begun"

    @property
    def words(self) -> str:
        """One sentence: which weights run, by how much they are better, or why nothing learned is used."""
        said = _WORDS[self.outcome].format(
            steps=self.steps,
            check=self.check,
            before=_number(self.before),
            after=_number(self.after),
            gain=_number(None if self.before is None or self.after is None else self.after - self.before, "+"),
            note=self.note,
        )
        return said + self._left_out_words

    @property
    def _left_out_words(self) -> str:
        if not self.left_out:
            return ""
        some = ", ".join(map(str, self.left_out[:_MOST_NAMED]))
        if len(self.left_out) == 1:
            return f"; the keyframe on frame {some} was left out, as its picture is damaged"
        more = len(self.left_out) - _MOST_NAMED
        which = f"{some} and {more} more" if more > 0 else some
        return f"; the keyframes on frames {which} were left out, as their pictures are damaged"

    def to_json(self) -> dict[str, Any]:
        """As `from_json` takes it."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "LearningRecord":
        """What `to_json` gave; raises ValueError for anything else."""
        try:
            listed = {name: tuple(content.get(name, ())) for name in ("seen", "left_out")}
            record = cls(**{**content, **listed})
        except (TypeError, AttributeError) as error:
            raise ValueError(str(error)) from None
        texts = (record.key, record.network, record.check, record.start, record.note, *record.seen)
        if not all(isinstance(text, str) for text in texts) or not isinstance(record.weights, str | None):
            raise ValueError("a text is none")
        if record.outcome not in OUTCOMES:
            raise ValueError(f"unknown outcome {record.outcome!r}")
        if type(record.steps) is not int or record.steps < 0:
            raise ValueError(f"{record.steps!r} steps")
        if not all(type(number) is int for number in record.left_out):
            raise ValueError(f"frames {record.left_out!r}")
        for score in (record.before, record.after):
            if score is not None and (type(score) not in (int, float) or not math.isfinite(score)):
                raise ValueError(f"J&F {score!r}")
        return record


_MOST_NAMED = 10

_WORDS = {
    "begun": "learning from the keyframes in {steps} steps",
    "used": "learned from the keyframes in {steps} steps: J&F {before} -> {after} ({gain}) by {check}",
    "earlier": "kept what was learned before: J&F {before} -> {after} ({gain}) by {check}; {note}",
    "not better": "learned and not used: J&F {before} -> {after} ({gain}) by {check}, which is not clearly better",
    "nothing to gain": "not learned, as there is nothing to gain: J&F {before} by {check}",
    "too slow": "not learned, as the time is too short: {note}",
    "nothing to learn": "not learned, as no keyframe shows an object that is large enough",
    "no check": "not learned, as the keyframes leave nothing to check it by: {note}",
    "stopped": "not learned, as a person stopped it",
    "failed": "not learned, as it failed: {note}",
}


def _number(value: float | None, sign: str = "") -> str:
    return "?" if value is None else f"{value:{sign}.3f}"
