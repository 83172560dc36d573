"""Few rectangles that hold all cells of interest, and how many frames' worth of them is worked on at once."""

from collections.abc import Sequence
from typing import TypeVar

import cv2
import numpy as np
from torch import Tensor

from model.inference.object_cells import grown
from model.inference.region import Region

T = TypeVar("T")

_GRAIN = 4  # sizes are multiples of so many cells: oneDNN prepares something for every size that it meets
# Frames' worth of cells that are convolved at once. More of them lose to page faults; 12 x 12 cells alone take 9 ms
# of the trunk, those of four frames 4 ms each.
_FRAMES = 1.5
_MOST = 8  # frames at once, however small the region: bounds memory


def cover(cells: Tensor, margin: int, overhead: int) -> list[Region]:
    """Regions that hold all true cells and what is around them.

    Args:
        cells: bool (h, w).
        margin: cells around each.
        overhead: what working on one more region costs, in cells; regions are joined as long as that makes them cost
            less altogether.

    Returns:
        Regions of even first rows and columns; they may overlap.
    """
    height, width = cells.shape
    near = grown(cells[None], margin)[0].numpy().astype(np.uint8)
    boxes = cv2.connectedComponentsWithStats(near, connectivity=8)[2][1:]  # the first is the background's
    regions = merged([Region(y, y + rows, x, x + columns) for x, y, columns, rows, _ in boxes.tolist()], overhead)
    return [Region(*_side(r.top, r.bottom, height), *_side(r.left, r.right, width)) for r in regions]


def _side(low: int, high: int, size: int) -> tuple[int, int]:
    """Both ends, moved outwards to a length that is a multiple of the grain or reaches the edge."""
    length = -(-(high - low // 2 * 2) // _GRAIN) * _GRAIN
    low = max(0, min(low, size - length)) // 2 * 2
    return low, min(size, max(high, low + length))


def merged(regions: Sequence[Region], overhead: int) -> list[Region]:
    """Joins regions as long as that makes them cost less altogether: their cells, and the overhead for each."""
    left = list(regions)
    while True:
        pairs = [(i, k) for i in range(len(left)) for k in range(i)]
        gains = [left[i].cells + left[k].cells + overhead - left[i].joined(left[k]).cells for i, k in pairs]
        if not gains or max(gains) <= 0:
            return left
        i, k = pairs[gains.index(max(gains))]
        joined = left[i].joined(left[k])
        left = [region for n, region in enumerate(left) if n not in (i, k)] + [joined]


def batches(frames: Sequence[T], cells: int, whole: int) -> list[Sequence[T]]:
    """Cuts frames into batches of about the same length.

    Args:
        frames: in each of which a region is worked on.
        cells: of that region.
        whole: cells of a frame.
    """
    together = min(_MOST, max(1, int(_FRAMES * whole / cells)))
    count = -(-len(frames) // together)
    return [frames[len(frames) * i // count : len(frames) * (i + 1) // count] for i in range(count)]
