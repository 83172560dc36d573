"""Finds new places for the vertices of a ring on an outline, and adds or removes vertices where that is needed."""

from dataclasses import dataclass

import numpy as np

from plugin.shapes.outline import Outline
from plugin.shapes.ring import edge_normals, feet_on, next_vertices, signed_area, squared_distances

_IDLE = 0.4  # of the tolerance: a vertex goes where the outline would stray no farther without it
_MOSTLY = 0.3  # share of the vertices next to strays, from which on the whole shape changes and all may move


def match(ring: np.ndarray, outline: Outline) -> np.ndarray | None:
    """Find each vertex's place on the outline, in order round the curve.

    Returns:
        Places, float64 (V,); None when no order fits.
    """
    # Coarse places over the whole curve, then fine ones beside them.
    count = int(np.clip(4 * len(ring), 192, 1024))
    steps = outline.steps(count)
    scale = float(np.sqrt(abs(signed_area(outline.corners))))
    every = np.broadcast_to(steps, (len(ring), count))
    nearest = np.argpartition(_vertex_costs(ring, outline, every, 0.05 * scale), 15, axis=1)[:, :16]
    coarse = _in_order(ring, outline, steps[nearest], 0.05 * scale)
    fine = coarse[:, None] + np.linspace(-1.5, 1.5, 13) * steps[1]
    places = _in_order(ring, outline, fine, 0.02 * scale)
    return places if _goes_round_once(places, outline) else None


def _vertex_costs(ring: np.ndarray, outline: Outline, places: np.ndarray, softness: float) -> np.ndarray:
    """What it costs to put vertex i to places (V, K): its distance over `softness`, and unlike directions beside it."""
    back, ahead = np.roll(ring, 1, axis=0) - ring, next_vertices(ring) - ring
    here = outline.at(places)
    costs = np.sqrt(np.square(here - ring[:, None]).sum(axis=2)) / softness
    for edge, sign in ((back, -1), (ahead, 1)):
        length = np.hypot(*edge.T)[:, None]
        chord = outline.at(places + sign * np.maximum(length / 2, 1.0)) - here
        directions = chord / np.maximum(np.hypot(chord[..., 0], chord[..., 1]), 1e-9)[..., None]
        unlike = directions - (edge / np.maximum(length, 1e-9))[:, None]
        costs += 2 * np.hypot(unlike[..., 0], unlike[..., 1])
    return costs


def _in_order(ring: np.ndarray, outline: Outline, places: np.ndarray, softness: float) -> np.ndarray:
    """The cheapest choice, float64 (V,), among the places (V, K) of the vertices, by cyclic dynamic programming.

    The cost between neighbours is how much their distance along the outline differs from the length of their edge,
    which also keeps them in order: a step back is a way round almost the whole curve.
    """
    vertices, choices = places.shape
    here = _vertex_costs(ring, outline, places, softness).astype(np.float32)
    edges = np.hypot(*(next_vertices(ring) - ring).T)[:, None, None]
    ways = np.mod(np.roll(places, -1, axis=0)[:, :, None] - places[:, None, :], outline.length)
    between = (np.abs(ways - edges) / (edges + 0.05 * outline.length)).astype(np.float32)  # (V, K ahead, K)
    # best[s, k]: the cheapest way from choice s of the first vertex to choice k of the present one.
    best = np.where(np.eye(choices, dtype=bool), here[0], np.float32(np.inf))
    came_from = np.empty((vertices, choices, choices), dtype=np.intp)
    for i in range(1, vertices + 1):
        total = best[:, None, :] + between[i - 1][None]
        came_from[i - 1] = total.argmin(axis=2)
        best = total.min(axis=2) + here[i % vertices]
    chosen = np.empty(vertices, dtype=np.intp)
    first = choice = int(np.diag(best).argmin())
    for i in range(vertices - 1, -1, -1):
        choice = chosen[i] = came_from[i, first, choice]
    return places[np.arange(vertices), chosen]


def refit(base: np.ndarray, places: np.ndarray, outline: Outline, tolerance: float) -> np.ndarray | None:
    """Bring a ring to its places on the outline. Vertices far from all that strays by the tolerance stay.

    Returns:
        The new ring; None when so many vertices are new that the old ones mean nothing.
    """
    belongs = outline.at(places)
    is_off = np.hypot(*(base - belongs).T) > tolerance
    arc, ways = _arc_from(places, outline)
    strayed = (arc.deviations(base, ways) > tolerance) | is_off | np.roll(is_off, -1)  # edges
    free = strayed | np.roll(strayed, 1)
    free |= free.mean() > _MOSTLY

    # Vertices move first, so that a vertex is inserted only where moving does not help.
    fit = arc.moved(_Fit(np.where(is_off[:, None], belongs, base), ways, free), tolerance)
    for _ in range(2):
        better = _nearby_places(fit.vertices, places, outline)
        if np.abs(better - places).max() < 1:
            break
        places = better
        arc, ways = _arc_from(places, outline)
        fit = arc.moved(_Fit(fit.vertices, ways, free), tolerance)
    fit = arc.with_fewer(arc.with_more(fit, tolerance), _IDLE * tolerance)
    for _ in range(4):
        fit = arc.moved(fit, tolerance)
        more = arc.with_more(fit, tolerance)
        if len(more.vertices) == len(fit.vertices):
            break
        fit = more
    return arc.without_tips(fit, tolerance) if len(fit.vertices) <= 2 * len(base) + 8 else None


def _nearby_places(vertices: np.ndarray, places: np.ndarray, outline: Outline) -> np.ndarray:
    """The places (V,) of the outline that are nearest to the vertices, not far from `places` and in order; or these."""
    tried = places[:, None] + np.linspace(-0.03, 0.03, 65) * outline.length
    distances = np.square(outline.at(tried) - vertices[:, None]).sum(axis=2)
    found = tried[np.arange(len(places)), distances.argmin(axis=1)]
    return found if _goes_round_once(found, outline) else places


def _goes_round_once(places: np.ndarray, outline: Outline) -> bool:
    """Whether a ring with these places goes round the outline once, without a step back."""
    return round(np.mod(np.roll(places, -1) - places, outline.length).sum() / outline.length) == 1


@dataclass(frozen=True)
class _Fit:
    """A ring on its way to an outline. Edge i goes from vertex i to vertex i + 1."""

    vertices: np.ndarray  # float64 (V, 2)
    ways: np.ndarray  # float64 (V,), the vertices' places on the outline, counted from the first one, ascending from 0
    free: np.ndarray  # bool (V,), which vertices may be moved or removed


@dataclass(frozen=True)
class _Arc:
    """The samples of an outline from the first vertex's place on, to compare with the edges they belong to."""

    reach: np.ndarray  # float64 (M,), ascending from 0
    points: np.ndarray  # float64 (M, 2)

    def deviations(self, vertices: np.ndarray, ways: np.ndarray) -> np.ndarray:
        """How far the outline strays from each edge, float64 (V,) pixels."""
        edge = self._edges(ways)
        farthest = np.zeros(len(vertices))
        np.maximum.at(farthest, edge, self._distances(vertices, edge, edge + 1))
        return farthest

    def with_more(self, fit: _Fit, limit: float) -> _Fit:
        """With a vertex more wherever the outline strays farthest from an edge, until none is beyond the limit."""
        vertices, ways, free = fit.vertices, fit.ways, fit.free
        while True:
            edge = self._edges(ways)
            distances = self._distances(vertices, edge, edge + 1)
            order = np.lexsort((distances, edge))
            farthest = order[np.flatnonzero(np.diff(edge[order], append=-1))]
            # Where a vertex is already, another does not help.
            is_new = (distances[farthest] > limit) & ~np.isin(self.reach[farthest], ways)
            new = farthest[is_new]
            if not new.size:
                return _Fit(vertices, ways, free)
            behind = edge[new] + 1
            vertices = np.insert(vertices, behind, self.points[new], axis=0)
            ways = np.insert(ways, behind, self.reach[new])
            free = np.insert(free, behind, True)

    def with_fewer(self, fit: _Fit, limit: float) -> _Fit:
        """Without the free vertices that are not needed to keep within the limit; the first one always stays."""
        vertices, ways, free = fit.vertices, fit.ways, fit.free
        while True:
            cost = np.where(free, self._deviations_without(vertices, ways), np.inf)
            cost[0] = np.inf
            cost[cost > limit] = np.inf
            # Neighbours do not go at once: each is the reason why the other may go.
            gone = np.isfinite(cost) & (cost < np.roll(cost, 1)) & (cost <= np.roll(cost, -1))
            if not gone.any() or np.count_nonzero(~gone) < 3:
                return _Fit(vertices, ways, free)
            vertices, ways, free = vertices[~gone], ways[~gone], free[~gone]

    def moved(self, fit: _Fit, tolerance: float) -> _Fit:
        """The free vertices moved so that the edges run through the middle of their samples.

        Least squares. Samples beyond the tolerance count little: they call for a vertex of their own. What the samples
        do not tell, as a vertex's place along a straight line, stays.
        """
        vertices = fit.vertices
        count = len(vertices)
        edge = self._edges(fit.ways)
        here = np.arange(count)
        there = np.roll(here, -1)
        hold = np.where(fit.free, 1 + 0.05 * np.bincount(edge, minlength=count), 1e9)
        for _ in range(2):
            share, foot = feet_on(self.points, vertices[edge], vertices[there[edge]])
            normals = edge_normals(vertices)
            off = (normals[edge] * (self.points - foot)).sum(axis=1)
            weight = 1 / (1 + np.square(np.hypot(*(self.points - foot).T) / tolerance))
            outer = normals[:, :, None] * normals[:, None, :]
            system, goal = np.zeros((count, 2, count, 2)), np.zeros((count, 2))
            for row, a in ((here, 1 - share), (there, share)):
                goal[row] += np.bincount(edge, weight * a * off, count)[:, None] * normals
                for column, b in ((here, 1 - share), (there, share)):
                    system[row, :, column] += np.bincount(edge, weight * a * b, count)[:, None, None] * outer
            system = system.reshape(2 * count, 2 * count) + np.diag(np.repeat(hold, 2))
            step = np.linalg.solve(system, goal.ravel()).reshape(-1, 2)
            # A line that two nearly parallel edges hardly tell would run far off.
            length = np.hypot(*step.T)[:, None]
            step *= np.minimum(1, 2 * tolerance / np.maximum(length, 1e-9))
            vertices = np.where(fit.free[:, None], vertices + step, vertices)
        return _Fit(vertices, fit.ways, fit.free)

    def without_tips(self, fit: _Fit, tolerance: float) -> np.ndarray:
        """The vertices (V, 2), where the lines of a sharp corner meet far beyond it brought back to the tolerance."""
        near = self.points[squared_distances(fit.vertices, self.points).argmin(axis=1)]
        off = np.hypot(*(fit.vertices - near).T)
        pulled = near + (fit.vertices - near) * (0.9 * tolerance / np.maximum(off, 1e-9))[:, None]
        return np.where((fit.free & (off > tolerance))[:, None], pulled, fit.vertices)

    def _deviations_without(self, vertices: np.ndarray, ways: np.ndarray) -> np.ndarray:
        """How far the outline would stray from the edge that closes the gap of each vertex, float64 (V,) pixels."""
        edge = self._edges(ways)
        farthest = np.zeros(len(vertices))
        np.maximum.at(farthest, edge, self._distances(vertices, edge - 1, edge + 1))
        np.maximum.at(farthest, (edge + 1) % len(vertices), self._distances(vertices, edge, edge + 2))
        return farthest

    def _edges(self, ways: np.ndarray) -> np.ndarray:
        """The edge that each sample belongs to, int (M,)."""
        return np.searchsorted(ways, self.reach, side="right") - 1

    def _distances(self, vertices: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
        """Distance of each sample to the segment between two vertices, given by numbers that may run round."""
        _, foot = feet_on(self.points, vertices[start % len(vertices)], vertices[end % len(vertices)])
        return np.hypot(*(self.points - foot).T)


def _arc_from(places: np.ndarray, outline: Outline) -> tuple[_Arc, np.ndarray]:
    """The samples from the first of the places (V,) on, and the places counted from it, ascending."""
    ways = np.mod(places - places[0], outline.length)
    # Rounding can put a vertex that shares the first one's place just before it.
    ways = np.maximum.accumulate(np.where(ways > outline.length - 1e-6, 0, ways))
    reach = outline.steps(len(outline.samples))
    return _Arc(reach, outline.at(places[0] + reach)), ways
