"""The masks of the objects of one frame, which may share pixels."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import combinations

import cv2
import numpy as np

from model.errors import InputError

_MIXING = np.uint64(
    0x9E3779B97F4A7C15
)  # odd: what differs in the objects of a pixel differs in its code, but by chance


class ObjectMasks:
    """The masks of the objects of one frame, each of its own, and which of them lies above which.

    Inside are as few label maps as it takes: one where no pixel is shared, so that such masks cost what a label map
    costs. Arrays that are given out may be those inside: do not write to them.

    Make one by `of`, `from_label_map` or `from_sheets`.
    """

    def __init__(self, sheets: Sequence[np.ndarray], order: Sequence[int] | None = None):
        """Takes over label maps, uint8 (H, W), no object in two of them, that can be no fewer; `order` as of `of`."""
        self._sheets, self._hint = tuple(sheets), order

    @classmethod
    def of(
        cls, masks: Mapping[int, np.ndarray], order: Iterable[int] | None = None, shape: tuple[int, int] | None = None
    ) -> "ObjectMasks":
        """From one mask per object.

        Args:
            masks: by id 1..255, bool (H, W), of any pixels; whole numbers count as bool.
            order: all ids from bottom to top, more of them do not matter; None: what has more pixels lies below, the
                lower id below where two have as many.
            shape: (H, W); needed where there is no mask.

        Raises:
            InputError: a mask is not 2-D, of another size or of floating-point numbers, an id is no whole number in
                1..255 or is missing in `order`, or there is neither a mask nor a shape.
        """
        if odd := [i for i in masks if not isinstance(i, int | np.integer)]:
            raise InputError(f"object ids must be whole numbers 1..255, found {odd[0]!r}")
        arrays = {int(i): np.asarray(mask) for i, mask in masks.items()}
        for i, mask in arrays.items():
            if not 1 <= i <= 255:
                raise InputError(f"object ids must lie in 1..255, found {i}")
            if mask.ndim != 2 or mask.dtype.kind not in "iub":
                raise InputError(f"the mask of object {i} is {mask.dtype} {mask.shape}; give bool (H, W)")
            shape = mask.shape if shape is None else shape
            if mask.shape != tuple(shape):
                raise InputError(
                    f"the mask of object {i} is {mask.shape[1]}x{mask.shape[0]} pixels, others are "
                    f"{shape[1]}x{shape[0]}; give all at one size"
                )
        if shape is None:
            raise InputError("there is no mask: give at least one, or the size of the frame")
        arrays = {i: mask if mask.dtype == bool else mask != 0 for i, mask in arrays.items()}
        areas = {i: area for i, mask in arrays.items() if (area := int(np.count_nonzero(mask)))}
        by_size = sorted(areas, key=lambda i: (-areas[i], i))
        if order is not None:
            places = {int(i): place for place, i in enumerate(order)}
            if missing := sorted(areas.keys() - places.keys()):
                raise InputError(f"the order of the masks does not name object {missing[0]}")
            by_size = sorted(areas, key=places.__getitem__)
        sheets: list[np.ndarray] = []
        for i in by_size:
            free = next((sheet for sheet in sheets if not sheet[arrays[i]].any()), None)
            if free is None:
                sheets.append(free := np.zeros(shape, np.uint8))
            free[arrays[i]] = i
        return cls(sheets or [np.zeros(shape, np.uint8)], by_size)

    @classmethod
    def from_label_map(cls, label_map: np.ndarray) -> "ObjectMasks":
        """From a label map, whole numbers (H, W): the value of a pixel is its object id 1..255, 0 is background.

        A copy: what was drawn must not change when the caller's buffer does.

        Raises:
            InputError: it is not 2-D, not of whole numbers, or has ids outside 0..255.
        """
        label_map = np.asarray(label_map)
        if label_map.ndim != 2:
            raise InputError(f"the label map has shape {label_map.shape}; give one channel (H, W)")
        if label_map.dtype.kind not in "iub":
            raise InputError(f"the label map is {label_map.dtype}; give whole-number object ids")
        if label_map.size and (label_map.min() < 0 or label_map.max() > 255):
            wrong = label_map.min() if label_map.min() < 0 else label_map.max()
            raise InputError(f"object ids must lie in 1..255, found {wrong}")
        return cls.from_sheets([np.array(label_map, dtype=np.uint8, order="C")])

    @classmethod
    def from_sheets(cls, sheets: Sequence[np.ndarray], order: Iterable[int] | None = None) -> "ObjectMasks":
        """From label maps, uint8 (H, W), that become part of it; no object may be in two of them.

        Args:
            sheets: at least one.
            order: as of `of`; ids that it does not name lie on top.
        """
        return cls(_packed(sheets), None if order is None else tuple(order))

    @classmethod
    def given(cls, masks: "MaskInput") -> "ObjectMasks":
        """What a caller gave as masks: these themselves, a label map, or one bool mask per object; see the others."""
        if isinstance(masks, ObjectMasks):
            return masks
        return cls.of(masks) if isinstance(masks, Mapping) else cls.from_label_map(masks)

    @property
    def sheets(self) -> tuple[np.ndarray, ...]:
        """Label maps uint8 (H, W), in each of which no object covers another; `from_sheets` takes them."""
        return self._sheets

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        height, width = self._sheets[0].shape
        return height, width

    @property
    def objects(self) -> tuple[int, ...]:
        """The ids that have pixels, ascending."""
        return tuple(self.areas)

    @cached_property
    def order(self) -> tuple[int, ...]:
        """The ids that have pixels, from bottom to top."""
        by_size = sorted(self.areas, key=lambda i: (-self.areas[i], i))
        if self._hint is None:
            return tuple(by_size)
        places = {i: place for place, i in enumerate(self._hint)}
        return tuple(sorted(by_size, key=lambda i: places.get(i, len(places))))

    @cached_property
    def areas(self) -> dict[int, int]:
        """How many pixels each object has, of those that have any; ascending by id."""
        counts = np.sum([_histogram(sheet) for sheet in self._sheets], axis=0)
        return {int(i): int(counts[i]) for i in np.flatnonzero(counts) if i}

    @cached_property
    def _places(self) -> dict[int, np.ndarray]:
        """The label map inside that has an object, for each of them."""
        if len(self._sheets) == 1:
            return dict.fromkeys(self.areas, self._sheets[0])
        return {int(i): sheet for sheet in self._sheets for i in np.flatnonzero(_histogram(sheet)) if i}

    @property
    def overlapping(self) -> bool:
        """Whether any pixel belongs to more than one object."""
        return len(self._sheets) > 1

    @cached_property
    def label_map(self) -> np.ndarray:
        """The masks flattened, uint8 (H, W): of objects that share a pixel the uppermost has it."""
        return self._sheets[0] if len(self._sheets) == 1 else self.flattened(self.order)

    def flattened(self, objects: Iterable[int]) -> np.ndarray:
        """The label map of some of the objects, uint8 (H, W), as if the others were not there."""
        wanted = set(objects)
        if len(self._sheets) == 1:
            sheet = self._sheets[0]
            return sheet if wanted.issuperset(self.order) else _only(sheet, wanted)
        flat = np.zeros(self.shape, np.uint8)
        for i in self.order:
            if i in wanted:
                flat[self.mask(i)] = i
        return flat

    def mask(self, obj: int) -> np.ndarray:
        """The mask of an object, bool (H, W), a fresh array; empty for an id that has no pixels."""
        sheet = self._places.get(obj)
        return np.zeros(self.shape, bool) if sheet is None else sheet == obj

    def items(self) -> Iterator[tuple[int, np.ndarray]]:
        """Each id that has pixels with its mask, from bottom to top."""
        return ((i, self.mask(i)) for i in self.order)

    def shared(self) -> dict[tuple[int, int], int]:
        """How many pixels two objects share, by their ids, the lower one first; of those that share any."""
        if not self.overlapping:
            return {}
        # The objects of every pixel that several have; many pixels have the same.
        depth = np.zeros(self.shape, np.uint8)
        for sheet in self._sheets:
            depth += sheet > 0
        columns = [sheet[depth > 1] for sheet in self._sheets]
        code = np.zeros(len(columns[0]), np.uint64)
        for column in columns:
            code = code * _MIXING + column
        _, first, counts = np.unique(code, return_index=True, return_counts=True)
        found: Counter[tuple[int, int]] = Counter()
        for ids, count in zip(np.stack([column[first] for column in columns], 1).tolist(), counts.tolist()):
            for pair in combinations(sorted(i for i in ids if i), 2):
                found[pair] += count
        return dict(sorted(found.items()))

    def only(self, objects: Iterable[int]) -> "ObjectMasks":
        """The masks of some of the objects."""
        wanted = set(objects)
        if wanted.issuperset(self.order):
            return self
        return ObjectMasks.from_sheets([_only(sheet, wanted) for sheet in self._sheets], self.order)

    def above(self, below: "ObjectMasks", order: Iterable[int] | None = None) -> "ObjectMasks":
        """These masks and those of the other objects of `below`, each whole.

        Args:
            below: objects of both are as they are here.
            order: as of `of`; None: these lie above those.
        """
        rest = below.only(set(below.objects) - set(self.objects))
        return ObjectMasks.from_sheets(
            [*rest._sheets, *self._sheets], (*rest.order, *self.order) if order is None else order
        )

    def renamed(self, names: Mapping[int, int]) -> "ObjectMasks":
        """The same masks under other ids, 1..255; each id that has pixels must get one of its own."""
        table = np.zeros(256, np.uint8)
        for i in self.order:
            table[i] = names[i]
        return ObjectMasks([table[sheet] for sheet in self._sheets], [names[i] for i in self.order])

    def __eq__(self, other: object) -> bool:
        """Of equal size, with the same mask of each object, and the same one on top wherever two share a pixel."""
        if not isinstance(other, ObjectMasks):
            return NotImplemented
        return (
            self.shape == other.shape
            and self.areas == other.areas
            and np.array_equal(self.label_map, other.label_map)
            and (
                not (self.overlapping or other.overlapping)
                or all(np.array_equal(mask, other.mask(i)) for i, mask in self.items())
            )
        )

    __hash__ = None  # type: ignore[assignment]  # arrays are compared by content

    def __repr__(self) -> str:
        return f"ObjectMasks({self.shape[1]}x{self.shape[0]}, from bottom to top: {self.order})"


MaskInput = ObjectMasks | np.ndarray | Mapping[int, np.ndarray]
"""How a caller may give the masks of a frame: `ObjectMasks.given`."""


def _histogram(sheet: np.ndarray) -> np.ndarray:
    """How many pixels of a label map have each value, int64 (256,)."""
    if not sheet.size:
        return np.zeros(256, np.int64)
    # Exact up to 2^24 pixels of one value in each band; several times faster than `np.bincount`.
    counts = np.zeros(256, np.int64)
    for top in range(0, len(sheet), 1024):
        counts += cv2.calcHist([sheet[top : top + 1024]], [0], None, [256], (0, 256)).ravel().astype(np.int64)
    return counts


def _only(sheet: np.ndarray, objects: set[int]) -> np.ndarray:
    kept = np.zeros(256, np.uint8)
    kept[list(objects & set(range(256)))] = 1
    kept *= np.arange(256, dtype=np.uint8)
    only: np.ndarray = kept[sheet]
    return only


def _packed(sheets: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The same objects in fewer label maps: one joins another where no pixel of the two meets."""
    packed: list[np.ndarray] = []
    for sheet in sheets:
        for n, other in enumerate(packed):
            if not (other.astype(bool) & sheet.astype(bool)).any():
                packed[n] = np.maximum(other, sheet)
                break
        else:
            packed.append(sheet)
    return packed
