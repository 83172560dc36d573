"""Which objects exclude each other: the rule of `model.propagation.layers`."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model import Keyframe, ObjectMasks
from model.propagation.layers import Layers, overlaps

_SHAPE = (96, 128)  # a contour is two pixels wide


def box(top: int, left: int, rows: int, columns: int) -> np.ndarray:
    mask = np.zeros(_SHAPE, bool)
    mask[top : top + rows, left : left + columns] = True
    return mask


BODY = box(10, 10, 70, 40)


@pytest.mark.parametrize(
    ("other", "overlap"),
    [
        (box(10, 60, 30, 30), False),
        (box(10, 48, 70, 5), False),  # a long, narrow neighbour: 40 % of it is contour
        (box(30, 47, 10, 9), True),  # as much of it, but deeper than a contour
        (box(20, 20, 10, 10), True),
        (box(40, 11, 3, 3), True),  # a dot at the rim
        (box(40, 5, 2, 100), True),  # a rope across: narrow, but deep in the body
        (box(75, 45, 21, 60), False),  # corners: 2 % of the smaller one
        (BODY, True),
        (box(11, 10, 69, 40), True),
    ],
)
@pytest.mark.parametrize("enlarged", [1, 10])
def test_what_counts_as_overlap(other, overlap, enlarged):
    # At ten times the size a contour is ten pixels wide: that is more than the enlarged strips share, too.
    masks = {i: mask.repeat(enlarged, 0).repeat(enlarged, 1) for i, mask in ((1, BODY), (2, other))}
    if enlarged == 10 and other.sum() == 350:
        masks[2] = np.roll(masks[2], 14, 1)  # six pixels of ten: no contour is as wide as one of few pixels
    assert list(overlaps(ObjectMasks.of(masks))) == ([(1, 2)] if overlap else [])


def nested(*pairs: tuple[int, int], others: tuple[int, ...] = ()) -> ObjectMasks:
    """Pairs of a large object and a small one in it, side by side; and others that touch nothing."""
    masks = {}
    for place, (outer, inner) in enumerate(pairs):
        masks |= {outer: box(5, 5 + 25 * place, 40, 20), inner: box(10, 10 + 25 * place, 10, 10)}
    return ObjectMasks.of(masks | {o: box(60, 5 + 12 * i, 10, 10) for i, o in enumerate(others)})


def test_alike_objects_share_a_layer():
    # As drawn: person, helmet; helmet, person. The dog is alone.
    keyframe = Keyframe(0, nested((1, 2), (4, 3), others=(5, 6)))
    labels = {1: "person", 2: "helmet", 3: "helmet", 4: "person", 5: "helmet", 6: "dog"}
    person, helmet, helmet2, person2, helmet3, _ = Layers.of([keyframe], labels).places([1, 2, 3, 4, 5, 6])
    assert person == person2 != helmet == helmet2 == helmet3


def test_without_labels_what_holds_others_shares_a_layer():
    layers = Layers.of([Keyframe(0, nested((2, 1), (3, 4), others=(5,)))])
    assert layers.count == 2 and layers.groups([1, 2, 3, 4]) == [(2, 3), (1, 4)]


def test_where_nothing_overlaps_there_is_one_layer():
    keyframes = [Keyframe(i, nested(others=(1, 2, 3))) for i in range(3)]
    assert Layers.of(keyframes, {1: "a", 2: "b"}).count == 1


@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_the_rule_holds_for_any_overlaps_and_any_order_of_keyframes(data):
    sides = st.tuples(st.integers(0, 80), st.integers(0, 110), st.integers(1, 40), st.integers(1, 60))
    keyframes = [
        Keyframe(i, {o: box(*data.draw(sides)) for o in data.draw(st.sets(st.integers(1, 6), min_size=1))})
        for i in range(data.draw(st.integers(1, 3)))
    ]
    labels = data.draw(st.dictionaries(st.integers(1, 6), st.sampled_from("ab")))
    layers = Layers.of(keyframes, labels)
    objects = sorted({o for k in keyframes for o in k.objects})
    rivals = {pair for k in keyframes for pair in overlaps(k.masks)}
    assert all(a != b for a, b in (layers.places(pair) for pair in rivals))
    most = max(sum(o in pair for pair in rivals) for o in objects)
    assert layers.count <= most + 1 and set(layers.places(objects)) == set(range(layers.count))
    again = Layers.of(data.draw(st.permutations(keyframes)), dict(reversed(labels.items())))
    assert again.places(objects) == layers.places(objects)
    assert all(again.order(i) == layers.order(i) for i in range(3))
    assert sorted(layers.order(0)) == objects


def test_a_frame_has_the_order_of_the_keyframe_before_it():
    front = Keyframe(0, ObjectMasks.of({1: BODY, 2: BODY}, order=(1, 2)))
    back = Keyframe(9, ObjectMasks.of({1: BODY, 2: BODY, 3: box(20, 20, 4, 4)}, order=(2, 3, 1)))
    layers = Layers.of([back, front])
    assert layers.order(8) == [1, 2, 3] and layers.order(9) == [2, 3, 1]


def test_what_is_drawn_later_by_itself_lies_on_the_larger_things():
    """As a vest that is added on a frame of its own: before it, behind it, and behind the person drawn anew."""
    first = Keyframe(0, ObjectMasks.of({1: BODY, 2: box(20, 20, 6, 6)}, order=(1, 2)))
    later, again = Keyframe(5, {3: box(25, 25, 4, 4)}), Keyframe(8, {1: BODY})
    layers = Layers.of([first, later])
    assert layers.order(4) == layers.order(5) == [1, 2, 3]
    assert Layers.of([first, later, again]).order(9) == [1, 2, 3]
    assert Layers.of([later, again]).order(9) == [1, 3]
