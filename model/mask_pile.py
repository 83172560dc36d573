"""Masks laid on one another, one after the other."""

import numpy as np

from model.object_masks import ObjectMasks


class MaskPile:
    """The masks of a frame as they are drawn, from bottom to top; no more than one of them need be in memory at a time.

    Args:
        shape: height and width of the frame in pixels.
    """

    def __init__(self, shape: tuple[int, int]):
        self._shape = shape
        self._sheets: list[np.ndarray] = []  # label maps, no object in two of them
        self._place: dict[int, int] = {}  # of each object's label map, from bottom to top

    @property
    def objects(self) -> tuple[int, ...]:
        """The objects that have pixels, from bottom to top."""
        return tuple(self._place)

    @property
    def pixels(self) -> int:
        """How many bytes the masks take: a frame for objects that share no pixel, more for those that do."""
        return len(self._sheets) * self._shape[0] * self._shape[1]

    def add(self, obj: int, mask: np.ndarray) -> None:
        """Lays a mask, bool (H, W), on top of all; with what its object, 1..255, has already."""
        if obj in self._place:
            sheet = self._sheets[self._place.pop(obj)]
            own = sheet == obj
            sheet[own] = 0
            mask = own | mask
        elif not mask.any():
            return
        place = next((i for i, sheet in enumerate(self._sheets) if not sheet[mask].any()), len(self._sheets))
        if place == len(self._sheets):
            self._sheets.append(np.zeros(self._shape, np.uint8))
        self._sheets[place][mask] = obj
        self._place[obj] = place

    def masks(self) -> ObjectMasks:
        """All masks, each whole; the pile is used up."""
        return ObjectMasks.from_sheets(self._sheets or [np.zeros(self._shape, np.uint8)], self._place)
