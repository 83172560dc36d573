"""Short synthetic clips of any size: textured ellipses that move before a textured background."""

from dataclasses import dataclass

import cv2
import numpy as np

from model.keyframe import Keyframe


@dataclass(frozen=True)
class MovingObjects:
    """A clip.

    Attributes:
        frames: uint8 (T, H, W, 3) RGB.
        keyframe: the true masks of the first frame, objects 1, 2, ...
    """

    frames: np.ndarray
    keyframe: Keyframe


def render_moving_objects(
    rng: np.random.Generator, height: int, width: int, frames: int, objects: int
) -> MovingObjects:
    """A clip of so many frames and objects; sizes, places, shapes and ways of the objects are drawn from `rng`.

    An object's diameter is a twentieth to a half of the frame's shorter side.
    """
    background = _texture(rng, height, width)
    side = min(height, width)
    axes = rng.uniform(side / 40, side / 4, (objects, 2))
    begin, end = (rng.uniform(0.1, 0.9, (objects, 2)) * (width, height) for _ in range(2))
    end = begin + (end - begin) * min(1, frames / 50)  # a fiftieth of the way in a frame at most
    angles, coats = rng.uniform(0, 180, objects), [_texture(rng, height, width) for _ in range(objects)]
    video, label_map = np.empty((frames, height, width, 3), np.uint8), np.zeros((height, width), np.uint8)
    for t in range(frames):
        video[t] = background
        for o in range(objects):
            centre = begin[o] + (end[o] - begin[o]) * t / max(1, frames - 1)
            mask = np.zeros((height, width), np.uint8)
            box = (centre.tolist(), (2 * axes[o]).tolist(), float(angles[o]))
            cv2.ellipse(mask, box, 1, -1)
            video[t][mask > 0] = coats[o][mask > 0]
            if t == 0:
                label_map[mask > 0] = o + 1
    return MovingObjects(video, Keyframe(0, label_map))


def _texture(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Soft spots around a colour of its own, uint8 (H, W, 3)."""
    spots = rng.normal(rng.uniform(60, 190, 3), 40, (max(2, height // 24), max(2, width // 24), 3))
    return cv2.resize(spots.clip(0, 255).astype(np.uint8), (width, height), interpolation=cv2.INTER_CUBIC)
