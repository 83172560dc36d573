import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.errors import InputError
from plugin.shapes import box_to_mask, mask_to_box


def test_a_box_ends_one_past_the_last_pixel():
    mask = np.zeros((10, 12), bool)
    mask[2, 3] = mask[6, 8] = True
    assert mask_to_box(mask) == mask_to_box(mask.astype(np.uint8) * 255) == [3.0, 2.0, 9.0, 7.0]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 9), st.integers(0, 9), st.integers(1, 5), st.integers(1, 5))
def test_round_trip(left, top, width, height):
    mask = np.zeros((14, 14), bool)
    mask[top : top + height, left : left + width] = True
    np.testing.assert_array_equal(box_to_mask(mask_to_box(mask), 14, 14), mask)


def test_boxes_are_cut_at_the_picture():
    assert box_to_mask([-3, -3, 2, 100], 5, 4).sum() == 10


def test_a_rotated_box_turns_clockwise_about_its_middle():
    upright = box_to_mask([4, 2, 6, 8], 10, 10)
    np.testing.assert_array_equal(box_to_mask([2, 4, 8, 6], 10, 10, rotation=90), upright)
    tilted = box_to_mask([10, 18, 30, 22], 40, 40, rotation=30)
    # Clockwise on the screen, where y points down: the right end goes down.
    assert tilted[24, 27] and not tilted[16, 27]
    assert tilted.sum() == pytest.approx(80, abs=4)


@pytest.mark.parametrize("points", [[1, 2, 3], [3, 3, 1, 1], [1, 1, 1, 5], [float("nan")] * 4, "abcd", None], ids=str)
def test_broken_boxes_are_refused(points):
    with pytest.raises(InputError):
        box_to_mask(points, 10, 10)


def test_an_empty_mask_has_no_box():
    with pytest.raises(InputError, match="empty"):
        mask_to_box(np.zeros((3, 3), bool))
