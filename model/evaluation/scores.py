"""Scores of an evaluation: per frame, per object, per sequence, over all."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from model.evaluation.metrics import decay, recall


@dataclass(frozen=True)
class FrameScore:
    """How well one object was segmented in one frame.

    Attributes:
        sequence: name.
        object: id, 1..254.
        frame: number in the sequence, 0-based.
        j: region similarity, 0..1.
        f: contour accuracy, 0..1.
        confidence: what the propagator itself said, 0..1; 0 where no pass has reached the object.
    """

    sequence: str
    object: int
    frame: int
    j: float
    f: float
    confidence: float


@dataclass(frozen=True)
class Measures:
    """Means over frames, objects or sequences.

    Attributes:
        j: region similarity, 0..1.
        f: contour accuracy, 0..1.
        j_recall: share of frames with a J above 0.5, 0..1.
        f_recall: the same of F.
        j_decay: loss of J from the first quarter of the frames to the last, -1..1.
        f_decay: the same of F.
    """

    j: float
    f: float
    j_recall: float
    f_recall: float
    j_decay: float
    f_decay: float

    @property
    def jf(self) -> float:
        """J&F, the mean of J and F, 0..1."""
        return (self.j + self.f) / 2

    def to_dict(self) -> dict[str, float]:
        """Under the names that papers use: J, F, J&F, and recall and decay, which are those of J, F recall, F decay."""
        return {
            "J": self.j,
            "F": self.f,
            "J&F": self.jf,
            "recall": self.j_recall,
            "decay": self.j_decay,
            "F recall": self.f_recall,
            "F decay": self.f_decay,
        }

    @classmethod
    def of(cls, scores: Sequence[FrameScore]) -> "Measures":
        """Those of one object from all its scored frames, ascending and at least one."""
        j, f = [s.j for s in scores], [s.f for s in scores]
        return cls(float(np.mean(j)), float(np.mean(f)), recall(j), recall(f), decay(j), decay(f))

    @classmethod
    def mean(cls, measures: Sequence["Measures"]) -> "Measures":
        """The mean of at least one."""
        return cls(*(float(np.mean([getattr(m, name) for m in measures])) for name in cls.__dataclass_fields__))


@dataclass(frozen=True)
class SequenceScore:
    """What came of one sequence.

    Attributes:
        name: of the sequence.
        scores: every scored object in every scored frame, ascending by frame and then object; never empty.
        frames: frames propagated, scored or not.
        seconds: time of the propagation with the decoding of its frames; scoring is not in it. On a GPU it holds the
            start-up of the device when the sequence is the first.
        decoding_seconds: the part of it that decoded frames.
    """

    name: str
    scores: tuple[FrameScore, ...]
    frames: int
    seconds: float
    decoding_seconds: float

    @cached_property
    def objects(self) -> dict[int, Measures]:
        """The measures of each object that has a scored frame, ascending by id."""
        of: dict[int, list[FrameScore]] = {}
        for score in self.scores:
            of.setdefault(score.object, []).append(score)
        return {obj: Measures.of(of[obj]) for obj in sorted(of)}

    @cached_property
    def mean(self) -> Measures:
        """The mean over the objects."""
        return Measures.mean(list(self.objects.values()))

    @property
    def fps(self) -> float:
        """Frames per second, decoding included."""
        return self.frames / self.seconds

    @property
    def fps_without_decoding(self) -> float:
        """Frames per second as if the frames were decoded already."""
        return self.frames / (self.seconds - self.decoding_seconds)

    def to_dict(self) -> dict[str, Any]:
        """For JSON: the measures, the speed, and the measures of each object with the number of its scored frames."""
        counts = Counter(s.object for s in self.scores)
        return {
            **self.mean.to_dict(),
            "frames": self.frames,
            "fps": self.fps,
            "fps without decoding": self.fps_without_decoding,
            "objects": {str(o): {**m.to_dict(), "scored frames": counts[o]} for o, m in self.objects.items()},
        }


@dataclass(frozen=True)
class Evaluation:
    """What came of all sequences.

    Attributes:
        sequences: at least one, in the order they were run.
    """

    sequences: tuple[SequenceScore, ...]

    @cached_property
    def mean(self) -> Measures:
        """The headline: the mean over the sequences of their means, so that every video weighs the same."""
        return Measures.mean([s.mean for s in self.sequences])

    @cached_property
    def object_mean(self) -> Measures:
        """The mean over all objects of all sequences, which the official tool of DAVIS 2017 prints."""
        return Measures.mean([m for s in self.sequences for m in s.objects.values()])

    @property
    def scores(self) -> Iterator[FrameScore]:
        """Every scored object in every scored frame of every sequence."""
        return (score for s in self.sequences for score in s.scores)

    @property
    def fps(self) -> float:
        """Frames per second over all sequences, decoding included."""
        return sum(s.frames for s in self.sequences) / sum(s.seconds for s in self.sequences)

    @property
    def fps_without_decoding(self) -> float:
        """Frames per second over all sequences as if the frames were decoded already."""
        seconds = sum(s.seconds - s.decoding_seconds for s in self.sequences)
        return sum(s.frames for s in self.sequences) / seconds

    def to_dict(self) -> dict[str, Any]:
        """For JSON: the headline, `objects` for the mean over all objects, the speed, and `sequences` by name."""
        objects = sum(len(s.objects) for s in self.sequences)
        return {
            **self.mean.to_dict(),
            "objects": {**self.object_mean.to_dict(), "count": objects},
            "frames": sum(s.frames for s in self.sequences),
            "fps": self.fps,
            "fps without decoding": self.fps_without_decoding,
            "sequences": {s.name: s.to_dict() for s in self.sequences},
        }
