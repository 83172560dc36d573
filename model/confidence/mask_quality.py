"""What a mask's own probabilities say of it; `model.confidence.calibration` makes a confidence of it."""

import torch
from torch import Tensor


def expected_overlap(probability: Tensor) -> float:
    """Expected J of the mask p > 0.5 of one object, if the truth follows its probability (h, w) pixel by pixel; 0..1.

    Sum of p inside over the area of the mask plus the sum of p outside. Of an empty mask, how unlikely its likeliest
    pixel is.
    """
    inside = probability > 0.5
    area, total = inside.sum(), probability.sum()
    hit = (probability * inside).sum()
    return float(torch.where(area > 0, hit / (area + total - hit), 1 - probability.max()))


def agreement(a: Tensor, b: Tensor) -> float:
    """Soft IoU of two probabilities (h, w) of one object, 0..1; 1 where both are empty."""
    union = torch.maximum(a, b).sum()
    return float(torch.minimum(a, b).sum() / union) if union > 0.5 else 1.0
