"""What people have drawn, shape by shape: the raw material of keyframes."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from model.errors import InputError
from plugin.cvat.task.annotations import Annotation, Shape, Track
from plugin.shapes.box import box_to_mask
from plugin.shapes.drawn_shape import points_to_mask

DRAWN_KINDS = ("mask", "polygon")
"""Types of shapes that are keyframes; rectangles are if somebody asks for it."""


Origin = tuple[int, bool, int]
"""Where something drawn is: its job, whether it is a track, and its id."""


@dataclass(frozen=True)
class Drawn:
    """A shape, or a track's keyframe, as material for a keyframe.

    Attributes:
        job: where it is.
        shape: with all attributes, those of its track too; `outside` says that the object is absent.
        track: id of the track it belongs to; None for a shape of its own.
        is_proposal: a detector wrote it, not a person.
    """

    job: int
    shape: Shape
    track: int | None = None
    is_proposal: bool = False

    @property
    def frame(self) -> int:
        """Task-relative number."""
        return self.shape.frame

    @property
    def is_named(self) -> bool:
        """Whether its track or group says which object it shows."""
        return self.track is not None or self.shape.group != 0

    @property
    def score(self) -> float:
        """What the detector says of it, 0..1; 1 where it says nothing."""
        return 1.0 if self.shape.score is None else min(1.0, max(0.0, self.shape.score))

    @property
    def middle(self) -> tuple[float, float]:
        """Of its box: x and y in pixels."""
        points = self.shape.points
        corners = points[-4:] if self.shape.kind == "mask" else points
        columns, rows = corners[0::2], corners[1::2]
        return (min(columns) + max(columns)) / 2, (min(rows) + max(rows)) / 2

    @property
    def where(self) -> str:
        """How a person finds it: "frame 20, at (210, 140)", the middle of its box in pixels."""
        x, y = self.middle
        return f"frame {self.frame}, at ({x:.0f}, {y:.0f})"

    @property
    def origin(self) -> Origin:
        """The shape or track that it is, or belongs to."""
        return self.job, self.track is not None, self.shape.id if self.track is None else self.track

    @cached_property
    def digest(self) -> str:
        """Changes with whatever a person changes of it."""
        return self.shape.digest

    def mask(self, height: int, width: int, image: Callable[[], np.ndarray]) -> np.ndarray:
        """bool (height, width), for a frame of this size.

        Args:
            height: in pixels.
            width: in pixels.
            image: gives the frame, uint8 (height, width, 3); asked for rectangles alone.

        Raises:
            InputError: the points make no such shape.
        """
        shape = self.shape
        if shape.kind == "rectangle" and shape.rotation:
            return box_to_mask(shape.points, height, width, shape.rotation)
        return points_to_mask(shape.kind, shape.points, height, width, image)


def collect_drawn(
    job: int, annotations: Iterable[Annotation], frames: set[int], kinds: Sequence[str], is_proposal: bool = False
) -> list[Drawn]:
    """The usable shapes and track keyframes among some annotations, in the order of the server.

    A track's closing keyframe right behind a visible one says where it ends in CVAT and nothing of the object.

    Args:
        job: where they are.
        annotations: a person's, or a detector's.
        frames: that count.
        kinds: of shapes that count.
        is_proposal: a detector wrote them.
    """
    found = []
    for annotation in annotations:
        if isinstance(annotation, Shape):
            if annotation.kind in kinds and annotation.frame in frames and not annotation.outside:
                found.append(Drawn(job, annotation, None, is_proposal))
        elif isinstance(annotation, Track):
            before: Shape | None = None
            for keyframe in annotation.keyframes:
                closes = keyframe.outside and before is not None and before.frame == keyframe.frame - 1
                before = None if keyframe.outside else keyframe
                if keyframe.kind in kinds and keyframe.frame in frames and not closes:
                    attributes = tuple(sorted((*annotation.attributes, *keyframe.attributes)))
                    found.append(Drawn(job, replace(keyframe, attributes=attributes), annotation.id, is_proposal))
    return found


def no_image() -> np.ndarray:
    """Where no frame is at hand: raises InputError, as only rectangles ask for one."""
    raise InputError("a rectangle shows no mask without its frame")
