"""The masks of a frame: what goes in comes out, whatever shares pixels."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model import InputError, Keyframe, ObjectMasks

_SHAPE = (6, 7)
_MASK = st.binary(min_size=42, max_size=42).map(lambda b: (np.frombuffer(b, np.uint8) > 127).reshape(_SHAPE))
_MASKS = st.dictionaries(st.integers(1, 255), _MASK, max_size=6)


@settings(max_examples=25, deadline=None)
@given(masks=_MASKS, data=st.data())
def test_each_object_keeps_its_mask_and_the_uppermost_has_a_shared_pixel(masks, data):
    order = data.draw(st.permutations(sorted(masks)))
    made = ObjectMasks.of(masks, order, _SHAPE)
    shown = [o for o in order if masks[o].any()]
    assert made.order == tuple(shown) and made.objects == tuple(sorted(shown))
    flat = np.zeros(_SHAPE, np.uint8)
    for o in shown:
        np.testing.assert_array_equal(made.mask(o), masks[o])
        assert made.areas[o] == masks[o].sum()
        flat[masks[o]] = o
    np.testing.assert_array_equal(made.label_map, flat)
    owners = sum((masks[o].astype(int) for o in shown), np.zeros(_SHAPE, int))
    assert made.overlapping == (owners > 1).any()
    shared = {(a, b): int((masks[a] & masks[b]).sum()) for a in shown for b in shown if a < b}
    assert made.shared() == {pair: count for pair, count in shared.items() if count}
    some = data.draw(st.sets(st.sampled_from(shown))) if shown else set()
    rest = made.only(set(shown) - some)
    assert rest == ObjectMasks.of({o: masks[o] for o in shown if o not in some}, order, _SHAPE)
    assert made.only(some).above(rest, order) == made
    assert made == ObjectMasks.of(dict(reversed(masks.items())), order, _SHAPE)
    names = dict(zip(shown, range(201, 201 + len(shown))))
    assert made.renamed(names).order == tuple(names.values())


def test_masks_that_differ_are_not_equal_even_where_the_label_map_is():
    inner, outer = np.zeros(_SHAPE, bool), np.ones(_SHAPE, bool)
    inner[2:4, 2:4] = True
    whole, hole = ObjectMasks.of({1: outer, 2: inner}), ObjectMasks.of({1: outer & ~inner, 2: inner})
    assert np.array_equal(whole.label_map, hole.label_map) and whole != hole
    assert whole != ObjectMasks.of({1: outer, 2: inner}, order=(2, 1))  # the inner one is covered


def test_what_is_larger_lies_below():
    small, large = np.eye(6, 7) > 0, np.ones(_SHAPE, bool)
    assert ObjectMasks.of({1: small, 2: large, 3: small}).order == (2, 1, 3)


def test_a_label_map_is_copied_and_costs_no_second_one():
    label_map = np.zeros(_SHAPE, np.int64)
    label_map[1, 1:5] = 9
    made = ObjectMasks.from_label_map(label_map)
    label_map[:] = 0
    assert made.label_map.dtype == np.uint8 and made.areas == {9: 4} and not made.overlapping
    assert not made.mask(0).any() and not made.mask(8).any()


def test_a_keyframe_takes_masks_that_share_pixels():
    inner, outer = np.zeros(_SHAPE, bool), np.ones(_SHAPE, bool)
    inner[2:4, 2:4] = True
    keyframe = Keyframe(3, {1: outer, 2: inner}, (1, 2, 5))
    assert keyframe.present == (1, 2) and keyframe.mask(1).all() and keyframe.label_map[2, 2] == 2
    assert not keyframe.mask(5).any()


@pytest.mark.parametrize(
    ("masks", "says"),
    [
        ({0: np.ones((2, 2), bool)}, "1..255, found 0"),
        ({"person": np.ones((2, 2), bool)}, "whole numbers 1..255, found 'person'"),
        ({1.5: np.ones((2, 2), bool)}, "whole numbers 1..255, found 1.5"),
        ({1: np.ones((2, 2), bool), 2: np.ones((2, 3), bool)}, "3x2 pixels, others are 2x2"),
        ({1: np.ones((2, 2, 3), bool)}, "give bool"),
        ({1: np.ones((2, 2))}, "give bool"),
        ({}, "no mask"),
    ],
)
def test_bad_masks_are_refused_in_one_line(masks, says):
    with pytest.raises(InputError, match=says):
        Keyframe(4, masks)


def test_an_order_must_name_all_objects():
    with pytest.raises(InputError, match="object 2"):
        ObjectMasks.of({1: np.ones((2, 2), bool), 2: np.ones((2, 2), bool)}, order=(1,))
