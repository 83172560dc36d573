"""Which cells of a frame (its memory positions) hold something of an object, and which a sparse look visits."""

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor

from model.compact_value_encoder import MASK_CHANNELS

_STEP = 2  # a sparse look visits every so many rows and columns


def object_cells(values: Iterable[Tensor], grid: tuple[int, int], least: float) -> Tensor:
    """Cells where the mask of any object exceeds `least`, 0..1, anywhere.

    Args:
        values: or readouts, of each object (N cells, value_dim); their last channels carry the masks.
        grid: rows and columns of cells in each of N frames.

    Returns:
        bool (N, *grid).
    """
    masks = torch.stack([value[:, -MASK_CHANNELS:] for value in values])
    return (masks.amax((0, 2)) > least).view(-1, *grid)


def grown(cells: Tensor, margin: int) -> Tensor:
    """Bool (N, h, w) and all cells at most so many rows and columns away."""
    return F.max_pool2d(cells.float(), 2 * margin + 1, 1, margin) > 0


def every_second(cells: Tensor) -> Tensor:
    """The cells (..., h, w) in every second row and column, from the first on: a view."""
    return cells[..., ::_STEP, ::_STEP]


def repeated(values: Tensor, grid: tuple[int, int]) -> Tensor:
    """What `every_second` cell has, for the cells beside it too: (..., rows, columns, C) -> (..., *grid, C)."""
    every = values.repeat_interleave(_STEP, -3).repeat_interleave(_STEP, -2)
    return every[..., : grid[0], : grid[1], :].contiguous()
