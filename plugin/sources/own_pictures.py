"""What can be learned from where some frames cannot be decoded."""

from dataclasses import replace

from model.errors import UndecodableFrameError
from model.learning.lesson import Lesson
from plugin.sources.stand_in_frames import StandInFrames


def with_own_pictures(lesson: Lesson, frames: StandInFrames) -> Lesson:
    """A lesson less the keyframes whose masks were drawn on another picture than the one that is there.

    These are on frames that another stands for, or that were decoded from a damaged one.

    Args:
        lesson: its frames are `frames`, or read them.
        frames: know which are which, once they are read.

    Raises:
        PerclipError: frames cannot be had.
    """
    own = []
    for keyframe in lesson.keyframes:
        try:
            _ = lesson.frames[keyframe.index]
        except UndecodableFrameError:  # and there is none to stand for it
            continue
        if frames.stand_in(keyframe.index) is None and frames.damage_in(keyframe.index) is None:
            own.append(keyframe)
    kept = {keyframe.index for keyframe in own}
    left_out = tuple(k.index for k in lesson.keyframes if k.index not in kept)
    return replace(lesson, keyframes=own, left_out=(*lesson.left_out, *left_out))
