"""Identity of masks that were drawn on different frames without a name."""

import numpy as np
import pytest

from model.keyframe import Keyframe
from model.propose_reduce.mask_identity import reduce
from model.result import FrameResult


def keyframe(squares, index, **ids):
    """The squares of a frame under other ids: `one=7` draws the first one as 7."""
    label_map = np.zeros_like(squares.labels[index])
    for name, square in (("one", 1), ("two", 2)):
        label_map[squares.labels[index] == square] = ids.get(name, 0)
    return Keyframe(index, label_map)


def test_masks_are_the_objects_that_they_are_whatever_their_ids(lite, squares):
    drawn = [
        keyframe(squares, 20, one=1, two=2),
        keyframe(squares, 0, one=5, two=3),
        keyframe(squares, 10, one=2, two=1),
    ]
    found = reduce(lite, squares.frames, drawn)
    one, two = found.objects[0, 5], found.objects[0, 3]
    assert sorted((one, two)) == [1, 2]
    assert found.objects == {(0, 5): one, (0, 3): two, (10, 2): one, (10, 1): two, (20, 1): one, (20, 2): two}
    assert {(link.before, link.behind) for link in found.links} == {
        ((0, 5), (10, 2)),
        ((0, 3), (10, 1)),
        ((10, 2), (20, 1)),
        ((10, 1), (20, 2)),
    }
    assert all(0.5 <= link.iou <= 1 for link in found.links)


def test_an_object_that_was_left_out_on_a_keyframe_is_found_on_the_next(lite, squares):
    drawn = [keyframe(squares, 0, one=1, two=2), keyframe(squares, 8, one=1), keyframe(squares, 16, one=1, two=2)]
    found = reduce(lite, squares.frames, drawn)
    assert found.objects[16, 1] == found.objects[8, 1] == found.objects[0, 1]
    assert found.objects[16, 2] == found.objects[0, 2] != found.objects[0, 1]
    assert ((0, 2), (16, 2)) in {(link.before, link.behind) for link in found.links}


def test_other_places_and_other_kinds_are_other_objects(lite, squares):
    drawn = [keyframe(squares, 0, one=1), keyframe(squares, 6, two=1)]
    assert len(set(reduce(lite, squares.frames, drawn).objects.values())) == 2
    drawn = [keyframe(squares, 0, one=1), keyframe(squares, 6, one=1)]
    assert len(set(reduce(lite, squares.frames, drawn).objects.values())) == 1
    kinds = {(0, 1): "cat", (6, 1): "dog"}
    assert len(set(reduce(lite, squares.frames, drawn, kinds).objects.values())) == 2


def test_the_same_object_drawn_twice_is_two_objects_that_each_go_on(lite, squares):
    """One covers the other; neither loses a pixel to it, nor does what is drawn within."""
    square = squares.labels == 1

    def drawn(index, first, second, within):
        inner = square[index].copy()
        inner[26:] = False
        return Keyframe(index, {first: square[index], second: square[index], within: inner})

    kinds = {(0, 3): "part", (6, 2): "part"}
    found = reduce(lite, squares.frames, [drawn(0, 1, 2, 3), drawn(6, 3, 1, 2)], kinds).objects
    assert len(set(found.values())) == 3
    assert {found[0, 1], found[0, 2]} == {found[6, 3], found[6, 1]} and found[0, 3] == found[6, 2]


def test_what_is_drawn_over_an_object_does_not_keep_it_from_being_found_again(lite, squares):
    square = squares.labels == 1
    whole = [Keyframe(i, {1: square[i]}) for i in (0, 12)]
    over = Keyframe(6, {1: square[6]})
    found = reduce(lite, squares.frames, [whole[0], over, whole[1]], {(6, 1): "net"}).objects
    assert found[0, 1] == found[12, 1] != found[6, 1]


def test_a_keyframe_that_shows_nothing_links_nothing(lite, squares):
    nothing = Keyframe(0, np.zeros_like(squares.labels[0]), [1])
    assert reduce(lite, squares.frames, [nothing, keyframe(squares, 6, one=1)]).objects == {(6, 1): 1}


@pytest.mark.parametrize("count", [0, 1])
def test_one_keyframe_or_none_needs_no_network(squares, count):
    drawn = [keyframe(squares, 3, one=4, two=9)][:count]
    found = reduce(None, squares.frames, drawn)
    assert found.objects == ({(3, 4): 1, (3, 9): 2} if count else {}) and found.links == []


class Sure:
    """Nothing moves; how sure it is of a mask depends on the frame and on how many pixels there are."""

    def run(self, frames, keyframes, start=0, stop=None, direction="both", labels=None):
        (keyframe,) = keyframes
        for index in range(start, stop):
            sure = {i: (0.9 if area > 60 else 0.5) - 0.01 * index for i, area in keyframe.masks.areas.items()}
            yield FrameResult(index, keyframe.masks, sure, index == keyframe.index)


def test_of_a_detector_s_proposals_for_one_object_the_sequence_of_the_highest_score_stays():
    """Mean of the confidence over the frames, times the detector's score; a person's masks all stay."""
    frames = np.zeros((5, 20, 20, 3), np.uint8)
    whole, upper, lower = np.zeros((3, 20, 20), bool)
    whole[4:14, 4:14] = upper[4:11, 4:14] = lower[8:14, 4:14] = True
    drawn = [Keyframe(0, {1: whole}), Keyframe(4, {1: upper, 2: lower})]  # of 100, 70 and 60 pixels
    assert reduce(Sure(), frames, drawn).objects == {(0, 1): 1, (4, 1): 1, (4, 2): 2}

    def scores(first, second):
        found = reduce(Sure(), frames, drawn, detected={(4, 1): first, (4, 2): second})
        (repeat,) = found.repeats
        assert found.objects == {(0, 1): 1, repeat.instead: 1} and not found.apart
        return repeat.mask, pytest.approx(repeat.score)

    assert scores(1.0, 1.0) == ((4, 2), 0.48)  # the mean of 0.5, 0.49 ... 0.46
    assert scores(0.5, 1.0) == ((4, 1), 0.44)  # half the mean of 0.9 ... 0.86
    assert scores(0.6, 1.0) == ((4, 2), 0.48)


def test_what_is_known_of_two_masks_decides_before_their_overlap():
    frames = np.zeros((5, 20, 20, 3), np.uint8)
    whole, upper, lower = np.zeros((3, 20, 20), bool)
    whole[4:14, 4:14] = upper[4:11, 4:14] = lower[8:14, 4:14] = True
    drawn = [Keyframe(0, {1: whole}), Keyframe(4, {1: upper, 2: lower})]  # the upper one overlaps more

    def found(said, detected):
        pairs = {((0, 1), (4, 1)): said} if said is False else {((0, 1), (4, 2)): said}
        return reduce(Sure(), frames, drawn, detected=detected, said=lambda a, b: pairs.get((a, b)))

    apart = found(False, {(4, 2): 0.1})  # two people's names: the detector's shape is the first one's
    assert apart.objects == {(0, 1): 1, (4, 1): 2, (4, 2): 1} and not apart.repeats
    one = found(True, {(4, 1): 1.0})  # a newcomer that overlaps more than what is known to be the object
    assert one.objects == {(0, 1): 1, (4, 2): 1} and [r.mask for r in one.repeats] == [(4, 1)]


def test_a_proposal_that_is_left_out_takes_nothing_along():
    """Its number is given to others, and it is neither carried on nor named as near to anything."""
    frames = np.zeros((9, 20, 20, 3), np.uint8)
    whole, upper, lower, beside = np.zeros((4, 20, 20), bool)
    whole[4:14, 4:14] = upper[4:11, 4:14] = lower[8:14, 4:14] = beside[16:, 16:] = True
    drawn = [Keyframe(0, {1: lower, 2: upper}), Keyframe(4, {1: whole, 2: beside}), Keyframe(8, {7: lower, 8: beside})]
    detected = {(k.index, i): 1.0 for k in drawn for i in k.present}
    found = reduce(Sure(), frames, drawn, detected=detected)
    assert [(r.mask, r.instead) for r in found.repeats] == [((0, 1), (0, 2))]
    assert found.objects == {(0, 2): 1, (4, 1): 1, (8, 7): 1, (4, 2): 2, (8, 8): 2}
    assert not any((0, 1) in link[:2] for link in (*found.links, *found.apart))
