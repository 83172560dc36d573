"""Which objects of a stretch exclude each other: those of one layer; objects that overlap lie in different layers.

A pixel belongs to at most one object of a layer, as that is what keeps things apart that look alike. Layers know
nothing of each other, so that an object has the mask that it would have if those of other layers were not there.

The rule. Two objects overlap on a keyframe if they share more than 5 % of the pixels of the smaller one, and these are
no touching contours: either they share more than half of the smaller one, or a shared pixel lies deeper inside one of
the two than a contour is wide (a 160th of the frame's shorter side, at least 2 pixels). Objects that overlap on any
keyframe of a stretch lie in different layers for the whole of it. There are as few layers as DSATUR finds (the fewest
possible where one covers others, or one chain of things does); where an object may choose, it joins the layer with most
objects of its own label, then the one with most objects. The order of keyframes does not matter, and nothing but the
stretch's keyframes and the labels does.
"""

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property

import cv2
import numpy as np

from model.keyframe import Keyframe
from model.object_masks import ObjectMasks

_LEAST_SHARED = 0.05  # of the smaller object; less is a sliver
_SURELY_SHARED = 0.5  # likewise; more is no contour, however thin the object is
_CONTOUR = 160  # a contour is so many times narrower than the frame, and people draw no finer than
_NARROWEST_CONTOUR = 2  # pixels


class Layers:
    """In which layer each object of a stretch lies, and what of them lies above what."""

    def __init__(self, layer_of: Mapping[int, int], keyframes: Sequence[Keyframe] = ()):
        """From the layer 0, 1, ... of each object, and the stretch's keyframes, which say what lies above what."""
        self._layer_of = dict(layer_of)
        self._keyframes = sorted(keyframes, key=lambda k: k.index)

    @classmethod
    def of(cls, keyframes: Sequence[Keyframe], labels: Mapping[int, Hashable] | None = None) -> "Layers":
        """The layers of a stretch.

        Args:
            keyframes: all that serve it, in any order.
            labels: of objects, as far as they have any: objects of one label look alike.
        """
        areas = {o: 0 for k in keyframes for o in k.objects}
        rivals: dict[int, set[int]] = {o: set() for o in areas}
        for keyframe in keyframes:
            for obj, area in keyframe.masks.areas.items():
                areas[obj] = max(areas[obj], area)
            for a, b in overlaps(keyframe.masks):
                rivals[a].add(b)
                rivals[b].add(a)
        return cls(_coloured(rivals, areas, labels or {}), keyframes)

    @cached_property
    def _by_size(self) -> list[int]:
        """The objects that have pixels on a keyframe, the largest first."""
        areas: dict[int, int] = {}
        for keyframe in self._keyframes:
            for obj, area in keyframe.masks.areas.items():
                areas[obj] = max(areas.get(obj, 0), area)
        return sorted(areas, key=lambda o: (-areas[o], o))

    @property
    def count(self) -> int:
        """How many layers there are."""
        return max(self._layer_of.values(), default=0) + 1

    def places(self, objects: Sequence[int]) -> list[int]:
        """The layer of each of some objects."""
        return [self._layer_of[o] for o in objects]

    def mates(self, obj: int, among: Iterable[int]) -> list[int]:
        """Those of some objects that are in the layer of one."""
        return [o for o in among if self._layer_of[o] == self._layer_of[obj]]

    def groups(self, objects: Iterable[int]) -> list[tuple[int, ...]]:
        """Some objects by layer, each layer's in the order in which they came; layers without any are left out."""
        found: dict[int, list[int]] = {}
        for obj in objects:
            found.setdefault(self._layer_of[obj], []).append(obj)
        return [tuple(found[layer]) for layer in sorted(found)]

    def order(self, index: int) -> list[int]:
        """All objects from bottom to top at a frame: as the nearest keyframe at or before it has them, then others.

        Of objects that no keyframes put in an order, what has more pixels lies below, as in `ObjectMasks.of`.
        """
        before = [k for k in reversed(self._keyframes) if k.index <= index]
        placed: list[int] = []
        for keyframe in (*before, *(k for k in self._keyframes if k.index > index)):
            _insert(placed, keyframe.masks.order, self._by_size)
        return [*(o for o in self._layer_of if o not in placed), *placed]


def overlaps(masks: ObjectMasks) -> Iterator[tuple[int, int]]:
    """The pairs of objects that overlap by the rule above, the lower id first."""
    width = max(_NARROWEST_CONTOUR, round(min(masks.shape) / _CONTOUR))
    for (a, b), shared in masks.shared().items():
        share = shared / min(masks.areas[a], masks.areas[b])
        if share > _LEAST_SHARED and (share > _SURELY_SHARED or _deep(masks.mask(a), masks.mask(b), width)):
            yield a, b


def _deep(a: np.ndarray, b: np.ndarray, width: int) -> bool:
    """Whether two masks, bool (H, W), share a pixel that lies more than `width` pixels inside one of them."""
    shared = (a & b).view(np.uint8)
    left, top, columns, rows = cv2.boundingRect(shared)
    # At the frame's edge an object goes on.
    window = np.s_[max(0, top - width) : top + rows + width, max(0, left - width) : left + columns + width]
    square = np.ones((2 * width + 1, 2 * width + 1), np.uint8)
    inner = [cv2.erode(np.ascontiguousarray(mask[window]).view(np.uint8), square) for mask in (a, b)]
    return any(bool((mask & shared[window]).any()) for mask in inner)


def _coloured(
    rivals: Mapping[int, set[int]], areas: Mapping[int, int], labels: Mapping[int, Hashable]
) -> dict[int, int]:
    """A layer for each object, in none of which two rivals are; by DSATUR (Brelaz, 1979)."""
    if not any(rivals.values()):
        return dict.fromkeys(sorted(rivals), 0)  # as almost always, and many objects take a while
    layer_of: dict[int, int] = {}
    members: list[list[int]] = [[]]
    around: dict[int, set[int]] = {o: set() for o in rivals}  # layers of its rivals
    while left := sorted(rivals.keys() - layer_of.keys()):
        obj = max(left, key=lambda o: (len(around[o]), len(rivals[o]), areas[o], -o))
        free = [n for n in range(len(members)) if n not in around[obj]]
        if not free:
            free = [len(members)]
            members.append([])
        mates = [o for o in layer_of if obj in labels and labels.get(o) == labels[obj]]
        alike = [sum(layer_of[o] == n for o in mates) for n in range(len(members))]
        layer = max(free, key=lambda n: (alike[n], len(members[n]), -n))
        layer_of[obj] = layer
        members[layer].append(obj)
        for rival in rivals[obj]:
            around[rival].add(layer)
    return dict(sorted(layer_of.items()))


def _insert(placed: list[int], order: Sequence[int], otherwise: Sequence[int]) -> None:
    """Puts the objects of an order, bottom to top, that have no place yet right above what they lie on there.

    Where the order has none of those that have a place, the order `otherwise`, of all objects, says it.
    """
    for obj in [o for o in order if o not in placed]:
        known = order if any(o in placed for o in order) else otherwise
        where = known.index(obj)
        beneath = [placed.index(o) for o in known[:where] if o in placed]
        above = [placed.index(o) for o in known[where:] if o in placed]
        placed.insert(max(beneath) + 1 if beneath else min(above, default=0), obj)
