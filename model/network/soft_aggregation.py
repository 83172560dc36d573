"""Soft aggregation: objects of a frame compete for its pixels (STM 3.4)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def aggregate(probabilities: Tensor) -> Tensor:
    """Soft aggregation of independent object probabilities.

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


def aggregate_objects(probabilities: Tensor, layers: Sequence[int] | None = None) -> Tensor:
    """What soft aggregation leaves of each object, where only objects of one layer compete with each other.

    Args:
        probabilities: (..., K, H, W), 0..1, one channel per object.
        layers: of the K objects; None: all lie in one.

    Returns:
        float32 (..., K, H, W), without the background.
    """
    if layers is None or len(set(layers)) <= 1:
        return aggregate(probabilities)[..., 1:, :, :]
    result = torch.empty_like(probabilities, dtype=torch.float32)
    for places in _by_layer(layers).values():
        result[..., places, :, :] = aggregate(probabilities[..., places, :, :])[..., 1:, :, :]
    return result


def layer_sums(masks: Tensor, layers: Sequence[int] | None, wanted: Sequence[int] | None) -> Tensor:
    """The sum of all masks of some layers.

    Args:
        masks: (..., K, H, W).
        layers: of the K objects; None: all lie in one.
        wanted: layers whose sums to give; None with that of `layers`.

    Returns:
        (..., L, H, W) for L wanted layers, or (..., 1, H, W) where there is one layer only.
    """
    if layers is None or wanted is None or len({*layers, *wanted}) <= 1:
        return masks.sum(-3, keepdim=True)
    by_layer = _by_layer(layers)
    sums = {layer: masks[..., by_layer.get(layer, []), :, :].sum(-3) for layer in set(wanted)}
    return torch.stack([sums[layer] for layer in wanted], -3)


def _by_layer(layers: Sequence[int]) -> dict[int, list[int]]:
    """The places of the objects of each layer."""
    return {layer: [k for k, other in enumerate(layers) if other == layer] for layer in dict.fromkeys(layers)}


def object_probabilities(logits: Tensor) -> Tensor:
    """Logits at stride 4, (..., K, h, w) -> independent probabilities (..., K, 4h, 4w)."""
    return torch.sigmoid(F.interpolate(logits, scale_factor=4, mode="bilinear", align_corners=False))
