import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from model.errors import InputError
from plugin.shapes import follow_polygon, mask_to_polygons, polygons_to_mask

SIZE = (260, 340)
# An L with a slanted side, clockwise on the screen; every vertex is a corner.
L_SHAPE = np.array([[90, 60], [150, 60], [150, 130], [230, 140], [220, 190], [80, 180]], float)


def iou(a, b):
    return np.count_nonzero(a & b) / np.count_nonzero(a | b)


def draw(ring, size=SIZE):
    return polygons_to_mask([np.ravel(ring).tolist()], *size)


def follow(ring, mask, **options):
    return np.reshape(follow_polygon(np.ravel(ring).tolist(), mask, **options), (-1, 2))


def distances(a, b):
    return np.hypot(*(np.asarray(a) - np.asarray(b)).T)


def signed_area(ring):
    x, y = np.reshape(ring, (-1, 2)).T
    return float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y)) / 2


def turned(ring, degrees, scale=1.0):
    angle, centre = np.deg2rad(degrees), ring.mean(axis=0)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return (ring - centre) @ turn * scale + centre


def blob(step, size=SIZE, centre=(150, 130), radius=70):
    """A shape that moves and bulges with the step."""
    a = np.linspace(0, 2 * np.pi, 720, endpoint=False)
    r = radius * (
        1 + 0.18 * np.cos(2 * a + 0.5) + 0.12 * np.sin(3 * a + 0.08 * step) + 0.06 * np.cos(5 * a - 0.06 * step)
    )
    return draw(np.stack([centre[0] + step + r * np.cos(a), centre[1] + r * np.sin(a)], axis=1), size)


def with_noisy_contour(mask, seed):
    """The contour moved by up to 1 pixel in patches of some pixels."""
    noise = cv2.GaussianBlur(np.random.default_rng(seed).standard_normal(mask.shape), (0, 0), 1.5)
    inside = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 5)
    outside = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 5)
    return inside - outside + np.clip(noise / noise.std(), -1, 1) > 0


def star():
    mask = np.zeros(SIZE, np.uint8)
    for angle in range(0, 180, 20):
        cv2.ellipse(mask, (170, 130), (120, 6), angle, 0, 360, 1, -1)
    return mask.astype(bool)


@pytest.mark.parametrize("ring", [L_SHAPE, L_SHAPE[::-1] + 0.37, [[10, 10], [300, 40], [12.5, 14]]], ids=len)
def test_a_polygon_on_its_own_mask_comes_back_to_the_last_bit(ring):
    polygon = np.ravel(ring).tolist()
    assert follow_polygon(polygon, draw(ring)) == polygon
    assert follow_polygon(polygon, draw(ring).astype(np.uint8) * 7) == polygon


def half_disc():
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    return (np.hypot(rows - 130, columns - 150) < 80) & (columns >= 150)


@pytest.mark.parametrize("tolerance", [1.0, 2.0, 4.0])
@pytest.mark.parametrize("mask", [blob(0), half_disc(), half_disc().T[:, ::-1]], ids=["blob", "half disc", "view"])
def test_a_polygon_within_the_tolerance_comes_back_to_the_last_bit(mask, tolerance):
    (polygon,) = mask_to_polygons(mask, tolerance, min_iou=0)
    assert follow_polygon(polygon, mask, tolerance) == polygon


def test_one_side_beside_the_outline_does_not_move_the_others():
    ring = L_SHAPE + np.array([[0, 0], [0, 0], [0, 0], [0, 0], [0, 1.6], [0, 1.6]])
    np.testing.assert_array_equal(follow(ring, draw(L_SHAPE)), ring)


def test_sharp_shapes_settle_at_the_first_call():
    random = np.random.default_rng(0)
    for _ in range(40):
        count = random.integers(4, 9)
        angles, radii = np.sort(random.random(count)) * 2 * np.pi, random.uniform(15, 110, count)
        ring = np.stack([150 + radii * np.cos(angles), 130 + radii * np.sin(angles)], axis=1)
        mask = draw(ring + random.normal(0, 6, ring.shape))
        found = follow(ring, mask)
        np.testing.assert_array_equal(follow(found, mask), found)


def test_a_mask_that_stays_changes_nothing_after_the_first_call():
    polygon = mask_to_polygons(blob(0), 2)[0]
    for step in (3, 9, 20):
        polygon = follow_polygon(polygon, blob(step))
        for _ in range(3):
            assert follow_polygon(polygon, blob(step)) == polygon


@pytest.mark.parametrize("move", [(1, 0), (0, -2), (7, -4), (60, 30), (-79, 55)], ids=str)
@pytest.mark.parametrize("direction", [1, -1])
def test_a_moved_mask_gives_the_moved_polygon(move, direction):
    ring = L_SHAPE[::direction]
    assert distances(follow(ring, draw(ring + move)), ring + move).max() < 0.5


def test_a_slow_motion_is_followed_without_drift():
    ring = L_SHAPE
    for step in range(1, 41):
        truth = L_SHAPE + np.multiply(step, (0.3, 0.15))
        ring = follow(ring, draw(truth))
        assert distances(ring, truth).max() < 0.9


@pytest.mark.parametrize("degrees", [2, -10, 35, -80])
def test_a_turned_mask_gives_the_turned_polygon(degrees):
    truth = turned(L_SHAPE, degrees)
    assert distances(follow(L_SHAPE, draw(truth)), truth).max() < 1


@pytest.mark.parametrize("scale", [0.5, 0.9, 1.05, 1.3])
def test_a_scaled_mask_gives_the_scaled_polygon(scale):
    truth = turned(L_SHAPE, 5, scale)
    assert distances(follow(L_SHAPE, draw(truth)), truth).max() < 1


def test_a_turning_shape_keeps_its_vertices_over_many_frames():
    ring = L_SHAPE
    for step in range(1, 31):
        ring = follow(ring, draw(turned(L_SHAPE, 6 * step)))
    assert distances(ring, turned(L_SHAPE, 180)).max() < 1.5


def test_corners_go_with_the_corners_of_a_shape_that_bends():
    bent = L_SHAPE + np.array([[-6, -12], [9, -14], [0, 4], [14, -6], [10, 12], [-8, 4]])
    found = follow(L_SHAPE, draw(bent))
    assert len(found) == 6
    assert distances(found, bent).max() < 1.5


@pytest.mark.parametrize("turn, scale", [(-8, 1), (8, 1), (0, 1.15), (0, 1.05)])
def test_vertices_along_straight_sides_keep_their_places(turn, scale):
    ring = np.stack([L_SHAPE, L_SHAPE * 0.7 + np.roll(L_SHAPE, -1, axis=0) * 0.3], axis=1).reshape(-1, 2)
    truth = turned(ring, turn, scale)
    found = follow(ring, draw(truth))
    assert len(found) == len(ring)
    assert distances(found, truth).max() < 1


def test_the_teeth_of_a_comb_are_not_mistaken_for_one_another():
    ring = [[60, 60]]
    for left in range(60, 220, 32):
        ring += [[left, 180], [left + 16, 180], [left + 16, 100], [left + 32, 100]]
    ring = np.array([*ring, [220, 60]], float)
    for lean in (-0.15, 0.15):
        bent = ring + np.stack([lean * (ring[:, 1] - 60), 0.0005 * (ring[:, 0] - 140) ** 2], axis=1)
        found = follow(ring, draw(bent))
        assert len(found) == len(ring)
        assert distances(found, bent).max() < 2


def test_a_disc_does_not_spin():
    angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    disc = 60 * np.stack([np.cos(angles), np.sin(angles)], axis=1) + (90, 120)
    ring = disc
    for step in range(1, 21):
        ring = follow(ring, with_noisy_contour(draw(disc + np.array([4 * step, 0])), step))
    assert len(ring) == 24
    assert distances(ring, disc + np.array([80, 0])).max() < 0.1


def test_a_small_object_is_followed_closely():
    bent = L_SHAPE + np.array([[-6, -12], [9, -14], [0, 4], [14, -6], [10, 12], [-8, 4]])
    ring = 0.16 * L_SHAPE + 20
    for share in np.linspace(0, 1, 6):
        truth = 0.16 * ((1 - share) * L_SHAPE + share * bent) + 20
        ring = follow(ring, draw(truth))
        assert iou(draw(ring), draw(truth)) >= 0.95
        assert 6 <= len(ring) <= 9
    assert max(distances(ring, corner).min() for corner in truth) < 1


def test_small_deforming_objects_keep_their_vertices():
    changes = alone = 0
    for radius in (9, 14, 20):
        before = simple_before = mask_to_polygons(blob(0, radius=radius), 2)[0]
        for step in range(1, 41):
            mask = blob(step, radius=radius)
            found, simple = follow_polygon(before, mask), mask_to_polygons(mask, 2)[0]
            changes += abs(len(found) - len(before))
            alone += abs(len(simple) - len(simple_before))
            before, simple_before = found, simple
    assert changes < 0.2 * alone


def test_a_thin_part_that_disappears_does_not_stay():
    spike = np.insert(L_SHAPE, 5, [[151, 185], [149, 240], [148, 185]], axis=0)
    found = follow(spike, draw(L_SHAPE))
    assert found[:, 1].max() < 193 and iou(draw(found), draw(L_SHAPE)) > 0.98


def test_what_did_not_change_does_not_move():
    ring = np.reshape(mask_to_polygons(blob(0), 2)[0], (-1, 2))
    mask = blob(0).astype(np.uint8)
    cv2.circle(mask, (236, 134), 14, 1, -1)
    changed = np.argwhere(mask != blob(0))[:, ::-1]
    found = follow(ring, mask)
    assert iou(draw(found), mask.astype(bool)) > 0.98 and len(found) > len(ring)
    far = np.array([distances(changed, vertex).min() > 40 for vertex in ring])
    assert far.sum() > 10
    assert {*map(tuple, ring[far])} <= {*map(tuple, found)}


def test_vertices_hold_still_under_contour_noise():
    masks = [with_noisy_contour(blob(0), seed) for seed in range(15)]
    ring = np.reshape(mask_to_polygons(masks[0], 2)[0], (-1, 2))
    followed, alone = [], []
    for mask in masks[1:]:
        simple = np.reshape(mask_to_polygons(mask, 2)[0], (-1, 2))
        alone.append(np.mean([distances(simple, vertex).min() for vertex in ring]))
        found = follow(ring, mask)
        followed.append(np.mean([distances(found, vertex).min() for vertex in ring]))
        assert iou(draw(found), mask) >= 0.95
        ring = found
    assert np.mean(followed) < 0.1 * np.mean(alone)


def test_a_deforming_shape_keeps_about_its_number_of_vertices():
    ring = np.reshape(mask_to_polygons(blob(0), 2)[0], (-1, 2))
    counts, alone = [len(ring)], [len(ring)]
    for step in range(1, 41):
        mask = blob(step)
        ring = follow(ring, mask)
        assert iou(draw(ring), mask) >= 0.95
        counts.append(len(ring))
        alone.append(len(mask_to_polygons(mask, 2)[0]) // 2)
    assert max(counts) <= 1.4 * max(alone)
    assert np.abs(np.diff(counts)).sum() < 0.6 * np.abs(np.diff(alone)).sum()


def test_a_part_that_appears_gets_vertices_and_gives_them_back():
    body = np.array([[100, 80], [240, 80], [240, 200], [100, 200]], float)
    tail = draw(body)
    tail[130:150, 240:290] = True
    grown = follow(body, tail)
    assert 7 <= len(grown) <= 10
    assert iou(draw(grown), tail) > 0.98
    assert distances(grown[0], body[0]) < 1 and signed_area(grown) > 0
    back = follow(grown, draw(body))
    assert len(back) == 4
    assert distances(back, body).max() < 1


def test_tolerance_says_when_a_vertex_is_inserted():
    bump = np.insert(L_SHAPE, 5, [150, 188.5], axis=0)  # 3.5 pixels beyond the lower side
    assert len(follow(L_SHAPE, draw(bump), tolerance=6.0)) == 6
    assert len(follow(L_SHAPE, draw(bump), tolerance=1.0)) >= 7


@pytest.mark.parametrize("direction", [1, -1])
def test_another_object_gets_its_own_outline_with_start_and_orientation(direction):
    mask = star()
    previous = np.array([[300, 250], [310, 250], [310, 255], [300, 255]], float)[::direction]
    found = follow(previous, mask)
    (alone,) = mask_to_polygons(mask, 2, holes="fill", min_iou=0.95)
    assert {*map(tuple, found)} == {*map(tuple, np.reshape(alone, (-1, 2)))}
    assert signed_area(found) * direction > 0
    assert distances(found, previous[0]).argmin() == 0


@pytest.mark.parametrize("previous", [[[60, 20], [280, 20], [170, 250]], [[5, 5], [9, 5], [9, 250]]], ids=str)
def test_vertices_that_mean_nothing_any_more_are_not_kept(previous):
    mask = star()
    found = follow(np.array(previous, float), mask)
    (alone,) = mask_to_polygons(mask, 2, holes="fill", min_iou=0.95)
    assert {*map(tuple, found)} == {*map(tuple, np.reshape(alone, (-1, 2)))}


def test_the_largest_component_is_outlined_without_its_holes():
    truth = L_SHAPE + np.array([4, 3])
    mask = draw(truth)
    solid = mask.copy()
    mask[150:165, 100:115] = False
    mask[5:25, 300:320] = True
    assert distances(follow(L_SHAPE, mask), truth).max() < 0.5
    assert iou(draw(follow(L_SHAPE, mask)), solid) > 0.99


@pytest.mark.parametrize("speed", [1, 18])
def test_an_object_that_leaves_stays_inside_the_picture(speed):
    start = L_SHAPE - (79, 0)
    ring = start
    for step in range(1, 8):
        mask = draw(start - (speed * step, 0))
        ring = follow(ring, mask)
        assert ring.min() >= 0 and iou(draw(ring), mask) >= 0.95
    assert follow_polygon(ring.ravel().tolist(), np.zeros(SIZE, bool)) is None


@pytest.mark.parametrize("angle", [0, 90, 30])
def test_thin_objects_keep_their_area(angle):
    ring = L_SHAPE
    for shift in (0, 3):
        mask = np.zeros(SIZE, np.uint8)
        cv2.ellipse(mask, (150 + shift, 120), (60, 0), angle, 0, 360, 1, 1)
        ring = follow(ring, mask.astype(bool))
        assert iou(draw(ring), mask.astype(bool)) >= 0.95


coordinates = st.floats(-3, 24, width=32)
any_polygon = st.lists(st.tuples(coordinates, coordinates), min_size=3, max_size=9).map(lambda p: np.ravel(p).tolist())
any_mask = arrays(bool, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=20))


@settings(max_examples=80, deadline=None)
@given(any_polygon, any_mask, st.floats(0.3, 5))
@example([0, 0, 1, 0, 1, 1], np.ones((1, 1), bool), 2.0)
@example([4, 4] * 5, np.eye(12, dtype=bool), 2.0)
@example([0, 0, 9, 9, 9, 0, 0, 9], np.eye(12, dtype=bool), 2.0)
def test_any_mask_and_polygon_give_a_valid_polygon(previous, mask, tolerance):
    found = follow_polygon(previous, mask, tolerance)
    if not mask.any():
        assert found is None
        return
    ring = np.reshape(found, (-1, 2))
    assert len(ring) >= 3 and np.isfinite(ring).all()
    assert ring.min() >= 0 and np.all(ring <= mask.shape[::-1])
    raster = polygons_to_mask([found], *mask.shape)
    components = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)[0] - 1
    assert raster.any()
    if components == 1:
        contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        solid = cv2.drawContours(np.zeros(mask.shape, np.uint8), contours, -1, 1, cv2.FILLED).astype(bool)
        assert max(iou(raster, solid), iou(raster, mask)) >= 0.95


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.floats(3, 9))
def test_any_sequence_of_smooth_objects_keeps_the_overlap(seed, scale):
    fields = np.random.default_rng(seed).standard_normal((2, 90, 120))
    first, second = (cv2.GaussianBlur(field, (0, 0), scale) for field in fields)
    polygon = [30.0, 30.0, 60.0, 30.0, 60.0, 60.0]
    for share in (0, 0.05, 0.1, 1):
        field = first * (1 - share) + second * share
        mask = mask_to_polygons(field > 0.5 * field.std(), 0, holes="fill", min_area=10**6)
        mask = draw(mask[0], (90, 120))
        polygon = follow_polygon(polygon, mask)
        assert iou(draw(polygon, (90, 120)), mask) >= 0.95


@pytest.mark.parametrize("mask", [np.ones((5, 5)), np.ones((2, 5, 5), bool), np.ones(5, bool)], ids=lambda m: m.shape)
def test_what_is_no_mask_is_refused(mask):
    with pytest.raises(InputError):
        follow_polygon([0, 0, 4, 0, 4, 4], mask)


@pytest.mark.parametrize("polygon", [[], [1, 2, 3, 4], [1, 2, 3, 4, 5, float("nan")], "abcdef"], ids=str)
def test_what_is_no_polygon_is_refused(polygon):
    with pytest.raises(InputError):
        follow_polygon(polygon, np.ones((9, 9), bool))
    with pytest.raises(InputError):
        follow_polygon(polygon, np.zeros((9, 9), bool))


@pytest.mark.parametrize(
    "options", [{"tolerance": 0}, {"tolerance": float("nan")}, {"min_iou": 1.1}, {"min_iou": -1}], ids=str
)
def test_senseless_options_are_refused(options):
    with pytest.raises(InputError):
        follow_polygon([0, 0, 4, 0, 4, 4], np.ones((9, 9), bool), **options)
