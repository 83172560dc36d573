"""How far a run has come: all that it takes to go on from there, elsewhere and later, as if it had never stopped."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from model.memory.memory import Stretch
from model.propagation.prediction import PackedPredictions


@dataclass
class PassRecord:
    """How far one pass over a span has come.

    Memory frames are recorded by what was predicted there; their keys and values are computed again from their images.

    Attributes:
        reached: last frame of the last clip that was segmented; None before the first.
        ends: predictions of the clip ends that are still needed: memory frames, and `reached`.
        memory: predicted frames that each group of objects keeps in memory, by the group's stretch.
        states: what a group's memory holds beside frames, by the group's stretch; of networks that have such.
        resumable: as in `RunRecord`.
        complete: the pass need not go on.
        waiting: of a backward pass, what it predicted of frames that the forward pass has yet to reach.
    """

    reached: int | None = None
    ends: dict[int, PackedPredictions] = field(default_factory=dict)
    memory: dict[Stretch, tuple[int, ...]] = field(default_factory=dict)
    states: dict[Stretch, bytes] = field(default_factory=dict)
    resumable: bool = True
    complete: bool = False
    waiting: dict[int, PackedPredictions] = field(default_factory=dict)

    def remembers(self, stretch: Stretch, index: int) -> bool:
        """Whether the group of a stretch has the recorded frame `index` in its memory."""
        return index == self.reached or index in self.memory.get(stretch, ())

    def forget(self, also_needed: Iterable[int]) -> None:
        """Drops the clip ends that no group keeps, but for some."""
        needed = {self.reached, *also_needed}.union(*self.memory.values())
        self.ends = {index: packed for index, packed in self.ends.items() if index in needed}


@dataclass
class RunRecord:
    """How far a run has come; the engine writes it as it goes.

    Attributes:
        passes: by first frame of the span and step (1 forward, -1 backward); only of spans that are not done.
        done: frames whose results were given.
        resumable: the run may go on elsewhere, so that no more of a mask is memorised than a record holds.
        ahead: frames whose images are needed next, in this order; filled in when the run pauses.
    """

    passes: dict[tuple[int, int], PassRecord] = field(default_factory=dict)
    done: set[int] = field(default_factory=set)
    resumable: bool = True
    ahead: list[int] = field(default_factory=list)

    def of(self, first: int, step: int) -> PassRecord:
        """The record of one pass."""
        return self.passes.setdefault((first, step), PassRecord(resumable=self.resumable))

    def complete(self, first: int) -> None:
        """All results of a span were given."""
        self.passes.pop((first, 1), None)
        self.passes.pop((first, -1), None)

    @property
    def required(self) -> list[int]:
        """Frames whose images are needed again to go on, ascending, besides those of keyframes."""
        return sorted({index for record in self.passes.values() for index in record.ends})
