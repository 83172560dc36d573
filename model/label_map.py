"""Label maps from probabilities."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from model.framing import Framing

_AT_ONCE = 2**26  # probabilities at the frame's size, 256 MiB


def most_likely(framing: Framing, probabilities: Tensor, objects: Sequence[int]) -> np.ndarray:
    """The label map of probabilities, uint8 (H, W) at the frame's size.

    Comparing channel by channel takes a tenth of argmax's time. Of many objects in large frames only a few are
    restored to the frame's size at a time.

    Args:
        framing: of the frame.
        probabilities: (K + 1, h, w) at the network's size, background first.
        objects: K ids, 1..255.
    """
    together = max(1, _AT_ONCE // (framing.height * framing.width))
    best = framing.restore(probabilities[:1])[0]
    labels = torch.zeros(best.shape, dtype=torch.uint8, device=best.device)
    for start in range(0, len(objects), together):
        some = framing.restore(probabilities[1 + start : 1 + start + together])
        for obj, probability in zip(objects[start : start + together], some, strict=True):
            labels[probability > best] = obj
            best = torch.maximum(best, probability)
    return labels.cpu().numpy()
