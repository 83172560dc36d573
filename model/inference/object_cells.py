"""Which cells of a frame (its memory positions) hold something of an object, and which a sparse look visits."""

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor

from model.network.compact_value_encoder import MASK_CHANNELS

STEP = 2  # a sparse look visits every so many rows and columns


def object_cells(values: Tensor, grid: tuple[int, int], least: float) -> Tensor:
    """Cells where the mask of an object exceeds `least`, 0..1, anywhere.

    Args:
        values: or readouts, of N frames, (N cells, value_dim); their last channels carry the mask.
        grid: rows and columns of cells in each frame.

    Returns:
        bool (N, *grid).
    """
    return (values[:, -MASK_CHANNELS:].amax(1) > least).view(-1, *grid)


def anywhere(cells: Iterable[Tensor]) -> Tensor:
    """Where any of some objects is, by the cells of each: bool, of their shape."""
    return torch.stack(list(cells)).any(0)


def grown(cells: Tensor, margin: int) -> Tensor:
    """Bool (N, h, w) and all cells at most so many rows and columns away."""
    return F.max_pool2d(cells.float(), 2 * margin + 1, 1, margin) > 0


def every_second(cells: Tensor) -> Tensor:
    """The cells (..., h, w) in every second row and column, from the first on: a view."""
    return cells[..., ::STEP, ::STEP]


def repeated(values: Tensor, grid: tuple[int, int]) -> Tensor:
    """What `every_second` cell has, for the cells beside it too: (..., rows, columns, C) -> (..., *grid, C)."""
    every = values.repeat_interleave(STEP, -3).repeat_interleave(STEP, -2)
    return every[..., : grid[0], : grid[1], :].contiguous()
