"""Samples from annotated videos: a labelled frame and clips, with distractors and more objects pasted in."""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from model.data.annotated_sequences import VOID, AnnotatedSequence
from model.errors import InputError
from model.training.samples.appearance import Appearance
from model.training.samples.canvas import Canvas, Cutout, cut_out
from model.training.samples.frame_gaps import draw_times
from model.training.samples.motion import Deformation, Motion, phases, wave
from model.training.samples.nesting import nest_neighbour
from model.training.samples.sample_shape import LEAST_AREA, Sample, SampleShape
from model.training.samples.warp import warp

_INFERENCE_LINES = 480  # short side of the network's input
_SCALE_RANGE = (0.65, 1.35)  # of the scale at inference
_MOST_ENLARGED = 3.0  # times the scale at inference; beyond, it is all blur
_LARGEST_AREA = 0.97  # of the crop; beyond, there is no contour to follow
_NEAR = 0.2  # of the samples, in which an object fills much of the crop, however small it is in its video
COVERED = 0.25
"""Of the samples, in which something hides a piece of the first object at first."""
_COVERING = (0.5, 1.1)  # its size, of the object's
_FILLS = (0.3, 0.9)  # part of the crop that it fills then
_LEAST_NEAR = 64  # pixels that it has; fewer show nothing when they are enlarged
_ENTERING = 0.25  # of the pasted objects, which are outside of the crop at first
_LARGEST_PASTED = 0.35  # of its frame; beyond, it is scenery
_LARGEST_CUT = (
    0.35  # of its size: contact with the frame's border, which would be a straight contour where it is pasted
)


@dataclass(frozen=True, eq=False)
class _View:
    """Where a sample was cut from a sequence."""

    sequence: AnnotatedSequence
    times: np.ndarray
    motion: Motion
    ids: list[int]


class ClipSampler:
    """Draws samples from annotated sequences. Holds no state: a sample depends on the generator alone."""

    def __init__(
        self,
        sequences: list[AnnotatedSequence],
        shape: SampleShape,
        appearance: Appearance | None = None,
        foreign: Callable[[np.random.Generator], Cutout | None] | None = None,
    ):
        """Keeps the sequences that have two annotated frames or more.

        Args:
            sequences: to draw from. Those whose names differ in a number at their end only are of one kind, which is
                drawn as often as the square root of their number.
            shape: of each sample.
            appearance: how colours and sharpness change; None for the defaults.
            foreign: gives objects that are no part of any video, to be pasted in.

        Raises:
            InputError: no sequence has two annotated frames.
        """
        self._sequences = [s for s in sequences if len(s.annotated) > 1]
        self._shape, self._foreign = shape, foreign
        kinds = [s.name.rstrip("0123456789") for s in self._sequences]
        shares = np.array([kinds.count(kind) ** -0.5 for kind in kinds])
        self._shares = shares / max(shares.sum(), 1e-9)
        self._appearance = Appearance() if appearance is None else appearance
        if not self._sequences:
            raise InputError("no sequence has two annotated frames: add annotated videos")

    def draw(self, rng: np.random.Generator, max_gap: int, paste: float = 0.6) -> Sample | None:
        """One sample, or None where the drawn place shows no object well; then draw again.

        Args:
            rng: what is drawn from.
            max_gap: largest distance in front of a clip in frames.
            paste: how often objects are pasted in.
        """
        sequence = self._any_sequence(rng)
        times = draw_times(rng, sequence.annotated, self._shape, max_gap)
        phase = phases(times)
        view = self._look(rng, sequence, times, phase)
        if view is None:
            return None
        canvas = self._cut(view)
        if canvas is None:
            return None
        source = f"{sequence.name} {times[0]}-{times[-1]}"
        if rng.random() < paste:
            for _ in range(int(rng.choice([1, 1, 2]))):
                source += self._paste(rng, canvas, view, phase, max_gap)
        if self._foreign is not None and rng.random() < COVERED:
            source += cover_at_first(rng, canvas, phase, self._foreign(rng))
        if self._shape.nests(rng):
            nest_neighbour(rng, canvas.slots, canvas.inside)
        sample = canvas.sample(self._shape, source)
        if sample is not None:
            self._appearance.apply(rng, sample.frames, phase)
        return sample

    def _any_sequence(self, rng: np.random.Generator) -> AnnotatedSequence:
        return self._sequences[rng.choice(len(self._sequences), p=self._shares)]

    def _look(
        self, rng: np.random.Generator, sequence: AnnotatedSequence, times: np.ndarray, phase: np.ndarray
    ) -> _View | None:
        """A view of the sequence around one of its objects; it may follow it and drift."""
        first = sequence.label_maps[times[0]]
        height, width = first.shape
        counts = np.bincount(first.ravel(), minlength=256)
        counts[[0, VOID]] = 0
        ids = np.flatnonzero(counts)
        if len(ids) == 0:
            return None
        anchor = int(rng.choice(ids))
        natural = _INFERENCE_LINES / min(height, width)
        scale = natural * np.exp(rng.uniform(*np.log(_SCALE_RANGE)))
        size = self._shape.crop
        if rng.random() < _NEAR and counts[anchor] >= _LEAST_NEAR:
            fills = np.exp(rng.uniform(*np.log(_FILLS)))
            scale = float(np.clip(size * (fills / counts[anchor]) ** 0.5, scale, _MOST_ENLARGED * natural))
        scale = max(scale, size / min(height, width))
        inside = np.flatnonzero(first.ravel() == anchor)
        y, x = divmod(int(inside[rng.integers(len(inside))]), width)
        reach = 0.5 * size / scale
        centre = np.array([x, y]) + rng.uniform(-0.6, 0.6, 2) * reach
        centres = centre + self._followed(rng, sequence, times, anchor)
        moving = rng.random() < 0.5
        if moving:
            centres = centres + wave(rng, phase, 0.12 * reach, 2)
        # The whole view stays inside the source.
        centres = np.clip(centres, reach, np.array([width, height]) - reach)
        zoom = np.exp(wave(rng, phase, rng.choice([0.06, 0.35], p=[0.8, 0.2]))[:, 0]) if moving else np.ones(len(times))
        angles = wave(rng, phase, 0.05)[:, 0] if moving else np.zeros(len(times))
        others = [int(i) for i in rng.permutation(ids) if i != anchor]
        motion = Motion(
            centres, scale * np.maximum(zoom, size / min(height, width) / scale), angles, rng.random() < 0.5
        )
        return _View(sequence, times, motion, [anchor, *others])

    def _followed(
        self, rng: np.random.Generator, sequence: AnnotatedSequence, times: np.ndarray, anchor: int
    ) -> np.ndarray:
        """Shift of the view with the object, from not at all to always centred, float (T, 2) source pixels."""
        follow = rng.choice([0.0, rng.random(), 1.0], p=[0.25, 0.5, 0.25])
        if follow == 0:
            return np.zeros((len(times), 2))
        places: list[np.ndarray] = []
        for t in times:
            moments = cv2.moments((sequence.label_maps[t] == anchor).astype(np.uint8), binaryImage=True)
            found = moments["m00"] > 0
            place = np.array([moments["m10"], moments["m01"]]) / max(moments["m00"], 1)
            # While the object is hidden the view waits.
            places.append(place if found else places[-1])
        return follow * (np.stack(places) - places[0])

    def _cut(self, view: _View) -> Canvas | None:
        """The frames and objects of a view; None where it shows none well."""
        size, shape, times = self._shape.crop, self._shape, view.times
        first = self._warp_ids(view, 0, view.ids)
        least, largest = LEAST_AREA * size**2, _LARGEST_AREA * size**2
        counts = np.bincount(first.ravel(), minlength=len(view.ids) + 1)[1:]
        shown = [i for i, count in zip(view.ids, counts) if least <= count <= largest][: shape.objects]
        if not shown:
            return None
        frames = np.empty((len(times), size, size, 3), np.uint8)
        slots = np.empty((len(times), size, size), np.uint8)
        void = np.zeros(slots.shape, bool)
        for t, time in enumerate(times):
            (frames[t],) = warp([view.sequence.frames[time]], self._matrix(view, t), size)
            slots[t] = self._warp_ids(view, t, shown)
            unsure = view.sequence.label_maps[time] == VOID
            if unsure.any():
                (layer,) = warp([unsure.astype(np.uint8) * 255], self._matrix(view, t), size)
                void[t] = (layer > 0) & (slots[t] == 0)
        return Canvas(frames, slots, void)

    def _matrix(self, view: _View, t: int) -> np.ndarray:
        """From source to crop pixels; the view's centre goes to the middle of the crop."""
        middle = np.tile([self._shape.crop / 2, self._shape.crop / 2], (len(view.times), 1))
        motion = Motion(middle, view.motion.scales, view.motion.angles, view.motion.mirrored)
        return motion.matrix(t, tuple(view.motion.centres[t]))

    def _warp_ids(self, view: _View, t: int, ids: list[int]) -> np.ndarray:
        """Position + 1 in `ids` that each pixel of the crop shows, 0 for none, uint8 (S, S)."""
        label_map = view.sequence.label_maps[view.times[t]]
        matrix, size = self._matrix(view, t), self._shape.crop
        layers = warp([(label_map == i).astype(np.uint8) * 255 for i in ids], matrix, size)
        slots, best = np.zeros((size, size), np.uint8), np.full((size, size), 127, np.uint8)
        for k, layer in enumerate(layers, 1):
            # Smooth contours where nearest-neighbour sampling would leave steps.
            better = layer > best
            slots[better] = k
            best = np.maximum(best, layer)
        return slots

    def _paste(self, rng: np.random.Generator, canvas: Canvas, view: _View, phase: np.ndarray, max_gap: int) -> str:
        """Pastes an object of this sequence (a look-alike) or of another one; returns a word on it."""
        alike = rng.random() < 0.6
        free = int(canvas.slots.max()) + 1
        slot = free if free <= self._shape.objects and rng.random() < 0.55 else 0
        if alike:
            sequence, wanted = view.sequence, view.ids[0]
        else:
            sequence, wanted = self._any_sequence(rng), None
        same_time = alike and rng.random() < 0.3
        times = view.times if same_time else draw_times(rng, sequence.annotated, self._shape, max_gap)
        still = None if alike or self._foreign is None or rng.random() < 0.5 else self._foreign(rng)
        cutouts: list[Cutout | None] | None = [still] * len(times)
        if still is None:
            cutouts = _cutouts(rng, sequence, times, wanted)
        if cutouts is None:
            return ""
        lines = _INFERENCE_LINES if still is not None else min(sequence.label_maps[times[0]].shape)
        area = next(c.area for c in cutouts if c is not None)
        if alike:
            scale = view.motion.scales[0] * rng.uniform(0.75, 1.25)
        else:
            scale = _INFERENCE_LINES / lines * np.exp(rng.uniform(*np.log(_SCALE_RANGE)))
        size = self._shape.crop
        # Between a tenth and two thirds of the crop across.
        scale = float(np.clip(scale, 0.1 * size / area**0.5, 0.66 * size / area**0.5))
        mirrored = view.motion.mirrored != (alike and (same_time or rng.random() < 0.5))
        motion = crossing_motion(rng, canvas, phase, scale, mirrored)
        colour = self._appearance.random_matrix(rng, 0.5 if alike else 1.0) if rng.random() < 0.5 else None
        behind = rng.random() < 0.5
        # What does not move by itself is bent.
        bent = None if still is None else Deformation(rng, phase, rng.uniform(0.02, 0.1) * scale * area**0.5)
        canvas.paste(cutouts, motion, slot, behind=behind, deformation=bent, colour=colour)
        name = "look-alike" if alike else "a still" if still is not None else sequence.name
        return f" + {name}{' (distractor)' if slot == 0 else ''}"


def crossing_motion(
    rng: np.random.Generator, canvas: Canvas, phase: np.ndarray, scale: float, mirrored: bool
) -> Motion:
    """A path for a pasted object: half pass over the first object's place, the others wander.

    Some come back to where they were, and some enter from outside.
    """
    size = canvas.frames.shape[1]
    start = rng.uniform(0.1, 0.9, 2) * size
    if rng.random() < _ENTERING:
        start = size / 2 + (start - size / 2) * 0.8 * size / max(1.0, float(np.linalg.norm(start - size / 2)))
    moments = cv2.moments((canvas.slots[0] == 1).astype(np.uint8), binaryImage=True)
    if rng.random() < 0.5 and moments["m00"] > 0:
        target = np.array([moments["m10"], moments["m01"]]) / moments["m00"]
        end = start + (target - start) * rng.uniform(1, 2.2)
    else:
        end = start + rng.normal(0, 0.25, 2) * size
    way = phase[:, None]
    if rng.random() < 0.2:
        # There and back again, far enough to leave the crop in between.
        way, end = np.sin(np.pi * np.clip(way / max(phase.max(), 1e-6), 0, 1)), start + 2 * (end - start)
    centres = start + (end - start) * way + wave(rng, phase, 0.03 * size, 2)
    scales = scale * np.exp(wave(rng, phase, 0.08)[:, 0])
    return Motion(centres, scales, rng.normal(0, 0.1) + wave(rng, phase, 0.12)[:, 0], mirrored)


def cover_at_first(rng: np.random.Generator, canvas: Canvas, phase: np.ndarray, cutout: Cutout | None) -> str:
    """Lays something over a piece of the first object that moves away; returns a word on it."""
    area = np.count_nonzero(canvas.slots[0] == 1)
    if cutout is None or area == 0:
        return ""
    scale = float(area**0.5 * np.exp(rng.uniform(*np.log(_COVERING))) / max(cutout.patch.shape[:2]))
    motion = _uncovering_motion(rng, canvas, phase, scale)
    canvas.paste([cutout] * len(phase), motion, 0, deformation=Deformation(rng, phase, 0.05 * area**0.5))
    return " + a cover"


def _uncovering_motion(rng: np.random.Generator, canvas: Canvas, phase: np.ndarray, scale: float) -> Motion:
    """A path away from a piece of the first object, which is hidden at first.

    So a network learns that what comes to light belongs to what it knows.
    """
    inside = np.argwhere(canvas.slots[0] == 1)
    start, angle = inside[rng.integers(len(inside))][::-1].astype(float), rng.uniform(0, 2 * np.pi)
    way = rng.uniform(0.5, 1.2) * canvas.frames.shape[1] * np.array([np.cos(angle), np.sin(angle)])
    scales = scale * np.exp(wave(rng, phase, 0.08)[:, 0])
    return Motion(start + way * phase[:, None], scales, wave(rng, phase, 0.12)[:, 0], rng.random() < 0.5)


def _cutouts(
    rng: np.random.Generator, sequence: AnnotatedSequence, times: np.ndarray, wanted: int | None
) -> list[Cutout | None] | None:
    """An object of the sequence at the times; None where the first frame does not have it or it is scenery."""
    label_map = sequence.label_maps[times[0]]
    counts = np.bincount(label_map.ravel(), minlength=256)
    counts[[0, VOID]] = 0
    fit = np.flatnonzero((counts > LEAST_AREA * label_map.size) & (counts < _LARGEST_PASTED * label_map.size))
    if len(fit) == 0 or (wanted is not None and wanted not in fit):
        return None
    chosen = int(rng.choice(fit)) if wanted is None else wanted
    masks = [(sequence.label_maps[t] == chosen).astype(np.uint8) for t in times]
    first = masks[0]
    border = np.count_nonzero(first[[0, -1]]) + np.count_nonzero(first[:, [0, -1]])
    if border > _LARGEST_CUT * np.count_nonzero(first) ** 0.5:
        return None
    return [cut_out(sequence.frames[t], mask) for t, mask in zip(times, masks)]
