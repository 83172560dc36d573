"""Memory that keeps frames as they are: which of them stay, and the buffers that hold their positions.

Layout of the positions, oldest first: keyframes | predicted frames | temporary. A frame need not bring all of its
positions. Everything is append, cut off the end, or rewrite the middle of buffers that grow by doubling.
"""

from abc import ABC, abstractmethod

from torch import Tensor

from model.errors import InputError
from model.memory.memory import Stretch
from model.options import PropagationOptions

_STM_INTERVAL = 5  # frames; the policy "previous" keeps every fifth frame
_DEFAULT_BUDGET = 16  # frames' worth of positions for the policies "spread" and "bounded"
_RECENT = 3  # predicted frames that neither policy touches


def check_budget(memory_tokens: int | None, tokens_per_frame: int) -> None:
    """Raises InputError if a budget has no room for two keyframes and a few predicted frames."""
    frames = 2 + _RECENT + 2
    if memory_tokens is not None and memory_tokens < frames * tokens_per_frame:
        raise InputError(
            f"memory_tokens={memory_tokens} is too small: {frames} frames of {tokens_per_frame} positions must fit, "
            f"give at least {frames * tokens_per_frame}"
        )


class KeptFrames(ABC):
    """Frames of a group of objects, kept by the policy of the options; how they are read is the subclasses' business.

    Values have one array (N, C) per object. Keyframes are never dropped. The group's stretch begins at the frame
    `start` and ends at `end`, or nowhere.
    """

    def __init__(
        self,
        objects: tuple[int, ...],
        start: int,
        tokens_per_frame: int,
        options: PropagationOptions,
        end: int | None = None,
    ):
        self.objects = objects
        self._start, self._end, self._options = start, end, options
        self._tokens = tokens_per_frame
        self._size = 0  # positions in use
        self._keyframes = 0  # positions of keyframes
        self._temporary = 0  # positions at the end that progressive matching or "previous" will drop
        self._kept: list[int] = []  # predicted frames memorised for good
        self._sizes: list[int] = []  # positions that each of them brought; "bounded" may have dropped some since
        self._values: dict[int, Tensor] = {}

    def __len__(self) -> int:
        return self._size

    @property
    def stretch(self) -> Stretch:
        """The keyframes that the group starts from and ends at: no two groups of a pass share both."""
        return self._start, self._end

    @property
    def frames(self) -> tuple[int, ...]:
        """Predicted frames that are memorised for good, in the order of the pass."""
        return tuple(self._kept)

    @property
    def _budget(self) -> int:
        return self._options.memory_tokens or _DEFAULT_BUDGET * self._tokens

    def restrict(self, objects: tuple[int, ...]) -> None:
        """Forget all but these objects."""
        self.objects = objects
        self._values = {o: self._values[o] for o in objects}

    def add_keyframe(self, key: Tensor, values: dict[int, Tensor]) -> None:
        """Memorise a keyframe for good.

        Args:
            key: (N, key_dim) of N positions.
            values: per object, (N, C).
        """
        assert self._size == self._keyframes, "keyframes come before predicted frames"
        self._append(key, values)
        self._keyframes = self._size

    def add(self, index: int, key: Tensor, values: dict[int, Tensor]) -> None:
        """Memorise positions of the predicted frame `index` as the policy says; temporary frames are forgotten."""
        self._size -= self._temporary
        self._temporary = 0
        kept_at = self._kept[-1] if self._kept else self._start
        if self._options.memory == "previous" and abs(index - kept_at) < _STM_INTERVAL:
            self.add_temporary(key, values)
            return
        self._make_room(len(key))
        self._append(key, values)
        self._kept.append(index)
        self._sizes.append(len(key))

    def add_temporary(self, key: Tensor, values: dict[int, Tensor]) -> None:
        """Memorise a frame until the next `add`."""
        self._append(key, values)
        self._temporary += key.shape[0]

    def state(self) -> None:  # noqa: B027, as there is none
        """None: the frames are all there is."""

    def restore(self, state: bytes) -> None:
        """Not for these, which have no state."""
        raise ValueError("this memory has no state beside its frames")

    @abstractmethod
    def read(self, queries: Tensor) -> dict[int, Tensor]:
        """Readout of each object for queries (Q, key_dim): (Q, value_dim)."""

    def _make_room(self, count: int) -> None:
        """For so many positions of one more predicted frame."""
        # Frames count as whole ones here: how many are kept must not depend on what is seen in them.
        room = self._budget - self._keyframes
        if self._options.memory == "spread" and (len(self._kept) + 1) * self._tokens > room:
            self._drop_most_crowded()

    def _append(self, key: Tensor, values: dict[int, Tensor]) -> None:
        start, end = self._size, self._size + key.shape[0]
        if with_room(end) > self._capacity:
            self._grow(max(with_room(end), self._wanted_capacity()), key, values)
        for o in self.objects:
            self._values[o][start:end] = values[o]
        self._write(start, end, key)
        self._size = end

    def _write(self, start: int, end: int, key: Tensor) -> None:  # noqa: B027, as there may be none
        """Fills the buffers that the objects share."""

    @property
    def _capacity(self) -> int:
        return next((len(values) for values in self._values.values()), 0)

    def _wanted_capacity(self) -> int:
        return max(2 * self._capacity, 4 * self._tokens)

    def _grow(self, capacity: int, key: Tensor, values: dict[int, Tensor]) -> None:
        """Buffers of so many positions, for what comes in this format."""
        self._values = {o: self._grown(self._values.get(o), capacity, values[o]) for o in self.objects}

    def _grown(self, old: Tensor | None, capacity: int, like: Tensor) -> Tensor:
        new = like.new_zeros((capacity, *like.shape[1:]))
        if old is not None:
            new[: self._size] = old[: self._size]
        return new

    def _buffers(self) -> list[Tensor]:
        """All of them, one row for each position."""
        return list(self._values.values())

    def _drop_most_crowded(self) -> None:
        """Drop the old predicted frame whose neighbours in memory are nearest to each other, the earliest of equals.

        Which one it is depends on frame numbers alone, so that a run that goes on elsewhere comes to the same memory.
        """
        around = [self._start, *self._kept]
        old = range(len(self._kept) - _RECENT)
        crowded = min(old, key=lambda i: abs(around[i + 2] - around[i]))
        place = self._keyframes + sum(self._sizes[:crowded])
        size = self._sizes[crowded]
        del self._kept[crowded], self._sizes[crowded]
        for buffer in self._buffers():
            buffer[place : self._size - size] = buffer[place + size : self._size].clone()
        self._size -= size

    def _recent(self) -> int:
        """Where the most recent predicted frames begin, which no policy touches."""
        return self._size - sum(self._sizes[-_RECENT:])


def with_room(positions: int) -> int:
    """A few more positions, up to an eighth, so that reads meet few different sizes: oneDNN prepares each anew."""
    step = max(32, 1 << max(0, positions.bit_length() - 4))
    return -(-positions // step) * step
