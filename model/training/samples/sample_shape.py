"""What a training sample is: one labelled frame and the clips behind it."""

from dataclasses import dataclass, replace

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
        nested: part of the samples in which an object becomes part of another, 0..1, where there are two that can.
    """

    clips: int = 2
    clip_frames: int = 3
    crop: int = 256
    objects: int = 3
    nested: float = 0.0

    @property
    def frames(self) -> int:
        """Frames of one sample, T."""
        return 1 + self.clips * self.clip_frames

    def nests(self, rng: np.random.Generator) -> bool:
        """Whether something of the next sample is nested; draws nothing where nothing ever is."""
        return self.nested > 0 and bool(rng.random() < self.nested)


@dataclass(frozen=True, eq=False)
class Sample:
    """One training sample.

    Attributes:
        frames: uint8 (T, S, S, 3) RGB.
        masks: uint8 (T, K, S, S) of 0 and 1; at most one object of a layer per pixel. Used objects come first and cover
            `LEAST_AREA` or more of the first frame; unused ones are empty all through.
        source: says where it came from, for people.
        layers: of the objects, int64 (K,); those in a higher one are parts of others.
        decoys: bool (T, S, S), where an object is shown that is not asked for: pasted, or not seen at first.
        void: bool (T, S, S), where nobody knows what is shown; no mask is there.
    """

    frames: np.ndarray
    masks: np.ndarray
    source: str
    layers: np.ndarray
    decoys: np.ndarray
    void: np.ndarray

    def with_objects(self, most: int) -> "Sample":
        """With the first objects alone; the others stay in the frames, as decoys."""
        kept, others = self.masks[:, :most], self.masks[:, most:].any(1)
        return replace(self, masks=kept, layers=self.layers[:most], decoys=self.decoys | (others & ~kept.any(1)))
