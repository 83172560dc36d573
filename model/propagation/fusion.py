"""Joins a forward and a backward pass between two keyframes."""

from typing import NamedTuple

import torch
from torch import Tensor

from model.confidence.calibration import Calibration
from model.confidence.cues import Cues, Evidence
from model.confidence.mask_quality import agreement, expected_overlap
from model.propagation.prediction import LOGIT_LIMIT, Prediction


class Joined(NamedTuple):
    """What the passes together say of one object in one frame.

    Attributes:
        logits: float32 (padded H / 4, padded W / 4).
        passes: the evidence of each pass, one or two.
        agreed: `agreement` of two passes; 1 of one.
    """

    logits: Tensor
    passes: tuple[Evidence, ...]
    agreed: float = 1.0


def join(forward: Prediction, backward: Prediction, since: int, until: int, calibration: Calibration) -> Joined:
    """The mean of two predictions, each weighted by its confidence and by how near its keyframe is.

    Args:
        forward: of the pass from the keyframe `since` frames before.
        backward: of the pass from the keyframe `until` frames behind, unpacked from a record.
        since: frames.
        until: frames.
        calibration: of the confidence.
    """
    a, b = forward.logits.clamp(-LOGIT_LIMIT, LOGIT_LIMIT), backward.logits.to(forward.logits.device)
    p, q = torch.sigmoid(a), torch.sigmoid(b)
    sure_a = calibration.confidence(Cues(expected_overlap(p), (forward.evidence,)))
    sure_b = calibration.confidence(Cues(expected_overlap(q), (backward.evidence,)))
    weight_a, weight_b = until * sure_a + 1e-6, since * sure_b + 1e-6
    logits = (weight_a * a + weight_b * b) / (weight_a + weight_b)
    return Joined(logits, (forward.evidence, backward.evidence), agreement(p, q))
