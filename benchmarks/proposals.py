"""How many objects become of a detector's proposals: all of them kept, or of those for one object on a frame the best.

The proposals are true masks, spoiled as detectors do: some are missed, some found twice, some show nothing, and each
has a score that says a little of how good it is. They are joined as `perclip cvat propagate --propose detector` does.
Sequences of several objects are taken as they are; those of one stand beside their own mirror image, six frames later.
"""

import argparse
import sys
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import NamedTuple

import cv2
import numpy as np

from benchmarks.measured import Weights, add_measured_arguments, options_of, sequences_of
from model.data.annotated_sequences import AnnotatedSequence
from model.evaluation.metrics import region_similarity
from model.keyframe import Keyframe
from model.object_masks import ObjectMasks
from model.program.command_line import Parser, run_program
from model.propose_reduce.keyframes import keyframe_places
from model.propose_reduce.links import Mask
from model.propose_reduce.mask_identity import Propagates, reduce
from model.propose_reduce.reduction import reduce_sequences, sequence_ious
from model.result import FrameResult
from plugin.cvat.engine.engine import LocalEngine
from plugin.cvat.planning.comparison import chosen_places

_KEYFRAMES = 5
_LATER = 6  # frames that the mirror image is behind
_MISSED, _TWICE, _NOTHING = 0.15, 0.25, 0.4  # probabilities: of an object, of an object, of a keyframe
_JITTER, _WORSE_JITTER = 0.07, 0.5  # of a box, in parts of its sides
_LEAST = 20  # pixels
_COLUMNS = ("objects", "split", "of two objects", "of nothing", "keyframes", "their J")


class Proposal(NamedTuple):
    """What a detector found.

    Attributes:
        mask: bool (H, W).
        score: 0..1.
        truth: the object that it shows; 0: none.
        j: of the mask.
    """

    mask: np.ndarray
    score: float
    truth: int
    j: float


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; gives the exit code."""
    parser = Parser(
        prog="python -m benchmarks.proposals",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_measured_arguments(parser)
    parser.add_argument("--seeds", type=int, default=2, metavar="N", help="detectors per sequence (default 2)")
    parser.set_defaults(frames=60, short_side=240)
    return run_program(parser, run, argv)


def run(arguments: argparse.Namespace) -> None:
    """Measure as the arguments say; raises PerclipError."""
    weights = Weights.find(arguments.weights)
    engine = LocalEngine(weights.network, arguments.weights, options_of(arguments))
    lines = [f"| sequence | proposals | {' | '.join(_COLUMNS)} |", "|" + "---|" * (len(_COLUMNS) + 2)]
    for sequence in sequences_of(arguments):
        frames, truth = _scene(sequence, arguments.short_side)
        sums: dict[str, np.ndarray] = defaultdict(lambda: np.zeros(len(_COLUMNS)))
        for seed in range(arguments.seeds):
            for name, counts in _compared(engine, frames, truth, seed).items():
                sums[name] += counts
        for name, counts in sums.items():
            cells = [f"{count:.0f}" for count in counts[:-1]] + [f"{counts[-1] / max(1, counts[-2]):.3f}"]
            lines.append(f"| {sequence.name} | {name} | {' | '.join(cells)} |")
            print(lines[-1], file=sys.stderr, flush=True)
    text = "\n".join([*lines, "", f"Sums over {arguments.seeds} detectors. Weights: {weights.digest}."]) + "\n"
    print(text)


def _scene(sequence: AnnotatedSequence, side: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Frames and label maps of at least two objects, the shorter side of `side` pixels."""
    frames, truth = [], []
    for frame, label_map in zip(sequence.frames, sequence.label_maps):
        assert label_map is not None
        size = round(frame.shape[1] * side / frame.shape[0]), side
        frames.append(cv2.resize(frame, size, interpolation=cv2.INTER_AREA))
        truth.append(cv2.resize(label_map, size, interpolation=cv2.INTER_NEAREST))
    if truth[0].max() > 1:
        return frames, truth
    later = [min(i + _LATER, len(frames) - 1) for i in range(len(frames))]
    return (
        [np.hstack([frame, frames[i][:, ::-1]]) for frame, i in zip(frames, later)],
        [np.hstack([one, 2 * truth[i][:, ::-1]]) for one, i in zip(truth, later)],
    )


def _compared(
    propagator: Propagates, frames: Sequence[np.ndarray], truth: Sequence[np.ndarray], seed: int
) -> dict[str, np.ndarray]:
    """The counts of `_COLUMNS` (J as a sum) by rule, for what one detector finds."""
    random = np.random.default_rng(seed)
    at = keyframe_places(len(frames), _KEYFRAMES)
    places = chosen_places(at)
    found: dict[Mask, Proposal] = {}
    keyframes = []
    for place in at:
        here = _best(list(_proposals(truth[place], random)))
        if here:
            masks = ObjectMasks.of({i: p.mask for i, p in enumerate(here, 1)})
            keyframes.append(Keyframe(places.index(place), masks))
            found |= {(keyframes[-1].index, i): p for i, p in enumerate(here, 1)}
    rules: dict[str, dict[Mask, float]] = {
        "all kept": {},
        "the best of each object": {mask: p.score for mask, p in found.items()},
        "the best, the detector gives no scores": dict.fromkeys(found, 1.0),
    }
    once, some = _Once(propagator), [frames[place] for place in places]
    return {
        name: _counts(reduce(once, some, keyframes, detected=detected).objects, found)
        for name, detected in rules.items()
    }


def _counts(objects: Mapping[Mask, int], found: Mapping[Mask, Proposal]) -> np.ndarray:
    """The counts of `_COLUMNS`, with the sum of J in place of the mean."""
    shown: dict[int, list[int]] = defaultdict(list)
    for mask, obj in objects.items():
        shown[obj].append(found[mask].truth)
    mostly = {obj: Counter(truths).most_common(1)[0][0] for obj, truths in shown.items()}
    real = [truth for truth in mostly.values() if truth]
    mixed = sum(truth != mostly[obj] for obj, truths in shown.items() for truth in truths)
    used = [found[mask].j for mask in objects if found[mask].truth]
    nothing = len(mostly) - len(real)
    return np.array([len(shown), len(real) - len(set(real)), mixed, nothing, len(used), sum(used)], float)


def _proposals(label_map: np.ndarray, random: np.random.Generator) -> Iterator[Proposal]:
    """What a detector finds on a frame."""
    height, width = label_map.shape

    def proposal(mask: np.ndarray, truth: int, least: float, most: float) -> Proposal:
        j = region_similarity(mask, label_map == truth) if truth else 0.0
        return Proposal(mask, random.uniform(least, most), truth, j)

    found = []
    for obj in map(int, np.unique(label_map[label_map > 0])):
        mask = label_map == obj
        if random.random() >= _MISSED:
            found.append(proposal(_spoiled(mask, random, _JITTER), obj, 0.55, 0.98))
        if random.random() < _TWICE:
            found.append(proposal(_spoiled(mask, random, _WORSE_JITTER), obj, 0.25, 0.8))
    if random.random() < _NOTHING:
        blob = np.zeros(label_map.shape, np.uint8)
        middle = int(random.integers(0, width)), int(random.integers(0, height))
        axes = int(random.integers(8, max(9, width // 10))), int(random.integers(8, max(9, height // 6)))
        found.append(proposal(cv2.ellipse(blob, middle, axes, 0, 0, 360, 1, -1) > 0, 0, 0.2, 0.6))
    yield from (p for p in found if np.count_nonzero(p.mask) >= _LEAST)


def _spoiled(mask: np.ndarray, random: np.random.Generator, amount: float) -> np.ndarray:
    """A mask cut by a box that is not quite its own, and a little shifted; `amount` in parts of the box's sides."""
    rows, columns = np.where(mask)
    top, left = rows.min(), columns.min()
    height, width = rows.max() + 1 - top, columns.max() + 1 - left
    moved = random.uniform(-amount, amount, 4) * (height, height, width, width)
    first, last = max(0, int(top + moved[0])), int(top + height + moved[1])
    begin, end = max(0, int(left + moved[2])), int(left + width + moved[3])
    cut = np.zeros(mask.shape, np.uint8)
    cut[first:last, begin:end] = mask[first:last, begin:end]
    down, right = (random.uniform(-amount, amount, 2) * (height, width) * 0.4).round()
    shift = np.array([[1, 0, right], [0, 1, down]], np.float32)
    return cv2.warpAffine(cut, shift, (mask.shape[1], mask.shape[0])) > 0


def _best(proposals: Sequence[Proposal]) -> list[Proposal]:
    """Without those that overlap a surer one of their frame, as the planner takes them."""
    if not proposals:
        return []
    ious = sequence_ious(np.stack([p.mask for p in proposals])[:, None])
    return [proposals[i] for i in sorted(reduce_sequences(ious, [p.score for p in proposals]))]


class _Once:
    """A propagator that does nothing twice."""

    def __init__(self, propagator: Propagates):
        self._propagator = propagator
        self._done: dict[Hashable, list[FrameResult]] = {}

    def run(
        self,
        frames: Sequence[np.ndarray],
        keyframes: Sequence[Keyframe],
        start: int = 0,
        stop: int | None = None,
        direction: str = "both",
        labels: Mapping[int, Hashable] | None = None,
    ) -> Iterator[FrameResult]:
        """As the propagator's."""
        masks = tuple((k.index, i, mask.tobytes()) for k in keyframes for i, mask in k.masks.items())
        key = (masks, start, stop, direction)
        if key not in self._done:
            self._done[key] = list(self._propagator.run(frames, keyframes, start, stop, direction, labels=labels))
        yield from self._done[key]


if __name__ == "__main__":
    sys.exit(main())
