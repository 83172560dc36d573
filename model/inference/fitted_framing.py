"""Frames resized to whole strides instead of padded, and masks kept at the frame's size: SWEM's way."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from model.inference.framing import Framing, tensor_of
from model.network.segmentation_network import STRIDE
from model.network.soft_aggregation import aggregate_objects
from model.object_masks import ObjectMasks


class FittedFraming(Framing):
    """The geometry of a network that takes every frame as a whole number of strides, without a border.

    Logits are decoded straight to the frame's size, and masks are memorised from there.
    """

    def __init__(
        self, height: int, width: int, short_side: int | None, device: torch.device, any_frame_size: bool = False
    ):
        super().__init__(height, width, short_side, device, any_frame_size)
        self.net_height, self.net_width = (
            max(STRIDE, (side + STRIDE // 2) // STRIDE * STRIDE) for side in (self.net_height, self.net_width)
        )
        self.padded_height, self.padded_width = self.net_height, self.net_width
        self._top = self._left = 0

    def image(self, frame: np.ndarray, index: int) -> Tensor:
        """As `Framing.image`; bicubic, overshoot and all, as the public network was trained."""
        pixels = self._upload(tensor_of(self._checked(frame, index))).permute(2, 0, 1)
        image = pixels.float() * self._scale[:, None, None] + self._offset[:, None, None]
        size = (self.net_height, self.net_width)
        if tuple(image.shape[1:]) != size:
            image = F.interpolate(image[None], size, mode="bicubic", align_corners=False)[0]
        return image

    def drawn_masks(
        self, drawn: ObjectMasks | np.ndarray, objects: Sequence[int], layers: Sequence[int] | None = None
    ) -> Tensor:
        """As `Framing.drawn_masks`, (K, H, W)."""
        self._check(drawn)
        return self._by_layer(drawn, objects, layers, self._one_hot)

    def memory_masks(self, logits: Tensor, layers: Sequence[int] | None = None) -> Tensor:
        """As `Framing.memory_masks`, (K, H, W)."""
        return self.probabilities(logits, layers)

    def settled(self, masks: Tensor, layers: Sequence[int] | None = None) -> Tensor:
        """As they are: what is drawn has taken the predicted pixels, and nothing is aggregated again."""
        return masks

    def probabilities(self, logits: Tensor, layers: Sequence[int] | None = None) -> Tensor:
        """As `Framing.probabilities`."""
        size = (self.height, self.width)
        fine = F.interpolate(logits[None].float(), size, mode="bilinear", align_corners=False)[0]
        return aggregate_objects(torch.sigmoid(fine), layers)
