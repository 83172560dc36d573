"""What a training does: every setting that its result depends on."""

import json
import math
from dataclasses import asdict, dataclass

from model.errors import InputError
from model.network.config import network_config

_LEAST = {"iterations": 1, "batch": 1, "clip_frames": 1, "objects": 1, "frozen_blocks": 0, "seed": 0}


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
        refinement: 0 leaves the intra-clip refinement out of a new compact network, to measure what it is worth.
        trunk_rate: of the image trunk, as a part of `rate`; 0 freezes the trunk.
        frozen_blocks: leading blocks of the compact trunk that are never trained.
        weight_decay: of AdamW.
        largest_gradient: gradients of a larger norm are scaled down to it.
        average: decay of the averaged weights (EMA), which are what a training gives back.
        still_share: part of the samples that comes from stills, falling to half of it over the training.
        faults: part of the remembered masks that get a fault first (`model.training.memory_faults`).
        blurred: part of the samples whose remembered masks lose their sub-pixels.
        placeless: part of the samples in which the position code is weaker or missing.
        nested: part of the samples in which an object is a part of another, where two can be; each is asked for whole.
        seed: of samples, faults and initial weights.

    Raises:
        InputError: the network is unknown, or a value is out of its range.
    """

    network: str = "perclip-lite"
    iterations: int = 4000
    batch: int = 4
    crop: int = 256
    clip_frames: int = 3
    objects: int = 3
    refinement: int = 1
    rate: float = 3e-4
    trunk_rate: float = 0.1
    frozen_blocks: int = 6
    weight_decay: float = 0.01
    largest_gradient: float = 3.0
    average: float = 0.999
    still_share: float = 0.3
    faults: float = 0.6
    blurred: float = 0.15
    placeless: float = 0.1
    nested: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        if network_config(self.network).memory != "tokens":
            raise InputError(f"{self.network} is not trained here, only run: choose perclip-lite, pcvos or stcn")
        if self.refinement not in (0, 1):
            raise InputError(f"refinement {self.refinement}: give 1, or 0 for a network without")
        if not self.refinement and self.network == "pcvos":
            raise InputError("pcvos without refinement is stcn: choose that network")
        if self.crop < 64 or self.crop % 16:
            raise InputError(f"crop {self.crop}: give a multiple of 16, 64 or more")
        for name, least in _LEAST.items():
            if getattr(self, name) < least:
                raise InputError(f"{name} {getattr(self, name)}: give {least} or more")
        for name in ("rate", "largest_gradient"):
            if not 0 < getattr(self, name) < math.inf:
                raise InputError(f"{name} {getattr(self, name)}: give a number above 0")
        for name in ("trunk_rate", "weight_decay"):
            if not 0 <= getattr(self, name) < math.inf:
                raise InputError(f"{name} {getattr(self, name)}: give a number of 0 or more")
        if not 0 <= self.average < 1:
            raise InputError(f"average {self.average}: give a decay between 0 and 1, less than 1")
        for name in ("still_share", "faults", "blurred", "placeless", "nested"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name} {getattr(self, name)}: give a part between 0 and 1")

    def to_json(self) -> str:
        """All settings as indented JSON."""
        return json.dumps(asdict(self), indent=1)
