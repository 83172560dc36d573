"""An empty mask is trusted where the object is out of sight, and nowhere else."""

import cv2
import numpy as np
import pytest
import torch

from model import Keyframe
from model.consistency.absence import AbsenceJudge
from model.consistency.colour_search import ColourSearch
from model.inference.framing import Framing

RED, BLUE, GREY = (200, 40, 30), (40, 60, 210), (120, 120, 110)
SHAPE = (96, 160)


def scene(*things: tuple[tuple[int, int, int, int], tuple[int, int, int]], seed: int = 0) -> np.ndarray:
    """Coloured rectangles (top, left, height, width) on a noisy ground."""
    random = np.random.default_rng(seed)
    picture = np.full((*SHAPE, 3), GREY, np.float64)
    for (top, left, height, width), colour in things:
        picture[top : top + height, left : left + width] = colour
    picture += random.normal(0, 4, picture.shape)
    return np.clip(picture, 0, 255).astype(np.uint8)


def mask_of(top: int, left: int, height: int, width: int) -> np.ndarray:
    mask = np.zeros(SHAPE, bool)
    mask[top : top + height, left : left + width] = True
    return mask


@pytest.mark.parametrize("size", [3, 6, 30])
def test_an_object_is_found_wherever_it_is_and_not_where_it_is_not(size):
    search = ColourSearch(scene(((20, 20, size, size), RED)), mask_of(20, 20, size, size))
    assert search.seen(scene(((50, 110, size, size), RED), seed=1)) > 0.6
    assert search.seen(scene(((50, 110, size, size), BLUE), seed=2)) < 0.05
    assert search.seen(scene(seed=3)) < 0.05


def test_a_part_of_an_object_is_found_as_a_part():
    search = ColourSearch(scene(((20, 20, 20, 20), RED)), mask_of(20, 20, 20, 20))
    assert search.seen(scene(((40, 90, 20, 8), RED), seed=1)) == pytest.approx(0.4, abs=0.1)


def test_a_thin_object_is_found_when_it_has_turned():
    search = ColourSearch(scene(((20, 20, 3, 40), RED)), mask_of(20, 20, 3, 40))
    picture = scene(seed=1)
    cv2.line(picture, (90, 40), (118, 68), RED, 3)
    assert search.seen(picture) > 0.6


def test_what_is_in_the_mask_is_not_elsewhere():
    search = ColourSearch(scene(((20, 20, 12, 12), RED)), mask_of(20, 20, 12, 12))
    later = scene(((50, 70, 12, 12), RED), seed=1)
    assert search.seen(later, mask_of(50, 70, 12, 12)) < 0.05
    assert search.seen(later, mask_of(20, 20, 12, 12)) > 0.6


def test_an_object_in_the_colours_of_its_ground_might_be_anywhere():
    search = ColourSearch(scene(), mask_of(20, 20, 12, 12))
    assert not search.distinct and search.seen(scene(seed=1)) == 1


@pytest.fixture
def whereabouts() -> AbsenceJudge:
    """Of a red object of 12 x 12 pixels."""
    framing = Framing(*SHAPE, None, torch.device("cpu"))
    found = AbsenceJudge(framing)
    found.enter(scene(((20, 20, 12, 12), RED)), torch.from_numpy(mask_of(20, 20, 12, 12))[None].float(), [1])
    return found


def coarse(mask: np.ndarray) -> np.ndarray:
    return mask[None, ::4, ::4]


NONE = coarse(np.zeros(SHAPE, bool))
HERE, THERE = ((20, 20, 12, 12), RED), ((60, 120, 12, 12), RED)


def missed(whereabouts: AbsenceJudge, picture: np.ndarray, mask: np.ndarray) -> float:
    [share] = whereabouts.observe(lambda: picture, mask, [1])
    return share


def test_nothing_is_missed_and_no_picture_made_while_there_is_a_mask(whereabouts):
    def never() -> np.ndarray:
        raise AssertionError("the picture is not needed")

    assert whereabouts.observe(never, coarse(mask_of(20, 20, 12, 12)), [1]) == [0]


def test_an_object_is_missed_while_it_is_in_view_without_a_mask_and_not_when_it_has_gone(whereabouts):
    assert missed(whereabouts, scene(HERE, seed=1), NONE) > 0.6
    assert missed(whereabouts, scene(seed=2), NONE) == 0
    assert missed(whereabouts, scene(THERE, seed=3), NONE) > 0.6


def test_what_comes_back_after_it_was_missed_is_doubted_as_long_as_something_like_it_is_elsewhere(whereabouts):
    missed(whereabouts, scene(HERE, THERE, seed=1), NONE)
    assert missed(whereabouts, scene(HERE, THERE, seed=2), coarse(mask_of(60, 120, 12, 12))) > 0.6
    assert missed(whereabouts, scene(THERE, seed=3), coarse(mask_of(60, 120, 12, 12))) == 0


def test_a_pass_that_goes_on_elsewhere_knows_what_was_missed(whereabouts):
    first = missed(whereabouts, scene(HERE, THERE, seed=1), NONE)
    later = AbsenceJudge(Framing(*SHAPE, None, torch.device("cpu")))
    later.enter(scene(HERE), torch.from_numpy(mask_of(20, 20, 12, 12))[None].float(), [1])
    later.resume({1: 1 - (1 - first)})
    picture, mask = scene(HERE, THERE, seed=2), coarse(mask_of(60, 120, 12, 12))
    assert missed(later, picture, mask) == missed(whereabouts, picture, mask) > 0.6


def test_a_lost_speck_is_a_doubt_and_one_behind_a_wall_is_none(lite):
    """Through the engine: a square of 4 pixels that is lost at once, and the same when a wall hides it."""

    def confidence(hidden: bool) -> list[float]:
        wall = (0, 40, 96, 30), BLUE
        left = 45 if hidden else 30
        frames = [scene(wall, ((40, 30, 4, 4), RED))]
        frames += [scene(((40, left + 2 * t, 4, 4), RED), wall, seed=t) for t in range(1, 5)]
        keyframe = Keyframe(0, mask_of(40, 30, 4, 4).astype(np.uint8))
        results = list(lite.run(frames, [keyframe]))[1:]
        return [r.confidence[1] for r in results if not r.label_map.any()]

    lost, absent = confidence(hidden=False), confidence(hidden=True)
    assert absent and min(absent) > 0.5
    assert all(c < 0.5 for c in lost)  # a better network may not lose it
