"""SWEM's memory: two sets of bases for each object, whose size never changes (SWEM 3.2)."""

import numpy as np
import torch
from torch import Tensor

from model.memory.bases import Bases, absorb, empty_bases, read_bases, starting_keys
from model.memory.memory import Stretch


class BasesMemory:
    """Bases of a group of objects: those behind the keyframes, which stay, and those that go along with the pass.

    What an object keeps of a position is its value and, behind it, how much the position belongs to the background and
    to the object: (N, value_dim + 2). 1.3 MB per object in all, however long the pass is. The bases are float32.

    Args:
        objects: ids.
        start: keyframe that the group's stretch begins at.
        end: keyframe that it ends at, or None. Its masks are absorbed like those of the first one.
        joins: other objects are propagated already. The public code begins to update the bases of such an object at its
            keyframe, of others one frame later.
    """

    def __init__(self, objects: tuple[int, ...], start: int, end: int | None = None, joins: bool = False):
        self.objects = objects
        self._start, self._end, self._joins = start, end, joins
        self._distance = 0  # from the start to the last predicted frame that was absorbed
        self._first: dict[int, Bases] = {}
        self._updated: dict[int, Bases] = {}

    @property
    def stretch(self) -> Stretch:
        """The keyframes that the group starts from and ends at: no two groups of a pass share both."""
        return self._start, self._end

    @property
    def frames(self) -> tuple[int, ...]:
        """None: what they have left is `state`."""
        return ()

    def restrict(self, objects: tuple[int, ...]) -> None:
        """Forget all but these objects."""
        self.objects = objects
        for bases in (self._first, self._updated):
            for o in bases.keys() - set(objects):
                del bases[o]

    def add_keyframe(self, key: Tensor, values: dict[int, Tensor]) -> None:
        """Absorb a keyframe: key (N, key_dim), and per object (N, value_dim + 2)."""
        assert not self._distance, "keyframes come before predicted frames"
        for o in self.objects:
            if o not in self._first:
                kappa = starting_keys(o, key.shape[1])[None].to(key.device)
                self._first[o] = empty_bases(kappa, values[o].shape[1] - 2)
            self._first[o] = _absorbed(self._first[o], key, values[o])
            if self._joins:
                self._updated[o] = self._first[o]

    def add(self, index: int, key: Tensor, values: dict[int, Tensor]) -> None:
        """Absorb the predicted frame `index`; frames come in the order of the pass."""
        distance = abs(index - self._start)
        if distance <= self._distance:
            return  # a restored state holds it already
        self._distance = distance
        for o in self.objects:
            self._updated[o] = _absorbed(self._updated.get(o, self._first[o]), key, values[o])

    def add_temporary(self, key: Tensor, values: dict[int, Tensor]) -> None:
        """Not for bases, which cannot forget."""
        raise NotImplementedError

    def state(self) -> bytes:
        """The bases that go along, float32 and exact: 656 kB per object. Those of the keyframes are not in it."""
        objects = sorted(self._updated)
        head = np.array([self._distance, len(objects), *objects], np.int32).tobytes()
        return head + b"".join(x.cpu().numpy().tobytes() for o in objects for x in self._updated[o])

    def restore(self, state: bytes) -> None:
        """As `Memory.restore`."""
        distance, count = np.frombuffer(state[:8], np.int32).tolist() if len(state) >= 8 else (0, -1)
        like = next(iter(self._first.values()))
        sizes = [x.numel() for x in like]
        if not 0 <= count <= 255 or distance < 0 or len(state) != 8 + count * 4 * (1 + sum(sizes)):
            raise ValueError("a state of bases is not of their size")
        ids = np.frombuffer(state, np.int32, count, 8).tolist()
        rows = np.frombuffer(state[8 + 4 * count :], np.float32).reshape(count, sum(sizes))
        for obj, values in zip(ids, rows):
            if obj in self.objects:
                parts = torch.from_numpy(values.copy()).split(sizes)
                self._updated[obj] = Bases(*(part.view_as(x).to(x.device) for part, x in zip(parts, like)))
        self._distance = distance

    def updated(self, obj: int) -> Bases:
        """The bases of an object that go along; KeyError before the first predicted frame."""
        return self._updated[obj]

    def go_on_from(self, obj: int, updated: Bases) -> None:
        """Let an object's bases go on from such as `updated` gave, (1, 2, J, ...), behind the keyframes."""
        self._updated[obj] = updated

    def read(self, queries: Tensor) -> dict[int, Tensor]:
        """Memory and affinity features of each object for queries (Q, key_dim): float32 (Q, value_dim + 128)."""
        readouts = {}
        for o in self.objects:
            banks = [self._first[o], *([self._updated[o]] if o in self._updated else [])]
            readouts[o] = read_bases(queries.float(), banks)[0]
        return readouts


def _absorbed(prior: Bases, key: Tensor, kept: Tensor) -> Bases:
    value, groups = kept.float().split([kept.shape[1] - 2, 2], 1)
    return absorb(prior, key.float(), value[None], groups.T[None])
