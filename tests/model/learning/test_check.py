"""What is asked to tell whether a network is better: only of masks that it cannot know."""

from itertools import pairwise

import numpy as np
import pytest

from model import FrameResult, Keyframe
from model.learning.check import Check
from model.learning.lesson import Lesson

_FRAMES = np.zeros((60, 40, 60, 3), np.uint8)


def keyframe(index: int, *objects: int) -> Keyframe:
    return Keyframe(index, {o: box(o) for o in objects})


def box(obj: int) -> np.ndarray:
    mask = np.zeros((40, 60), bool)
    mask[10:30, 20 * (obj - 1) : 20 * obj] = True
    return mask


class Moving:
    """Instead of a network: every mask goes so many pixels down in each run, or is lost at once."""

    def __init__(self, pixels: int = 0, lost: bool = False):
        self.pixels, self.lost = pixels, lost
        self.given: list[list[Keyframe]] = []

    def run(self, frames, keyframes, start, stop, direction="both", labels=None):
        keyframes = list(keyframes)
        self.given.append(keyframes)
        frames[start:stop]
        for index in range(start, stop):
            masks = {}
            for obj in sorted({o for k in keyframes for o in k.present}):
                known = next(k for k in keyframes if obj in k.present)
                masks[obj] = np.roll(known.mask(obj), self.pixels, 0) & (not self.lost)
            yield FrameResult(index, masks, dict.fromkeys(masks, 1.0), False)


@pytest.mark.parametrize("frames", [(0, 5), (0, 5, 9), (0, 5, 9, 20, 40, 59), (7, 50)])
def test_no_keyframe_is_asked_for_that_was_learned_from_and_none_from_an_asked_one(frames):
    check = Check([Lesson(_FRAMES, [keyframe(i, 1) for i in frames])])
    assert check.holds_out
    learned_from = {k.index for lesson in check.lessons for k in lesson.keyframes}
    asked = {int(number) for number in check.words.split(" ", 2)[2].split(", ")}
    assert learned_from and asked and learned_from | asked == set(frames) and not learned_from & asked
    assert not any(a in asked and b in asked for a, b in pairwise(frames))  # each is asked for from its neighbours
    network = Moving()
    assert check.score(network) == 1
    assert len(network.given) == len(asked)


@pytest.mark.parametrize("frames", [(0, 5), (0, 5, 9, 20, 40, 59), (7, 50), (30,), (0,), (59,)])
def test_it_looks_at_no_other_frames_than_it_says(frames):
    seen: set[int] = set()

    class Watched(list):
        def __getitem__(self, index):
            seen.update(range(len(self))[index] if isinstance(index, slice) else [index])
            return _FRAMES[index]

    lesson = Lesson(Watched(_FRAMES), [keyframe(i, 1) for i in frames])
    check = Check([lesson])

    class All(Moving):
        def run(self, frames, *given, **named):
            frames[0 : len(frames)]
            return super().run(frames, *given, **named)

    assert check.score(All()) == 1
    assert seen == set(check.indices(lesson)) and set(check.indices(lesson)) >= set(frames) - {9, 40}


def test_what_is_to_be_done_between_questions_is_done_before_each():
    check = Check([Lesson(_FRAMES, [keyframe(i, 1) for i in (0, 9, 20, 40, 59)])])
    network, times = Moving(), []
    check.score(network, lambda: times.append(len(network.given)))
    assert times == [0, 1]


@pytest.mark.parametrize(("pixels", "least", "most"), [(2, 0.5, 0.95), (13, 0, 0.5)])
def test_what_goes_astray_scores_less(pixels, least, most):
    for keyframes in ([keyframe(0, 1, 2), keyframe(9, 1, 2)], [keyframe(3, 1, 2)]):
        assert least <= Check([Lesson(_FRAMES, keyframes)]).score(Moving(pixels)) <= most


def test_what_is_lost_on_the_way_scores_nothing():
    assert Check([Lesson(_FRAMES, [keyframe(3, 1, 2)])]).score(Moving(lost=True)) == 0


def test_masks_that_were_seen_are_not_asked_for_and_neither_is_what_nobody_else_shows():
    lesson = Lesson(_FRAMES, [keyframe(0, 1), keyframe(10, 1), keyframe(20, 1)])
    seen = [digest for masks in lesson.mask_digests[:2] for digest in masks.values()]
    assert Check([lesson], seen).words == "held-out keyframe 20"
    everything = [digest for masks in lesson.mask_digests for digest in masks.values()]
    assert not Check([lesson], everything).holds_out
    assert not Check([Lesson(_FRAMES, [keyframe(0, 1), keyframe(10, 2)])]).holds_out


def test_a_correction_before_the_first_keyframe_is_asked_for_from_behind():
    lesson = Lesson(_FRAMES, [keyframe(4, 1), keyframe(10, 1)])
    seen = list(lesson.mask_digests[1].values())
    assert Check([lesson], seen).words == "held-out keyframe 4"


def test_of_a_long_way_some_frames_are_left_out_and_a_single_frame_leaves_nothing_to_ask():
    frames = np.zeros((900, 40, 60, 3), np.uint8)
    read: list[int] = []

    class Watched(list):
        def __getitem__(self, index):
            read.append(index)
            return frames[index]

    class Reading(Moving):
        def run(self, frames, *rest, **more):
            list(frames[0 : len(frames)])
            return super().run(frames, *rest, **more)

    check = Check([Lesson(Watched(range(900)), [keyframe(0, 1), keyframe(899, 1)])])
    read.clear()
    assert check.score(Reading()) == 1
    assert len(set(read)) <= 40
    assert not Check([Lesson(_FRAMES[:1], [keyframe(0, 1)])]).possible
