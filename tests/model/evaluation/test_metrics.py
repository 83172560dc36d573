"""J and F against hand-computed cases, against a slow and plain F, and by their properties."""

import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.evaluation.metrics import contour, contour_accuracy, decay, recall, region_similarity

quick = settings(max_examples=40, deadline=None)


def plain_contour(mask: np.ndarray) -> np.ndarray:
    """Pixel by pixel, as the official evaluation defines it at equal size."""
    height, width = mask.shape
    edges = np.zeros((height, width), bool)
    for y in range(height):
        for x in range(width):
            east = x + 1 < width and mask[y, x] != mask[y, x + 1]
            south = y + 1 < height and mask[y, x] != mask[y + 1, x]
            both = x + 1 < width and y + 1 < height and mask[y, x] != mask[y + 1, x + 1]
            edges[y, x] = east or south or both
    return edges


def plain_contour_accuracy(mask: np.ndarray, truth: np.ndarray, reach: int | None = None) -> float:
    """Every contour pixel against every other, on the full frame."""
    if reach is None:
        reach = math.ceil(0.008 * np.linalg.norm(mask.shape))
    ours, theirs = np.argwhere(plain_contour(mask)), np.argwhere(plain_contour(truth))
    if len(ours) == 0 or len(theirs) == 0:
        precision, recall_ = float(len(ours) == 0), float(len(theirs) == 0)
    else:
        near = ((ours[:, None] - theirs[None]) ** 2).sum(2) <= reach**2
        precision, recall_ = near.any(1).mean(), near.any(0).mean()
    return 2 * precision * recall_ / (precision + recall_) if precision + recall_ else 0.0


def box(top: int, left: int, bottom: int, right: int, shape: tuple[int, int] = (100, 160)) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[top:bottom, left:right] = True
    return mask


@st.composite
def blobs(draw, height: int, width: int) -> np.ndarray:
    """Smoothed noise: none, some or many pieces, often cut by the borders."""
    noise = np.random.default_rng(draw(st.integers(0, 10**6))).normal(size=(height, width))
    smooth = cv2.GaussianBlur(noise, (0, 0), draw(st.sampled_from([0.5, 2, 6])))
    return smooth > draw(st.floats(-1.5, 2)) * smooth.std()


@st.composite
def pairs(draw) -> tuple[np.ndarray, np.ndarray]:
    """Two masks of the same size: unrelated, or one a displaced copy of the other."""
    height, width = draw(st.integers(1, 50)), draw(st.integers(1, 90))
    a = draw(blobs(height, width))
    if draw(st.booleans()):
        return a, draw(blobs(height, width))
    return a, np.roll(a, draw(st.tuples(st.integers(-4, 4), st.integers(-4, 4))), (0, 1))


def test_j_by_hand():
    a, b = box(0, 0, 2, 3), box(0, 1, 2, 5)
    assert region_similarity(a, b) == pytest.approx(4 / 10)
    assert region_similarity(a, a) == 1
    assert region_similarity(a, box(0, 0, 0, 0)) == 0
    assert region_similarity(box(0, 0, 0, 0), box(0, 0, 0, 0)) == 1


def test_the_contour_lies_inside_the_south_and_east_and_outside_the_north_and_west():
    by_hand = [
        "......",
        ".####.",
        ".#..#.",
        ".####.",
        "......",
    ]
    expected = np.array([[c == "#" for c in row] for row in by_hand])
    np.testing.assert_array_equal(contour(box(2, 2, 4, 5, (5, 6))), expected)


def test_the_contour_at_the_last_row_and_column():
    # The last row asks the east only, the last column the south only, the last pixel nobody.
    expected = np.array([[0, 0, 0, 0], [0, 1, 1, 1], [0, 1, 0, 0], [0, 1, 0, 0]], bool)
    np.testing.assert_array_equal(contour(box(2, 2, 4, 4, (4, 4))), expected)
    np.testing.assert_array_equal(contour(box(2, 0, 3, 3, (3, 3))), [[0, 0, 0], [1, 1, 1], [0, 0, 0]])
    np.testing.assert_array_equal(contour(box(0, 2, 3, 3, (3, 3))), [[0, 1, 0], [0, 1, 0], [0, 1, 0]])
    assert not contour(np.ones((4, 7), bool)).any()


def test_f_by_hand():
    # One pixel of truth has the contour (4,4) (4,5) (5,4) (5,5); the mask's lies three to the east, tolerance 2.
    truth, mask = box(5, 5, 6, 6), box(5, 8, 6, 9)
    assert math.ceil(0.008 * math.hypot(100, 160)) == 2
    # 4 of the mask's pixels are at columns 7 and 8, the truth's at 4 and 5: half of each are within 2.
    assert contour_accuracy(mask, truth) == pytest.approx(0.5)
    # An extra object far away halves the precision only: P = 2/8, R = 2/4.
    assert contour_accuracy(mask | box(50, 50, 51, 51), truth) == pytest.approx(2 * 0.25 * 0.5 / 0.75)
    assert contour_accuracy(truth, mask | box(50, 50, 51, 51)) == pytest.approx(2 * 0.25 * 0.5 / 0.75)


def test_f_without_contours():
    empty, full, some = box(0, 0, 0, 0), box(0, 0, 100, 160), box(10, 10, 30, 30)
    assert contour_accuracy(empty, empty) == 1
    assert contour_accuracy(empty, full) == contour_accuracy(full, full) == 1  # neither has a contour
    assert contour_accuracy(some, empty) == contour_accuracy(empty, some) == 0
    assert contour_accuracy(some, full) == contour_accuracy(full, some) == 0
    assert contour_accuracy(box(5, 5, 9, 9), box(70, 120, 80, 130)) == 0  # both have one, far apart


@pytest.mark.parametrize(("shape", "tolerance"), [((480, 854), 8), ((100, 160), 2), ((75, 100), 1), ((76, 100), 2)])
def test_the_tolerance_is_a_share_of_the_diagonal_rounded_up(shape, tolerance):
    # A single pixel, moved sideways: its two contour columns fit while the nearer ones are within the tolerance.
    truth = box(30, 20, 31, 21, shape)
    assert contour_accuracy(box(30, 20 + tolerance, 31, 21 + tolerance, shape), truth) == 1
    assert contour_accuracy(box(30, 21 + tolerance, 31, 22 + tolerance, shape), truth) == 0.5
    assert contour_accuracy(box(30, 22 + tolerance, 31, 23 + tolerance, shape), truth) == 0


def test_a_tolerance_of_1_and_more_is_in_pixels():
    truth, mask = box(30, 20, 31, 21), box(30, 25, 31, 26)
    assert contour_accuracy(mask, truth, 3) == 0
    assert contour_accuracy(mask, truth, 4) == 0.5
    assert contour_accuracy(mask, truth, 5) == 1


def test_the_tolerance_is_a_disk():
    # Contours of single pixels, moved diagonally by 3: the nearest corners are (2, 2) apart, further than 2 pixels.
    truth, mask = box(30, 20, 31, 21), box(33, 23, 34, 24)
    assert contour_accuracy(mask, truth, 2) == 0
    assert contour_accuracy(mask, truth, 3) == 0.25  # that corner only; (2, 3) is 3.6 pixels
    assert contour_accuracy(mask, truth, 4) == 0.75  # all but the far corner: (3, 3) is 4.2 pixels


@quick
@given(pair=pairs())
def test_f_equals_the_plain_one(pair):
    assert contour_accuracy(*pair) == pytest.approx(plain_contour_accuracy(*pair), abs=1e-9)


@quick
@given(pair=pairs(), reach=st.integers(1, 12))
def test_f_equals_the_plain_one_at_any_reach(pair, reach):
    assert contour_accuracy(*pair, reach) == pytest.approx(plain_contour_accuracy(*pair, reach), abs=1e-9)


@quick
@given(data=st.data())
def test_what_lies_around_the_crop_does_not_matter(data):
    """Small masks in a large frame, also at its edges, give what the full frame gives."""
    masks = np.zeros((2, 60, 80), bool)
    for mask in masks:
        height, width = data.draw(st.integers(1, 12)), data.draw(st.integers(1, 12))
        top, left = data.draw(st.integers(0, 60 - height)), data.draw(st.integers(0, 80 - width))
        mask[top : top + height, left : left + width] = data.draw(blobs(height, width))
    reach = data.draw(st.integers(1, 9))
    assert contour_accuracy(*masks, reach) == pytest.approx(plain_contour_accuracy(*masks, reach), abs=1e-9)


@quick
@given(pair=pairs())
def test_swapping_mask_and_truth_changes_nothing(pair):
    a, b = pair
    assert region_similarity(a, b) == region_similarity(b, a)
    assert contour_accuracy(a, b) == pytest.approx(contour_accuracy(b, a), abs=1e-12)


@quick
@given(pair=pairs(), dy=st.integers(1, 9), dx=st.integers(1, 9))
def test_shifting_both_changes_nothing_away_from_the_borders(pair, dy, dx):
    frames = np.zeros((2, 2, 64, 104), bool)
    for (here, there), mask in zip(frames.swapaxes(0, 1), pair):
        height, width = mask.shape
        here[1 : 1 + height, 1 : 1 + width] = mask
        there[1 + dy : 1 + dy + height, 1 + dx : 1 + dx + width] = mask
    assert region_similarity(*frames[0]) == region_similarity(*frames[1])
    assert contour_accuracy(*frames[0]) == pytest.approx(contour_accuracy(*frames[1]), abs=1e-12)


@quick
@given(pair=pairs())
def test_both_are_1_for_the_same_mask_and_never_leave_0_to_1(pair):
    a, b = pair
    assert region_similarity(a, a) == contour_accuracy(a, a) == 1
    assert 0 <= region_similarity(a, b) <= 1 and 0 <= contour_accuracy(a, b) <= 1


def test_the_masks_are_not_changed():
    a, b = box(10, 10, 30, 30), box(12, 12, 32, 32)
    before = a.copy(), b.copy()
    contour_accuracy(a, b)
    np.testing.assert_array_equal((a, b), before)


def test_recall_counts_what_exceeds_a_half():
    assert recall([0.5, 0.51, 1, 0.2]) == 0.5


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.7], 0),
        ([0.9, 0.5], 0.4),
        # 1..4: ends 1, 2 (1.75), 3 (2.5, halves up), 3 (3.25), 4: quarters {1, 2} and {3, 4}.
        ([1, 0.8, 0.6, 0.2], 0.9 - 0.4),
        # 1..9: ends 1, 3, 5, 7, 9: quarters of three, their ends shared.
        ([0.9, 0.8, 0.7, 0.5, 0.5, 0.5, 0.3, 0.2, 0.1], 0.6),
        # 1..7: ends 1, 3 (2.5, halves up), 4, 6 (5.5, halves up), 7.
        ([1, 1, 0.4, 0, 0, 0.3, 0.1], 0.8 - 0.2),
    ],
)
def test_decay_by_hand(values, expected):
    assert decay(values) == pytest.approx(expected)


def test_decay_of_a_long_video():
    """Frame numbers beyond 8 bits."""
    assert decay([1.0] * 300 + [0.0] * 300) == 1
