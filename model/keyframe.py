"""A keyframe: what an annotator says about one frame."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from model.errors import InputError


@dataclass(frozen=True, eq=False)
class Keyframe:
    """The true masks of some objects on one frame.

    Attributes:
        index: frame number in the sequence, 0-based.
        label_map: integer array (H, W); the value of a pixel is its object id 1..255, 0 is background. Kept as uint8.
        objects: the ids this keyframe speaks for, ascending. All ids in `label_map` are among them; an id without
            pixels says that the object is absent here. Objects that are not listed are left to the network.

    Raises:
        InputError: the label map is not 2-D or has ids outside 0..255, an id has pixels but is not listed, or no
            object is named at all.
    """

    index: int
    label_map: np.ndarray
    objects: tuple[int, ...] = ()

    def __init__(self, index: int, label_map: np.ndarray, objects: Iterable[int] | None = None):
        index = int(index)
        label_map = np.asarray(label_map)
        if label_map.ndim != 2:
            raise InputError(f"keyframe {index}: the label map has shape {label_map.shape}; give one channel (H, W)")
        if label_map.dtype.kind not in "iub":
            raise InputError(f"keyframe {index}: the label map is {label_map.dtype}; give whole-number object ids")
        if label_map.size and (label_map.min() < 0 or label_map.max() > 255):
            wrong = label_map.min() if label_map.min() < 0 else label_map.max()
            raise InputError(f"keyframe {index}: object ids must lie in 1..255, found {wrong}")
        # A copy: what was drawn must not change when the caller's buffer does.
        label_map = np.array(label_map, dtype=np.uint8, order="C")
        present = tuple(int(i) for i in np.flatnonzero(np.bincount(label_map.ravel(), minlength=256)) if i)
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
        object.__setattr__(self, "label_map", label_map)
        object.__setattr__(self, "objects", named)

    @property
    def present(self) -> tuple[int, ...]:
        """The ids that have pixels, ascending."""
        counts = np.bincount(self.label_map.ravel(), minlength=256)
        return tuple(i for i in self.objects if counts[i])
