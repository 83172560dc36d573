"""Training samples by number: a pure function of seed, number and schedule.

`python -m model.training.samples.training_samples --data ARCHIVE... --out sheet.png` draws some for people to see.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from model.data.annotated_sequences import AnnotatedSequence
from model.errors import InputError
from model.program.command_line import Parser, run_program
from model.training.samples.appearance import Appearance
from model.training.samples.sample_shape import Sample, SampleShape
from model.training.samples.sources import read_sources
from model.training.samples.still_samples import StillClips
from model.training.samples.stills import Stills
from model.training.samples.video_samples import ClipSampler

_MOST_TRIES = 200
_COLOURS = np.array([[230, 60, 40], [60, 200, 70], [60, 110, 250], [240, 200, 40], [200, 70, 220]], np.float32)


class TrainingSamples:
    """All samples of a training, by number.

    A sample depends on the seed, its number and the arguments of `sample` alone: a training resumes exactly from the
    number it had come to, and workers may draw in any order. Instances may be forked and pickled.
    """

    def __init__(
        self,
        sequences: list[AnnotatedSequence],
        stills: Stills | None,
        shape: SampleShape,
        seed: int,
        still_share: float = 0.3,
        appearance: Appearance | None = None,
    ):
        """Sources of samples.

        Args:
            sequences: annotated videos; may be empty if there are stills.
            stills: photos, or None.
            shape: of each sample.
            seed: of the training.
            still_share: part of the samples that comes from stills, 0..1, where both are given.
            appearance: how colours and sharpness change; None for the defaults.

        Raises:
            InputError: nothing to draw from.
        """
        if not sequences and stills is None:
            raise InputError("nothing to train on: give annotated videos or stills")
        self.shape, self._seed = shape, seed
        self._stills = StillClips(stills, shape, appearance) if stills is not None else None
        foreign = None if self._stills is None else self._stills.cutout
        self._videos = ClipSampler(sequences, shape, appearance, foreign) if sequences else None
        self._still_share = still_share

    def sample(self, index: int, max_gap: int = 5, *, still_share: float | None = None, paste: float = 0.6) -> Sample:
        """Sample number `index`.

        Args:
            index: 0 or more.
            max_gap: largest distance in front of a clip in frames (the curriculum of PCVOS 3.6).
            still_share: overrides the one of the training.
            paste: how often objects are pasted into videos.

        Raises:
            InputError: the sources show no object large enough, or a file is damaged.
        """
        rng = np.random.default_rng((self._seed, index))
        share = self._still_share if still_share is None else still_share
        if self._videos is None or self._stills is None:
            share = 1.0 if self._videos is None else 0.0
        stills = self._stills if rng.random() < share else None
        for _ in range(_MOST_TRIES):
            if stills is not None:
                sample = stills.draw(rng, max_gap)
            else:
                assert self._videos is not None
                sample = self._videos.draw(rng, max_gap, paste)
            if sample is not None:
                return sample
        raise InputError("no object of the training data covers 0.3 % of a crop: check the annotations")


def contact_sheet(samples: list[Sample]) -> np.ndarray:
    """One row per sample, its frames with their objects tinted and outlined, uint8 (rows * S, T * S, 3)."""
    return np.concatenate([np.concatenate([_overlay(s, t) for t in range(len(s.frames))], 1) for s in samples])


def _overlay(sample: Sample, t: int) -> np.ndarray:
    image = sample.frames[t].astype(np.float32)
    for mask, colour in zip(sample.masks[t] > 0, _COLOURS):
        inner = mask & np.roll(mask, 1, 0) & np.roll(mask, -1, 0) & np.roll(mask, 1, 1) & np.roll(mask, -1, 1)
        image[mask] = 0.7 * image[mask] + 0.3 * colour
        image[mask & ~inner] = colour
    return image.astype(np.uint8)


def main(argv: Sequence[str] | None = None) -> int:
    """Draws samples into a picture and says how long they took; returns the exit code."""
    parser = Parser(
        prog=f"python -m {__package__}.training_samples", description="Draws samples of a training for people to see."
    )
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="videos and stills: folders, zip archives")
    parser.add_argument("--out", type=Path, required=True, help="picture to write")
    parser.add_argument("--samples", type=int, default=12)
    parser.add_argument("--first", type=int, default=0, help="number of the first sample")
    parser.add_argument("--max-gap", type=int, default=10)
    parser.add_argument("--still-share", type=float, default=0.5)
    parser.add_argument("--nested", type=float, default=0.1, help="part of the samples with nested objects")
    parser.add_argument("--crop", type=int, default=256)
    parser.add_argument("--seed", type=int, default=0)
    return run_program(parser, _draw, argv)


def _draw(args: argparse.Namespace) -> None:
    sequences, stills = read_sources(args.data)
    samples = TrainingSamples(
        sequences, stills, SampleShape(crop=args.crop, nested=args.nested), args.seed, args.still_share
    )
    started = time.perf_counter()
    drawn = [samples.sample(args.first + i, args.max_gap) for i in range(args.samples)]
    each = (time.perf_counter() - started) / max(1, len(drawn))
    try:
        Image.fromarray(contact_sheet(drawn)).save(args.out)
    except (OSError, ValueError) as error:
        raise InputError(f"{args.out} cannot be written ({error}): give a .png in a folder that is there") from None
    for number, sample in enumerate(drawn, args.first):
        print(f"{number:4d}  {int(sample.masks[0].any((1, 2)).sum())} objects  {sample.source}")
    print(f"{args.out}: {each * 1000:.0f} ms per sample")


if __name__ == "__main__":
    sys.exit(main())
