"""Masks that seem to be inside out: black objects on a white ground, where white is read as the object."""

from collections.abc import Iterable

import numpy as np

from model.data.annotated_sequences import AnnotatedSequence

_MOST = 0.5  # part of the picture that the object covers
_AROUND = 0.6  # part of the picture's outermost pixels
_LEFT = 4  # pixels of background that could be an object


def inside_out(label_map: np.ndarray) -> str | None:
    """What to tell of a mask whose only object goes around what it calls background.

    Such a mask cannot be told for sure from one of an object that fills the frame, so that this is no error. An object
    that reaches beyond the frame seldom covers all of its corners, most of its rim and most of its area, and leaves
    background inside all the same; a ground always does.

    Args:
        label_map: uint8 (H, W): 0 is background, 1..254 are object ids, 255 is void.

    Returns:
        A sentence that goes on after the name of the file; None where the mask is in order.
    """
    rim = np.concatenate([label_map[0], label_map[-1], label_map[:, 0], label_map[:, -1]])
    corners = label_map[[0, 0, -1, -1], [0, -1, 0, -1]]
    object_id = int(corners[0])
    if not 0 < object_id < 255 or (corners != object_id).any() or (rim == object_id).mean() < _AROUND:
        return None
    counts = np.bincount(label_map.ravel(), minlength=256)
    if counts[1:255].sum() > counts[object_id] or counts[0] < _LEFT or counts[object_id] <= _MOST * label_map.size:
        return None
    share = counts[object_id] / label_map.size
    return (
        f"object {object_id} covers {100 * share:.1f} % of the picture and goes around the rest. If the rest was "
        "meant, invert the mask: black (0) for what is no object"
    )


def inside_out_warnings(masks: Iterable[tuple[str, np.ndarray]]) -> list[str]:
    """What to tell of masks that belong together: they are wrong together, so that one of them is told, and how many.

    Args:
        masks: name, and label map as for `inside_out`.

    Returns:
        One sentence, that begins with the name of the first; none where all are in order.
    """
    return first_of([f"{name}: {doubt}" for name, mask in masks if (doubt := inside_out(mask)) is not None])


def first_of(doubts: list[str]) -> list[str]:
    """The first of doubts that are all alike, with their number."""
    return doubts if len(doubts) < 2 else [f"{doubts[0]}. There are {len(doubts)} such masks"]


def first_masks(sequences: Iterable[AnnotatedSequence]) -> Iterable[tuple[str, np.ndarray]]:
    """The first mask of each sequence, with sequence and frame as its name."""
    for sequence in sequences:
        first = sequence.annotated[0]
        label_map = sequence.label_maps[first]
        if label_map is not None:  # as it is where an evaluation never reads it
            yield f"{sequence.name}, frame {first}", label_map
