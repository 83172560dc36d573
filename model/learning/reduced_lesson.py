"""A lesson of frames that come in other sizes than the masks, as somebody sends them."""

from collections.abc import Hashable, Mapping, Sequence

import cv2
import numpy as np

from model.keyframe import Keyframe
from model.learning.lesson import Lesson
from model.training.samples.keyframe_clips import AnnotatedFrame, kept_lines, reduced


def reduced_lesson(
    frames: Sequence[np.ndarray],
    keyframes: Sequence[Keyframe],
    labels: Mapping[int, Hashable],
    numbers: Sequence[int],
    short_side: int,
) -> Lesson:
    """The lesson at one size: that of the first keyframe's image, or smaller where nobody sees the difference.

    Args:
        frames: uint8 (h, w, 3) RGB, each of its own size; read when they are needed.
        keyframes: ascending, at least one; masks of one size, which the frames show whole.
        labels: as `Lesson.labels`.
        numbers: as `Lesson.numbers`.
        short_side: of the network's input at inference, in pixels.

    Returns:
        The lesson; what becomes too small to be seen is not spoken for, and a keyframe of nothing else left out.
    """
    height, width = keyframes[0].masks.shape
    lines = min(*np.asarray(frames[keyframes[0].index]).shape[:2], height, width, kept_lines(short_side))
    scale = lines / min(height, width)
    fitting = _OneSize(frames, max(1, round(height * scale)), max(1, round(width * scale)))
    small = []
    for keyframe in keyframes:
        found = reduced(AnnotatedFrame(fitting[keyframe.index], keyframe.masks, keyframe.objects), lines)
        if found.objects:
            small.append(Keyframe(keyframe.index, found.masks, found.objects))
    return Lesson(fitting, small, labels, numbers)


class _OneSize(Sequence[np.ndarray]):
    """Frames, each brought to one size when it is read."""

    def __init__(self, frames: Sequence[np.ndarray], height: int, width: int):
        self._frames, self._size = frames, (height, width)

    def __len__(self) -> int:
        return len(self._frames)

    def __getitem__(self, index):  # type: ignore[no-untyped-def]  # an overload for each kind says no more
        if isinstance(index, slice):
            return [self[i] for i in range(len(self))[index]]
        frame = np.asarray(self._frames[index])
        if frame.shape[:2] == self._size:
            return frame
        height, width = self._size
        shrinks = frame.shape[0] > height
        return cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
