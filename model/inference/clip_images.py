"""The images of a clip, one by one as they are needed."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from model.inference.framing import Framing


class ClipImages:
    """Makes an image when it is asked for: all of them take 125 MB with 25 frames of 480p.

    Attributes:
        last: the last one, once it was asked for.
    """

    def __init__(self, framing: Framing, frames: Sequence[np.ndarray], indices: range):
        """Of the frames with these numbers, ascending or descending."""
        self._framing, self._indices = framing, indices
        self._first = min(indices)
        self._frames = frames[self._first : max(indices) + 1]  # decoded together
        self.last = torch.empty(0)

    def __call__(self, t: int) -> Tensor:
        """The image of the clip's t-th frame, float32 (3, H, W); raises InputError if the frame is none."""
        index = self._indices[t]
        image = self._framing.image(self._frame(index), index)
        if t == len(self._indices) - 1:
            self.last = image
        return image

    def picture(self, t: int) -> np.ndarray:
        """The clip's t-th frame, uint8 (h, w, 3), at the network's size."""
        return self._framing.at_network_size(np.asarray(self._frame(self._indices[t])))

    def _frame(self, index: int) -> np.ndarray:
        return self._frames[index - self._first]
