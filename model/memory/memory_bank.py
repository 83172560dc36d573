"""The memory bank of PCVOS and STCN: keys that all objects share, values of each, and the top-k read."""

import torch
from torch import Tensor

from model.memory.kept_frames import KeptFrames, with_room
from model.memory.memory_read import affinity, key_bias, read_values
from model.options import PropagationOptions


class MemoryBank(KeptFrames):
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
        super().__init__(objects, start, tokens_per_frame, options, end)
        self._queries = 0  # answered so far
        self._keys = self._bias = torch.empty(0)
        # For "bounded": how much attention a position received, and since when it could.
        self._bounded = options.memory == "bounded"
        self._usage = self._born = torch.empty(0)

    def read(self, queries: Tensor) -> dict[int, Tensor]:
        """Readout of each object for queries (Q, key_dim): (Q, value_dim) of the values' dtype."""
        n = with_room(self._size)
        self._bias[self._size : n] = -torch.inf  # no query is like what is not there
        weights, positions = affinity(queries, self._keys[:n], self._bias[:n], self._options.read_positions)
        if self._bounded:
            self._usage.index_add_(0, positions.flatten(), weights.flatten())
            self._queries += len(queries)
        return {o: read_values(weights, positions, self._values[o][:n]) for o in self.objects}

    def _make_room(self, count: int) -> None:
        excess = self._size + count - self._budget
        if self._bounded and excess > 0:
            self._drop_least_used(excess)
        super()._make_room(count)

    def _write(self, start: int, end: int, key: Tensor) -> None:
        self._keys[start:end] = key
        self._bias[start:end] = key_bias(key)
        if self._bounded:
            self._usage[start:end] = 0
            self._born[start:end] = self._queries

    def _wanted_capacity(self) -> int:
        wanted = super()._wanted_capacity()
        # The budget is all there will ever be, but for the temporary frames of one clip.
        return min(wanted, with_room(self._budget)) if self._bounded else wanted

    def _grow(self, capacity: int, key: Tensor, values: dict[int, Tensor]) -> None:
        fresh = self._size == 0
        super()._grow(capacity, key, values)

        def grown(old: Tensor, like: Tensor) -> Tensor:
            return self._grown(None if fresh else old, capacity, like)

        self._keys = grown(self._keys, key)
        self._bias = grown(self._bias, key[:, 0])
        if self._bounded:
            counter = key.new_empty(0, dtype=torch.float32)
            self._usage = grown(self._usage, counter)
            self._born = grown(self._born, counter)

    def _buffers(self) -> list[Tensor]:
        counters = [self._usage, self._born] if self._bounded else []
        return [self._keys, self._bias, *counters, *super()._buffers()]

    def _drop_least_used(self, count: int) -> None:
        """Drop so many old predicted positions: those that were read least since they could be.

        Keyframes and the most recent frames stay as they are. A little at a time, and without touching what stays:
        halving the memory whenever it was full, with values joined to those of what was dropped (after XMem's memory
        potentiation), lost 3 points of J&F in one of four sequences of 791 frames, this 0.4 at most.
        """
        first, recent = self._keyframes, self._recent()
        keep = recent - first - count
        age = (self._queries - self._born[first:recent]).clamp(min=1)
        order = (self._usage[first:recent] / age).topk(keep).indices.sort().values + first
        end = first + keep + self._size - recent
        for buffer in self._buffers():
            kept = torch.cat([buffer[order], buffer[recent : self._size]])
            buffer[first:end] = kept
        self._size = end
