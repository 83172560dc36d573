"""What the engine finds out about masks whose truth is known: to fit a confidence to, and to judge it by."""

import csv
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from tqdm import tqdm

from benchmarks.failing_runs import KINDS, Clip, Run, failing_runs, lookalikes, normal_run, two_keyframes
from benchmarks.rendered_scenes import rendered_runs
from model.confidence.cues import Cues, Evidence
from model.data.annotated_sequences import AnnotatedSequence
from model.errors import InputError
from model.evaluation.semi_supervised import Task, score_frame
from model.propagation.propagator import Propagator

_TRAINING_FRAMES, _TRAINING_STEPS = 20, (2, 3, 4)  # every second, third or fourth frame: harder, and less alike
_FAILING_FRAMES, _FAILING_STEP = 24, 3
_RENDERED, _RENDERED_SEED = 8, 1000  # of each kind; other seeds than those that are judged
_HEADER = ("kind", "run", "object", "frame", "J", "overlap", "agreed", "evidence")


@dataclass(frozen=True)
class Sample:
    """One predicted mask.

    Attributes:
        kind: of the run, see `Run`.
        run: its name.
        object: id.
        frame: number in the run.
        j: true region similarity, 0..1.
        cues: what the engine found out.
    """

    kind: str
    run: str
    object: int
    frame: int
    j: float
    cues: Cues

    @property
    def fails(self) -> bool:
        """True in runs that fail on purpose."""
        return self.kind in KINDS


def training_runs(sequences: Sequence[AnnotatedSequence]) -> Iterator[Run]:
    """Normal, failing and crowded runs of every second sequence that can be used, and rendered ones.

    Real sequences have next to no empty masks: what these are worth is learned from the rendered ones.
    """
    sequences = usable(sequences)[::2]
    for number, sequence in enumerate(sequences):
        clip = Clip.of(sequence, _TRAINING_STEPS[number % 3], _TRAINING_FRAMES)
        other = Clip.of(sequences[(number + 5) % len(sequences)], 2, _TRAINING_FRAMES)
        yield normal_run(Task(clip.sequence))
        yield two_keyframes(clip) if number % 2 else lookalikes(clip, other, number)
        yield from failing_runs(clip, other, number)
    yield from rendered_runs(_RENDERED, _RENDERED_SEED)


def validation_runs(sequences: Sequence[AnnotatedSequence]) -> Iterator[Run]:
    """All sequences as they are, then failing runs of those that can be used."""
    yield from (normal_run(Task(s)) for s in sequences)
    sequences = usable(sequences)
    for number, sequence in enumerate(sequences):
        clip = Clip.of(sequence, _FAILING_STEP if len(sequence.frames) > 40 else 1, _FAILING_FRAMES)
        other = Clip.of(sequences[(number + 2) % len(sequences)], 2, _FAILING_FRAMES)
        yield from failing_runs(clip, other, number)


def usable(sequences: Sequence[AnnotatedSequence]) -> list[AnnotatedSequence]:
    """Those annotated on every frame with one object against background, which runs can be made of.

    Raises:
        InputError: there are fewer than two.
    """
    chosen = []
    for sequence in sequences:
        first = sequence.label_maps[0]
        if len(sequence.annotated) == len(sequence.frames) > 12 and first is not None and first.max() == 1:
            chosen.append(sequence)
    if len(chosen) < 2:
        raise InputError("runs that fail on purpose need two sequences with one object annotated on every frame")
    return chosen


def collect(propagator: Propagator, runs: Iterable[Run], title: str) -> list[Sample]:
    """Propagates all runs in both directions and scores every predicted mask; a keyframe's own masks are none."""
    samples = []
    for run in (bar := tqdm(runs, unit="run")):
        bar.set_description(f"{title}: {run.sequence.name}")
        for result in propagator.run(run.sequence.frames, run.keyframes, direction=run.direction):
            asked = [o for o in run.scored.get(result.index, ()) if o in result.cues]
            samples += [
                Sample(run.kind, run.sequence.name, s.object, s.frame, s.j, result.cues[s.object])
                for s in score_frame(run.sequence, result, asked)
            ]
    return samples


def digest(network: torch.nn.Module) -> str:
    """The first 12 digits of the SHA-256 of a network's weights, whatever its calibration."""
    sha = hashlib.sha256()
    for tensor in network.state_dict().values():
        sha.update(tensor.contiguous().numpy().tobytes())
    return sha.hexdigest()[:12]


def write_samples(samples: Sequence[Sample], path: Path) -> None:
    """Keeps samples as CSV, in full precision."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(_HEADER)
        for s in samples:
            evidence = [repr(x) for e in s.cues.passes for x in e]
            rows.writerow((s.kind, s.run, s.object, s.frame, s.j, s.cues.overlap, s.cues.agreed, *evidence))


def read_samples(path: Path) -> list[Sample]:
    """The samples that `write_samples` kept."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.reader(file)
        next(rows)
        return [_sample(row) for row in rows]


def _sample(row: list[str]) -> Sample:
    j, overlap, agreed, *evidence = (float(x) for x in row[4:])
    n = len(Evidence._fields)
    passes = tuple(Evidence(*evidence[i : i + n]) for i in range(0, len(evidence), n))
    return Sample(row[0], row[1], int(row[2]), int(row[3]), j, Cues(overlap, passes, agreed))
