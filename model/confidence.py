"""How much a mask needs a human look: a number in 0..1 per frame and object, 1 being sure."""

import torch
import torch.nn.functional as F
from torch import Tensor

_BAND = 2  # half width of the band around the contour, in pixels of the given resolution


def mask_confidence(probability: Tensor) -> float:
    """Confidence of one object's mask, from its aggregated probability (h, w), 0..1.

    The mean probability inside the mask times the mean of max(p, 1 - p) in a band around its contour, where doubtful
    masks are soft. An empty mask is as sure as its most likely pixel is unlikely.
    """
    inside = probability > 0.5
    if not bool(inside.any()):
        return float(1 - probability.max())
    size = 2 * _BAND + 1
    mask = inside[None, None].float()
    grown = F.max_pool2d(mask, size, 1, _BAND)[0, 0] > 0
    shrunk = -F.max_pool2d(-mask, size, 1, _BAND)[0, 0] > 0
    band = probability[grown & ~shrunk]
    sureness = torch.maximum(band, 1 - band).mean() if band.numel() else probability.new_ones(())
    return float(probability[inside].mean() * sureness)


def agreement(a: Tensor, b: Tensor) -> float:
    """Soft IoU of two probabilities (h, w) of one object, 0..1; 1 where both are empty."""
    union = torch.maximum(a, b).sum()
    return float(torch.minimum(a, b).sum() / union) if union > 0.5 else 1.0
