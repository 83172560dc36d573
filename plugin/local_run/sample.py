"""Renders the sample clip: two textured objects that pass each other before a panning background, with true masks.

Everything is computed, so that the clip is free to use and its masks are exact. Both objects are star-shaped: a profile
gives the radius of the outline for every angle, from which follow the soft edge, the shading and the mask.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from model.program.atomic_write import atomic_write
from plugin.sinks.palette import save_masks
from plugin.sinks.video_writer import video_writer

FPS = 25.0

# Unit vector from the scene to the light; x right, y down, z to the viewer.
_LIGHT = np.array([-0.45, -0.65, 0.61], np.float32)
_TURN = 2 * np.pi


@dataclass(frozen=True)
class SampleClip:
    """What `render_sample` wrote.

    Attributes:
        video: the mp4 file, `FPS` frames per second.
        masks: the true label map of every frame, palette PNG; 0 background, 1 striped blob, 2 the polygon before it.
    """

    video: Path
    masks: tuple[Path, ...]


def render_sample(
    folder: Path | str, *, frames: int = 60, height: int = 480, width: int = 854, seed: int = 0
) -> SampleClip:
    """Render the sample clip into `folder/sample.mp4` and `folder/masks/00000.png`, ...; the same seed, the same clip.

    The objects start apart, the second one hides a part of the first in the middle, and they part again.

    Args:
        folder: where to write; made if missing, older files of the same names are replaced.
        frames: length of the clip, at least 1.
        height: rows in pixels.
        width: columns in pixels.
        seed: of the textures, outlines and noise.

    Raises:
        InputError: a file cannot be written.
    """
    folder = Path(folder)
    scene = _Scene(height, width, np.random.default_rng(seed))
    masks = []
    with video_writer(folder / "sample.mp4", height, width, FPS) as append:
        for index in range(frames):
            frame, label_map = scene.render(index / max(1, frames - 1))
            append(frame)
            masks.append(folder / "masks" / f"{index:05d}.png")
            with atomic_write(masks[-1]) as temporary:
                save_masks(label_map, temporary)
    return SampleClip(folder / "sample.mp4", tuple(masks))


@dataclass(frozen=True)
class _Body:
    """One object. Times run from 0 to 1 over the clip; positions are pixels, x right and y down.

    Attributes:
        reach: a radius that holds the whole object and its shadow at all times.
        outline: radius of the outline for angles in the object's own frame (float32, any shape) at a time.
        centre: (x, y) at a time.
        spin: angle of the object in radians at a time.
        texture: float32 (S, S, 3) RGB 0..255 in the object's own frame, its middle at the object's centre.
        flatness: 1 is a ball; a large number is a plate with a bevelled rim.
    """

    reach: float
    outline: Callable[[np.ndarray, float], np.ndarray]
    centre: Callable[[float], tuple[float, float]]
    spin: Callable[[float], float]
    texture: np.ndarray
    flatness: float

    def render(self, height: int, width: int, time: float) -> tuple[tuple[slice, slice], np.ndarray, np.ndarray]:
        """The object alone: its box in the frame, then in this box its float32 RGB 0..255 and its coverage 0..1."""
        x0, y0 = self.centre(time)
        columns = slice(max(0, int(x0 - self.reach)), min(width, int(x0 + self.reach) + 2))
        rows = slice(max(0, int(y0 - self.reach)), min(height, int(y0 + self.reach) + 2))
        dy, dx = np.mgrid[rows, columns].astype(np.float32) - np.array([y0, x0], np.float32)[:, None, None]
        distance, angle = cv2.cartToPolar(dx, dy)
        own_angle = np.mod(angle - np.float32(self.spin(time)), np.float32(_TURN))
        radius = self.outline(own_angle, time)
        coverage = np.clip(radius - distance + 0.5, 0, 1)

        # The texture stretches with the outline, as skin does.
        u, v = cv2.polarToCart(distance * self.outline(own_angle, 0.0) / radius, own_angle)
        middle = self.texture.shape[0] / 2
        colour = cv2.remap(self.texture, u + middle, v + middle, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)

        slope = np.clip(distance / radius, 0, 1) ** self.flatness
        facing = slope * (np.cos(angle) * _LIGHT[0] + np.sin(angle) * _LIGHT[1]) + np.sqrt(1 - slope**2) * _LIGHT[2]
        facing = np.clip(facing, 0, 1)[:, :, None]
        return (rows, columns), colour * (0.4 + 0.75 * facing) + 50 * facing**24, coverage


class _Scene:
    """Background, objects and camera of one clip."""

    def __init__(self, height: int, width: int, rng: np.random.Generator):
        self._height, self._width = height, width
        self._unit = unit = height / 480
        self._background = _meadow(height + int(40 * unit), width + int(80 * unit), unit, rng)
        grain = rng.normal(0, 2.2, (8, height, width, 1)) + rng.normal(0, 1.1, (8, height, width, 3))
        self._grain = grain.astype(np.float32)
        self._bodies = (_striped_blob(height, width, rng), _tiled_polygon(height, width, rng))

    def render(self, time: float) -> tuple[np.ndarray, np.ndarray]:
        """The frame at a time 0..1 as uint8 (H, W, 3) RGB, and its label map as uint8 (H, W)."""
        right, down = self._unit * (10 + 60 * time), self._unit * 56 * (0.5 - time) ** 2
        camera = np.array([[1, 0, -right], [0, 1, -down]], np.float32)
        frame = cv2.warpAffine(self._background, camera, (self._width, self._height))
        label_map = np.zeros((self._height, self._width), np.uint8)
        for object_id, body in enumerate(self._bodies, start=1):
            box, colour, coverage = body.render(self._height, self._width, time)
            self._drop_shadow(frame, box, coverage)
            frame[box] += (colour - frame[box]) * coverage[:, :, None]
            label_map[box][coverage >= 0.5] = object_id
        brightness = 1 + 0.07 * np.sin(_TURN * 0.8 * time + 0.6)
        frame = cv2.GaussianBlur(frame, (0, 0), 0.55 * self._unit) * np.float32(brightness)
        frame += self._grain[int(time * 1000) % len(self._grain)]
        return np.clip(frame, 0, 255).astype(np.uint8), label_map

    def _drop_shadow(self, frame: np.ndarray, box: tuple[slice, slice], coverage: np.ndarray) -> None:
        """Darken what lies below and to the right of an object, softly."""
        offset = np.array([[1, 0, 9 * self._unit], [0, 1, 14 * self._unit]], np.float32)
        shadow = cv2.warpAffine(coverage, offset, coverage.shape[::-1])
        shadow = cv2.GaussianBlur(shadow, (0, 0), 9 * self._unit)
        frame[box] *= 1 - 0.42 * shadow[:, :, None]


def _striped_blob(height: int, width: int, rng: np.random.Generator) -> _Body:
    """Object 1: a soft body with dark stripes on orange fur, which walks from left to right and pulsates."""
    radius = 0.185 * height
    phases = rng.uniform(0, _TURN, 3)
    bumps = tuple(zip((2, 3, 5), (0.15, 0.08, 0.035), (1.0, 1.7, 2.6), phases))

    def outline(angle: np.ndarray, time: float) -> np.ndarray:
        waves = (depth * np.cos(n * angle + phase + speed * _TURN * time) for n, depth, speed, phase in bumps)
        return (radius * (1 + sum(waves))).astype(np.float32)

    def centre(time: float) -> tuple[float, float]:
        return width * (0.20 + 0.57 * time), height * (0.53 + 0.07 * np.sin(_TURN * 0.9 * time))

    size = int(3 * radius)
    x = np.arange(size, dtype=np.float32)[None, :] / radius
    bent = x + 0.5 * _noise(rng, size, size, radius) - 0.25 + 0.08 * _noise(rng, size, size, radius / 5)
    stripes = _step(np.sin(bent * 11) - 0.25, 0.35)[:, :, None]
    fur = _mix((196, 118, 52), (236, 178, 104), _noise(rng, size, size, radius / 2.5))
    texture = fur * (1 - stripes) + np.array([66, 42, 34], np.float32) * stripes
    texture *= 0.78 + 0.44 * _noise(rng, size, size, radius / 24, radius / 50)[:, :, None]
    return _Body(1.3 * radius + 0.09 * height, outline, centre, lambda time: 0.25 * np.sin(_TURN * time), texture, 1.4)


def _tiled_polygon(height: int, width: int, rng: np.random.Generator) -> _Body:
    """Object 2: a rounded plate with blue and cream patches, which turns as it crosses from right to left in front."""
    radius = 0.135 * height
    sides = np.arange(5) * _TURN / 5 + rng.uniform(-0.12, 0.12, 5)
    apothems = rng.uniform(0.92, 1.12, 5)

    def outline(angle: np.ndarray, time: float) -> np.ndarray:
        # A polygon is where the largest of x . normal / apothem is 1; a power mean for the largest rounds its corners.
        nearness = (np.clip(np.cos(angle - side), 0, 1) / a for side, a in zip(sides, apothems))
        return (radius * sum(part**14 for part in nearness) ** (-1 / 14)).astype(np.float32)

    def centre(time: float) -> tuple[float, float]:
        return width * (0.80 - 0.58 * time), height * (0.72 - 0.19 * time + 0.03 * np.sin(_TURN * 1.5 * time))

    size = int(3 * radius)
    patches = _step(_noise(rng, size, size, radius / 2) - 0.5, 0.03)
    veins = _step(0.03 - np.abs(_noise(rng, size, size, radius / 3) - 0.5), 0.02)[:, :, None]
    texture = _mix((32, 92, 150), (214, 210, 190), patches)
    texture = texture * (1 - 0.75 * veins) + np.array([20, 44, 70], np.float32) * 0.75 * veins
    texture *= 0.85 + 0.3 * _noise(rng, size, size, radius / 5, radius / 25)[:, :, None]
    return _Body(1.35 * radius + 0.09 * height, outline, centre, lambda time: 2.4 * time, texture, 6.0)


def _meadow(height: int, width: int, unit: float, rng: np.random.Generator) -> np.ndarray:
    """Background: blurred trees above, grass and bare earth below; float32 (H, W, 3) RGB 0..255."""
    trees = _mix((38, 58, 46), (120, 146, 122), _noise(rng, height, width, 90 * unit, 40 * unit, 18 * unit))
    grass = _mix((74, 98, 48), (150, 158, 84), _noise(rng, height, width, 60 * unit, 14 * unit, 5 * unit))
    earth = _mix((112, 88, 66), (166, 140, 110), _noise(rng, height, width, 30 * unit, 8 * unit, 3 * unit))
    bare = _step(_noise(rng, height, width, 110 * unit, 30 * unit) - 0.56, 0.05)[:, :, None]
    ground = grass * (1 - bare) + earth * bare
    ground *= 0.8 + 0.4 * _noise(rng, height, width, 4 * unit, 2 * unit)[:, :, None]
    row = np.arange(height, dtype=np.float32)[:, None] / height
    below = _step(row - 0.33 - 0.08 * (_noise(rng, height, width, 130 * unit) - 0.5), 0.02)[:, :, None]
    return trees * (1 - below) + ground * below


def _noise(rng: np.random.Generator, height: int, width: int, *cells: float) -> np.ndarray:
    """Smooth random texture, float32 (H, W) in 0..1 around 0.5; each further cell size in pixels adds finer detail."""
    total = np.zeros((height, width), np.float32)
    for level, cell in enumerate(cells):
        grid = rng.normal(size=(int(height / cell) + 3, int(width / cell) + 3)).astype(np.float32)
        fine = cv2.resize(grid, None, fx=max(1.0, cell), fy=max(1.0, cell), interpolation=cv2.INTER_CUBIC)
        total += fine[:height, :width] * 0.6**level
    return np.clip(0.5 + 0.22 * (total - total.mean()) / total.std(), 0, 1)


def _mix(dark: tuple[int, int, int], light: tuple[int, int, int], weight: np.ndarray) -> np.ndarray:
    """Colours between two RGB colours, float32 (H, W, 3), for weights (H, W) in 0..1."""
    low, high = np.array(dark, np.float32), np.array(light, np.float32)
    return low + (high - low) * weight[:, :, None].astype(np.float32)


def _step(x: np.ndarray, softness: float) -> np.ndarray:
    """0 below zero and 1 above it, with a soft change around it."""
    return 1 / (1 + np.exp(-np.clip(x / softness * 4, -30, 30)))
