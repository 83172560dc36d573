"""Geometry of closed lines: a ring is float64 (V, 2), x and y, edge i goes from vertex i to vertex i + 1."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class _Feet:
    """For points (N, 2), their nearest points on the edges of a ring.

    Edge i goes from vertex i to vertex i + 1.
    """

    edge: np.ndarray  # int (N,)
    point: np.ndarray  # float64 (N, 2)
    normal: np.ndarray  # float64 (N, 2), unit normals of the edges
    signed: np.ndarray  # float64 (N,), pixels, how far the points are along the normals
    distance: np.ndarray  # float64 (N,), pixels


def feet_on(points: np.ndarray, start: np.ndarray, end: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Nearest points on segments, all (..., 2), and how far along the segments they are, 0..1."""
    edge = end - start
    along = ((points - start) * edge).sum(axis=-1) / np.maximum(np.square(edge).sum(axis=-1), 1e-12)
    share = np.clip(along, 0, 1)
    return share, start + share[..., None] * edge


def next_vertices(ring: np.ndarray) -> np.ndarray:
    """For each vertex the next one, (V, 2)."""
    return np.concatenate([ring[1:], ring[:1]])


def nearest_edges(ring: np.ndarray, points: np.ndarray) -> _Feet:
    """The nearest place on a ring for every point (N, 2)."""
    following = next_vertices(ring)
    # Written out by axes: a last axis of length 2 costs four times as much.
    (x0, y0), (dx, dy) = ring.T.astype(np.float32), (following - ring).T.astype(np.float32)
    x, y = (axis[:, None] - origin for axis, origin in zip(points.T.astype(np.float32), (x0, y0)))
    share = np.clip((x * dx + y * dy) / np.maximum(dx * dx + dy * dy, np.float32(1e-12)), 0, 1)
    edge = (np.square(x - share * dx) + np.square(y - share * dy)).argmin(axis=1)
    _, point = feet_on(points, ring[edge], following[edge])
    normal = edge_normals(ring)[edge]
    off = points - point
    return _Feet(edge, point, normal, (off * normal).sum(axis=1), np.hypot(*off.T))


def squared_distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Squared distances (N, M) in pixels between points (N, 2) and (M, 2)."""
    return np.square(a[:, 0, None] - b[:, 0]) + np.square(a[:, 1, None] - b[:, 1])


def edge_normals(ring: np.ndarray) -> np.ndarray:
    """Unit normals (V, 2) of the edges; 0 for an edge without length."""
    edge = next_vertices(ring) - ring
    return np.stack([-edge[:, 1], edge[:, 0]], axis=1) / np.maximum(np.hypot(*edge.T), 1e-12)[:, None]


def turn(angle: float) -> np.ndarray:
    """The (2, 2) matrix that turns column vectors."""
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def signed_area(ring: np.ndarray) -> float:
    """Enclosed area in pixels, positive when the ring runs clockwise on the screen."""
    x, y = (ring - ring[0]).T
    return float(x @ np.roll(y, -1) - np.roll(x, -1) @ y) / 2


def centroid(ring: np.ndarray) -> np.ndarray:
    """Centre of the enclosed area, float64 (2,); of the vertices where there is no area to speak of."""
    x, y = (ring - ring[0]).T
    cross = x * np.roll(y, -1) - np.roll(x, -1) * y
    if abs(cross.sum()) < 1e-6:
        return ring.mean(axis=0)
    middles = np.stack([x + np.roll(x, -1), y + np.roll(y, -1)], axis=1)
    return ring[0] + (middles * cross[:, None]).sum(axis=0) / (3 * cross.sum())


def oriented(ring: np.ndarray, sign: float) -> np.ndarray:
    """The ring, run through so that its area has this sign, if any."""
    return ring[::-1] if signed_area(ring) * sign < 0 else ring
