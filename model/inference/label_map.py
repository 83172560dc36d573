"""Label maps from logits."""

from collections.abc import Sequence
from functools import reduce

import numpy as np
import torch
from torch import Tensor

from model.inference.fitted_framing import FittedFraming
from model.inference.framing import Framing
from model.inference.region import Region
from model.network.soft_aggregation import aggregate, object_probabilities

# An object is never the likeliest where it has less: 255 such objects together leave the background more than each.
_LEAST = -6.0
_SCALE = 4  # network pixels of a logit


def most_likely(framing: Framing, logits: Tensor, objects: Sequence[int]) -> np.ndarray:
    """The label map of objects that compete for pixels, uint8 (H, W) at the frame's size.

    Only where an object may win are its logits looked at: per frame of 1080p, propagated at 480p, with three objects a
    seventh of the frame wide 2 ms instead of 22.

    Args:
        framing: of the frame.
        logits: (K, padded h / 4, padded w / 4).
        objects: K ids, 1..255.
    """
    if isinstance(framing, FittedFraming):
        p = framing.probabilities(logits)
        everything = torch.cat([1 - p.sum(0, keepdim=True), p])
        ids = torch.tensor((0, *objects), dtype=torch.uint8, device=logits.device)
        return ids[everything.argmax(0)].cpu().numpy()
    labels = torch.zeros(framing.height, framing.width, dtype=torch.uint8, device=logits.device)
    regions = _regions(framing, logits)
    if not regions:
        return labels.cpu().numpy()
    whole = reduce(Region.joined, regions.values())
    probabilities = aggregate(_probabilities(framing, logits, whole))
    best, area = framing.restore(probabilities[0], whole)
    for k, region in regions.items():
        probability, part = framing.restore(region.inside(whole).of(probabilities[1 + k]), region)
        here = part.inside(area).of(best)
        labels_here = part.of(labels)
        labels_here.masked_fill_(probability > here, objects[k])
        torch.maximum(here, probability, out=here)
    return labels.cpu().numpy()


def _regions(framing: Framing, logits: Tensor) -> dict[int, Region]:
    """Where the objects may be the likeliest, in network pixels; those that are nowhere are left out."""
    height, width = logits.shape[1:]
    content, found = framing.content, {}
    seen = logits > _LEAST
    for k, sides in enumerate(zip(seen.any(2).tolist(), seen.any(1).tolist())):
        if (cells := Region.around(*sides)) is not None:
            # A logit reaches half of the next one's pixels.
            region = cells.grown(1, height, width).scaled(_SCALE).common(content)
            if region is not None:  # otherwise it is in the padding
                found[k] = region.inside(content)
    return found


def _probabilities(framing: Framing, logits: Tensor, region: Region) -> Tensor:
    """Of each object alone, (K, rows, columns) in a region of network pixels."""
    top, _, left, _ = framing.content
    padded = Region(region.top + top, region.bottom + top, region.left + left, region.right + left)
    cells = Region(padded.top // _SCALE, -(-padded.bottom // _SCALE), padded.left // _SCALE, -(-padded.right // _SCALE))
    cells = cells.grown(1, *logits.shape[1:])
    return padded.inside(cells.scaled(_SCALE)).of(object_probabilities(cells.of(logits)[None])[0])
