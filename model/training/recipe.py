"""What a training does: every setting that its result depends on."""

import json
from dataclasses import asdict, dataclass

from model.errors import InputError


@dataclass(frozen=True)
class Recipe:
    """The settings of one training; two trainings of one recipe on the same data and machine are the same.

    Attributes:
        network: which one, by name.
        iterations: optimiser steps; the schedules stretch over all of them.
        batch: samples per step.
        crop: side of the square samples in pixels, a multiple of 16.
        clip_frames: frames of a clip, N of PCVOS; a sample has 1 + 2 N frames. 1 is training frame by frame.
        objects: most objects of a sample.
        rate: learning rate of the parts that are trained from the start.
        trunk_rate: of the image trunk, as a part of `rate`; 0 freezes the trunk.
        frozen_blocks: leading blocks of the compact trunk that are never trained.
        weight_decay: of AdamW.
        largest_gradient: gradients of a larger norm are scaled down to it.
        average: decay of the averaged weights (EMA), which are what a training gives back.
        still_share: part of the samples that comes from stills, falling to half of it over the training.
        seed: of samples and initial weights.
    """

    network: str = "perclip-lite"
    iterations: int = 4000
    batch: int = 4
    crop: int = 256
    clip_frames: int = 3
    objects: int = 3
    rate: float = 3e-4
    trunk_rate: float = 0.1
    frozen_blocks: int = 6
    weight_decay: float = 0.01
    largest_gradient: float = 3.0
    average: float = 0.999
    still_share: float = 0.3
    seed: int = 0

    def __post_init__(self):
        if self.crop < 64 or self.crop % 16:
            raise InputError(f"crop {self.crop}: give a multiple of 16, 64 or more")
        for name in ("iterations", "batch", "clip_frames", "objects"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} {getattr(self, name)}: give 1 or more")
        if not 0 <= self.still_share <= 1:
            raise InputError(f"still share {self.still_share}: give a part between 0 and 1")

    def to_json(self) -> str:
        """All settings as indented JSON."""
        return json.dumps(asdict(self), indent=1)
