"""What a training sample is: one labelled frame and the clips behind it."""

from dataclasses import dataclass

import numpy as np

LEAST_AREA = 0.003
"""Part of the crop that an object covers at least in the first frame; smaller ones are nothing to learn from."""


@dataclass(frozen=True)
class SampleShape:
    """Sizes of a sample: T = 1 + clips * clip_frames frames (PCVOS: 7).

    Attributes:
        clips: clips behind the labelled frame.
        clip_frames: frames of one clip (N of PCVOS).
        crop: side of the square crop in pixels.
        objects: most objects of one sample (K).
    """

    clips: int = 2
    clip_frames: int = 3
    crop: int = 256
    objects: int = 3

    @property
    def frames(self) -> int:
        """Frames of one sample, T."""
        return 1 + self.clips * self.clip_frames


@dataclass(frozen=True, eq=False)
class Sample:
    """One training sample.

    Attributes:
        frames: uint8 (T, S, S, 3) RGB.
        masks: uint8 (T, K, S, S) of 0 and 1; at most one object per pixel. Used objects come first and cover
            `LEAST_AREA` or more of the first frame; unused ones are empty all through.
        source: says where it came from, for people.
    """

    frames: np.ndarray
    masks: np.ndarray
    source: str
