"""Soft aggregation: objects of a frame compete for its pixels (STM 3.4)."""

import torch
import torch.nn.functional as F
from torch import Tensor


def aggregate(probabilities: Tensor) -> Tensor:
    """Soft aggregation of independent object probabilities (STM eq. 1).

    p_0 = prod(1 - p_k); every p becomes its odds p / (1 - p), normalised over background and objects. In float32.

    Args:
        probabilities: (..., K, H, W), 0..1, one channel per object.

    Returns:
        float32 (..., K + 1, H, W), background first, sum 1 over that axis.
    """
    p = probabilities.float()
    p = torch.cat([torch.prod(1 - p, -3, keepdim=True), p], -3).clamp(1e-7, 1 - 1e-7)
    odds = p / (1 - p)
    return odds / odds.sum(-3, keepdim=True)


def object_probabilities(logits: Tensor) -> Tensor:
    """Logits at stride 4, (..., K, h, w) -> independent probabilities (..., K, 4h, 4w)."""
    return torch.sigmoid(F.interpolate(logits, scale_factor=4, mode="bilinear", align_corners=False))
