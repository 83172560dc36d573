"""The shapes of an annotation file, and how they become keyframes.

Which shapes are one object:

* shapes of one label with the same identity (COCO's `track_id`, CVAT's group, a CVAT track) are one object;
* shapes without identity are one object per label as long as no frame has two of them;
* when all of them are on one frame, each is an object of its own.

Identities that are whole numbers in 1..254, different for all objects, become the object ids; otherwise objects are
numbered from 1 in the order of the file.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from model.data.mask_picture import MOST_OBJECTS
from model.errors import InputError
from model.keyframe import Keyframe
from model.mask_pile import MaskPile
from plugin.keyframes.keyframe_set import KeyframeSet
from plugin.shapes.polygon import polygon_ring

_REASONS = 3  # that are told of one annotation


@dataclass(frozen=True)
class Annotation:
    """One shape on one frame.

    Attributes:
        where: names the shape in errors, as "annotation 12".
        frame: frame number, 0-based.
        size: (H, W) of the frame in pixels.
        label: the name of the object's kind.
        paint: gives bool (H, W), and never fails; None says that the object is absent on this frame.
        identity: equal for all shapes of an object; None when the file does not say.
        fallback: the identity to use when it cannot be told from the label alone; None makes this an error.
        z_order: higher shapes lie on lower ones; among equals the later in the file lies on top.
        is_interpolated: nobody drew it; it only completes frames on which somebody drew another shape.
        flaw: what is wrong with the parts of it that cannot be used; None where all can.
        is_useless: no part of it can be used.
    """

    where: str
    frame: int
    size: tuple[int, int]
    label: str
    paint: Callable[[], np.ndarray] | None
    identity: Hashable = None
    fallback: Hashable = None
    z_order: int = 0
    is_interpolated: bool = False
    flaw: str | None = None
    is_useless: bool = False


def keyframes_of(annotations: Sequence[Annotation], how_to_link: str) -> KeyframeSet:
    """Paint annotations into keyframes.

    A shape that covers no pixel's centre says nothing. It is left out with a warning, as are parts that cannot be used:
    one for each annotation. What lies under other objects stays whole; of an object's shapes the highest says where it
    lies.

    Args:
        annotations: in the order of the file.
        how_to_link: ends the error for shapes whose object cannot be told, as "give each annotation a track_id".

    Raises:
        InputError: shapes cannot be told apart, there are more than 254 objects, or none.
    """
    warnings = [f"{a.where}: {a.flaw}" for a in annotations if a.flaw is not None]
    annotations = [annotation for annotation in annotations if not annotation.is_useless]
    keys = _object_keys(annotations, how_to_link)
    ids = _object_ids(keys)
    by_frame: dict[int, list[tuple[Annotation, int]]] = {}
    for annotation, key in zip(annotations, keys):
        by_frame.setdefault(annotation.frame, []).append((annotation, ids[key]))
    drawn = sorted({annotation.frame for annotation in annotations if not annotation.is_interpolated})
    painted = [_paint_frame(frame, by_frame[frame], warnings) for frame in drawn]
    keyframes = tuple(keyframe for keyframe in painted if keyframe is not None)
    spoken_for = {object_id for keyframe in keyframes for object_id in keyframe.objects}
    if not spoken_for:
        because = f" ({warnings[0]})" if warnings else ""
        raise InputError(f"no mask, polygon or box covers a pixel{because}: draw at least one object")
    names = {object_id: label for (label, _), object_id in ids.items() if object_id in spoken_for}
    return KeyframeSet(keyframes, dict(sorted(names.items())), warnings=tuple(warnings))


def flaw_of_parts(parts: Sequence[Any], check: Callable[[Any], object]) -> tuple[list[Any], str | None]:
    """Sort out the parts of an annotation that cannot be used.

    Args:
        parts: in any form.
        check: raises what it likes about a part that cannot be used.

    Returns:
        The parts that can be used, and what is wrong with the others in one line; None where all can be used.
    """
    good, reasons = [], []
    for part in parts:
        try:
            check(part)
        except (InputError, LookupError, TypeError, ValueError, OverflowError, AttributeError) as error:
            reasons.append(f"it has no {error}" if isinstance(error, KeyError) else str(error))
        else:
            good.append(part)
    if not reasons:
        return good, None
    distinct = list(dict.fromkeys(reasons))
    because = "; ".join(distinct[:_REASONS]) + ("; ..." if len(distinct) > _REASONS else "")
    if not good:
        return good, f"left out: {because}"
    return good, f"{len(reasons)} of {len(parts)} parts left out: {because}"


def check_polygon(points: Sequence[float]) -> None:
    """Refuse what is no polygon, with an InputError that says why."""
    ring = polygon_ring(points)
    if np.linalg.matrix_rank(ring - ring[0]) < 2:
        raise InputError("a polygon encloses nothing, its points lie on one line")


def _object_keys(annotations: Sequence[Annotation], how_to_link: str) -> list[tuple[str, Hashable]]:
    """For every annotation, the label and identity of its object."""
    unlinked = Counter((a.label, a.frame) for a in annotations if a.identity is None)
    frames = Counter(label for label, _ in unlinked)
    crowded = {label: frame for (label, frame), count in unlinked.items() if count > 1}
    keys: list[tuple[str, Hashable]] = []
    for position, annotation in enumerate(annotations):
        identity = annotation.identity
        if identity is None and annotation.label in crowded:
            if frames[annotation.label] == 1:
                identity = ("shape", position)
            elif annotation.fallback is not None:
                identity = annotation.fallback
            else:
                raise InputError(
                    f"frame {crowded[annotation.label]} has several {annotation.label!r} and nothing says "
                    f"which is which on other frames: {how_to_link}"
                )
        keys.append((annotation.label, identity))
    return keys


def _object_ids(keys: Sequence[tuple[str, Hashable]]) -> dict[tuple[str, Hashable], int]:
    """Number the objects."""
    objects = list(dict.fromkeys(keys))
    if len(objects) > MOST_OBJECTS:
        raise InputError(f"{len(objects)} objects are too many: at most {MOST_OBJECTS} can be carried in one run")
    identities = [identity for _, identity in objects]
    usable = all(isinstance(identity, int) and 1 <= identity <= MOST_OBJECTS for identity in identities)
    if not usable or len(set(identities)) < len(identities):
        return {obj: number for number, obj in enumerate(objects, 1)}
    return dict(zip(objects, cast(list[int], identities)))


def _paint_frame(frame: int, shapes: Sequence[tuple[Annotation, int]], warnings: list[str]) -> Keyframe | None:
    """The keyframe of one frame, or None when its shapes say nothing; adds a warning for each that says nothing."""
    size = shapes[0][0].size
    painted = MaskPile(size)
    named: set[int] = set()
    for annotation, object_id in sorted(shapes, key=lambda shape: shape[0].z_order):
        if annotation.paint is None:
            named.add(object_id)
            continue
        mask = annotation.paint()
        if mask.any():
            painted.add(object_id, mask)
            named.add(object_id)
        else:
            warnings.append(f"{annotation.where}: left out: it covers no pixel of the picture")
    return Keyframe(frame, painted.masks(), named) if named else None
