"""Where an object is on a frame: a point that a person is sent to."""

from collections import defaultdict
from collections.abc import Mapping

import cv2
import numpy as np

from model.errors import InputError
from plugin.cvat.journal.ownership import Ownership
from plugin.cvat.planning.blocked_frames import shapes_in
from plugin.cvat.task.annotations import Shape
from plugin.cvat.task.drawn import Drawn, collect_drawn, no_image
from plugin.cvat.task.layout import Job
from plugin.shapes.drawn_shape import SHAPE_TYPES

Point = tuple[float, float]
"""x and y, in pixels from the upper left corner of the frame."""


class ObjectPoints:
    """The shapes of a job's objects.

    Args:
        job: whose.
        owned: its annotations by owner.
        members: digest of a drawn shape -> group number of its object.
    """

    def __init__(self, job: Job, owned: Ownership, members: Mapping[str, int]):
        self._shapes: dict[int, list[Shape]] = defaultdict(list)  # by object
        for item, annotation in owned.own:
            self._shapes[item.object] += shapes_in(annotation)
        for joint in owned.joint:
            self._shapes[joint.object] += [k for k in shapes_in(joint.track) if k.frame in joint.own]
        for d in collect_drawn(job.id, owned.human, set(job.frames), SHAPE_TYPES):
            if not d.shape.outside:
                self._shapes[members.get(d.digest, d.shape.group)].append(d.shape)

    def at(self, frame: int, obj: int, size: tuple[int, int]) -> Point:
        """A point on an object, as it is on the frame, or on the nearest frame that shows it.

        Args:
            frame: task-relative number.
            obj: its group number.
            size: (H, W) of the frame.

        Returns:
            The middle of the frame where no frame of the job shows the object.
        """
        height, width = size
        for shape in sorted(self._shapes[obj], key=lambda s: (abs(s.frame - frame), s.frame)):
            point = _point_on_shape(shape, size)
            if 0 <= point[0] <= width and 0 <= point[1] <= height:
                return point
        return width / 2, height / 2


def point_on(mask: np.ndarray) -> Point:
    """The middle of the pixel of a mask, bool (H, W), not empty, that is farthest from its edge."""
    inside = cv2.distanceTransform(np.pad(mask, 1).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    row, column = np.unravel_index(np.argmax(inside), inside.shape)
    return float(column) - 0.5, float(row) - 0.5


def _point_on_shape(shape: Shape, size: tuple[int, int]) -> Point:
    try:
        mask = Drawn(0, shape).mask(*size, no_image)
        if mask.any():
            return point_on(mask)
    except InputError:
        pass  # a rectangle, or of a frame of another size
    return Drawn(0, shape).middle
