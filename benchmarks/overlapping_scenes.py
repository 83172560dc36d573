"""Rendered clips of objects that overlap: parts of a whole, things before others, and people in their clothes."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import ZipFile

import cv2
import numpy as np
from PIL import Image

from benchmarks.rendered_scenes import HEIGHT, LENGTH, WIDTH, Drawn, Scene, blob

_PERSON = 200  # pixels high
_GARMENT = 0.08, 0.6  # of a person, from and to


@dataclass(frozen=True, eq=False)
class OverlappingClip:
    """A clip with the whole mask of each object, whatever lies over it.

    Attributes:
        kind: of scene.
        frames: uint8 (H, W, 3).
        masks: by object for each frame, bool (H, W).
        labels: what each object is.
    """

    kind: str
    frames: list[np.ndarray]
    masks: list[dict[int, np.ndarray]]
    labels: dict[int, str]


@dataclass(frozen=True, eq=False)
class _Cutout:
    """Part of a picture that moves over the ground.

    Attributes:
        picture: float (h, w, 3).
        mask: float (h, w), 0 or 1.
        path: middle x, y in each frame, float (T, 2).
        turn: radians per frame.
    """

    picture: np.ndarray
    mask: np.ndarray
    path: np.ndarray
    turn: float

    def drawn(self, t: int) -> tuple[np.ndarray, np.ndarray]:
        """Coverage float (H, W), 0..1, and colours float (H, W, 3) in frame t."""
        turned = _rotation(self.turn * t)
        middle = np.array(self.mask.shape[::-1]) / 2
        moved = np.column_stack([turned, self.path[t] - turned @ middle]).astype(np.float32)
        return cv2.warpAffine(self.mask, moved, (WIDTH, HEIGHT)), cv2.warpAffine(self.picture, moved, (WIDTH, HEIGHT))


def overlapping_clips(seeds: Sequence[int], stills: Path | None = None) -> Iterator[OverlappingClip]:
    """A clip of each kind for each seed; those of people only with an archive of stills with garments."""
    for seed in seeds:
        yield _parts(seed)
        yield _before(seed)
        if stills is not None:
            yield _dressed(seed, stills)


def _parts(seed: int) -> OverlappingClip:
    """Two bodies that turn as they move, each with a patch on it that moves along."""
    scene = Scene("part of a whole", seed)
    things: list[Drawn] = []
    for side in (-1, 1):
        size = scene.random.uniform(70, 95)
        speed = scene.random.uniform(-2, 2, 2) * (1, 0.5)
        middle = np.array([WIDTH / 2 + side * WIDTH / 4, HEIGHT / 2])
        path = middle + (np.arange(LENGTH) - LENGTH / 2)[:, None] * speed
        turn = scene.random.uniform(-0.03, 0.03)
        off = scene.random.uniform(-0.12, 0.12, 2) * size
        along = np.stack([_rotation(turn * t) @ off for t in range(LENGTH)]) + path
        things.append(scene.thing(blob(scene.random, size), scene.colour(60), path, turn=turn))
        part = blob(scene.random, size * scene.random.uniform(0.3, 0.45))
        things.append(scene.thing(part, scene.colour(scene.random.uniform(70, 110)), along, turn=turn))
    return _clip(scene, things, {1: "body", 2: "patch", 3: "body", 4: "patch"})


def _before(seed: int) -> OverlappingClip:
    """A large thing, drawn whole, and a smaller one that crosses before it."""
    scene = Scene("one before another", seed)
    size = scene.random.uniform(90, 130)
    middle = np.array([WIDTH / 2, HEIGHT / 2])
    t = np.arange(LENGTH)[:, None]
    back = scene.thing(blob(scene.random, size), scene.colour(60), middle + scene.random.uniform(-1, 1, 2) * t)
    way = scene.random.choice([-1, 1]) * np.array([scene.random.uniform(1.5, 3), scene.random.uniform(-0.5, 0.5)])
    small = blob(scene.random, size * scene.random.uniform(0.3, 0.5))
    front = scene.thing(small, scene.colour(90), middle - 0.3 * size * np.sign(way[0]) * np.array([1, 0]) + way * t)
    return _clip(scene, [back, front], {1: "back", 2: "front"})


def _dressed(seed: int, stills: Path) -> OverlappingClip:
    """A photographed person and the two largest garments, pasted over a moving ground."""
    scene = Scene("person and garments", seed)
    with ZipFile(stills) as archive:
        names = sorted(n for n in archive.namelist() if n.startswith("stills/people/") and n.endswith(".png"))
        while True:
            name = names[int(scene.random.integers(len(names)))]
            labels = np.array(Image.open(io.BytesIO(archive.read(name))))
            areas = np.bincount(labels.ravel(), minlength=256)[1:] / max(1, int(np.count_nonzero(labels)))
            garments = [int(i) + 1 for i in np.argsort(-areas) if _GARMENT[0] < areas[i] < _GARMENT[1]][:2]
            if len(garments) == 2:
                break
        photo = Image.open(io.BytesIO(archive.read(name.removesuffix("png") + "webp"))).convert("RGB")
    size = round(labels.shape[1] * _PERSON / labels.shape[0]), _PERSON
    labels = cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST)
    picture = cv2.resize(np.array(photo), size, interpolation=cv2.INTER_AREA).astype(np.float32)
    path = np.array([WIDTH / 2, HEIGHT / 2]) + (np.arange(LENGTH) - LENGTH / 2)[:, None] * scene.random.uniform(-4, 4)
    path[:, 1] = HEIGHT / 2 + scene.random.uniform(2, 6) * np.sin(np.arange(LENGTH) * scene.random.uniform(0.3, 0.8))
    turn = scene.random.uniform(-0.01, 0.01)
    masks = [labels > 0, *(labels == g for g in garments)]
    things = [_Cutout(picture, mask.astype(np.float32), path, turn) for mask in masks]
    return _clip(scene, things, {1: "person", 2: "garment", 3: "garment"})


def _clip(scene: Scene, things: Sequence[Drawn], labels: dict[int, str]) -> OverlappingClip:
    drawn = list(scene.draw(things))
    masks = [dict(enumerate(masks, 1)) for _, masks in drawn]
    return OverlappingClip(scene.kind, [frame for frame, _ in drawn], masks, labels)


def _rotation(angle: float) -> np.ndarray:
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
