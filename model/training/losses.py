"""The loss of PCVOS 3.6: bootstrapped cross-entropy per image and dice over each object's whole clip."""

import torch
from torch import Tensor

UNKNOWN = -1
"""Class of a pixel of which nobody said what it shows."""


def bootstrapped_cross_entropy(probabilities: Tensor, target: Tensor, share: float) -> Tensor:
    """Mean over the hardest pixels of each image.

    Args:
        probabilities: aggregated, float32 (N, K + 1, H, W), background first.
        target: class of each pixel, int64 (N, H, W), 0..K; `UNKNOWN` where nothing is right or wrong.
        share: part of an image's pixels that count, 0 < share <= 1; 1 is plain cross-entropy.
    """
    own = probabilities.gather(1, target.clamp(min=0)[:, None])[:, 0]
    loss = torch.where(target == UNKNOWN, 0.0, -torch.log(own.clamp(min=1e-7))).flatten(1)
    return loss.mean() if share >= 1 else loss.topk(int(share * loss.shape[1]), dim=1, sorted=False).values.mean()


def clip_dice(probabilities: Tensor, masks: Tensor) -> Tensor:
    """1 - dice, each object's pixels of a whole clip taken together.

    Args:
        probabilities: float32 (B, T, K, H, W) of the objects.
        masks: 0 or 1, the same shape. Objects that are empty all through do not count.
    """
    both = (probabilities * masks).sum((1, 3, 4))
    total = (probabilities + masks).sum((1, 3, 4))
    used = (masks.sum((1, 3, 4)) > 0).float()
    dice = 1 - (2 * both + 1) / (total + 1)
    return (dice * used).sum() / used.sum().clamp(min=1)
