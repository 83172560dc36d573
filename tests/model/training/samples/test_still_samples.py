"""Samples of stills: masks that move with the pixels, twins, neighbours among their like."""

from itertools import islice

import cv2
import numpy as np
import pytest

from model.data.annotated_sequences import VOID
from model.training.samples.appearance import Appearance
from model.training.samples.sample_shape import LEAST_AREA, Sample, SampleShape
from model.training.samples.still_samples import StillClips
from model.training.samples.stills import Photo, Stills
from tests.model.training.data_sets import BLUE, GREEN, RED, shows, strangers

_SHAPE = SampleShape(crop=96, objects=3)


def _person(colour: tuple[int, int, int]) -> Photo:
    """A one-coloured figure of three garments on grey."""
    image, labels = np.full((200, 140, 3), 90, np.uint8), np.zeros((200, 140), np.uint8)
    for k, (top, bottom) in enumerate([(30, 80), (80, 130), (130, 180)]):
        image[top:bottom, 45:95], labels[top:bottom, 45:95] = colour, 5 + 20 * k
    return Photo(image, labels, of_parts=True)


def _cells() -> Photo:
    image, labels = np.zeros((120, 120, 3), np.uint8), np.zeros((120, 120), np.uint8)
    for k in range(9):
        top, left = 10 + 38 * (k // 3), 10 + 38 * (k % 3)
        image[top : top + 24, left : left + 24], labels[top : top + 24, left : left + 24] = RED, k + 1
    return Photo(image, labels)


def _draw(stills: Stills, count: int, kind: str | None = None, covered: float = 0) -> list[Sample]:
    clips = StillClips(stills, _SHAPE, Appearance.none(), covered)
    drawn = (clips.draw(np.random.default_rng(i), 10) for i in range(12 * count))
    return list(islice((s for s in drawn if s is not None and kind in (None, s.source)), count))


def _stills(*colours: tuple[int, int, int]) -> Stills:
    return Stills({"people": [_person(c) for c in colours]}, [], [np.full((90, 120, 3), 128, np.uint8)])


def test_samples_keep_the_promises_of_their_shape():
    kinds = set()
    for sample in _draw(_stills(RED, GREEN, BLUE), 40):
        kinds.add(sample.source)
        assert sample.frames.shape == (7, 96, 96, 3) and sample.frames.dtype == np.uint8
        assert sample.masks.shape == (7, 3, 96, 96) and sample.masks.dtype == np.uint8
        assert sample.masks.sum(1).max() <= 1
        used = sample.masks[0].any((1, 2))
        assert used[0] and not sample.masks[:, ~used].any()
        assert (sample.masks[0].mean((1, 2))[used] >= LEAST_AREA).all()
    assert kinds == {"collage", "photo"}


def test_masks_are_what_shows_the_persons_colour():
    """Among people of different colours, however bent, moved and hidden."""
    checked = 0
    for sample in _draw(_stills(RED, GREEN, BLUE), 30, "collage"):
        for mask0, masks in zip(sample.masks[0], sample.masks.swapaxes(0, 1)):
            if not mask0.any():
                continue
            colour = np.median(sample.frames[0][mask0 > 0], 0)
            for frame, mask in zip(sample.frames, masks):
                if mask.sum() > 150:
                    checked += 1
                    assert strangers(frame, mask, colour) <= 2
    assert checked > 100


def test_the_same_person_comes_as_two_objects():
    """Much oftener than by drawing one of many people twice."""
    twins = 0
    people = [(50 * i, 250 - 50 * i, 30 * k) for i in range(5) for k in range(5)]
    for sample in _draw(_stills(*people), 40, "collage"):
        colours = [tuple(np.median(sample.frames[0][m > 0], 0)) for m in sample.masks[0] if m.any()]
        twins += len(set(colours)) < len(colours)
    assert twins > 5


def test_objects_move():
    far = 0
    for sample in _draw(_stills(RED), 30, "collage"):
        first, last = sample.masks[[0, -1], 0]
        if first.any() and last.any():
            far += np.abs(np.argwhere(first).mean(0) - np.argwhere(last).mean(0)).max() > 4
    assert far > 15


def test_people_are_bent():
    """A figure that is a rectangle fills its smallest rectangle no more."""
    fills = []
    for sample in _draw(_stills(RED), 70, "collage"):
        for mask in sample.masks[:, 0]:
            inside = mask.sum() > 30 and not (mask[[0, -1]].any() or mask[:, [0, -1]].any())
            if inside and not sample.masks[:, 1].any():
                contour = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0][0]
                fills.append(cv2.contourArea(contour) / np.prod(cv2.minAreaRect(contour)[1]))
    assert len(fills) > 20
    assert np.median(fills) < 0.91  # 0.93 without bending


def test_cells_are_single_instances_among_their_like():
    for sample in _draw(Stills({"cells": [_cells()]}), 20, "photo"):
        red = shows(sample.frames[0], RED)
        assert not (sample.masks[0].any(0) & ~red).sum() > 60
        single = sample.masks[0][sample.masks[0].any((1, 2))]
        for mask in single:
            ys, xs = np.nonzero(mask)
            assert mask.sum() > 0.6 * (np.ptp(ys) + 1) * (np.ptp(xs) + 1)


def test_garments_are_objects_too():
    person = _person(RED)
    image, labels = person.image, person.ids
    image[labels == 25], image[labels == 45] = GREEN, BLUE
    single = 0
    for sample in _draw(Stills({"people": [person]}), 40, "photo"):
        mask = sample.masks[0, 0]
        single += any(strangers(sample.frames[0], mask, colour) < 3 for colour in (RED, GREEN, BLUE))
    assert 10 < single < 36


def test_any_one_kind_of_stills_suffices():
    disc = np.zeros((60, 60, 4), np.uint8)
    cv2.circle(disc, (30, 30), 25, (*RED, 255), -1)
    for stills in (Stills({"people": [_person(RED)]}), Stills({"cells": [_cells()]}), Stills(cutouts=[disc])):
        assert len(_draw(stills, 10)) == 10


def test_the_mask_of_a_cutout_is_its_opacity():
    disc = np.zeros((90, 90, 4), np.uint8)
    disc[..., :3] = GREEN  # as files have it: colour where nothing is to be seen
    cv2.circle(disc, (45, 45), 30, (*RED, 255), -1)
    for sample in _draw(Stills(cutouts=[disc], backgrounds=[np.full((90, 120, 3), 90, np.uint8)]), 30):
        assert not any(shows(frame, GREEN).any() for frame in sample.frames)
        for mask in sample.masks.swapaxes(0, 1):
            assert all(strangers(frame, each, RED) <= 2 for frame, each in zip(sample.frames, mask))


def test_what_hides_a_piece_of_an_object_at_first_moves_away():
    """More of the object is to be seen later, and it is in the mask."""
    stills = Stills({"people": [_person(RED)]}, backgrounds=[np.full((90, 120, 3), 90, np.uint8)])
    grown = {
        covered: np.mean(
            [s.masks[-1, 0].sum() > 1.2 * s.masks[0, 0].sum() for s in _draw(stills, 80, "photo", covered)]
        )
        for covered in (0, 1)
    }
    assert grown[1] > grown[0] + 0.2, grown


def test_large_sets_do_not_drown_small_ones():
    stills = Stills({"many": [_person(RED)] * 100, "one": [_person(GREEN)]})
    shown = [shows(sample.frames[0], GREEN).any() for sample in _draw(stills, 100, "photo")]
    assert 0.03 < np.mean(shown) < 0.35  # a hundredth of the photos, a tenth of the draws; some pass by elsewhere


@pytest.mark.parametrize("of_parts", [False, True])
def test_what_a_photo_marks_as_unsure_is_void_and_no_object(of_parts):
    person = _person(RED)
    image, ids = person.image.copy(), person.ids.copy()
    image[80:130, 45:95], ids[80:130, 45:95] = GREEN, VOID  # the middle garment
    stills = Stills({"people": [Photo(image, ids, of_parts)]}, [], [])
    seen = 0
    for sample in _draw(stills, 20, "photo"):
        green = np.stack([shows(frame, GREEN) for frame in sample.frames])
        assert not sample.masks.any(1)[green].any()
        seen += (green & sample.void).any()
        red = np.stack([shows(frame, RED) for frame in sample.frames])
        assert not red.any() or sample.void[red].mean() < 0.03  # their common contours
    assert seen > 5
