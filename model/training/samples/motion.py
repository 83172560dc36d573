"""Smooth random motion: paths of pasted objects, drift of the camera, deformation."""

from dataclasses import dataclass

import cv2
import numpy as np

_FULL_MOTION = 15.0  # frames; samples of less time get a part of the motion


def wave(rng: np.random.Generator, phase: np.ndarray, amplitude: float, channels: int = 1) -> np.ndarray:
    """A smooth random curve through 0 at phase 0: a drift and a slow swing.

    Args:
        rng: what is drawn from.
        phase: 0..1 over the sample, float (T,).
        amplitude: deviation at about the end.
        channels: independent curves.

    Returns:
        float64 (T, channels).
    """
    drift = rng.normal(0, amplitude, channels) * phase[:, None]
    rate, start = rng.uniform(0.5, 2, channels) * 2 * np.pi, rng.uniform(0, 2 * np.pi, channels)
    swing = np.sin(rate * phase[:, None] + start) - np.sin(start)
    return drift + 0.5 * amplitude * rng.random(channels) * swing


def phases(times: np.ndarray) -> np.ndarray:
    """Time of each frame as a part of the sample, 0..1, float64 (T,): what is close in time moves little."""
    elapsed = np.abs(times - times[0]).astype(np.float64)
    return elapsed / max(_FULL_MOTION, elapsed.max())


@dataclass(frozen=True, eq=False)
class Motion:
    """Where a layer lies in each frame of a sample.

    Attributes:
        centres: x and y of its centre in the crop, float (T, 2) pixels.
        scales: crop pixels per source pixel, float (T,).
        angles: radians, float (T,).
        mirrored: whether it is flipped left to right.
        squeezes: factor of its width, float (T,), as of something that turns away; None: 1.
    """

    centres: np.ndarray
    scales: np.ndarray
    angles: np.ndarray
    mirrored: bool
    squeezes: np.ndarray | None = None

    def matrix(self, t: int, source_centre: tuple[float, float]) -> np.ndarray:
        """Affine transform from source to crop pixels in frame t, float64 (2, 3)."""
        cos, sin = np.cos(self.angles[t]) * self.scales[t], np.sin(self.angles[t]) * self.scales[t]
        width = 1.0 if self.squeezes is None else float(self.squeezes[t])
        turn = np.array([[cos, -sin], [sin, cos]]) @ np.diag([-width if self.mirrored else width, 1.0])
        return np.column_stack([turn, self.centres[t] - turn @ np.asarray(source_centre)])


class Deformation:
    """A coarse random displacement that changes smoothly with time, like a thin plate being bent.

    Limitation: points of a 4x4 grid are joined bicubically, so that small parts move with their surroundings.
    """

    _GRID = 4

    def __init__(
        self, rng: np.random.Generator, phase: np.ndarray, amplitude: float, parallax: np.ndarray | None = None
    ):
        """Draws the bending.

        Args:
            rng: what is drawn from.
            phase: 0..1 over the sample, float (T,).
            amplitude: deviation of the grid's points in crop pixels.
            parallax: x and y that the lower border, which is near, is moved by in each frame, float (T, 2) crop pixels;
                the upper one, which is far, is moved the other way. None: not at all.
        """
        self.amplitude = amplitude
        still = rng.normal(0, amplitude / 2, (1, self._GRID, self._GRID, 2))
        moving = wave(rng, phase, amplitude, self._GRID * self._GRID * 2).reshape(-1, self._GRID, self._GRID, 2)
        self._grids = (still + moving).astype(np.float32)
        if parallax is not None:
            self._grids += (parallax[:, None, None] * np.linspace(-1, 1, self._GRID)[:, None, None]).astype(np.float32)
            self.amplitude += float(np.abs(parallax).max()) / 2

    def field(self, t: int, width: int, height: int) -> np.ndarray:
        """Displacement x and y in frame t over the whole layer, float32 (height, width, 2) crop pixels."""
        return cv2.resize(self._grids[t], (width, height), interpolation=cv2.INTER_CUBIC)
