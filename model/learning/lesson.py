"""What is learned from: the keyframes of one video, or of several."""

import hashlib
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from model.keyframe import Keyframe


@dataclass(frozen=True, eq=False)
class Lesson:
    """A video with the keyframes that a person drew in it.

    Attributes:
        frames: uint8 (H, W, 3) RGB of one size, read when they are needed.
        keyframes: ascending; their masks have the frames' size.
        labels: what the objects are, as `Propagator.run` takes it.
        numbers: of the frames, as people know them; None: from 0.
        left_out: frames whose keyframes are not among these, as they were drawn on other pictures.
    """

    frames: Sequence[np.ndarray]
    keyframes: Sequence[Keyframe]
    labels: Mapping[int, Hashable] = field(default_factory=dict)
    numbers: Sequence[int] | None = None
    left_out: tuple[int, ...] = ()

    def number(self, index: int) -> int:
        """Of a frame, as people know it."""
        return index if self.numbers is None else self.numbers[index]

    @cached_property
    def mask_digests(self) -> list[dict[int, str]]:
        """Of each keyframe, by object, 24 characters that differ where its place, the mask or the picture below differ.

        The numbers of the objects, which may change when others come, make no difference.
        """
        digests = []
        for keyframe in self.keyframes:
            picture = hashlib.sha256(f"{keyframe.index} {keyframe.masks.shape}".encode())
            picture.update(np.ascontiguousarray(self.frames[keyframe.index]).tobytes())
            found = {}
            for obj in keyframe.objects:
                digest = picture.copy()
                digest.update(np.packbits(keyframe.mask(obj)).tobytes())
                found[obj] = digest.hexdigest()[:24]
            digests.append(found)
        return digests
