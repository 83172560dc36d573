"""Samples from stills: photos whose objects move with a camera, and objects that are pasted over others' grounds."""

import cv2
import numpy as np

from model.data.annotated_sequences import VOID
from model.training.samples.appearance import Appearance
from model.training.samples.canvas import Canvas, Cutout, cut_out, opaque
from model.training.samples.frame_gaps import draw_times
from model.training.samples.motion import Deformation, Motion, phases, wave
from model.training.samples.nesting import nest_neighbour
from model.training.samples.sample_shape import LEAST_AREA, Sample, SampleShape
from model.training.samples.stills import Photo, Stills, visible_ids
from model.training.samples.video_samples import COVERED, cover_at_first, crossing_motion
from model.training.samples.warp import warp

_PSEUDO_LENGTH = 10_000  # frames of the time that stills are moved through
_COLLAGES = 0.55  # of the samples, where there is something to paste
_TRIES = 8
_LEAST_CUT = 24  # pixels across, of an object that is worth cutting out
_LARGEST_CUT = 0.25  # of its size: contact with the photo's border, which would be a straight contour elsewhere
_WORTH = 0.01  # part of a photo that a part of an object covers at least to be an object of its own
_FILLS = (0.012, 0.9)  # part of the view that the first object of a photo fills, evenly in its logarithm


class StillClips:
    """Draws samples from stills. Holds no state: a sample depends on the generator alone."""

    def __init__(
        self, stills: Stills, shape: SampleShape, appearance: Appearance | None = None, covered: float = COVERED
    ):
        """Takes the stills over; `covered` is how often a piece of the first object is hidden at first, 0..1."""
        self._stills, self._shape, self._covered = stills, shape, covered
        self._appearance = Appearance() if appearance is None else appearance
        self._sets = list(stills.photos.values())
        sizes = np.sqrt([len(photos) for photos in self._sets])
        self._shares = sizes / sizes.sum() if len(sizes) else sizes

    def draw(self, rng: np.random.Generator, max_gap: int) -> Sample | None:
        """One sample, or None where no object is seen well in its first frame; then draw again.

        Args:
            rng: what is drawn from.
            max_gap: largest distance in front of a clip; motion grows with the time that passes.
        """
        phase = phases(draw_times(rng, range(_PSEUDO_LENGTH), self._shape, max_gap))
        collage = not self._sets or rng.random() < _COLLAGES
        canvas = self._collage(rng, phase) if collage else self._photo(rng, phase)
        if canvas is None:
            return None
        if rng.random() < self._covered:
            cover_at_first(rng, canvas, phase, self.cutout(rng))
        if self._shape.nests(rng) and not canvas.inside:
            nest_neighbour(rng, canvas.slots, canvas.inside)
        sample = canvas.sample(self._shape, "collage" if collage else "photo")
        if sample is not None:
            self._appearance.apply(rng, sample.frames, phase)
        return sample

    def cutout(self, rng: np.random.Generator) -> Cutout | None:
        """An object to be pasted somewhere, or None where none was found."""
        drawn = self._stills.cutouts
        if drawn and (not self._sets or rng.random() < 0.35):
            return opaque(drawn[rng.integers(len(drawn))])
        for _ in range(_TRIES if self._sets else 0):
            photo = self._any_photo(rng)
            ids = ((photo.ids > 0) & (photo.ids != VOID)).astype(np.uint8) if photo.of_parts else photo.ids
            fit = np.flatnonzero(visible_ids(ids) >= _LEAST_CUT**2)
            if len(fit) == 0:
                continue
            mask = (ids == rng.choice(fit)).astype(np.uint8)
            border = np.count_nonzero(mask[[0, -1]]) + np.count_nonzero(mask[:, [0, -1]])
            if border <= _LARGEST_CUT * np.count_nonzero(mask) ** 0.5:
                return cut_out(photo.image, mask)
        return None

    def _any_photo(self, rng: np.random.Generator) -> Photo:
        photos = self._sets[rng.choice(len(self._sets), p=self._shares)]
        return photos[rng.integers(len(photos))]

    def _collage(self, rng: np.random.Generator, phase: np.ndarray) -> Canvas:
        """Objects over a background, or over a photo whose own objects nobody asks for."""
        grounds = self._stills.backgrounds
        if grounds and (not self._sets or rng.random() < 0.6):
            image = grounds[rng.integers(len(grounds))]
        elif self._sets:
            image = self._any_photo(rng).image
        else:
            image = _plain_ground(rng, self._shape.crop)
        side = rng.uniform(0.5, 1.0) * min(image.shape[:2])
        canvas = self._ground(rng, phase, image, [], side)
        self._paste_objects(rng, phase, canvas, int(rng.integers(1, self._shape.objects + 2)))
        return canvas

    def _photo(self, rng: np.random.Generator, phase: np.ndarray) -> Canvas | None:
        """A photo with some of its own objects, neighbours first; at times others pass."""
        photo = self._any_photo(rng)
        void = photo.ids == VOID
        labels = np.where(void, 0, photo.ids)
        wanted = self._garments(rng, labels) if photo.of_parts else self._neighbours(rng, labels)
        if wanted is None:
            return None
        objects, area = wanted
        inside: dict[int, int] = {}
        if photo.of_parts and self._shape.nests(rng):
            # The person's own slot holds what none of the garments cover.
            parts = objects[: self._shape.objects - 1]
            inside = {k: 1 for k in range(2, len(parts) + 2)}
            bare = (labels > 0) & (np.max(parts, 0) == 0) if parts else labels > 0
            objects = [bare.astype(np.uint8) * 255, *parts]
        shorter = min(photo.ids.shape)
        fills = np.exp(rng.uniform(*np.log(_FILLS)))
        side = float(np.clip((area / fills) ** 0.5, min(96, shorter), shorter))
        canvas = self._ground(rng, phase, photo.image, objects, side, void)
        canvas.inside.update(inside)
        if rng.random() < 0.4:
            self._paste_objects(rng, phase, canvas, int(rng.integers(1, 3)))
        return canvas

    def _neighbours(self, rng: np.random.Generator, ids: np.ndarray) -> tuple[list[np.ndarray], float] | None:
        """Masks of 0 and 255 of an object and of some near it, and the area of the first; None without any."""
        counts = visible_ids(ids)
        fit = np.flatnonzero(counts >= LEAST_AREA * 96**2)
        if len(fit) == 0:
            return None
        # Large ones more often: a photo of a crowd has few of them.
        first = int(rng.choice(fit, p=counts[fit] ** 0.5 / (counts[fit] ** 0.5).sum()))
        places = {int(i): np.argwhere(ids == i).mean(0) for i in fit}
        near = sorted(places, key=lambda i: float(np.abs(places[i] - places[first]).sum()) * rng.uniform(0.7, 1.3))
        chosen = near[: rng.integers(1, self._shape.objects + 1)]
        return [(ids == i).astype(np.uint8) * 255 for i in chosen], float(counts[first])

    def _garments(self, rng: np.random.Generator, labels: np.ndarray) -> tuple[list[np.ndarray], float] | None:
        """The whole, or some of its parts."""
        whole = (labels > 0).astype(np.uint8) * 255
        area = float(np.count_nonzero(whole))
        parts = np.flatnonzero(visible_ids(labels) > _WORTH * labels.size)
        if len(parts) == 0:
            return None
        if rng.random() < 0.4:
            return [whole], area
        chosen = rng.permutation(parts)[: rng.integers(1, self._shape.objects + 1)]
        return [(labels == i).astype(np.uint8) * 255 for i in chosen], area

    def _ground(
        self,
        rng: np.random.Generator,
        phase: np.ndarray,
        image: np.ndarray,
        objects: list[np.ndarray],
        side: float,
        void: np.ndarray | None = None,
    ) -> Canvas:
        """The lowest layer, seen by a moving camera and bent a little.

        Args:
            rng: what is drawn from.
            phase: float (T,).
            image: uint8 (H, W, 3).
            objects: masks of 0 and 255, uint8 (H, W), that become slots 1, 2, ...
            side: of the square view in pixels of the image.
            void: where nobody knows what the image shows, bool (H, W).
        """
        size, (height, width) = self._shape.crop, image.shape[:2]
        around = np.array([rng.uniform(0, width), rng.uniform(0, height)])
        if objects:
            inside = np.argwhere(objects[0] if objects[0].any() else np.max(objects, 0))
            around = inside[rng.integers(len(inside))][::-1] + rng.uniform(-0.25, 0.25, 2) * side
        centre = np.clip(around, side / 2, np.array([width, height]) - side / 2)
        moves = np.full((len(phase), 2), size / 2) + wave(rng, phase, rng.choice([0.02, 0.08, 0.16]) * size, 2)
        # At times the camera comes near or goes away by a factor of about two.
        scales = size / side * np.exp(wave(rng, phase, 0.5 if rng.random() < 0.2 else 0.06)[:, 0])
        motion = Motion(moves, scales, wave(rng, phase, 0.06)[:, 0], rng.random() < 0.5)
        bending = Deformation(rng, phase, rng.uniform(0.01, 0.05) * size)
        frames = np.empty((len(phase), size, size, 3), np.uint8)
        slots = np.zeros((len(phase), size, size), np.uint8)
        unsure = [] if void is None or not void.any() else [void.astype(np.uint8) * 255]
        unknown = np.zeros(slots.shape, bool)
        for t in range(len(phase)):
            frames[t], *masks = warp([image, *objects, *unsure], motion.matrix(t, tuple(centre)), size, (bending, t))
            for k, mask in enumerate(masks[: len(objects)], 1):
                slots[t][mask > 127] = k
            if unsure:
                unknown[t] = (masks[-1] > 0) & (slots[t] == 0)
        return Canvas(frames, slots, unknown)

    def _paste_objects(self, rng: np.random.Generator, phase: np.ndarray, canvas: Canvas, count: int) -> None:
        """Pastes objects along their own paths; often the same again, mirrored or in other colours."""
        size = self._shape.crop
        pasted: Cutout | None = None
        across = 0.0
        for _ in range(count):
            again = pasted is not None and rng.random() < 0.5
            if not again:
                pasted = self.cutout(rng)
                across = np.exp(rng.uniform(*np.log((0.12, 1.3)))) * size
            if pasted is None:
                continue
            free = int(canvas.slots.max()) + 1
            slot = free if free <= self._shape.objects and (free == 1 or rng.random() < 0.75) else 0
            scale = across * rng.uniform(0.85, 1.15) / max(pasted.patch.shape[:2])
            motion = crossing_motion(rng, canvas, phase, scale, rng.random() < 0.5)
            bent = rng.uniform(0.02, 0.1) * scale * min(pasted.patch.shape[:2])
            colour = self._appearance.random_matrix(rng) if rng.random() < 0.5 else None
            behind = slot != 1 and rng.random() < 0.4
            canvas.paste(
                [pasted] * len(phase),
                motion,
                slot,
                behind=behind,
                deformation=Deformation(rng, phase, bent),
                colour=colour,
            )
            if 0 < slot < self._shape.objects and not behind and self._shape.nests(rng):
                self._paste_worn(rng, phase, canvas, motion, slot)

    def _paste_worn(
        self, rng: np.random.Generator, phase: np.ndarray, canvas: Canvas, motion: Motion, slot: int
    ) -> None:
        """Pastes an object onto another that it moves with and is a part of, like a helmet or a badge."""
        worn, wearer = self.cutout(rng), np.argwhere(canvas.slots[0] == slot)
        if worn is None or len(wearer) == 0:
            return
        offset = wearer[rng.integers(len(wearer))][::-1] - motion.centres[0]
        size = len(wearer) ** 0.5 * rng.uniform(0.25, 0.7) / max(worn.patch.shape[:2])
        zoom, turn = motion.scales / motion.scales[0], motion.angles - motion.angles[0]
        turned = np.stack([np.cos(turn), -np.sin(turn), np.sin(turn), np.cos(turn)], 1).reshape(-1, 2, 2)
        places = motion.centres + zoom[:, None] * (turned @ offset)
        own = Motion(places, size * zoom, turn + wave(rng, phase, 0.03)[:, 0], motion.mirrored)
        canvas.paste([worn] * len(phase), own, slot + 1)
        canvas.inside[slot + 1] = slot


def _plain_ground(rng: np.random.Generator, size: int) -> np.ndarray:
    """Soft noise, uint8 (size, size, 3), where nothing better is at hand."""
    coarse = rng.integers(0, 256, (int(rng.integers(2, 24)), int(rng.integers(2, 24)), 3), np.uint8)
    return cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)
