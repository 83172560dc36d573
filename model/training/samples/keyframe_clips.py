"""Samples from the keyframes of one video: its own objects, moved over its own ground as a camera would see it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from model.data.annotated_sequences import AnnotatedSequence
from model.object_masks import ObjectMasks
from model.training.samples.appearance import Appearance
from model.training.samples.canvas import Canvas, Cutout, cut_out
from model.training.samples.filled_ground import filled_ground
from model.training.samples.frame_gaps import draw_times
from model.training.samples.motion import Deformation, Motion, phases, wave
from model.training.samples.sample_shape import LEAST_AREA, Sample, SampleShape
from model.training.samples.video_samples import ClipSampler, cover_at_first, crossing_motion
from model.training.samples.warp import warp

_APPEARANCE = Appearance(colour=0.15, hue=0.08, grey=0.0, compression=0.1)  # of one video, which has its own light
_PSEUDO_LENGTH = 10_000  # frames of the time that keyframes are moved through
_SCALE_RANGE = (0.7, 1.35)  # of the scale at inference
_MOST_ENLARGED = 3.0  # times the scale at inference
_NEAR = 0.2  # of the samples, in which an object fills much of the crop
_FILLS = (0.2, 0.7)  # part of the crop that it fills then
_PACES = (0.08, 0.25, 0.6)  # of an object through its ground, in halves of the view
_TOGETHER = 0.5  # of the further objects, which go with the first
_MOVED = 0.5  # of the samples, in which what is not asked for moves by itself too
_TURNED = 0.4  # of the objects, which turn away from the camera and back
_OTHER_SIGHT = 0.5  # of the objects that another keyframe shows too, which come to look as there
_TWINS = 0.3  # of the samples, in which the first object comes again as one that nobody asks for
_COVERED = 0.3  # in which a piece of the first object is hidden at first
_PASSING = 0.3  # in which something passes
_PAIRS = 0.4  # where two keyframes show an object
_MOST_PAIRS = 24
_TOUCHING = 0.05  # of the smaller of two objects; where they share more, one is a part of the other
_LEAST_AREA = 64  # pixels of an object; fewer show nothing when they are enlarged


@dataclass(frozen=True, eq=False)
class AnnotatedFrame:
    """A frame with masks.

    Attributes:
        image: uint8 (H, W, 3).
        masks: of the objects, which may share pixels.
        objects: ids that it speaks for; those without pixels are absent.
    """

    image: np.ndarray
    masks: ObjectMasks
    objects: tuple[int, ...]


class _Scene:
    """A keyframe taken apart: ground without objects, and the objects."""

    def __init__(self, frame: AnnotatedFrame):
        self.image, self.masks = frame.image, frame.masks
        self.areas = {o: area for o, area in frame.masks.areas.items() if area >= _LEAST_AREA}
        shown = np.zeros(frame.masks.shape, bool)
        for obj in frame.masks.objects:
            shown |= frame.masks.mask(obj)
        self.ground = filled_ground(frame.image, shown)
        self._shared = frame.masks.shared()

    def apart(self, obj: int, others: Sequence[int]) -> bool:
        """Whether an object has hardly a pixel in common with others."""
        for other in others:
            shared = self._shared.get((min(obj, other), max(obj, other)), 0)
            if shared > _TOUCHING * min(self.masks.areas[obj], self.masks.areas[other]):
                return False
        return True


@dataclass(frozen=True, eq=False)
class _Layer:
    """An object that moves: what it looks like, where it is in the keyframe (x, y), and its slot."""

    obj: int
    cutout: Cutout
    place: np.ndarray
    slot: int


class KeyframeClips:
    """Draws samples from the keyframes of one video. Holds no state: a sample depends on the generator alone.

    In most samples a keyframe is taken apart. Its ground, filled in behind the objects, is seen by a camera that
    travels, follows the first object or stands, with the near part of the ground moving more than the far one. The
    objects go their own ways, bend, turn, come nearer, pass each other, and look as another keyframe shows them. What
    looks like them and is not asked for stays in the picture. The first frame of a sample has everything in its place.
    Where two keyframes show an object, other samples are these frames as they are, one labelled, the other asked for.

    Args:
        frames: the keyframes, of one size; of large ones a smaller copy is kept.
        shape: of each sample.
        lines: shorter side of the network's input at inference, in pixels; None: the frames' own.
        appearance: how colours and sharpness change; None: little, as within one video.
    """

    def __init__(
        self,
        frames: Iterable[AnnotatedFrame],
        shape: SampleShape,
        lines: int | None,
        appearance: Appearance | None = None,
    ):
        self._shape, self._appearance = shape, _APPEARANCE if appearance is None else appearance
        self._lines = lines
        kept = [frame if lines is None else reduced(frame, kept_lines(lines)) for frame in frames]
        scenes = [_Scene(frame) for frame in kept]
        self._scenes = [scene for scene in scenes if scene.areas]
        pairs = _pairs(kept)
        self._pairs = ClipSampler(pairs, shape, self._appearance) if pairs else None

    @property
    def empty(self) -> bool:
        """Whether no keyframe shows an object that is large enough to learn from."""
        return not self._scenes

    def draw(self, rng: np.random.Generator, max_gap: int) -> Sample | None:
        """One sample, or None where no object is seen well in its first frame; then draw again.

        Args:
            rng: what is drawn from.
            max_gap: largest distance in front of a clip in frames; motion grows with the time that passes.
        """
        if self._pairs is not None and rng.random() < _PAIRS:
            return self._pairs.draw(rng, max_gap, paste=0.3)
        phase = phases(draw_times(rng, range(_PSEUDO_LENGTH), self._shape, max_gap))
        scene = self._scenes[rng.integers(len(self._scenes))]
        canvas = self._staged(rng, phase, scene)
        if rng.random() < _TWINS:
            self._paste(rng, phase, canvas, self._twin(rng, scene), alike=True)
        if rng.random() < _COVERED:
            cover_at_first(rng, canvas, phase, self._piece(rng))
        if rng.random() < _PASSING:
            self._paste(rng, phase, canvas, self._piece(rng), alike=False)
        sample = canvas.sample(self._shape, "keyframe")
        if sample is not None:
            self._appearance.apply(rng, sample.frames, phase)
        return sample

    def _staged(self, rng: np.random.Generator, phase: np.ndarray, scene: _Scene) -> Canvas:
        """The ground with the scene's objects on it, seen by the camera."""
        ids = list(scene.areas)
        weights = np.sqrt([scene.areas[o] for o in ids])
        first = int(rng.choice(ids, p=weights / weights.sum()))
        chosen = [first]
        for obj in rng.permutation([o for o in ids if o != first]).tolist():
            if len(chosen) < self._shape.objects and scene.apart(obj, chosen):
                chosen.append(obj)
        chosen = chosen[: rng.integers(1, len(chosen) + 1)]
        moved = [o for o in scene.masks.objects if o not in chosen and scene.apart(o, chosen)]
        if rng.random() >= _MOVED:
            moved = []
        ground = self._ground_with(scene, [*chosen, *moved])
        layers = [
            self._layer(rng, scene, obj, chosen.index(obj) + 1 if obj in chosen else 0)
            for obj in scene.masks.order
            if obj in chosen or obj in moved
        ]
        return self._filmed(rng, phase, scene, ground, [layer for layer in layers if layer is not None], first)

    def _ground_with(self, scene: _Scene, without: Sequence[int]) -> np.ndarray:
        """The ground with all objects in it but some."""
        ground = scene.ground
        gone = np.zeros(scene.masks.shape, bool)
        for obj in without:
            gone |= scene.masks.mask(obj)
        stay = np.zeros_like(gone)
        for obj in scene.masks.objects:
            if obj not in without:
                stay |= scene.masks.mask(obj)
        stay &= ~gone
        return np.where(stay[..., None], scene.image, ground) if stay.any() else ground

    def _layer(self, rng: np.random.Generator, scene: _Scene, obj: int, slot: int) -> _Layer | None:
        mask = scene.masks.mask(obj).view(np.uint8)
        cutout = cut_out(scene.image, mask)
        if cutout is None:
            return None
        left, top, width, height = cv2.boundingRect(mask)
        return _Layer(obj, cutout, np.array([left + (width - 1) / 2, top + (height - 1) / 2]), slot)

    def _filmed(
        self,
        rng: np.random.Generator,
        phase: np.ndarray,
        scene: _Scene,
        ground: np.ndarray,
        layers: Sequence[_Layer],
        first: int,
    ) -> Canvas:
        size, (height, width) = self._shape.crop, ground.shape[:2]
        scale = self._scale(rng, scene, first)
        reach = 0.5 * size / scale  # half of the view in pixels of the keyframe
        inside = np.argwhere(scene.masks.mask(first))
        around = inside[rng.integers(len(inside))][::-1] + rng.uniform(-0.6, 0.6, 2) * reach
        # All ways are in pixels of the keyframe, and 0 in the first frame.
        ways = {first: wave(rng, phase, rng.choice(_PACES) * reach, 2)}
        for layer in layers:
            own = wave(rng, phase, rng.choice(_PACES) * reach, 2)
            ways.setdefault(layer.obj, ways[first] if rng.random() < _TOGETHER else own)
        camera = np.zeros((len(phase), 2))
        if rng.random() < 0.7:
            camera = wave(rng, phase, rng.choice([0.05, 0.15, 0.4]) * reach, 2)
        follow = rng.choice([0.0, rng.random(), 1.0])
        centres = around + camera + follow * ways[first]
        limits = np.minimum(reach, np.array([width, height]) / 2)
        start = np.clip(centres[0], limits, np.array([width, height]) - limits)
        # Beyond its border the ground is mirrored: better than a camera that stops there.
        centres = centres - centres[0] + start
        travelled = (centres - start) * scale
        zoom = np.exp(wave(rng, phase, rng.choice([0.04, 0.12, 0.4], p=[0.5, 0.35, 0.15]))[:, 0])
        view = Motion(
            np.full((len(phase), 2), size / 2), scale * zoom, wave(rng, phase, 0.05)[:, 0], rng.random() < 0.5
        )
        sign = np.array([-1.0 if view.mirrored else 1.0, 1.0])
        parallax = travelled * sign * (rng.uniform(0, 0.4) if rng.random() < 0.5 else 0.0)
        still = Deformation(rng, phase, rng.uniform(0.0, 0.015) * size, parallax)
        frames = np.empty((len(phase), size, size, 3), np.uint8)
        for t in range(len(phase)):
            (frames[t],) = warp([ground], view.matrix(t, tuple(centres[t])), size, (still, t))
        canvas = Canvas(frames, np.zeros((len(phase), size, size), np.uint8))
        for layer in layers:
            places = layer.place + ways[layer.obj]
            seen = np.stack([view.matrix(t, tuple(centres[t])) @ (*places[t], 1) for t in range(len(phase))])
            # What is near moves more than the ground does when the camera travels.
            seen -= travelled * sign * (rng.uniform(0, 0.3) if rng.random() < 0.5 else 0.0)
            seen += np.stack([_at(still, t, seen[t], size) for t in range(len(phase))])
            across = scale * layer.cutout.area**0.5
            turned = np.exp(-np.abs(wave(rng, phase, 0.4)[:, 0])) if rng.random() < _TURNED else None
            motion = Motion(
                seen,
                view.scales * np.exp(wave(rng, phase, 0.1)[:, 0]),
                view.angles + wave(rng, phase, rng.choice([0.05, 0.3]))[:, 0],
                view.mirrored,
                turned,
            )
            bending = Deformation(rng, phase, rng.uniform(0.01, 0.06) * across)
            canvas.paste(self._sights(rng, layer, len(phase)), motion, layer.slot, deformation=bending)
        return canvas

    def _scale(self, rng: np.random.Generator, scene: _Scene, first: int) -> float:
        """Crop pixels per pixel of the keyframe: about as at inference, more for what is small."""
        size, sides = self._shape.crop, min(scene.masks.shape)
        natural = 1.0 if self._lines is None else self._lines / sides
        scale = natural * np.exp(rng.uniform(*np.log(_SCALE_RANGE)))
        fills = np.exp(rng.uniform(*np.log(_FILLS))) if rng.random() < _NEAR else 2 * LEAST_AREA
        wanted = size * (fills / scene.areas[first]) ** 0.5
        return max(float(np.clip(wanted, scale, _MOST_ENLARGED * natural)), size / sides)

    def _sights(self, rng: np.random.Generator, layer: _Layer, length: int) -> list[Cutout | None]:
        """What an object looks like in each frame: as in its keyframe, at times from some frame on as in another."""
        sights: list[Cutout | None] = [layer.cutout] * length
        others = [s for s in self._scenes if layer.obj in s.areas]
        if len(others) > 1 and rng.random() < _OTHER_SIGHT:
            other = others[rng.integers(len(others))]
            seen = cut_out(other.image, other.masks.mask(layer.obj).view(np.uint8))
            since = int(rng.integers(1, length))
            sights[since:] = [seen or layer.cutout] * (length - since)
        return sights

    def _twin(self, rng: np.random.Generator, scene: _Scene) -> Cutout | None:
        obj = int(rng.choice(list(scene.areas)))
        return cut_out(scene.image, scene.masks.mask(obj).view(np.uint8))

    def _piece(self, rng: np.random.Generator) -> Cutout | None:
        """A round piece of ground, to hide something with."""
        scene = self._scenes[rng.integers(len(self._scenes))]
        height, width = scene.masks.shape
        radius = int(rng.uniform(0.06, 0.2) * min(height, width)) + 4
        x, y = int(rng.integers(width)), int(rng.integers(height))
        mask = np.zeros((height, width), np.uint8)
        stretch = float(np.exp(rng.uniform(-0.5, 0.5)))
        axes = max(2, round(radius * stretch)), max(2, round(radius / stretch))
        cv2.ellipse(mask, (x, y), axes, float(rng.uniform(0, 180)), 0, 360, 1, -1)
        return cut_out(scene.ground, mask)

    def _paste(
        self, rng: np.random.Generator, phase: np.ndarray, canvas: Canvas, cutout: Cutout | None, alike: bool
    ) -> None:
        """Something that nobody asks for crosses the view."""
        if cutout is None:
            return
        size = self._shape.crop
        across = np.exp(rng.uniform(*np.log((0.15, 0.6)))) * size
        motion = crossing_motion(rng, canvas, phase, across / max(cutout.patch.shape[:2]), rng.random() < 0.5)
        colour = self._appearance.random_matrix(rng) if alike and rng.random() < 0.5 else None
        bent = Deformation(rng, phase, rng.uniform(0.02, 0.08) * across)
        canvas.paste([cutout] * len(phase), motion, 0, behind=rng.random() < 0.6, deformation=bent, colour=colour)


def _at(deformation: Deformation, t: int, place: np.ndarray, size: int) -> np.ndarray:
    """Displacement of the ground at a place of the crop, as it is shown there; x and y."""
    x, y = np.clip(place.round().astype(int), 0, size - 1)
    moved: np.ndarray = deformation.field(t, size, size)[y, x]
    return -moved


def kept_lines(lines: int) -> int:
    """Shorter side in pixels that frames need at most, for samples as of frames that go into a network at `lines`."""
    return round(_SCALE_RANGE[1] * lines)


def reduced(frame: AnnotatedFrame, lines: int) -> AnnotatedFrame:
    """The frame with a shorter side of so many pixels at most. What becomes too small to be seen is not spoken for."""
    height, width = frame.masks.shape
    scale = lines / min(height, width)
    if scale >= 1:
        return frame
    size = max(1, round(width * scale)), max(1, round(height * scale))
    image = cv2.resize(frame.image, size, interpolation=cv2.INTER_AREA)
    masks = {
        o: cv2.resize(mask.view(np.uint8) * 255, size, interpolation=cv2.INTER_AREA) > 127
        for o, mask in frame.masks.items()
    }
    lost = {o for o, mask in masks.items() if not mask.any()}
    objects = tuple(o for o in frame.objects if o not in lost)
    return AnnotatedFrame(image, ObjectMasks.of(masks, frame.masks.order, (size[1], size[0])), objects)


def _pairs(frames: Sequence[AnnotatedFrame]) -> list[AnnotatedSequence]:
    """Two keyframes each, with the objects that both speak for; neighbours first, as they are most alike."""
    found: list[AnnotatedSequence] = []
    for distance in range(1, len(frames)):
        for a, b in zip(frames, frames[distance:]):
            both = sorted(set(a.objects) & set(b.objects))
            shown = [o for o in both if o in a.masks.areas or o in b.masks.areas]
            for objects in _disjoint(shown, (a, b)):
                label_maps = [_renumbered(frame.masks.flattened(objects), objects) for frame in (a, b)]
                found.append(AnnotatedSequence(f"{len(found)} pair", [a.image, b.image], label_maps))
            if len(found) >= _MOST_PAIRS:
                return found
    return found


def _disjoint(objects: Sequence[int], frames: Sequence[AnnotatedFrame]) -> list[list[int]]:
    """The objects in as few groups as it takes in none of which two share pixels, greedily."""
    rivals = {pair for frame in frames for pair in frame.masks.shared()}
    groups: list[list[int]] = []
    for obj in objects:
        for group in groups:
            if not any((min(obj, o), max(obj, o)) in rivals for o in group):
                group.append(obj)
                break
        else:
            groups.append([obj])
    return groups


def _renumbered(label_map: np.ndarray, objects: Sequence[int]) -> np.ndarray:
    """Ids 1, 2, ... instead of those of the objects; the last of the 255 would mean void."""
    numbers = np.zeros(256, np.uint8)
    for number, obj in enumerate(objects[:254], 1):
        numbers[obj] = number
    renumbered: np.ndarray = numbers[label_map]
    return renumbered
