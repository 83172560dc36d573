"""Masks as the annotations that Perclip writes, each checked before it is sent: the server checks almost nothing."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from model.errors import InputError
from plugin.cvat.planning.task_objects import TaskObject
from plugin.cvat.settings import TRACKS
from plugin.cvat.task.annotations import Annotation, Shape, Track
from plugin.cvat.task.drawn import Drawn
from plugin.cvat.task.layout import Job, Label, TaskLayout
from plugin.shapes.drawn_shape import mask_to_points
from plugin.shapes.rle import decode_mask

_DIGITS = 2  # of coordinates; a hundredth of a pixel


def shape_of(
    mask: np.ndarray,
    obj: TaskObject,
    frame: int,
    output: str,
    tolerance: float,
    previous: Sequence[float] | None,
    score: float | None,
) -> Shape | None:
    """The shape of a mask; None where there is none to write.

    Args:
        mask: bool (H, W).
        obj: that it shows; gives label, group and, from its nearest keyframe, attributes and z_order.
        frame: task-relative number.
        output: one of `plugin.cvat.settings.OUTPUTS` but the first.
        tolerance: of polygons, in pixels.
        previous: the object's polygon in a neighbouring frame, or None.
        score: confidence 0..1; None: the server takes none.
    """
    kind = "polygon" if output in TRACKS else output
    points = mask_to_points(mask, kind, tolerance, previous)
    if points is None:
        return None
    if kind != "mask":
        points = [round(p, _DIGITS) for p in points]
    like = obj.nearest(frame)
    return Shape(
        frame=frame,
        kind=kind,
        points=tuple(points),
        label=obj.label.id,
        group=obj.group,
        z_order=like.shape.z_order,
        attributes=_known(like, obj.label),
        score=None if score is None else round(score, 4),
    )


def problem_of(shape: Shape, layout: TaskLayout, job: Job) -> str | None:
    """Why a shape must not be sent to a job; None where all is well."""
    if shape.frame not in job.frames:
        return "its frame is not in the job"
    label = layout.labels.get(shape.label)
    if label is None:
        return "its label is no more"
    if label.kind not in ("any", shape.kind):
        return f"its label takes {label.kind} only"
    if not all(math.isfinite(p) for p in shape.points):
        return "it has points that are no numbers"
    if not {i for i, _ in shape.attributes} <= set(label.mutable):
        return "it has attributes that its label does not have"
    if shape.outside:
        return None  # nobody sees its points, and the image may have another size already
    height, width = layout.sizes[shape.frame]
    if shape.kind == "mask":
        try:
            return None if decode_mask(shape.points, height, width).any() else "it is empty"
        except InputError as error:
            return str(error)
    if shape.kind == "polygon" and (len(shape.points) < 6 or len(shape.points) % 2):
        return "it has fewer than 3 points"
    if shape.kind == "rectangle" and (
        len(shape.points) != 4 or shape.points[0] >= shape.points[2] or shape.points[1] >= shape.points[3]
    ):
        return "it is no rectangle"
    xs, ys = shape.points[::2], shape.points[1::2]
    inside = min(*xs, *ys) >= 0 and max(xs) <= width and max(ys) <= height
    return None if inside else "it reaches out of the image"


def tracks_of(shapes: Mapping[int, Shape | None], obj: TaskObject, layout: TaskLayout, job: Job) -> list[Track]:
    """The track of an object in one job; none where it is nowhere seen there.

    Keyframes whose polygon both neighbours repeat are left out: CVAT interpolates the same there.

    Args:
        shapes: of a stretch: frame -> polygon, or None where the object is not to be seen.
        obj: that it shows.
        layout: of the task.
        job: that it is written to.
    """
    frames = [frame for frame in sorted(shapes) if frame in job.frames]
    keyframes: list[Shape] = []
    before: Shape | None = None
    for frame in frames:
        shape = shapes[frame]
        if before is not None and (shape is None or frame != before.frame + 1):
            closing = before.frame + 1
            if shape is None or closing < frame:
                keyframes.append(replace(before, frame=closing, outside=True))
        if shape is not None:
            keyframes.append(shape)
        before = shape
    if before is not None and before.frame + 1 in job.frames:
        keyframes.append(replace(before, frame=before.frame + 1, outside=True))
    if not any(not k.outside for k in keyframes):
        return []
    fixed = _known(obj.nearest(keyframes[0].frame), obj.label)
    mutable = obj.label.mutable
    keyframes = [
        replace(k, attributes=tuple(a for a in k.attributes if mutable[a[0]]), score=None, source="") for k in keyframes
    ]
    kept = [
        k
        for k, left, right in zip(keyframes, [None, *keyframes], [*keyframes[1:], None])
        if left is None or right is None or not (_same(k, left) and _same(k, right))
    ]
    attributes = tuple(a for a in fixed if not mutable[a[0]])
    return [Track(obj.label.id, tuple(kept), obj.group, attributes)]


def problem_of_annotation(annotation: Annotation, layout: TaskLayout, job: Job) -> str | None:
    """As `problem_of`, for shapes, tracks and tags."""
    if isinstance(annotation, Shape):
        return problem_of(annotation, layout, job)
    label = layout.labels.get(annotation.label)
    if label is None:
        return "its label is no more"
    if isinstance(annotation, Track):
        if {k.kind for k in annotation.keyframes} != {"polygon"}:
            return "it is no track of polygons"  # of others the job could not be opened any more
        if not {i for i, _ in annotation.attributes} <= set(label.mutable):
            return "it has attributes that its label does not have"
        return next((problem for k in annotation.keyframes if (problem := problem_of(k, layout, job))), None)
    return None if annotation.frame in job.frames else "its frame is not in the job"


def _known(like: Drawn, label: Label) -> tuple[tuple[int, str], ...]:
    """The attributes of a drawn shape that its label has."""
    return tuple((i, value) for i, value in like.shape.attributes if i in label.mutable)


def _same(a: Shape, b: Shape) -> bool:
    return replace(a, frame=0) == replace(b, frame=0)
