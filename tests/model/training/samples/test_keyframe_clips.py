"""Samples from keyframes: what they teach, and what they must not."""

import cv2
import numpy as np
import pytest

from model.object_masks import ObjectMasks
from model.training.samples.appearance import Appearance
from model.training.samples.filled_ground import filled_ground
from model.training.samples.keyframe_clips import AnnotatedFrame, KeyframeClips
from model.training.samples.sample_shape import Sample, SampleShape

RED, GREEN, BLUE, GREY = (220, 20, 20), (20, 200, 20), (20, 20, 220), (110, 110, 110)
_SHAPE = SampleShape(clips=1, clip_frames=2, crop=64, objects=2)


def box(left: int, top: int, side: int = 30) -> np.ndarray:
    mask = np.zeros((100, 140), bool)
    mask[top : top + side, left : left + side] = True
    return mask


def annotated(colours: dict, masks: dict, objects: tuple[int, ...] | None = None) -> AnnotatedFrame:
    """A grey picture in which boxes have colours, some of them with masks."""
    image = np.full((100, 140, 3), GREY, np.uint8)
    for place, colour in colours.items():
        image[box(*place)] = colour
    shown = ObjectMasks.of(masks, shape=(100, 140))
    return AnnotatedFrame(image, shown, objects or shown.objects)


def clips(*frames: AnnotatedFrame, lines: int = 100) -> KeyframeClips:
    return KeyframeClips(frames, _SHAPE, lines, Appearance.none())


def drawn(some: KeyframeClips, count: int = 30) -> list[Sample]:
    found = [some.draw(np.random.default_rng(i), 10) for i in range(count)]
    return [sample for sample in found if sample is not None]


def share_of(sample: Sample, t: int, colour: tuple[int, int, int], masks: np.ndarray) -> float:
    """Of the pixels of some masks, how many have a colour."""
    inside = cv2.erode(masks.astype(np.uint8), np.ones((5, 5))) > 0
    near = np.abs(sample.frames[t].astype(int) - colour).max(-1) < 40
    return float((near & inside).sum() / max(1, inside.sum()))


def test_behind_an_object_there_is_ground():
    frame = annotated({(50, 40): RED}, {1: box(50, 40)})
    ground = filled_ground(frame.image, box(50, 40))
    assert np.abs(ground.astype(int) - GREY).max() <= 2
    whole = filled_ground(frame.image, np.ones((100, 140), bool))
    assert whole.shape == frame.image.shape  # nothing to fill from: no error
    stripes = np.full((100, 140, 3), GREY, np.uint8)
    stripes[:50] = BLUE  # sky above, road below
    filled = filled_ground(np.where(box(50, 35)[..., None], RED, stripes).astype(np.uint8), box(50, 35))
    assert np.abs(filled.astype(int) - stripes).mean() < 4


def test_a_sample_depends_on_the_generator_alone_and_shows_the_object_where_its_mask_is():
    some = clips(annotated({(50, 40): RED}, {7: box(50, 40)}))
    samples = drawn(some)
    assert len(samples) > 20
    for sample, again in zip(samples, drawn(some)):
        assert np.array_equal(sample.frames, again.frames) and np.array_equal(sample.masks, again.masks)
        assert sample.frames.shape == (3, 64, 64, 3) and sample.masks.shape == (3, 2, 64, 64)
        assert sample.masks[0].any()
        for t in range(3):
            if sample.masks[t, 0].sum() > 200:
                assert share_of(sample, t, RED, sample.masks[t, 0]) > 0.9
    moved = [s for s in samples if np.count_nonzero(s.masks[0, 0] != s.masks[2, 0]) > 100]
    assert len(moved) > len(samples) / 2


def test_what_looks_alike_and_is_not_drawn_stays_and_is_not_asked_for():
    some = clips(annotated({(20, 40): RED, (85, 40): RED}, {1: box(20, 40)}))
    beside = [
        sample
        for sample in drawn(some, 40)
        if share_of(sample, 0, RED, ~sample.masks[0].any(0)) > 0.03 and sample.source == "keyframe"
    ]
    assert len(beside) > 5


def test_objects_that_share_pixels_are_not_asked_for_together_and_move_as_one():
    person, helmet = box(40, 20, 60), box(55, 20)
    frame = annotated({(40, 20, 60): GREEN, (55, 20): RED}, {1: person, 2: helmet})
    for sample in drawn(clips(frame), 40):
        assert sample.masks.sum(1).max() <= 1
        assert not (sample.masks[0, 0].any() and sample.masks[0, 1].any())


def test_two_keyframes_teach_what_an_object_comes_to_look_like():
    first = annotated({(20, 40): RED}, {1: box(20, 40)})
    second = annotated({(85, 40): BLUE}, {1: box(85, 40)})
    changed = 0
    for sample in drawn(clips(first, second), 40):
        looks = [
            [share_of(sample, t, colour, sample.masks[t, 0]) > 0.6 for colour in (RED, BLUE)]
            for t in range(3)
            if sample.masks[t, 0].sum() > 200
        ]
        assert all(any(look) for look in looks)
        changed += len({tuple(look) for look in looks}) > 1
    assert changed > 5


def test_what_a_keyframe_does_not_speak_for_is_never_taught_as_gone():
    """The second keyframe says nothing of the green object, which is there."""
    first = annotated({(20, 40): RED, (85, 40): GREEN}, {1: box(20, 40), 2: box(85, 40)})
    second = annotated({(25, 40): RED, (90, 40): GREEN}, {1: box(25, 40)}, (1,))
    pairs = [sample for sample in drawn(clips(first, second), 60) if "pair" in sample.source]
    assert len(pairs) > 5
    for sample in pairs:
        for t in range(3):
            assert share_of(sample, t, GREEN, sample.masks[t].any(0)) < 0.1


def test_the_last_of_the_ids_is_an_object_like_all_others():
    first, second = (annotated({(left, 40): RED}, {255: box(left, 40)}) for left in (20, 60))
    pairs = [sample for sample in drawn(clips(first, second), 40) if "pair" in sample.source]
    assert pairs and all(sample.masks[0].any() for sample in pairs)


@pytest.mark.parametrize(("side", "empty"), [(5, True), (12, False)])
def test_specks_are_nothing_to_learn_from_and_small_objects_are_enlarged(side, empty):
    some = clips(annotated({(50, 40, side): RED}, {1: box(50, 40, side)}))
    assert some.empty == empty
    if not empty:
        assert len(drawn(some)) > 15
