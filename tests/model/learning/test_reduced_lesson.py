"""Frames that come in other sizes than the masks: one lesson of one size."""

import cv2
import numpy as np
import pytest

from model import Keyframe
from model.learning.reduced_lesson import reduced_lesson
from model.training.samples.keyframe_clips import kept_lines

_HEIGHT, _WIDTH = 120, 200


def masks() -> dict[int, np.ndarray]:
    """A large object and one of a single pixel."""
    large, dot = np.zeros((2, _HEIGHT, _WIDTH), bool)
    large[30:90, 50:150] = True
    dot[5, 5] = True
    return {1: large, 2: dot}


def frame(height: int, width: int) -> np.ndarray:
    picture = np.repeat(masks()[1][..., None], 3, 2).astype(np.uint8) * 200
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)


@pytest.mark.parametrize(
    ("sizes", "short_side", "expected"),
    [
        ([(120, 200), (120, 200)], 480, (120, 200)),
        ([(60, 100), (120, 200)], 480, (60, 100)),  # the first keyframe says it
        ([(90, 150), (60, 100)], 480, (90, 150)),
        ([(240, 400), (120, 200)], 480, (120, 200)),  # no larger than the masks
        ([(120, 200), (120, 200)], 40, (kept_lines(40), 90)),
    ],
)
def test_all_is_brought_to_one_size_and_stays_in_its_place(sizes, short_side, expected):
    keyframes = [Keyframe(0, masks()), Keyframe(1, {2: masks()[2]}, [1, 2])]
    lesson = reduced_lesson([frame(*size) for size in sizes], keyframes, {1: "car"}, [7, 9], short_side)
    assert {shown.shape[:2] for shown in lesson.frames[:]} == {expected} and lesson.number(1) == 9
    assert len(lesson.frames) == 2 and lesson.labels == {1: "car"}
    first = lesson.keyframes[0]
    assert first.masks.shape == expected
    for shown in lesson.frames:
        assert np.mean((shown[..., 0] > 100) == first.mask(1)) > 0.97
    if expected != (_HEIGHT, _WIDTH):
        # What is too small to be seen is not spoken for; what was declared absent stays so.
        assert [k.objects for k in lesson.keyframes] == [(1,), (1,)]


def test_a_keyframe_of_which_nothing_is_left_is_left_out():
    keyframes = [Keyframe(0, masks()), Keyframe(1, {2: masks()[2]})]
    lesson = reduced_lesson([frame(60, 100)] * 2, keyframes, {}, [0, 1], 480)
    assert [k.index for k in lesson.keyframes] == [0]
