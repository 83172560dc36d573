"""Moves, turns and scales a ring as a whole onto an outline."""

from dataclasses import dataclass

import numpy as np

from plugin.shapes.outline import Outline
from plugin.shapes.ring import centroid, nearest_edges, signed_area, squared_distances, turn

_MIN_TURN = 0.04  # share of the outline's samples that tell a turn; a disc, even one of 12 edges, tells none


@dataclass(frozen=True)
class _Motion:
    """A turn and a scaling about one point, then a move that brings this point to another."""

    angle: float  # radians
    scale: float
    origin: np.ndarray  # float64 (2,)
    target: np.ndarray  # float64 (2,)

    def moved(self, ring: np.ndarray, *, scaled: bool) -> np.ndarray:
        """The ring after the motion, without the scaling when not `scaled`."""
        return (ring - self.origin) @ turn(self.angle).T * (self.scale if scaled else 1.0) + self.target


def coarse_start(ring: np.ndarray, outline: Outline) -> _Motion:
    """Where to begin an alignment: with no motion, unless centroid, area and a turn explain the outline much better."""
    still = _Motion(0.0, 1.0, np.zeros(2), np.zeros(2))
    area = abs(signed_area(outline.corners))
    curve = Outline(ring)
    points, goal = curve.at(curve.steps(64)), outline.at(outline.steps(64))

    def cost(motion: _Motion) -> float:
        squared = squared_distances(motion.moved(points, scaled=True), goal)
        distance = np.sqrt(squared.min(axis=0)).mean() + np.sqrt(squared.min(axis=1)).mean()
        # An object rather turns little: this decides between the poses of a shape with symmetries.
        return float(distance) * (1 + 0.5 * abs(motion.angle))

    unmoved = cost(still)
    if unmoved < 0.1 * np.sqrt(area):
        return still
    scale = float(np.sqrt(area / abs(signed_area(ring))))
    origin, target = centroid(ring), centroid(outline.corners)
    motions = [_Motion(angle, scale, origin, target) for angle in np.deg2rad(np.arange(-165, 181, 15))]
    best = min(motions, key=cost)
    return best if cost(best) < 0.8 * unmoved else still


def align(ring: np.ndarray, start: np.ndarray, outline: Outline, *, scales: bool) -> np.ndarray:
    """The ring moved, turned and, if it `scales`, scaled so that its edges are on the outline; beginning at `start`.

    Iterated least squares of the outline's samples to the nearest edges. Samples that are much farther off than most,
    as those of a part that has just appeared, count little.
    """
    samples = outline.at(outline.steps(160))
    moved = start
    for _ in range(8):
        centre = moved.mean(axis=0)
        feet = nearest_edges(moved, samples)
        arms = feet.point - centre
        radius = max(float(np.sqrt(np.square(arms).sum(axis=1).mean())), 1e-6)
        turning = (feet.normal[:, 1] * arms[:, 0] - feet.normal[:, 0] * arms[:, 1]) / radius
        growing = (feet.normal * arms).sum(axis=1) / radius
        weights = 1 / (1 + np.square(feet.signed / max(1.0, 2 * float(np.partition(feet.distance, 80)[80]))))
        factors = np.stack([*feet.normal.T, turning, growing], axis=1)
        system = factors.T @ (factors * weights[:, None])
        if system[2, 2] < _MIN_TURN * weights.sum():
            system[2, 2] = np.inf
        if not scales:
            system[3, 3] = np.inf
        known = np.isfinite(np.diag(system))
        system = system[np.ix_(known, known)] + 1e-3 * weights.sum() * np.eye(int(np.count_nonzero(known)))
        step = np.zeros(4)
        step[known] = np.linalg.solve(system, factors[:, known].T @ (weights * feet.signed))
        angle, growth = step[2] / radius, np.exp(np.clip(step[3] / radius, -0.3, 0.3))
        following = (moved - centre) @ turn(angle).T * growth + centre + step[:2]
        change = np.abs(following - moved).max()
        moved = following
        if change < 0.1:
            break
    return moved
