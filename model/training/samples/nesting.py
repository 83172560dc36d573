"""Objects nested in others: a garment on a person, a rider and the bicycle that are asked for as one, too."""

import cv2
import numpy as np

_REACH = 2  # pixels between two objects that still touch
_CONTACT = 0.15  # of its size, along which an object touches what it is made a part of


def nest_neighbour(rng: np.random.Generator, slots: np.ndarray, inside: dict[int, int]) -> None:
    """Makes one object a part of another that it touches in the first frame; nothing where none do.

    Args:
        rng: what is drawn from.
        slots: the object that each pixel shows, uint8 (T, S, S), 0 for none.
        inside: what each nested object is a part of; is added to.
    """
    first = slots[0]
    pairs = []
    for part in (np.flatnonzero(np.bincount(first.ravel())[1:]) + 1).tolist():
        mask = (first == part).astype(np.uint8)
        around = cv2.dilate(mask, np.ones((2 * _REACH + 1, 2 * _REACH + 1), np.uint8)).astype(bool)
        touched = np.bincount(first[around], minlength=int(first.max()) + 1)
        least = _CONTACT * _REACH * float(np.count_nonzero(mask)) ** 0.5
        pairs += [(part, int(k)) for k in np.flatnonzero(touched >= least) if k not in (0, part)]
    free = [(part, whole) for part, whole in pairs if part not in inside.values() and whole not in inside]
    if free:
        part, whole = free[rng.integers(len(free))]
        inside[part] = whole


def whole_masks(slots: np.ndarray, objects: list[int], inside: dict[int, int]) -> tuple[np.ndarray, list[int]]:
    """Masks of some objects, each with the parts that are nested in it, and the layer of each.

    Args:
        slots: the object that each pixel shows, uint8 (T, S, S), 0 for none.
        objects: whose masks to give.
        inside: what each nested object is a part of.

    Returns:
        uint8 (T, K, S, S) of 0 and 1, and K layers: 1 of objects that are nested, else 0.
    """
    parts = {k: [k, *(part for part, whole in inside.items() if whole == k)] for k in objects}
    masks = np.stack([np.isin(slots, parts[k]) for k in objects], 1).astype(np.uint8)
    return masks, [int(k in inside) for k in objects]
