"""The memory bank: keys and values of memory frames, and which of them stay.

Layout of the positions, oldest first: keyframes | predicted frames | temporary. A frame need not bring all of its
positions. Everything is append, cut off the end, or rewrite the middle of buffers that grow by doubling.
"""

import torch
from torch import Tensor

from model.errors import InputError
from model.memory.memory_read import affinity, key_bias, read_values
from model.options import PropagationOptions

Stretch = tuple[int, int | None]  # keyframes at both ends; None: it has no other end

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


class MemoryBank:
    """Memory of a group of objects that share all their memory frames, so that one affinity serves them all.

    Keys are (N, key_dim), float32 or bfloat16; values have one array (N, value_dim) per object. Keyframes must be added
    before any predicted frame and are never dropped. The group's stretch begins at the frame `start` and ends at `end`,
    or nowhere.
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
        self._queries = 0  # answered so far
        self._keys = self._bias = torch.empty(0)
        self._values: dict[int, Tensor] = {}
        # For "bounded": how much attention a position received, and since when it could.
        self._bounded = options.memory == "bounded"
        self._usage = self._born = torch.empty(0)

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
            values: per object, (N, value_dim).
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
        excess = self._size + len(key) - self._budget
        if self._bounded and excess > 0:
            self._drop_least_used(excess)
        # Frames count as whole ones here: how many are kept must not depend on what is seen in them.
        room = self._budget - self._keyframes
        if self._options.memory == "spread" and (len(self._kept) + 1) * self._tokens > room:
            self._drop_most_crowded()
        self._append(key, values)
        self._kept.append(index)
        self._sizes.append(len(key))

    def add_temporary(self, key: Tensor, values: dict[int, Tensor]) -> None:
        """Memorise a frame until the next `add`."""
        self._append(key, values)
        self._temporary += key.shape[0]

    def read(self, queries: Tensor) -> dict[int, Tensor]:
        """Readout of each object for queries (Q, key_dim): (Q, value_dim) of the values' dtype."""
        n = _with_room(self._size)
        self._bias[self._size : n] = -torch.inf  # no query is like what is not there
        weights, positions = affinity(queries, self._keys[:n], self._bias[:n], self._options.top_k)
        if self._bounded:
            self._usage.index_add_(0, positions.flatten(), weights.flatten())
            self._queries += len(queries)
        return {o: read_values(weights, positions, self._values[o][:n]) for o in self.objects}

    def _append(self, key: Tensor, values: dict[int, Tensor]) -> None:
        start, end = self._size, self._size + key.shape[0]
        if _with_room(end) > self._keys.shape[0]:
            self._grow(_with_room(end), key, values)
        self._keys[start:end] = key
        self._bias[start:end] = key_bias(key)
        for o in self.objects:
            self._values[o][start:end] = values[o]
        if self._bounded:
            self._usage[start:end] = 0
            self._born[start:end] = self._queries
        self._size = end

    def _grow(self, needed: int, key: Tensor, values: dict[int, Tensor]) -> None:
        capacity = max(2 * self._keys.shape[0], 4 * self._tokens)
        if self._bounded:
            # The budget is all there will ever be, but for the temporary frames of one clip.
            capacity = min(capacity, _with_room(self._budget))
        capacity = max(needed, capacity)

        def grown(old: Tensor | None, like: Tensor, *shape: int) -> Tensor:
            new = like.new_zeros((capacity, *shape))
            if old is not None:
                new[: self._size] = old[: self._size]
            return new

        fresh = self._size == 0
        self._keys = grown(None if fresh else self._keys, key, key.shape[1])
        self._bias = grown(None if fresh else self._bias, key)
        self._values = {o: grown(self._values.get(o), values[o], values[o].shape[1]) for o in self.objects}
        if self._bounded:
            counter = key.new_empty(0, dtype=torch.float32)
            self._usage = grown(None if fresh else self._usage, counter)
            self._born = grown(None if fresh else self._born, counter)

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
        for buffer in (self._keys, self._bias, *self._values.values()):
            buffer[place : self._size - size] = buffer[place + size : self._size].clone()
        self._size -= size

    def _drop_least_used(self, count: int) -> None:
        """Drop so many old predicted positions: those that were read least since they could be.

        Keyframes and the most recent frames stay as they are. A little at a time, and without touching what stays:
        halving the memory whenever it was full, with values joined to those of what was dropped (after XMem's memory
        potentiation), lost 3 points of J&F in one of four sequences of 791 frames, this 0.4 at most.
        """
        first = self._keyframes
        recent = self._size - sum(self._sizes[-_RECENT:])
        keep = recent - first - count
        age = (self._queries - self._born[first:recent]).clamp(min=1)
        order = (self._usage[first:recent] / age).topk(keep).indices.sort().values + first
        end = first + keep + self._size - recent
        for buffer in (self._keys, self._bias, self._usage, self._born, *self._values.values()):
            kept = torch.cat([buffer[order], buffer[recent : self._size]])
            buffer[first:end] = kept
        self._size = end


def _with_room(positions: int) -> int:
    """A few more positions, up to an eighth, so that reads meet few different sizes: oneDNN prepares each anew."""
    step = max(32, 1 << max(0, positions.bit_length() - 4))
    return -(-positions // step) * step
