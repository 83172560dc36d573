"""Samples to learn from, drawn from keyframes step by step."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from model.errors import InputError
from model.learning.lesson import Lesson
from model.learning.recipe import LearningRecipe
from model.training.samples.keyframe_clips import AnnotatedFrame, KeyframeClips
from model.training.samples.sample_shape import Sample, SampleShape
from model.training.schedule import largest_gap

MOST_KEYFRAMES = 48
"""That samples are made of at a time; of more, some are left out, evenly."""

_MOST_TRIES = 50  # to draw a sample


class KeyframeSamples:
    """The samples of some lessons by number: functions of the key alone.

    Args:
        lessons: what they are made of.
        recipe: of learning.
        lines: shorter side of the network's input at inference, in pixels; None: the frames' own.
        key: what is drawn depends on it; begins with 8 hexadecimal digits.
    """

    def __init__(self, lessons: Sequence[Lesson], recipe: LearningRecipe, lines: int | None, key: str):
        self.seed = int(key[:8], 16) % 1_000_000
        self._recipe = recipe
        shape = SampleShape(clip_frames=recipe.clip_frames, crop=recipe.crop, objects=recipe.objects)
        clips = []
        every = max(1, -(-sum(len(lesson.keyframes) for lesson in lessons) // MOST_KEYFRAMES))
        for lesson in lessons:
            chosen = lesson.keyframes[::every]
            frames = (AnnotatedFrame(np.asarray(lesson.frames[k.index]), k.masks, k.objects) for k in chosen)
            clips.append(KeyframeClips(frames, shape, lines))
        self._clips = [some for some in clips if not some.empty]

    @property
    def empty(self) -> bool:
        """Whether there is nothing to draw."""
        return not self._clips

    def batches(self, steps: int) -> Iterator[tuple[Tensor, ...]]:
        """What `Trainer.learn` takes, for all steps."""
        for step in range(steps):
            yield self.batch(step, steps)

    def batch(self, step: int, steps: int) -> tuple[Tensor, ...]:
        """The batch of one of so many steps: frames, masks, layers and decoys, as `Trainer.learn` takes them.

        Raises:
            InputError: no object is seen well.
        """
        recipe = self._recipe
        # A step takes as long as its fullest sample.
        most = 1 + step % recipe.objects
        numbers = range(step * recipe.batch, (step + 1) * recipe.batch)
        samples = [self._sample(number, largest_gap(step / steps)).with_objects(most) for number in numbers]
        arrays = ([getattr(s, name) for s in samples] for name in ("frames", "masks", "layers", "decoys"))
        frames, masks, layers, decoys = (torch.from_numpy(np.stack(some)) for some in arrays)
        used = max(1, int(masks.flatten(3).any(3).any(1).sum(1).max()))
        return frames, masks[:, :, :used], layers[:, :used], decoys

    def _sample(self, number: int, gap: int) -> Sample:
        rng = np.random.default_rng((self.seed, number))
        for _ in range(0 if self.empty else _MOST_TRIES):
            sample = self._clips[rng.integers(len(self._clips))].draw(rng, gap)
            if sample is not None:
                return sample
        raise InputError("no keyframe shows an object well enough to learn from")
