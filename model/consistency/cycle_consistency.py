"""Cycle consistency: does a predicted frame, taken as memory, give the keyframe's mask back?"""

import torch
import torch.nn.functional as F
from torch import Tensor

from model.memory.memory_read import affinity, key_bias

_SAMPLES = 64  # positions asked for inside the object, and as many around it: a read of bounded cost
_RING = 3  # memory positions around the object
_READ = 20  # positions of the frame that each of them reads; calibrations are fitted to it


def coverage(masks: Tensor, grid: tuple[int, int]) -> Tensor:
    """How much of each memory position masks cover: (K, n h, n w) for a grid of h x w -> (K, h w), 0..1."""
    return F.avg_pool2d(masks, masks.shape[-1] // grid[1]).flatten(1)


class MaskProbe:
    """Positions of a keyframe, inside an object and in a ring around it, that later frames are asked about.

    A mask that drifted, went over to another object or lost a part does not give the inside back; one that spilt over
    gives the ring too.

    Args:
        key: of the keyframe, (tokens, key_dim).
        covered: by the object, `coverage` (tokens,).
        grid: rows and columns of the memory positions.
    """

    def __init__(self, key: Tensor, covered: Tensor, grid: tuple[int, int]):
        # An object smaller than a position is inside where it covers most.
        inside = covered > min(0.5, 0.5 * float(covered.max()))
        present = (covered > 0).float().view(1, 1, *grid)
        near = F.max_pool2d(present, 2 * _RING + 1, 1, _RING).flatten() > 0
        asked = _thinned(inside), _thinned(near & ~inside)
        self._inside = len(asked[0])
        self._keys = key[torch.cat(asked)]

    def ask(self, key: Tensor, covered: Tensor) -> tuple[Tensor, Tensor]:
        """Read the predicted mask of a frame at the keyframe's positions.

        Args:
            key: of the frame, (tokens, key_dim).
            covered: by the predicted mask, `coverage` (tokens,).

        Returns:
            recovered: mean of what is read inside the object, 0..1; 1 for an object too small for the network's input.
            contained: 1 - mean of what is read around it, 0..1; 1 for an object with nothing around it.
        """
        weights, positions = affinity(self._keys, key, key_bias(key), _READ)
        seen = (weights * covered[positions]).sum(1)
        inside, around = seen[: self._inside], seen[self._inside :]
        one = seen.new_ones(())
        return inside.mean() if len(inside) else one, 1 - around.mean() if len(around) else one


def _thinned(chosen: Tensor) -> Tensor:
    """Indices of what is true, at most _SAMPLES, evenly chosen."""
    where = torch.nonzero(chosen)[:, 0]
    if len(where) > _SAMPLES:
        where = where[torch.arange(_SAMPLES, device=where.device) * len(where) // _SAMPLES]
    return where
