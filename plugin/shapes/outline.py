"""The outline of an object as a curve that polygons are compared with."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from plugin.shapes.polygon import polygons_to_mask
from plugin.shapes.ring import nearest_edges, next_vertices, squared_distances


@dataclass(frozen=True)
class Outline:
    """The outline of an object as a closed curve. Places on it are arc lengths in pixels from its first corner."""

    corners: np.ndarray  # float64 (N, 2), x, y

    @cached_property
    def _closed(self) -> np.ndarray:
        return np.concatenate([self.corners, self.corners[:1]])

    @cached_property
    def _places(self) -> np.ndarray:
        """Arc length of every corner and of the end, float64 (N + 1,)."""
        return np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(self._closed, axis=0).T))])

    @property
    def length(self) -> float:
        """Of the whole curve, in pixels."""
        return float(self._places[-1])

    def at(self, places: np.ndarray) -> np.ndarray:
        """The points (..., 2) at these places (...); places go round the curve as often as they like."""
        places = places % self.length
        return np.stack([np.interp(places, self._places, axis) for axis in self._closed.T], axis=-1)

    @cached_property
    def samples(self) -> np.ndarray:
        """Points along the curve in equal distances, 1 to 2 pixels mostly, float64 (M, 2)."""
        return self.at(self.steps(int(np.clip(self.length, 64, max(800, self.length / 4)))))

    def steps(self, count: int) -> np.ndarray:
        """So many places in equal distances, float64 (count,)."""
        return np.arange(count) * (self.length / count)

    @cached_property
    def _pixels(self) -> tuple[np.ndarray, np.ndarray]:
        """First and end corner, int (2, 2) x and y, of the box around the curve, and bool (h, w), the pixels inside."""
        box = np.stack([np.floor(self.corners.min(axis=0)), np.ceil(self.corners.max(axis=0))]).astype(int)
        width, height = (box[1] - box[0]).tolist()
        return box, polygons_to_mask([(self.corners - box[0]).ravel()], height, width)

    def iou(self, ring: np.ndarray) -> float:
        """Intersection over union, 0..1, of the pixels inside the curve and inside a ring."""
        box, pixels = self._pixels
        low = np.minimum(box[0], np.floor(ring.min(axis=0)).astype(int))
        high = np.maximum(box[1], np.ceil(ring.max(axis=0)).astype(int))
        drawn = polygons_to_mask([(ring - low).ravel()], *(high - low)[::-1].tolist())
        (left, top), (right, bottom) = (box - low).tolist()
        both = np.count_nonzero(drawn[top:bottom, left:right] & pixels)
        return both / (np.count_nonzero(drawn) + np.count_nonzero(pixels) - both)

    def strays(self, ring: np.ndarray, limit: float) -> bool:
        """Whether the curve is farther from a ring, or its vertices and edge middles from the curve, than the limit."""
        # Mostly a few samples tell already.
        if self.far_share(ring, limit) > 0 or nearest_edges(ring, self.samples).distance.max() > limit:
            return True
        points = np.concatenate([ring, (ring + next_vertices(ring)) / 2])
        return bool(squared_distances(points, self.samples).min(axis=1).max() > limit**2)

    def far_share(self, ring: np.ndarray, limit: float) -> float:
        """The share, 0..1, of a tenth of the samples that is farther from a ring than the limit."""
        return float((nearest_edges(ring, self.samples[::10]).distance > limit).mean())
