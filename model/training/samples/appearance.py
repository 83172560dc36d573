"""Change of appearance: colour and brightness as a linear map of RGB, blur, grey, compression."""

from dataclasses import dataclass

import cv2
import numpy as np

from model.training.samples.motion import wave

_LUMA = np.array([0.299, 0.587, 0.114])


def colour_matrix(brightness: float, contrast: float, saturation: float, hue: float) -> np.ndarray:
    """The map of RGB in 0..255 that the changes amount to, float64 (3, 4); 1, 1, 1, 0 changes nothing.

    Args:
        brightness: factor.
        contrast: factor around middle grey.
        saturation: factor around each pixel's grey; 0 is grey.
        hue: radians around the grey axis.
    """
    axis = np.full(3, 3**-0.5)
    cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    turn = np.cos(hue) * np.eye(3) + np.sin(hue) * cross + (1 - np.cos(hue)) * np.outer(axis, axis)
    grey = np.outer(np.ones(3), _LUMA)
    linear = brightness * contrast * (grey + saturation * (turn - grey @ turn))
    return np.column_stack([linear, np.full(3, 128 * (1 - contrast))])


def recolour(image: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Uint8 (H, W, 3) through a colour matrix (3, 4)."""
    return cv2.transform(image, matrix.astype(np.float32))


@dataclass(frozen=True)
class Appearance:
    """How often and how much the appearance changes. `Appearance.none()` leaves the pixels alone.

    Attributes:
        colour: largest part by which brightness, contrast and saturation change for a whole sample.
        flicker: deviation of the further change from the first frame to the last.
        hue: largest turn in radians.
        grey: how often a sample is grey.
        blur: how often a sample is out of focus, and how often single frames are blurred by motion.
        compression: how often a sample shows JPEG's blocks.
    """

    colour: float = 0.3
    flicker: float = 0.06
    hue: float = 0.2
    grey: float = 0.04
    blur: float = 0.12
    compression: float = 0.15

    @classmethod
    def none(cls) -> "Appearance":
        """No change at all."""
        return cls(0, 0, 0, 0, 0, 0)

    def random_matrix(self, rng: np.random.Generator, strength: float = 1.0) -> np.ndarray:
        """One colour matrix, float64 (3, 4)."""
        brightness, contrast, saturation = 1 + strength * self.colour * rng.uniform(-1, 1, 3)
        return colour_matrix(brightness, contrast, saturation, strength * self.hue * rng.uniform(-1, 1))

    def apply(self, rng: np.random.Generator, frames: np.ndarray, phase: np.ndarray) -> None:
        """Changes the frames of a sample in place.

        Args:
            rng: what is drawn from.
            frames: uint8 (T, S, S, 3).
            phase: 0..1 over the sample, float (T,).
        """
        base = 1 + self.colour * rng.uniform(-1, 1, 3)
        flicker = 1 + wave(rng, phase, self.flicker, 3)
        hue = self.hue * rng.uniform(-1, 1)
        if rng.random() < self.grey:
            base[2] = 0
        focus = rng.uniform(0.5, 1.5) if rng.random() < self.blur else 0.0
        shaken = rng.random(len(frames)) < (0.4 if rng.random() < self.blur else 0.0)
        quality = int(rng.integers(25, 75)) if rng.random() < self.compression else 0
        for t, frame in enumerate(frames):
            brightness, contrast, saturation = base * flicker[t]
            frame = recolour(frame, colour_matrix(brightness, contrast, saturation, hue))
            if focus:
                frame = cv2.GaussianBlur(frame, (0, 0), focus)
            if shaken[t]:
                frame = cv2.filter2D(frame, -1, _streak(rng))
            if quality:
                frame = cv2.imdecode(cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], 1)
            frames[t] = frame


def _streak(rng: np.random.Generator) -> np.ndarray:
    """Kernel of motion blur along a random line, float32, sum 1."""
    length = int(rng.integers(3, 10)) | 1
    kernel = np.zeros((length, length), np.float32)
    middle, angle = length // 2, rng.uniform(0, np.pi)
    dx, dy = np.cos(angle) * middle, np.sin(angle) * middle
    start, end = (round(middle - dx), round(middle - dy)), (round(middle + dx), round(middle + dy))
    cv2.line(kernel, start, end, 1.0)
    return kernel / kernel.sum()
