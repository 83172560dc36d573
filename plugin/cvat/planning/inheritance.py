"""Which objects are those that earlier runs wrote for, where nothing that people drew of them is as it was.

A keyframe that a person redraws has a new content and a new id. What Perclip wrote for the object is still there, and
must give way to what the new keyframe gives: so the object goes on under its group number. It is found by label, by the
overlap of the new keyframe with the nearest annotation that was written, and where nothing overlaps by their distance.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from model.errors import InputError
from model.evaluation.metrics import region_similarity
from plugin.cvat.planning.identity import MaskOf
from plugin.cvat.task.annotations import Shape
from plugin.cvat.task.drawn import Drawn, no_image

_SAME = 0.9  # overlap of masks that are one but for what the network makes of a frame


def inherit_groups(
    objects: Sequence[tuple[Sequence[Drawn], MaskOf]],
    written: Mapping[int, Sequence[Shape]],
    known: Iterable[int],
    relabelled: bool,
) -> dict[int, int]:
    """Group numbers for objects that have none yet.

    Args:
        objects: each the shapes that show it now, and what gives their masks.
        written: group number -> what Perclip has written for it.
        known: group numbers whose objects are known.
        relabelled: an object may have got another label, if its mask is as good as the same.

    Returns:
        Place among the objects -> group number.
    """
    orphans = {group: shapes for group, shapes in written.items() if shapes and group not in set(known)}
    pairs = []
    for place, (drawn, mask_of) in enumerate(objects):
        for group, shapes in orphans.items():
            nearness = _nearness(drawn, shapes, mask_of)
            if shapes[0].label == drawn[0].shape.label:
                pairs.append((nearness, -place, -group))
            elif relabelled and nearness >= _SAME:
                pairs.append((nearness - 1, -place, -group))
    found: dict[int, int] = {}
    for _, place, group in sorted(pairs, reverse=True):
        if -place not in found and -group not in found.values():
            found[-place] = -group
    return found


def _nearness(drawn: Sequence[Drawn], shapes: Sequence[Shape], mask_of: MaskOf) -> float:
    """The overlap of a drawn shape with the nearest one that was written, or minus their distance in pixels."""
    best = -np.inf
    for d in drawn:
        if d.shape.outside:
            continue
        nearest = min(shapes, key=lambda s: abs(s.frame - d.frame))
        try:
            mask = mask_of(d)
            height, width = mask.shape
            other = Drawn(d.job, nearest).mask(height, width, no_image)
        except InputError:
            continue  # of another size, or a rectangle
        apart = np.subtract(_middle(mask), _middle(other))
        best = max(best, region_similarity(mask, other) or -float(np.hypot(*apart)))
    return best


def _middle(mask: np.ndarray) -> tuple[float, float]:
    """Mean row and column; those of nothing are 0."""
    rows, columns = np.nonzero(mask)
    return (float(rows.mean()), float(columns.mean())) if rows.size else (0.0, 0.0)
