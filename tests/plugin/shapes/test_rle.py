import numpy as np
import pytest
from cvat_sdk import masks as sdk
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from model.errors import InputError
from plugin.shapes import decode_mask, encode_label_map, encode_mask
from plugin.shapes.coco_rle import compress_counts, counts_to_mask, decompress_counts, runs_to_counts
from plugin.shapes.rle import object_runs

shapes = array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=14)
bool_masks = arrays(bool, shapes)
label_maps = arrays(np.uint8, shapes, elements=st.sampled_from([0, 1, 2, 7, 255]))


@settings(max_examples=150, deadline=None)
@given(bool_masks.filter(np.any))
def test_codec_equals_cvat_sdk(mask):
    points = encode_mask(mask)
    assert points == sdk.encode_mask(mask)
    assert all(type(value) is int for value in points)
    as_the_api_gives_them = [float(value) for value in points]
    np.testing.assert_array_equal(decode_mask(as_the_api_gives_them, *mask.shape), mask)


@pytest.mark.parametrize(
    ("pixels", "points"),
    [
        (np.ones((2, 3)), [0, 6, 0, 0, 2, 1]),
        ([[0, 0, 0], [0, 1, 0]], [0, 1, 1, 1, 1, 1]),
        ([[0, 1], [1, 0]], [1, 2, 1, 0, 0, 1, 1]),
        ([[1, 0], [0, 1]], [0, 1, 2, 1, 0, 0, 1, 1]),
    ],
    ids=["full", "one pixel", "first pixel of the box is background", "first pixel of the box is set"],
)
def test_known_masks(pixels, points):
    mask = np.array(pixels, dtype=bool)
    assert encode_mask(mask) == encode_mask(mask.astype(np.uint8) * 255) == points
    np.testing.assert_array_equal(decode_mask(points, *mask.shape), mask)


@settings(max_examples=60, deadline=None)
@given(label_maps)
def test_a_label_map_encodes_like_each_of_its_masks(label_map):
    expected = {int(i): sdk.encode_mask(label_map == i) for i in np.unique(label_map) if i}
    assert encode_label_map(label_map) == expected


def test_views_of_pictures_encode_like_copies():
    mask = np.random.default_rng(0).random((20, 30)) < 0.5
    for view in (mask.T, mask[::-1, 3:17], mask[::2, ::3]):
        assert encode_mask(view) == sdk.encode_mask(view.copy())


@pytest.mark.parametrize("mask", [np.zeros((4, 5), bool), np.zeros((0, 5), bool)])
def test_an_empty_mask_is_never_encoded(mask):
    with pytest.raises(InputError, match="empty"):
        encode_mask(mask)


@pytest.mark.parametrize(
    "points",
    [
        [],
        [1, 0, 0, 0],
        [1.5, 0, 0, 0, 0],
        [float("nan"), 0, 0, 0, 0],
        [float("inf"), 0, 0, 0, 0],
        [1e300, 0, 0, 0, 0],
        [-1, 2, 0, 0, 0, 0],
        [2, -1, 3, 0, 0, 3, 0],
        [2**62, 2**62, 2**62, 2**62, 1, 0, 0, 0, 0],
        [0, 3, 0, 0, 1, 0],
        [0, 1, 10, 0, 10, 0],
        [0, 1, 0, 10, 0, 10],
        [0, 1, -1, 0, -1, 0],
        [0, 1, 3, 0, 2, 0],
        [1, [2], 3, 4, 5],
        ["0", "1", "0", "0", "0", "0"],
        None,
    ],
    ids=str,
)
def test_broken_mask_points_are_refused(points):
    with pytest.raises(InputError) as caught:
        decode_mask(points, 10, 10)
    assert "\n" not in str(caught.value)


def test_pictures_that_are_no_masks_are_refused():
    for picture in (np.ones((3, 3), np.float32), np.ones((3, 3, 3), np.uint8), np.ones((3, 3), np.int64)):
        with pytest.raises(InputError, match="uint8"):
            encode_mask(picture)
        with pytest.raises(InputError, match="uint8"):
            encode_label_map(picture)


def to_coco(mask):
    runs = object_runs(np.ascontiguousarray(mask.T).astype(np.uint8))
    return compress_counts(runs_to_counts(runs[1], *mask.shape))


def test_coco_text_is_what_pycocotools_writes():
    # Written by pycocotools 2.0.11 for this mask.
    mask = np.zeros((60, 90), bool)
    mask[10:50, 20:70] = True
    mask[20:30, 30:40] = False
    mask[0, 0] = mask[59, 89] = True
    text = "01iU1W1kjN" + "0" * 18 + "ROF:" + ":FF:" * 9 + ":d0" + "0" * 58 + "UU1iN"
    assert to_coco(mask) == text
    np.testing.assert_array_equal(counts_to_mask(decompress_counts(text), 60, 90), mask)


@settings(max_examples=60, deadline=None)
@given(bool_masks.filter(np.any))
def test_coco_codec_round_trip(mask):
    np.testing.assert_array_equal(counts_to_mask(decompress_counts(to_coco(mask)), *mask.shape), mask)


@pytest.mark.parametrize("text", ["", "01i", "\x00\x01", "zz~", "ä", "oooooooooooo0"], ids=repr)
def test_broken_coco_text_is_refused(text):
    with pytest.raises(InputError):
        counts_to_mask(decompress_counts(text), 60, 90)
