"""Reads the memory where objects may be, and takes a sparse look at the rest of the frame."""

import torch
from torch import Tensor

from model.memory_bank import MemoryBank
from model.object_cells import every_second, grown, object_cells, repeated

_LEAST = 0.05  # of the mask that a read brings; smaller than elsewhere, as a sparse look may only touch an object
_MARGIN = 3  # cells around what is seen


def focused_read(bank: MemoryBank, keys: Tensor, before: Tensor) -> dict[int, Tensor]:
    """Readouts of successive frames, exact where an object may be.

    First every second row and column is read; then, frame by frame, what lies near the objects that this found, and
    near where they were in the frame before. All other positions get the readout of the one beside them. An object of
    two by two cells (32 x 32 pixels) cannot be missed; a smaller one only if it moves 48 pixels from one frame to the
    next, or comes out of nowhere. On the validation sequences half of the positions are read, and J&F stays the same.

    Args:
        bank: of objects whose values carry masks.
        keys: of T frames, (T, tokens, key_dim).
        before: cells where objects were in the frame before the first of them, bool (h, w).

    Returns:
        Readouts (T, tokens, value_dim) of the bank's objects.
    """
    frames, grid = len(keys), tuple(before.shape)
    sparse = every_second(keys.unflatten(1, grid).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    look = bank.read(sparse.flatten(0, 2))
    seen = torch.zeros(frames, *grid, dtype=torch.bool, device=keys.device)
    every_second(seen)[:] = object_cells(look.values(), tuple(sparse.shape[1:3]), _LEAST)
    readouts = {o: repeated(v.unflatten(0, tuple(sparse.shape[:3])), grid).flatten(1, 2) for o, v in look.items()}
    for t in range(frames):
        near = grown((seen[t] | before)[None], _MARGIN)[0]
        every_second(near)[:] = False  # these are exact already
        places = torch.nonzero(near.flatten())[:, 0]
        if len(places):
            for o, values in bank.read(keys[t, places]).items():
                readouts[o][t, places] = values
        (before,) = object_cells((values[t] for values in readouts.values()), grid, _LEAST)
    return readouts
