"""A keyframe: what an annotator says about one frame."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from model.errors import InputError
from model.object_masks import MaskInput, ObjectMasks


@dataclass(frozen=True, eq=False)
class Keyframe:
    """The true masks of some objects on one frame.

    Attributes:
        index: frame number in the sequence, 0-based.
        masks: of the objects, which may share pixels. May be given as a label map, an integer array (H, W) in which the
            value of a pixel is its object id 1..255 and 0 is background, or as one bool array (H, W) per id.
        objects: the ids this keyframe speaks for, ascending. All ids in `masks` are among them; an id without
            pixels says that the object is absent here. Objects that are not listed are left to the network.

    Raises:
        InputError: a mask is not 2-D or an id lies outside 0..255, an id has pixels but is not listed, or no
            object is named at all.
    """

    index: int
    masks: ObjectMasks
    objects: tuple[int, ...] = ()

    def __init__(self, index: int, masks: MaskInput, objects: Iterable[int] | None = None):
        index = int(index)
        try:
            masks = ObjectMasks.given(masks)
        except InputError as error:
            raise InputError(f"keyframe {index}: {error}") from None
        present = masks.objects
        named = present if objects is None else tuple(sorted({int(i) for i in objects}))
        if not named:
            raise InputError(
                f"keyframe {index} is empty: draw at least one object, or list the ids that are absent here"
            )
        if named[0] < 1 or named[-1] > 255:
            wrong = named[0] if named[0] < 1 else named[-1]
            raise InputError(f"keyframe {index}: object ids must lie in 1..255, found {wrong}")
        unlisted = sorted(set(present) - set(named))
        if unlisted:
            raise InputError(f"keyframe {index} has pixels of object {unlisted[0]}, which `objects` does not list")
        object.__setattr__(self, "index", index)
        object.__setattr__(self, "masks", masks)
        object.__setattr__(self, "objects", named)

    @property
    def label_map(self) -> np.ndarray:
        """The masks flattened, uint8 (H, W): where objects share a pixel, the uppermost has it."""
        return self.masks.label_map

    @property
    def present(self) -> tuple[int, ...]:
        """The ids that have pixels, ascending."""
        return self.masks.objects

    def mask(self, obj: int) -> np.ndarray:
        """The mask of an object, bool (H, W); empty for one that is absent or not spoken for."""
        return self.masks.mask(obj)
