"""Samples from stills: photos, cut-out people and backgrounds that are moved and bent over the time of a clip."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from model.dataset_files import DatasetFiles
from model.errors import InputError
from model.training.appearance import Appearance
from model.training.canvas import Canvas, Cutout, cut_out
from model.training.clip_sampler import crossing_motion
from model.training.frame_gaps import draw_times
from model.training.motion import Deformation, Motion, phases, wave
from model.training.sample_shape import LEAST_AREA, Sample, SampleShape
from model.training.warp import warp

_DECODERS = 4  # threads; decoding releases the interpreter
_WORTH = 0.01  # part of a photo that a garment covers at least to be an object
_PSEUDO_LENGTH = 10_000  # frames of the time that stills are moved through


@dataclass(frozen=True, eq=False)
class Stills:
    """Annotated photos and backgrounds, decoded.

    Attributes:
        people: photos, uint8 (H, W, 3), with label maps, uint8 (H, W): above 0 is the person, by garment.
        nuclei: photos with label maps of instances.
        backgrounds: frames without annotation.
    """

    people: list[tuple[np.ndarray, np.ndarray]]
    nuclei: list[tuple[np.ndarray, np.ndarray]]
    backgrounds: list[np.ndarray]


def read_stills(path: Path, limit: int | None = None) -> Stills:
    """Reads `people/*`, `nuclei/*` (image and .png label map of one name) and `backgrounds/**`, at any depth.

    Args:
        path: folder or zip archive.
        limit: at most this many photos of each kind, to try things out.

    Raises:
        InputError: a file is damaged, or no annotated people are there.
    """
    files = DatasetFiles(path)
    known = set(files.names)

    def annotated(folder: str) -> list[tuple[np.ndarray, np.ndarray]]:
        images = [n for n in files.names if f"/{folder}/" in f"/{n}" and not n.endswith(".png")]
        pairs = [(n, n.rsplit(".", 1)[0] + ".png") for n in images]
        pairs = [pair for pair in pairs if pair[1] in known][:limit]
        return list(pool.map(lambda pair: (files.image(pair[0]), files.label_map(pair[1])), pairs))

    with ThreadPoolExecutor(_DECODERS) as pool:
        people, nuclei = annotated("people"), annotated("nuclei")
        backgrounds = list(pool.map(files.image, [n for n in files.names if "/backgrounds/" in f"/{n}"][:limit]))
    if not people:
        raise InputError(f"{path} has no people/ with images and .png label maps: give the archive of stills")
    return Stills(people, nuclei, backgrounds)


class StillClips:
    """Draws samples from stills. Holds no state: a sample depends on the generator alone."""

    def __init__(self, stills: Stills, shape: SampleShape, appearance: Appearance | None = None):
        self._stills, self._shape = stills, shape
        self._appearance = Appearance() if appearance is None else appearance

    def draw(self, rng: np.random.Generator, max_gap: int) -> Sample | None:
        """One sample, or None where no object is seen well in its first frame; then draw again.

        Args:
            rng: what is drawn from.
            max_gap: largest distance in front of a clip; motion grows with the time that passes.
        """
        phase = phases(draw_times(rng, range(_PSEUDO_LENGTH), self._shape, max_gap))
        kinds = ["crowd", "photo", "nuclei" if self._stills.nuclei else "photo"]
        kind = str(rng.choice(kinds, p=[0.5, 0.3, 0.2]))
        canvas = getattr(self, f"_{kind}")(rng, phase)
        if canvas is None:
            return None
        masks = canvas.masks(self._shape)
        if masks is None:
            return None
        self._appearance.apply(rng, canvas.frames, phase)
        return Sample(canvas.frames, masks, kind)

    def _crowd(self, rng: np.random.Generator, phase: np.ndarray) -> Canvas:
        """People over a background without annotation."""
        if self._stills.backgrounds:
            image = self._stills.backgrounds[rng.integers(len(self._stills.backgrounds))]
        else:
            image = self._stills.people[rng.integers(len(self._stills.people))][0]
        canvas = self._ground(rng, phase, image, [], zoom=(0.6, 1.0))
        self._add_people(rng, phase, canvas, int(rng.integers(1, self._shape.objects + 2)))
        return canvas

    def _photo(self, rng: np.random.Generator, phase: np.ndarray) -> Canvas:
        """A photo whose person or garments are objects, at times with people passing."""
        image, labels = self._stills.people[rng.integers(len(self._stills.people))]
        if rng.random() < 0.4:
            objects = [(labels > 0).astype(np.uint8) * 255]
        else:
            garments = self._garments(rng, labels)
            objects = [
                (labels == g).astype(np.uint8) * 255 for g in garments[: rng.integers(1, self._shape.objects + 1)]
            ]
        # A photo without a label is a place for people to pass.
        objects = [mask for mask in objects if mask.any()]
        canvas = self._ground(rng, phase, image, objects, zoom=(0.45, 1.0))
        if rng.random() < 0.5:
            self._add_people(rng, phase, canvas, int(rng.integers(1, 3)))
        return canvas

    def _nuclei(self, rng: np.random.Generator, phase: np.ndarray) -> Canvas | None:
        """A microscope image with a few of its many similar cells as objects."""
        image, labels = self._stills.nuclei[rng.integers(len(self._stills.nuclei))]
        counts = np.bincount(labels.ravel(), minlength=256)
        counts[[0, 255]] = 0
        zoom = rng.uniform(0.35, 1.0)
        # Seen well in the crop, which shows a part of the photo `zoom` across.
        fit = np.flatnonzero(counts > 1.2 * LEAST_AREA * (zoom * min(labels.shape)) ** 2)
        if len(fit) == 0:
            return None
        # Neighbours, so that the crop shows them together.
        places = {int(i): np.argwhere(labels == i).mean(0) for i in fit}
        first = places[int(rng.choice(fit))]
        nearest = sorted(places, key=lambda i: float(np.abs(places[i] - first).sum()) * rng.uniform(0.7, 1.3))
        chosen = nearest[: rng.integers(1, self._shape.objects + 1)]
        objects = [(labels == i).astype(np.uint8) * 255 for i in chosen]
        return self._ground(rng, phase, image, objects, zoom=(zoom, zoom))

    def _garments(self, rng: np.random.Generator, labels: np.ndarray) -> list[int]:
        counts = np.bincount(labels.ravel())
        counts[0] = 0
        return [int(i) for i in rng.permutation(np.flatnonzero(counts > _WORTH * labels.size))]

    def _ground(
        self,
        rng: np.random.Generator,
        phase: np.ndarray,
        image: np.ndarray,
        objects: list[np.ndarray],
        zoom: tuple[float, float],
    ) -> Canvas:
        """The lowest layer, seen by a moving camera and bent a little.

        Args:
            rng: what is drawn from.
            phase: float (T,).
            image: uint8 (H, W, 3).
            objects: masks of 0 and 255, uint8 (H, W), that become slots 1, 2, ...
            zoom: range of the side of the view, as a part of the image's shorter side.
        """
        size, (height, width) = self._shape.crop, image.shape[:2]
        side = rng.uniform(*zoom) * min(height, width)
        around = np.array([rng.uniform(0, width), rng.uniform(0, height)])
        if objects:
            inside = np.argwhere(objects[0])
            around = inside[rng.integers(len(inside))][::-1] + rng.uniform(-0.25, 0.25, 2) * side
        centre = np.clip(around, side / 2, np.array([width, height]) - side / 2)
        moves = np.full((len(phase), 2), size / 2) + wave(rng, phase, rng.choice([0.02, 0.08]) * size, 2)
        scales = size / side * np.exp(wave(rng, phase, 0.06)[:, 0])
        motion = Motion(moves, scales, wave(rng, phase, 0.06)[:, 0], rng.random() < 0.5)
        bending = Deformation(rng, phase, rng.uniform(0.01, 0.04) * size)
        frames = np.empty((len(phase), size, size, 3), np.uint8)
        slots = np.zeros((len(phase), size, size), np.uint8)
        for t in range(len(phase)):
            frames[t], *masks = warp([image, *objects], motion.matrix(t, tuple(centre)), size, (bending, t))
            for k, mask in enumerate(masks, 1):
                slots[t][mask > 127] = k
        return Canvas(frames, slots)

    def _add_people(self, rng: np.random.Generator, phase: np.ndarray, canvas: Canvas, count: int) -> None:
        """Pastes people along their own paths; often the same person again, mirrored or in other colours."""
        size = self._shape.crop
        person: Cutout | None = None
        height = rng.uniform(0.35, 1.2)
        for _ in range(count):
            again = person is not None and rng.random() < 0.5
            if not again:
                person = self._person(rng)
                height = rng.uniform(0.35, 1.2)
            if person is None:
                continue
            free = int(canvas.slots.max()) + 1
            slot = free if free <= self._shape.objects and (free == 1 or rng.random() < 0.75) else 0
            scale = height * rng.uniform(0.85, 1.15) * size / person.patch.shape[0]
            motion = crossing_motion(rng, canvas, phase, scale, rng.random() < 0.5)
            bending = Deformation(rng, phase, rng.uniform(0.02, 0.08) * scale * min(person.patch.shape[:2]))
            colour = self._appearance.random_matrix(rng) if rng.random() < 0.5 else None
            behind = slot != 1 and rng.random() < 0.4
            canvas.paste([person] * len(phase), motion, slot, behind=behind, deformation=bending, colour=colour)

    def _person(self, rng: np.random.Generator) -> Cutout | None:
        image, labels = self._stills.people[rng.integers(len(self._stills.people))]
        return cut_out(image, (labels > 0).astype(np.uint8))
