"""Bilinear resampling along one axis, of a part that is given."""

import numpy as np
import torch
from torch import Tensor


class AxisResampling:
    """From `size` to `new_size` samples, as `interpolate` does with corners that are not aligned.

    Args:
        size: samples of the whole axis.
        new_size: wanted instead.
        device: of what is resampled.
    """

    def __init__(self, size: int, new_size: int, device: torch.device):
        place = np.clip((np.arange(new_size) + 0.5) * (size / new_size) - 0.5, 0, size - 1)
        self._first = place.astype(np.int64)
        self._second = np.minimum(self._first + 1, size - 1)
        self._indices = torch.from_numpy(np.stack([self._first, self._second])).to(device)
        self._share = torch.from_numpy((place - self._first).astype(np.float32)).to(device)

    def __call__(self, x: Tensor, axis: int, low: int, high: int) -> tuple[int, Tensor]:
        """The new samples that need none but low..high - 1.

        Args:
            x: float, these samples along an axis.
            axis: which, negative.
            low: the first one.
            high: the one behind the last.

        Returns:
            Where the new samples begin, and they; none if all need others.
        """
        start = int(np.searchsorted(self._first, low))
        stop = max(start, int(np.searchsorted(self._second, high)))
        first, second = (x.index_select(axis, indices) for indices in self._indices[:, start:stop] - low)
        share = self._share[start:stop].to(x.dtype).view(-1, *[1] * (-axis - 1))
        return start, first.lerp_(second, share)
