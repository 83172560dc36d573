import cv2
import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from model.errors import InputError
from plugin.shapes import mask_to_polygons, polygons_to_mask


def iou(a, b):
    return np.count_nonzero(a & b) / np.count_nonzero(a | b)


def smooth_field(seed, height, width, scale):
    noise = np.random.default_rng(seed).standard_normal((height, width))
    field = cv2.GaussianBlur(noise, (0, 0), scale)
    return field / field.std()


def signed_area(polygon):
    x, y = np.reshape(polygon, (-1, 2)).T
    return float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y)) / 2


seeds = st.integers(0, 10**6)


@settings(max_examples=40, deadline=None)
@given(seeds, st.floats(3, 12), st.floats(-0.5, 1.5), st.sampled_from(["blobs", "rings"]))
@example(335, 3.0, 1.0, "rings")  # lace with many holes of 1 to 3 pixels
def test_round_trip_of_smooth_objects(seed, scale, level, kind):
    field = smooth_field(seed, 110, 150, scale)
    # Several blobs; or bands, which have holes and blobs inside the holes.
    mask = field > level if kind == "blobs" else np.abs(field) < 0.6 + level / 4
    mask = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)).astype(bool)
    assume(np.count_nonzero(mask) > 400)
    polygons = mask_to_polygons(mask)
    assert iou(polygons_to_mask(polygons, *mask.shape), mask) >= 0.99
    for polygon in polygons:
        assert len(polygon) >= 6 and len(polygon) % 2 == 0
        points = np.reshape(polygon, (-1, 2))
        assert points.min() >= 0 and np.all(points <= (150, 110))


@settings(max_examples=60, deadline=None)
@given(arrays(bool, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12)))
def test_without_tolerance_every_pixel_returns(mask):
    polygons = mask_to_polygons(mask, 0, min_area=1, min_hole_area=1)
    np.testing.assert_array_equal(polygons_to_mask(polygons, *mask.shape), mask)
    joined = polygons_to_mask(mask_to_polygons(mask, 0, min_area=1, holes="fill"), *mask.shape)
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled = cv2.drawContours(np.zeros(mask.shape, np.uint8), contours, -1, 1, cv2.FILLED)
    np.testing.assert_array_equal(joined, filled.astype(bool))


def test_a_rectangle_has_its_four_corners_on_the_outer_pixel_edges():
    mask = np.zeros((20, 30), bool)
    mask[4:9, 10:25] = True
    (polygon,) = mask_to_polygons(mask)
    assert {tuple(p) for p in np.reshape(polygon, (-1, 2))} == {(10, 4), (25, 4), (25, 9), (10, 9)}
    assert len(polygon) == 8


def test_a_pixel_belongs_to_a_polygon_when_its_centre_does():
    assert polygons_to_mask([[0.4, 0.4, 1.6, 0.4, 1.6, 1.6, 0.4, 1.6]], 3, 3).tolist() == [
        [True, True, False],
        [True, True, False],
        [False, False, False],
    ]
    assert not polygons_to_mask([[0.6, 0.6, 1.4, 0.6, 1.4, 1.4, 0.6, 1.4]], 3, 3).any()
    triangle = polygons_to_mask([[0, 0, 4, 0, 0, 4]], 4, 4)
    assert triangle.sum(axis=1).tolist() in ([3, 2, 1, 0], [4, 3, 2, 1])


def test_polygons_join_and_are_cut_at_the_picture():
    mask = polygons_to_mask([[-5, -5, 2, -5, 2, 2, -5, 2], [1, 1, 99, 1, 99, 3, 1, 3], [200, 0, 210, 0, 210, 9]], 4, 6)
    expected = np.zeros((4, 6), bool)
    expected[:2, :2] = expected[1:3, 1:] = True
    np.testing.assert_array_equal(mask, expected)


def ring_mask():
    mask = np.zeros((80, 100), np.uint8)
    cv2.circle(mask, (50, 40), 35, 1, -1)
    cv2.circle(mask, (40, 40), 12, 0, -1)
    cv2.circle(mask, (68, 40), 8, 0, -1)
    return mask.astype(bool)


def test_bridged_holes_keep_the_area_under_both_fill_rules():
    mask = ring_mask()
    (polygon,) = mask_to_polygons(mask)
    # By the even-odd rule through the raster, by the non-zero rule because holes run against the outline.
    assert polygons_to_mask([polygon], *mask.shape).sum() == pytest.approx(mask.sum(), rel=0.01)
    assert abs(signed_area(polygon)) == pytest.approx(mask.sum(), rel=0.02)


def test_holes_can_be_filled():
    mask = ring_mask()
    (polygon,) = mask_to_polygons(mask, holes="fill")
    assert polygons_to_mask([polygon], *mask.shape)[40, [40, 68]].all()
    speckled = np.ones((40, 40), bool)
    speckled[20, 20:23] = False
    assert len(mask_to_polygons(speckled, 0)[0]) == 8, "a hole of 3 pixels is no hole"
    assert len(mask_to_polygons(speckled, 0, min_hole_area=3)[0]) > 8


def test_a_line_of_one_pixel_is_a_rectangle():
    mask = np.zeros((10, 30), bool)
    mask[4, 5:20] = True
    (polygon,) = mask_to_polygons(mask, 0)
    assert {tuple(p) for p in np.reshape(polygon, (-1, 2))} == {(5, 4), (20, 4), (20, 5), (5, 5)}


@pytest.mark.parametrize("tolerance", [0.5, 1.0, 3.0, 20.0])
def test_thin_structures_do_not_vanish(tolerance):
    canvas = np.zeros((60, 60), np.uint8)
    line, diagonal, curve, pixel = (canvas.copy() for _ in range(4))
    line[30, 5:50] = 1
    cv2.line(diagonal, (5, 5), (50, 40), 1)
    cv2.ellipse(curve, (30, 30), (25, 15), 0, 0, 250, 1, 1)
    pixel[30, 30] = 1
    for mask in (line, diagonal, curve, pixel):
        polygons = mask_to_polygons(mask, tolerance)
        assert iou(polygons_to_mask(polygons, 60, 60), mask.astype(bool)) >= 0.99


def test_components_come_by_area_and_specks_are_left_out():
    mask = np.zeros((50, 50), bool)
    mask[2:6, 2:6] = mask[20:40, 20:40] = mask[45:47, 5] = True
    big, small = mask_to_polygons(mask)
    assert abs(signed_area(big)) == 400 and abs(signed_area(small)) == 16
    assert len(mask_to_polygons(mask, min_area=1)) == 3
    assert len(mask_to_polygons(mask, min_area=1000)) == 1
    assert mask_to_polygons(np.zeros((5, 5), bool)) == []


@pytest.mark.parametrize("most", [4, 9, 40])
def test_the_vertex_cap_holds_and_nothing_vanishes(most):
    noisy = np.random.default_rng(0).random((60, 60)) < 0.55
    thin = np.zeros((60, 60), np.uint8)
    cv2.ellipse(thin, (30, 30), (25, 15), 0, 0, 300, 1, 1)
    for mask in (noisy, ring_mask(), thin, smooth_field(1, 200, 200, 8) > 0):
        polygons = mask_to_polygons(mask, max_vertices=most)
        assert all(6 <= len(polygon) <= 2 * most for polygon in polygons)
        assert all(polygons_to_mask([polygon], *mask.shape).any() for polygon in polygons)


def test_a_capped_polygon_makes_good_use_of_its_vertices():
    mask = np.zeros((300, 300), np.uint8)
    cv2.ellipse(mask, (150, 150), (120, 70), 20, 0, 360, 1, -1)
    (polygon,) = mask_to_polygons(mask, max_vertices=12)
    assert iou(polygons_to_mask([polygon], 300, 300), mask.astype(bool)) > 0.93


def test_a_disc_needs_few_vertices():
    mask = np.zeros((500, 500), np.uint8)
    cv2.circle(mask, (250, 250), 200, 1, -1)
    (polygon,) = mask_to_polygons(mask)
    assert len(polygon) / 2 < 60
    (coarse,) = mask_to_polygons(mask, 5.0, min_iou=0)
    assert len(coarse) < len(polygon) / 1.5


@pytest.mark.parametrize(
    "polygon",
    [
        [],
        [1, 2, 3, 4],
        [1, 2, 3, 4, 5],
        [1, 2, 3, 4, 5, float("nan")],
        [1, 2, 3, 4, 5, float("inf")],
        [1, 2, 3, 4, 5, 1e300],
        [[1, 2], [3, 4], [5, 6]],
        [1, 2, [3], 4, 5, 6],
        "abcdef",
    ],
    ids=str,
)
def test_broken_polygons_are_refused(polygon):
    with pytest.raises(InputError):
        polygons_to_mask([polygon], 10, 10)


@pytest.mark.parametrize(
    "options",
    [{"tolerance": -1}, {"tolerance": float("nan")}, {"max_vertices": 3}, {"holes": "keep"}, {"min_iou": 1.5}],
    ids=str,
)
def test_senseless_options_are_refused(options):
    with pytest.raises(InputError):
        mask_to_polygons(np.ones((5, 5), bool), **options)
