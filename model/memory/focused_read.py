"""Reads the memory where objects may be, and takes a sparse look at the rest of the frame."""

from collections.abc import Sequence

import torch
from torch import Tensor

from model.inference.object_cells import STEP, anywhere, every_second, grown, object_cells, repeated
from model.inference.region import Region
from model.memory.memory import Memory

_LEAST = 0.05  # of the mask that a read brings; smaller than elsewhere, as a sparse look may only touch an object
_MARGIN = 3  # cells around what is seen


class FocusedRead:
    """Readouts of successive frames, exact where an object may be.

    First every second row and column is read; then, frame by frame, what lies near the objects that this found, and
    near where they were in the frame before. All other positions get the readout of the one beside them. An object of
    two by two cells (32 x 32 pixels) cannot be missed; a smaller one only if it moves 48 pixels from one frame to the
    next, or comes out of nowhere. On the validation sequences half of the positions are read, and J&F stays the same.
    """

    def __init__(self, bank: Memory, key: Tensor, grid: tuple[int, int], frames: int):
        """Looks at one frame, and takes the frames to be like it until these are looked at.

        Args:
            bank: of objects whose values carry masks.
            key: of the frame, (tokens, key_dim).
            grid: rows and columns of cells.
            frames: T.
        """
        self._bank, self._grid = bank, grid
        whole = Region(0, grid[0], 0, grid[1])
        self._look = {o: look.repeat(frames, 1, 1, 1) for o, look in self._looked(key[None], whole).items()}

    def _looked(self, keys: Tensor, region: Region) -> dict[int, Tensor]:
        """Readouts (N, rows, columns, value_dim) at every second cell of a region, by the keys of N frames."""
        cells = every_second(region.of(keys.unflatten(1, self._grid).permute(0, 3, 1, 2))).permute(0, 2, 3, 1)
        shape = tuple(cells.shape[:3])
        return {o: value.unflatten(0, shape) for o, value in self._bank.read(cells.flatten(0, 2)).items()}

    def look(self, keys: Tensor, frames: Sequence[int], regions: Sequence[Region]) -> None:
        """Look at regions of some frames.

        Args:
            keys: of all frames, (T, tokens, key_dim).
            frames: which of them.
            regions: that begin at even rows and columns.
        """
        for region in regions:
            sparse = Region(*(-(-side // STEP) for side in region))
            for o, found in self._looked(keys[frames], region).items():
                self._look[o][frames, sparse.top : sparse.bottom, sparse.left : sparse.right] = found

    def seen(self, least: float = _LEAST) -> dict[int, Tensor]:
        """For each object, where it may be in each frame: bool (T, h, w), true in every second row and column only."""
        found = {}
        for o, look in self._look.items():
            found[o] = torch.zeros(len(look), *self._grid, dtype=torch.bool)
            every_second(found[o])[:] = object_cells(look.flatten(0, 2), (look.shape[1], look.shape[2]), least)
        return found

    def readouts(self, keys: Tensor, before: Tensor) -> dict[int, Tensor]:
        """What the bank's objects read.

        Args:
            keys: of the frames, (T, tokens, key_dim).
            before: cells where objects were in the frame before the first of them, bool (h, w).

        Returns:
            (T, tokens, value_dim) for each object.
        """
        seen = anywhere(self.seen().values())
        readouts = {o: repeated(look, self._grid).flatten(1, 2) for o, look in self._look.items()}
        for t in range(len(keys)):
            near = grown((seen[t] | before)[None], _MARGIN)[0]
            every_second(near)[:] = False  # these are exact already
            places = torch.nonzero(near.flatten())[:, 0]
            if len(places):
                for o, values in self._bank.read(keys[t, places]).items():
                    readouts[o][t, places] = values
            before = anywhere(object_cells(v[t], self._grid, _LEAST)[0] for v in readouts.values())
        return readouts
