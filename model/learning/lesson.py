"""What is learned from: the keyframes of one video, or of several."""

import hashlib
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from model.keyframe import Keyframe


@dataclass(frozen=True, eq=False)
class Lesson:
    """A video with the keyframes that a person drew in it.

    Attributes:
        frames: uint8 (H, W, 3) RGB of one size, read when they are needed.
        keyframes: ascending; their masks have the frames' size.
        labels: what the objects are, as `Propagator.run` takes it.
    """

    frames: Sequence[np.ndarray]
    keyframes: Sequence[Keyframe]
    labels: Mapping[int, Hashable] = field(default_factory=dict)


def keyframe_digests(lesson: Lesson) -> list[str]:
    """Of each keyframe 24 characters that differ where its place, its masks or the picture below differ."""
    digests = []
    for keyframe in lesson.keyframes:
        digest = hashlib.sha256(f"{keyframe.index} {keyframe.objects} {keyframe.masks.shape}".encode())
        digest.update(np.ascontiguousarray(lesson.frames[keyframe.index]).tobytes())
        for obj, mask in keyframe.masks.items():
            digest.update(f" {obj} ".encode() + np.packbits(mask).tobytes())
        digests.append(digest.hexdigest()[:24])
    return digests
