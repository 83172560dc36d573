"""The compact network's value encoder: learned channels, and the mask itself as fixed ones."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.network.residual_block import ResBlock

SUB_PIXEL = 4  # the fixed channels hold the mask at 4 x 4 positions inside each stride-16 cell
MASK_CHANNELS = SUB_PIXEL**2


class CompactValueEncoder(nn.Module):
    """Folds masks into stride-16 channels and joins them with the frame's features by two convolution blocks.

    The last 16 of the value's channels are no learned features but the object's mask at stride 4, so that a readout
    carries a propagated mask from the first training step on.
    """

    def __init__(self, image_dim: int, value_dim: int):
        super().__init__()
        learned = value_dim - MASK_CHANNELS
        self.image = nn.Conv2d(image_dim, learned // 2, 1)
        self.mask = nn.Conv2d(2 * 8 * 8, learned // 2, 1)
        self.block1 = ResBlock(learned // 2 * 2, learned)
        self.block2 = ResBlock(learned, learned)

    def forward(self, images: Tensor, f16: Tensor, masks: Tensor, others: Tensor) -> Tensor:
        """Values of K objects.

        Args:
            images: not used (its features are enough here).
            f16: the key encoder's stride-16 features, (N, image_dim, H / 16, W / 16).
            masks: probability of each object, 0..1, (N, K, H, W).
            others: sum of the probabilities of the other objects of its layer, (N, K, H, W).

        Returns:
            (N, K, value_dim, H / 16, W / 16).
        """
        n, k = masks.shape[:2]
        joined = torch.stack([masks, others], 2).flatten(0, 1)
        half = F.pixel_unshuffle(F.avg_pool2d(joined, 2), 8)  # (N K, 128, h, w): the masks at stride 2
        image = self.image(f16)[:, None].expand(-1, k, -1, -1, -1).flatten(0, 1)
        x = self.block2(self.block1(torch.cat([image, self.mask(half)], 1)))
        fixed = F.pixel_unshuffle(F.avg_pool2d(masks, 16 // SUB_PIXEL).flatten(0, 1)[:, None], SUB_PIXEL)
        return torch.cat([x, fixed], 1).unflatten(0, (n, k))
