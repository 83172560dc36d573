"""What the engine finds out about a mask besides the mask: what its confidence is made from."""

from typing import NamedTuple


class Evidence(NamedTuple):
    """What one pass finds out about one object's mask in one frame. Higher is better.

    Attributes:
        recovered: how much of the object in its keyframe is found again when this frame's mask is read back, 0..1.
        contained: how little of what is around the object in its keyframe is in this frame's mask, 0..1.
        continuity: likeness of successive frames at the sharpest break since the keyframe: mean negative squared
            distance of keys to the nearest of the frame before, <= 0. Its scale is that of the network's keys.
        accounted: how little of the object might be in this frame outside of its mask, if that is empty or did not
            simply go on from the frame before, 0..1. Does not depend on the network's keys.
    """

    recovered: float = 1.0
    contained: float = 1.0
    continuity: float = 0.0
    accounted: float = 1.0


class Cues(NamedTuple):
    """All that is found out about one object's mask in one frame.

    Attributes:
        overlap: J to expect of the mask if its probabilities are right, 0..1.
        passes: the evidence of each pass that speaks for the object here, one or two.
        agreed: soft IoU of two passes, 0..1; 1 of one.
    """

    overlap: float
    passes: tuple[Evidence, ...]
    agreed: float = 1.0
