"""What the engine says about one frame."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from model.confidence.cues import Cues


@dataclass(frozen=True, eq=False)
class FrameResult:
    """The segmentation of one frame.

    Attributes:
        index: frame number in the sequence, 0-based.
        label_map: uint8 (H, W) at the frame's own size; the value of a pixel is its object id, 0 is background.
        confidence: for each object, a number in 0..1: how little this mask needs a human look, as an estimate of
            its J. An object that is surely absent is near 1; 1.0 where a keyframe speaks for it. Objects that no pass
            has reached are left out.
        is_keyframe: True where a keyframe was given for this frame.
        probabilities: float32 (K + 1, H, W) with sum 1 over the first axis, background first and then the objects of
            the run by ascending id; None unless the options ask for it.
        cues: for each object whose mask is predicted here, what the confidence was made from.
    """

    index: int
    label_map: np.ndarray
    confidence: dict[int, float]
    is_keyframe: bool
    probabilities: np.ndarray | None = None
    cues: Mapping[int, Cues] = field(default_factory=dict)
