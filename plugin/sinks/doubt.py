"""Which frames need a human look most."""

from collections.abc import Iterable
from dataclasses import dataclass

from plugin.sinks.mask_folder import AnyResult

LOW_CONFIDENCE = 0.5  # below it a frame is marked in pictures


@dataclass(frozen=True)
class Doubt:
    """The least certain object of one frame.

    Attributes:
        index: frame number.
        confidence: the lowest confidence on this frame, 0..1.
        object_id: the object that has it.
    """

    index: int
    confidence: float
    object_id: int


def doubt_of(record: AnyResult) -> Doubt | None:
    """The least certain object of a frame; None where no object has a confidence."""
    if not record.confidence:
        return None
    object_id, confidence = min(record.confidence.items(), key=lambda item: item[1])
    return Doubt(record.index, confidence, object_id)


def most_doubtful(records: Iterable[AnyResult], count: int, *, apart: int = 1) -> list[Doubt]:
    """The frames with the lowest confidence, most doubtful first.

    Args:
        records: the results; their masks are not read.
        count: how many frames at most.
        apart: how many frames two of them must differ at least, so that one long doubt does not fill the list.

    Returns:
        At most `count` frames; frames that are certain (confidence 1, as keyframes are) are left out.
    """
    doubts = [doubt for record in records if (doubt := doubt_of(record)) and doubt.confidence < 1]
    chosen: list[Doubt] = []
    for doubt in sorted(doubts, key=lambda doubt: (doubt.confidence, doubt.index)):
        if len(chosen) >= count:
            break
        if all(abs(doubt.index - other.index) >= apart for other in chosen):
            chosen.append(doubt)
    return chosen
