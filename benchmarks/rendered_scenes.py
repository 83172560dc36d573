"""Rendered runs with exact truth: objects that are easily lost, and objects that are truly out of sight.

Everything follows from a seed, so that a set is the same every time; sets of other seeds share nothing but the rules.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np

from benchmarks.failing_runs import Run
from model.data.annotated_sequences import AnnotatedSequence
from model.keyframe import Keyframe

EASILY_LOST = ("tiny", "thin", "low contrast", "alike pair")
OUT_OF_SIGHT = ("behind an occluder", "out of the frame")

HEIGHT, WIDTH = 240, 416  # pixels: whole memory positions
LENGTH = 20  # frames
_FINE = 4  # pixels are drawn so many times finer, and averaged


class Drawn(Protocol):
    """What a scene draws."""

    def drawn(self, t: int) -> tuple[np.ndarray, np.ndarray]:
        """Coverage float (H, W), 0..1, and colours float (H, W, 3) in frame t."""


@dataclass(frozen=True, eq=False)
class Thing:
    """Something that moves over the ground.

    Attributes:
        outline: points (N, 2), x and y around its middle, in pixels.
        texture: float (h, w, 3) that covers the outline.
        path: middle x, y in each frame, float (T, 2).
        turn: radians per frame.
    """

    outline: np.ndarray
    texture: np.ndarray
    path: np.ndarray
    turn: float = 0.0

    def drawn(self, t: int) -> tuple[np.ndarray, np.ndarray]:
        """Coverage float (H, W), 0..1, and colours float (H, W, 3) in frame t."""
        angle = self.turn * t
        turned = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        points = self.outline @ turned.T + self.path[t] + 0.5
        fine = np.zeros((HEIGHT * _FINE, WIDTH * _FINE), np.uint8)
        cv2.fillPoly(fine, [np.round(points * _FINE).astype(np.int32)], 1)
        covered = cv2.resize(fine.astype(np.float32), (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
        middle = np.array([self.texture.shape[1], self.texture.shape[0]]) / 2
        moved = np.column_stack([turned, self.path[t] - turned @ middle]).astype(np.float32)
        colours = cv2.warpAffine(self.texture, moved, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REFLECT)
        return covered, colours


class Scene:
    """Draws one run; every choice comes from one generator of random numbers."""

    def __init__(self, kind: str, seed: int):
        self.kind = kind
        self.random = np.random.default_rng([seed, *kind.encode()])
        self.name = f"{kind} {seed}"
        pan = self.random.uniform(-1.5, 1.5, 2) * (self.random.random() < 0.4)
        self._shift = np.outer(np.arange(LENGTH), pan)
        self.ground = self._ground(HEIGHT + 80, WIDTH + 80)
        self._noise = self.random.uniform(1, 4)

    def texture(self, height: int, width: int, colour: np.ndarray, rough: float) -> np.ndarray:
        """Float (height, width, 3): a colour with patterns of some sizes."""
        picture = np.tile(np.asarray(colour, np.float32), (height, width, 1))
        for size in (3, 8, 24):
            coarse = self.random.normal(0, rough / 2, (height // size + 2, width // size + 2, 3)).astype(np.float32)
            coarse[..., 1:] = 0.6 * coarse[..., :1] + 0.4 * coarse[..., 1:]
            picture += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
        return picture

    def _ground(self, height: int, width: int) -> np.ndarray:
        """Patterned, and in every second scene with other things lying about."""
        rough = self.random.uniform(4, 24)
        picture = self.texture(height, width, self.random.uniform(60, 190, 3), rough)
        for _ in range(int(self.random.integers(2)) * 14):
            middle = tuple(int(x) for x in self.random.uniform((0, 0), (width, height)))
            axes = tuple(int(x) for x in self.random.uniform(5, 50, 2))
            colour = picture[middle[1], middle[0]] + self.random.normal(0, 35, 3)
            shape = np.zeros((height, width), np.uint8)
            cv2.ellipse(shape, middle, axes, self.random.uniform(0, 180), 0, 360, 1, -1)
            patch = self.texture(height, width, colour, rough)
            picture = np.where(shape[..., None] > 0, patch, picture)
        return cv2.GaussianBlur(picture, (0, 0), 0.7)

    def colour(self, contrast: float) -> np.ndarray:
        """Differs from the ground's mean by so many levels, in some direction."""
        direction = self.random.normal(size=3)
        mean = self.ground.mean((0, 1))
        direction *= np.where(
            (mean + contrast * np.sign(direction) > 20) & (mean + contrast * np.sign(direction) < 235), 1, -1
        )
        return mean + contrast * direction / np.abs(direction).max()

    def thing(
        self, outline: np.ndarray, colour: np.ndarray, path: np.ndarray, rough: float = 10, turn: float = 0.0
    ) -> Thing:
        side = int(2 * np.abs(outline).max()) + 8
        return Thing(outline, self.texture(side, side, colour, rough), path, turn)

    def straight(self, speed: tuple[float, float], room: float) -> np.ndarray:
        """A path at a speed between two bounds, in pixels per frame, that stays `room` pixels inside of the frame."""
        v = self.random.uniform(*speed)
        angle = self.random.uniform(0, 2 * np.pi)
        way = v * np.array([np.cos(angle), np.sin(angle)])
        low = np.array([room, room]) + np.maximum(0, -way * LENGTH)
        high = np.array([WIDTH - room, HEIGHT - room]) - np.maximum(0, way * LENGTH)
        start = self.random.uniform(np.minimum(low, high), np.maximum(low, high))
        wobble = self.random.uniform(0, 1.5) * np.sin(np.arange(LENGTH)[:, None] * self.random.uniform(0.3, 1, 2))
        return start + np.arange(LENGTH)[:, None] * way + wobble

    def draw(self, things: Sequence[Drawn]) -> Iterator[tuple[np.ndarray, list[np.ndarray]]]:
        """Each frame, uint8 (H, W, 3), with its things drawn from back to front, and the mask of each, bool (H, W)."""
        for t in range(LENGTH):
            x, y = 40 + self._shift[t]
            move = np.array([[1, 0, -x], [0, 1, -y]], np.float32)
            picture = np.asarray(cv2.warpAffine(self.ground, move, (WIDTH, HEIGHT)), np.float32)
            masks = []
            for thing in things:
                covered, colours = thing.drawn(t)
                picture += covered[..., None] * (colours - picture)
                masks.append(covered > 0.5)
            noisy = picture + self.random.normal(0, self._noise, picture.shape)
            yield np.clip(noisy, 0, 255).astype(np.uint8), masks

    def run(self, things: list[Thing], objects: list[int]) -> Run:
        """The frames, drawn from back to front; each thing is an object, or 0 where it is none."""
        frames, labels = [], []
        for frame, masks in self.draw(things):
            label_map = np.zeros((HEIGHT, WIDTH), np.uint8)
            for mask, obj in zip(masks, objects):
                label_map[mask] = obj
            frames.append(frame)
            labels.append(label_map)
        keyframe = Keyframe(0, labels[0])
        scored = {i: keyframe.objects for i in range(1, LENGTH)}
        return Run(self.kind, AnnotatedSequence(self.name, frames, labels), [keyframe], scored, "forward")


def _box(width: float, height: float) -> np.ndarray:
    return np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * (width / 2, height / 2)


def blob(random: np.random.Generator, size: float) -> np.ndarray:
    """A closed curve around the middle, about `size` pixels across."""
    angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    radius = 1 + 0.25 * np.sin(angle * random.integers(2, 5) + random.uniform(0, 6)) * random.random()
    stretch = random.uniform(0.7, 1.4)
    return size / 2 * radius[:, None] * np.column_stack([np.cos(angle) * stretch, np.sin(angle) / stretch])


def tiny(seed: int) -> Run:
    """One to three things of 3 to 8 pixels on a patterned ground."""
    scene = Scene("tiny", seed)
    things = []
    for _ in range(scene.random.integers(1, 4)):
        size = scene.random.uniform(3, 8)
        outline = _box(size, size) if scene.random.random() < 0.5 else blob(scene.random, size + 1)
        colour = scene.colour(scene.random.uniform(30, 90))
        things.append(scene.thing(outline, colour, scene.straight((0, 5), 10)))
    return scene.run(things, [*range(1, len(things) + 1)])


def thin(seed: int) -> Run:
    """A bar or an arc, 2 to 4 pixels across, that moves and turns."""
    scene = Scene("thin", seed)
    length, across = scene.random.uniform(24, 80), scene.random.uniform(2, 4)
    if scene.random.random() < 0.5:
        outline = _box(length, across)
    else:
        angle = np.linspace(0.2, 0.8, 20) * np.pi
        arc = np.column_stack([np.cos(angle), np.sin(angle)])
        outline = np.vstack([arc * (length / 2), arc[::-1] * (length / 2 - across)])
    thing = scene.thing(
        outline,
        scene.colour(scene.random.uniform(25, 80)),
        scene.straight((0, 4), 45),
        turn=scene.random.uniform(-0.08, 0.08),
    )
    return scene.run([thing], [1])


def low_contrast(seed: int) -> Run:
    """A thing of 10 to 40 pixels in almost the colours of the ground."""
    scene = Scene("low contrast", seed)
    outline = blob(scene.random, scene.random.uniform(10, 40))
    colour = scene.colour(scene.random.uniform(5, 18))
    return scene.run([scene.thing(outline, colour, scene.straight((0, 5), 28), scene.random.uniform(3, 12))], [1])


def alike_pair(seed: int) -> Run:
    """Two things alike that cross or pass each other closely; both are objects, or the other is none."""
    scene = Scene("alike pair", seed)
    size = scene.random.uniform(10, 44)
    outline = blob(scene.random, size)
    colour = scene.colour(scene.random.uniform(35, 90))
    apart = scene.random.choice([0, 0.5, 1.1]) * size
    meet = np.array([scene.random.uniform(120, WIDTH - 120), scene.random.uniform(60, HEIGHT - 60)])
    way = np.array([scene.random.uniform(2.5, 7), scene.random.uniform(-1, 1)])
    at = (np.arange(LENGTH) - scene.random.uniform(6, 12))[:, None]
    one = scene.thing(outline, colour, meet + way * at)
    other_way = -way if scene.random.random() < 0.7 else way * scene.random.uniform(0.1, 0.4)
    other = Thing(outline, one.texture, meet + (0, apart) + other_way * at)
    return scene.run([one, other], [1, 2 if scene.random.random() < 0.6 else 0])


def behind_an_occluder(seed: int) -> Run:
    """A thing that goes behind a pillar, or that a pillar goes over, and in every second run comes out again."""
    scene = Scene("behind an occluder", seed)
    size = scene.random.uniform(6, 44)
    outline = _box(size, size * 0.8) if scene.random.random() < 0.5 else blob(scene.random, size)
    speed = scene.random.uniform(3, 8)
    hides, hidden = scene.random.integers(5, 9), scene.random.choice([5, LENGTH])
    width = 1.5 * size + 2 + speed * hidden
    y = scene.random.uniform(30, HEIGHT - 30)
    sign = scene.random.choice([-1, 1])
    pillar = _box(width, scene.random.choice([2 * HEIGHT, 2.5 * size + 8]))
    t = np.arange(LENGTH)
    # The object's middle is `size` before the pillar's edge when it begins to be hidden.
    along = speed * (t - hides) - width / 2 - size / 2
    stays = scene.random.random() < 0.4
    middle = scene.random.uniform(0.45, 0.55) * WIDTH
    still = np.full((LENGTH, 2), (middle, y))
    moves = still + np.column_stack([sign * along, 0 * along])
    if not stays:  # the object stays inside of the frame while it can be seen
        start = size if sign > 0 else WIDTH - size
        if sign * (moves[0, 0] - start) < 0:
            moves[:, 0] += start - moves[0, 0]
            still[:, 0] += start - (middle + sign * along[0])
    else:
        still[:, 0], moves[:, 0] = middle, middle + sign * along
    thing = scene.thing(outline, scene.colour(scene.random.uniform(40, 90)), still if stays else moves)
    side = scene.texture(
        int(pillar[:, 1].max() * 2) + 8, int(width) + 8, scene.random.uniform(30, 220, 3), scene.random.uniform(3, 20)
    )
    return scene.run([thing, Thing(pillar, side, moves if stays else still)], [1, 0])


def out_of_the_frame(seed: int) -> Run:
    """A thing that leaves the frame on some side, and in every third run comes back."""
    scene = Scene("out of the frame", seed)
    size = scene.random.uniform(6, 50)
    outline = _box(size, size * 0.8) if scene.random.random() < 0.5 else blob(scene.random, size)
    speed, leaves = scene.random.uniform(2.5, 9), scene.random.integers(5, 10)
    t = np.arange(LENGTH)
    beyond = speed * (t - leaves)
    if scene.random.random() < 0.33:
        beyond = np.minimum(beyond, speed * (leaves + 5 - t) + size)
    across = scene.random.uniform(0.2, 0.8) + scene.random.uniform(-0.01, 0.01) * t
    side = scene.random.integers(4)
    if side == 0:
        path = np.column_stack([-beyond, across * HEIGHT])
    elif side == 1:
        path = np.column_stack([WIDTH + beyond, across * HEIGHT])
    elif side == 2:
        path = np.column_stack([across * WIDTH, -beyond])
    else:
        path = np.column_stack([across * WIDTH, HEIGHT + beyond])
    return scene.run([scene.thing(outline, scene.colour(scene.random.uniform(30, 90)), path)], [1])


_MAKERS: dict[str, Callable[[int], Run]] = {
    "tiny": tiny,
    "thin": thin,
    "low contrast": low_contrast,
    "alike pair": alike_pair,
    "behind an occluder": behind_an_occluder,
    "out of the frame": out_of_the_frame,
}


def rendered_runs(count: int, first_seed: int = 0) -> Iterator[Run]:
    """So many runs of each kind, made when they are asked for; the same for the same seed."""
    for seed in range(first_seed, first_seed + count):
        yield from (make(seed) for make in _MAKERS.values())
