"""Objects that overlap: both come back whole, and every promise of a run holds for them too."""

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from model import Keyframe, ObjectMasks, PropagationOptions, Propagator, load_network
from model.propagation.run_record import RunRecord
from tests.conftest import MovingSquares
from tests.model.propagation.test_propagator import by_frame
from tests.model.propagation.test_run_record import chain

_LENGTH = 12
_SHAPE = (96, 128)


class Nested:
    """The moving squares 1 and 2; 3 is a patch in the middle of the first one."""

    def __init__(self) -> None:
        squares = MovingSquares()
        self.frames = squares.frames[:_LENGTH]
        self.masks = [{o: labels == o for o in (1, 2)} for labels in squares.labels[:_LENGTH]]
        for masks, frame in zip(self.masks, self.frames):
            rows, columns = np.nonzero(masks[1])
            inner = np.zeros(_SHAPE, bool)
            inner[rows.min() + 5 : rows.max() - 4, columns.min() + 5 : columns.max() - 4] = True
            masks[3] = inner
            frame[inner] = frame[inner] // 4 + (150, 150, 20)

    def keyframe(self, index: int, *objects: int) -> Keyframe:
        return Keyframe(index, {o: self.masks[index][o] for o in objects or (1, 2, 3)})


@pytest.fixture(scope="module")
def nested() -> Nested:
    return Nested()


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / max(1, (a | b).sum()))


def shares(masks: ObjectMasks) -> float:
    """How much of object 3 belongs to object 1, too."""
    return masks.shared().get((1, 3), 0) / masks.areas[3]


@pytest.fixture(scope="module")
def plain() -> Propagator:
    """Looks at whole frames, so that what is known of an object does not depend on where others are."""
    options = PropagationOptions(short_side=None, dtype="float32", device="cpu", focus=False, thin_memory=False)
    return Propagator(load_network("perclip-lite"), options).with_options(keep_probabilities=True)


def test_a_nested_object_and_what_is_around_it_are_as_if_each_were_alone(plain, nested):
    together = by_frame(plain.run(nested.frames, [nested.keyframe(0)]))
    outer = by_frame(plain.run(nested.frames, [nested.keyframe(0, 1, 2)]))
    inner = by_frame(plain.run(nested.frames, [nested.keyframe(0, 3)]))
    for index, result in together.items():
        for obj, alone in ((1, outer), (2, outer), (3, inner)):
            assert iou(result.mask(obj), alone[index].mask(obj)) > 0.98
            assert result.confidence[obj] == pytest.approx(alone[index].confidence[obj], abs=0.03)
        assert shares(result.masks) > 0.8
        assert (result.label_map[result.mask(3)] == 3).all()  # the smaller one lies above
        nothing, first, second, third = result.probabilities
        assert (first + second).max() < 1 + 1e-5 and third.max() > 0.5 and first[result.mask(3)].mean() > 0.5
        np.testing.assert_allclose(nothing, (1 - first - second) * (1 - third), atol=1e-5)


def test_what_is_drawn_twice_comes_back_twice(lite, nested):
    first = nested.masks[0][1]
    given = ObjectMasks.of({1: first, 2: first, 3: nested.masks[0][2]})
    results = by_frame(lite.run(nested.frames, [Keyframe(0, given)]))
    assert results[0].masks == given
    alone = by_frame(lite.run(nested.frames, [Keyframe(0, {1: first, 3: nested.masks[0][2]})]))
    for index, result in results.items():
        assert iou(result.mask(1), result.mask(2)) > 0.98 and iou(result.mask(1), alone[index].mask(1)) > 0.95


def test_contours_that_touch_come_back_as_drawn_though_they_are_no_layers(lite, nested):
    masks = {1: nested.masks[0][1], 2: np.roll(nested.masks[0][1], 27, 1)}
    results = by_frame(lite.run(nested.frames, [Keyframe(0, masks)]))
    assert results[0].masks == ObjectMasks.of(masks) and results[0].masks.overlapping
    assert not any(result.masks.overlapping for index, result in results.items() if index)


def test_a_partial_keyframe_takes_nothing_from_an_object_of_another_layer(lite, nested):
    keyframes = [nested.keyframe(0), nested.keyframe(6, 3)]
    results = by_frame(lite.run(nested.frames, keyframes))
    np.testing.assert_array_equal(results[6].mask(3), nested.masks[6][3])
    for index in range(6, _LENGTH):
        assert shares(results[index].masks) > 0.8
    same_layer = by_frame(lite.run(nested.frames, [nested.keyframe(0, 1, 2), nested.keyframe(6, 3)]))
    assert not same_layer[6].masks.overlapping


def test_later_frames_are_as_if_there_were_no_objects_in_other_layers(plain, nested):
    """What is memorised of a frame that others draw on, or that is known from before, is whole."""
    elsewhere = Keyframe(6, np.zeros(_SHAPE, np.uint8), (9,))  # clips end there, too
    drawn_over = by_frame(plain.run(nested.frames, [nested.keyframe(0), nested.keyframe(6, 3)]))
    alone = by_frame(plain.run(nested.frames, [nested.keyframe(0, 1, 2), elsewhere]))
    for index in range(7, _LENGTH):
        np.testing.assert_allclose(drawn_over[index].probabilities[1], alone[index].probabilities[1], atol=1e-3)
    known = {i: ObjectMasks.of(nested.masks[i]) for i in range(1, 6)}
    finished = by_frame(plain.run(nested.frames, [nested.keyframe(0)], finished=known))
    known = {i: known[i].only((1, 2)).label_map for i in known}
    alone = by_frame(plain.run(nested.frames, [nested.keyframe(0, 1, 2)], finished=known))
    assert set(finished) == {0, *range(6, _LENGTH)}
    for index in range(6, _LENGTH):
        np.testing.assert_allclose(finished[index].probabilities[1], alone[index].probabilities[1], atol=1e-3)
        assert shares(finished[index].masks) > 0.8


def test_a_stretch_has_the_layers_of_its_own_keyframes(lite, nested):
    apart = dict(nested.masks[6]) | {3: np.roll(nested.masks[6][3], 40, 0)}
    later = dict(nested.masks[11]) | {3: np.roll(nested.masks[11][3], 40, 0), 2: nested.masks[11][2]}
    keyframes = [nested.keyframe(0), Keyframe(6, apart), Keyframe(11, later)]
    whole = by_frame(lite.run(nested.frames, keyframes))
    for first, last in ((0, 6), (6, 11)):
        ends = [k for k in keyframes if first <= k.index <= last]
        frames = nested.frames.copy()
        frames[:first], frames[last + 1 :] = 0, 255
        for index, result in by_frame(lite.run(frames, ends, start=first, stop=last)).items():
            assert result.masks == whole[index].masks and result.confidence == whole[index].confidence


@settings(max_examples=6, deadline=None, phases=set(Phase) - {Phase.shrink})
@given(data=st.data())
def test_any_keyframes_come_back_as_drawn_and_a_chain_of_calls_equals_one_run(lite, nested, data):
    options = lite.with_options(memory=data.draw(st.sampled_from(("every", "spread"))), clip_length=3)
    sides = st.tuples(st.integers(0, 60), st.integers(0, 90), st.integers(1, 40), st.integers(1, 60))
    keyframes = []
    for index in sorted(data.draw(st.sets(st.integers(0, _LENGTH - 1), min_size=1, max_size=3))):
        masks = {}
        for obj in sorted(data.draw(st.sets(st.integers(1, 3), min_size=1))):
            kind = data.draw(st.sampled_from(("true", "true", "any", "absent")))
            masks[obj] = nested.masks[index][obj] & (kind != "absent")
            if kind == "any":
                top, left, rows, columns = data.draw(sides)
                masks[obj] = np.zeros(_SHAPE, bool)
                masks[obj][top : top + rows, left : left + columns] = True
        order = data.draw(st.permutations(sorted(masks)))
        keyframes.append(Keyframe(index, ObjectMasks.of(masks, order, _SHAPE), masks))
    if not any(k.present for k in keyframes):
        keyframes[0] = nested.keyframe(keyframes[0].index)
    direction = data.draw(st.sampled_from(("forward", "backward", "both")))
    arguments = {"direction": direction, "labels": data.draw(st.sampled_from(({}, {1: "a", 2: "a", 3: "b"})))}
    whole = by_frame(options.run(nested.frames, keyframes, record=RunRecord(), **arguments))
    for keyframe in keyframes:
        drawn = whole[keyframe.index].masks.only(keyframe.objects)
        assert drawn == keyframe.masks and drawn.order == keyframe.masks.order
        assert all(whole[keyframe.index].confidence[o] == 1 for o in keyframe.objects)
    results, _ = chain(options, nested.frames, keyframes, data.draw(st.integers(3, 6)), **arguments)
    assert results.keys() == whole.keys()
    for index, result in results.items():
        assert result.masks == whole[index].masks and result.masks.order == whole[index].masks.order
        assert result.confidence == whole[index].confidence
