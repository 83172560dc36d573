"""How a network learns from keyframes: every setting that the result depends on, but for the time."""

import json
import math
from dataclasses import asdict, dataclass

from model.errors import InputError
from model.network.config import network_config
from model.training.recipe import Recipe

VERSION = 3
"""To be raised when the samples or the check change: what was learned by another version is not taken for the same."""


@dataclass(frozen=True)
class LearningRecipe:
    """The settings of learning from keyframes.

    Attributes:
        most_steps: of the optimiser, however much time there is; more learn the keyframes by heart.
        least_steps: with less time for them nothing is learned.
        batch: samples of a step.
        crop: side of the samples in pixels, a multiple of 16.
        clip_frames: frames of a clip; a sample has 1 + 2 times as many.
        objects: most objects of a sample.
        rate: learning rate of all but the image trunk, at its peak; 40 steps reach a tenth of it, fewer more, see
            `model.training.schedule`.
        trunk_rate: of the trunk, as a part of `rate`; 0: it learns nothing.
        frozen_blocks: leading blocks of the trunk that learn nothing.
        average: decay of the averaged weights, which are what is learned.
        faults: part of the remembered masks that get a fault first.
        margin: how much better it must be on held-out keyframes, in J&F; -1 takes whatever was learned.
        cycle_margin: how much better, there and back again, where nothing can be held out; likewise.

    Raises:
        InputError: a value is out of its range.
    """

    most_steps: int = 40
    least_steps: int = 6
    batch: int = 2
    crop: int = 256
    clip_frames: int = 3
    objects: int = 3
    rate: float = 2e-4
    trunk_rate: float = 0.1
    frozen_blocks: int = 6
    average: float = 0.999
    faults: float = 0.5
    margin: float = 0.003
    cycle_margin: float = 0.025

    def __post_init__(self) -> None:
        if not 1 <= self.least_steps <= self.most_steps:
            raise InputError(f"least_steps {self.least_steps}: give 1 to most_steps, {self.most_steps}")
        for name in ("margin", "cycle_margin"):
            if not -1 <= getattr(self, name) < 1:
                raise InputError(f"{name} {getattr(self, name)}: give a number from -1 to less than 1")
        if not math.isfinite(self.rate):
            raise InputError(f"rate {self.rate}: give a number above 0")
        self.training(self.most_steps, 0)  # checks the others

    def training(self, steps: int, seed: int) -> Recipe:
        """The training that this amounts to."""
        return Recipe(
            iterations=steps,
            batch=self.batch,
            crop=self.crop,
            clip_frames=self.clip_frames,
            objects=self.objects,
            rate=self.rate,
            trunk_rate=self.trunk_rate,
            frozen_blocks=self.frozen_blocks,
            average=self.average,
            faults=self.faults,
            seed=seed,
        )

    @property
    def identity(self) -> str:
        """All that decides what is learned, as one line of JSON."""
        return json.dumps({"version": VERSION, **asdict(self)}, sort_keys=True)


DEFAULT_SECONDS = {"cpu": 60.0, "cuda": 5.0}
"""How long a task is learned from unless somebody says otherwise, by kind of device."""

USUAL_TIME = 0.0
"""Stands for those."""


def unsuited(name: str) -> str | None:
    """Why a network cannot learn from keyframes, as what follows "learning is"; None: it can."""
    config = network_config(name)
    if config.memory != "tokens":
        return f"not for {name}, which is not trained here, only run: choose perclip-lite"
    if config.trunk == "resnet50":
        return (
            f"not for {name}: a step of so large a network takes as long as many of perclip-lite, and a minute is too "
            "short; choose perclip-lite, or take hours with `perclip train`"
        )
    return None


def refuse_unsuited(name: str) -> None:
    """Raises InputError, with the reason, for a network that cannot learn from keyframes."""
    reason = unsuited(name)
    if reason is not None:
        raise InputError(f"--learn is {reason}")
