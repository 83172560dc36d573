"""The space-time memory of STM: each object has keys of its own, and a query reads every position (STM 3.2)."""

import torch
from torch import Tensor

from model.memory.kept_frames import KeptFrames

_CHUNK = 256  # queries at once; a dense matrix of a frame's against ten frames would take 105 MB at 480p


class DenseMemory(KeptFrames):
    """What an object keeps of a position is its value and, behind it, its key: (N, value_dim + key_dim).

    Without anything shared by the objects nothing is read for several of them at once. The key that comes with a frame
    is that of the query, and is not used.
    """

    def read(self, queries: Tensor) -> dict[int, Tensor]:
        """The read, softmax of q.k / sqrt(key_dim) over all positions: (Q, value_dim) of the values' dtype."""
        dim = queries.shape[1]
        readouts = {}
        for o in self.objects:
            value, key = self._values[o][: self._size].split([self._values[o].shape[1] - dim, dim], 1)
            scaled = key.float().T * dim**-0.5
            parts = [torch.softmax(q.float() @ scaled, 1).to(value.dtype) @ value for q in queries.split(_CHUNK)]
            readouts[o] = torch.cat(parts)
        return readouts
