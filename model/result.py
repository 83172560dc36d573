"""What the engine says about one frame."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from model.confidence.cues import Cues
from model.object_masks import MaskInput, ObjectMasks


@dataclass(frozen=True, eq=False)
class FrameResult:
    """The segmentation of one frame.

    Attributes:
        index: frame number in the sequence, 0-based.
        masks: of the objects at the frame's own size, (H, W); they may share pixels where objects overlap. May be given
            as a label map.
        confidence: for each object, a number in 0..1: how little this mask needs a human look, as an estimate of
            its J. An object that is surely absent is near 1; 1.0 where a keyframe speaks for it. Objects that no pass
            has reached are left out.
        is_keyframe: True where a keyframe was given for this frame.
        probabilities: float32 (K + 1, H, W), background first and then the objects of the run by ascending id; None
            unless the options ask for it. An object's is that among the objects of its layer, which exclude each other
            (`model.propagation.layers`); the background's is that of none of all objects. Where no objects overlap
            there is one layer, and the sum over the first axis is 1.
        cues: for each object whose mask is predicted here, what the confidence was made from.
    """

    index: int
    masks: ObjectMasks
    confidence: dict[int, float]
    is_keyframe: bool
    probabilities: np.ndarray | None = None
    cues: Mapping[int, Cues] = field(default_factory=dict)

    def __init__(
        self,
        index: int,
        masks: MaskInput,
        confidence: dict[int, float],
        is_keyframe: bool,
        probabilities: np.ndarray | None = None,
        cues: Mapping[int, Cues] | None = None,
    ):
        values = index, ObjectMasks.given(masks), confidence, is_keyframe, probabilities, cues or {}
        names = "index", "masks", "confidence", "is_keyframe", "probabilities", "cues"
        for name, value in zip(names, values):
            object.__setattr__(self, name, value)

    @property
    def label_map(self) -> np.ndarray:
        """The masks flattened, uint8 (H, W): 0 is background; where objects share a pixel, the uppermost has it."""
        return self.masks.label_map

    def mask(self, obj: int) -> np.ndarray:
        """The mask of an object, bool (H, W); empty for one that is not here."""
        return self.masks.mask(obj)
