"""Layers: where they land, what they hide, what hides them."""

import cv2
import numpy as np
import pytest

from model.training.samples.canvas import Canvas, cut_out
from model.training.samples.motion import Deformation, Motion
from model.training.samples.sample_shape import SampleShape
from tests.model.training.data_sets import GREEN, RED, shows, strangers

_SIZE, _TIMES = 96, 4


def _canvas() -> Canvas:
    """Red object in slot 1 in the middle of grey."""
    frames = np.full((_TIMES, _SIZE, _SIZE, 3), 128, np.uint8)
    slots = np.zeros((_TIMES, _SIZE, _SIZE), np.uint8)
    frames[:, 30:66, 30:66] = RED
    slots[:, 30:66, 30:66] = 1
    return Canvas(frames, slots)


def _green(side: int = 24):
    frame = np.full((side + 20, side + 20, 3), GREEN, np.uint8)
    mask = np.zeros(frame.shape[:2], np.uint8)
    mask[10:-10, 10:-10] = 1
    return cut_out(frame, mask)


def _across(scale: float = 1.0, angle: float = 0.0, mirrored: bool = False) -> Motion:
    """From the left border to beyond the right one."""
    centres = np.stack([np.array([10.0, 45.0, 80.0, 200.0]), np.full(_TIMES, 48.0)], 1)
    return Motion(centres, np.full(_TIMES, scale), np.full(_TIMES, angle), mirrored)


@pytest.mark.parametrize("scale", [0.4, 1.0, 2.0])
@pytest.mark.parametrize("angle", [0.0, 0.6])
def test_a_layer_lands_where_its_motion_says(scale, angle):
    canvas = Canvas(np.zeros((_TIMES, 96, 96, 3), np.uint8), np.zeros((_TIMES, 96, 96), np.uint8))
    canvas.paste([_green()] * _TIMES, _across(scale, angle), 1)
    ys, xs = np.nonzero(canvas.slots[1])
    assert abs(xs.mean() - 45) < 1 and abs(ys.mean() - 48) < 1
    assert abs(len(xs) ** 0.5 - 24 * scale) < 2 + 2 * scale
    assert not canvas.slots[3].any()


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_mirrored_layer_is_flipped_left_to_right(mirrored):
    frame = np.full((30, 30, 3), RED, np.uint8)
    frame[:, 15:] = GREEN
    canvas = Canvas(np.zeros((_TIMES, 96, 96, 3), np.uint8), np.zeros((_TIMES, 96, 96), np.uint8))
    canvas.paste([cut_out(frame, np.ones((30, 30), np.uint8))] * _TIMES, _across(mirrored=mirrored), 1)
    greens, reds = (np.nonzero(shows(canvas.frames[1], colour))[1].mean() for colour in (GREEN, RED))
    assert (greens < reds) == mirrored


def test_in_front_it_hides_and_is_labelled():
    canvas = _canvas()
    canvas.paste([_green()] * _TIMES, _across(), 2)
    assert (canvas.slots[1] == 2).sum() > 400
    for frame, slots in zip(canvas.frames, canvas.slots):
        assert strangers(frame, (slots == 2).astype(np.uint8), GREEN) == 0
        assert not (shows(frame, GREEN) & (slots == 1)).any()


def test_behind_it_is_hidden():
    canvas = _canvas()
    before = canvas.slots.copy()
    canvas.paste([_green()] * _TIMES, _across(), 2, behind=True)
    assert ((canvas.slots == 1) == (before == 1)).all()
    assert (canvas.slots[0] == 2).sum() > 200
    assert not (canvas.slots[1] == 2).any()
    assert shows(canvas.frames[1], RED)[canvas.slots[1] == 1].mean() > 0.95


def test_a_distractor_is_background_and_hides():
    canvas = _canvas()
    canvas.paste([_green()] * _TIMES, _across(), 0)
    assert set(np.unique(canvas.slots)) == {0, 1}
    assert (canvas.slots[1] == 1).sum() < 36 * 36 - 400
    assert (canvas.slots[1][shows(canvas.frames[1], GREEN)] == 0).all()
    assert (canvas.decoys[1] == shows(canvas.frames[1], GREEN)).mean() > 0.99 and canvas.decoys[1].sum() > 400
    canvas.paste([_green()] * _TIMES, _across(), 2)
    assert not canvas.decoys.any()  # hidden by what is asked for


def test_objects_that_are_not_asked_for_are_decoys():
    canvas = _canvas()
    canvas.slots[1:, :20, :20] = 2  # appears later
    sample = canvas.sample(SampleShape(crop=96, objects=2), "here")
    assert sample is not None and sample.decoys[1:, :20, :20].all()
    assert not sample.with_objects(1).decoys[canvas.slots == 1].any()
    canvas.slots[0, :20, :20] = 2
    both = canvas.sample(SampleShape(crop=96, objects=2), "here")
    assert both is not None and not both.decoys.any() and both.with_objects(1).decoys[:, :20, :20].all()


def test_void_is_what_nothing_known_lies_over():
    canvas = _canvas()
    canvas.void[:, :66] = True
    canvas.slots[1, :10] = 1
    canvas.paste([_green()] * _TIMES, _across(), 0)
    sample = canvas.sample(SampleShape(crop=96, objects=2), "here")
    assert sample is not None and sample.void[1, 10:30, :20].all() and not sample.void[:, 66:].any()
    assert not sample.void[1, :10].any() and not sample.void[1][shows(canvas.frames[1], GREEN)].any()
    assert not (sample.void & sample.masks.any(1)).any()


def test_absent_cutouts_leave_their_frames_alone():
    canvas = _canvas()
    canvas.paste([_green(), None, None, None], _across(), 2)
    assert (canvas.slots == 2).any((1, 2)).tolist() == [True, False, False, False]


def test_contours_carry_nothing_of_the_old_background():
    """Cut from a white ground and laid over black, no pixel is whiter than the object is."""
    frame = np.full((60, 60, 3), 255, np.uint8)
    mask = np.zeros((60, 60), np.uint8)
    cv2.circle(mask, (30, 30), 15, 1, -1)
    frame[mask > 0] = (100, 0, 0)
    canvas = Canvas(np.zeros((_TIMES, 96, 96, 3), np.uint8), np.zeros((_TIMES, 96, 96), np.uint8))
    canvas.paste([cut_out(frame, mask)] * _TIMES, _across(1.3, 0.2), 1)
    assert canvas.frames[..., 1].max() < 40


def test_bending_moves_mask_and_pixels_alike():
    canvas = Canvas(np.zeros((_TIMES, 96, 96, 3), np.uint8), np.zeros((_TIMES, 96, 96), np.uint8))
    bending = Deformation(np.random.default_rng(1), np.linspace(0, 1, _TIMES), 5.0)
    still = Motion(np.full((_TIMES, 2), 48.0), np.ones(_TIMES), np.zeros(_TIMES), False)
    canvas.paste([_green(40)] * _TIMES, still, 1, deformation=bending)
    for frame, slots in zip(canvas.frames, canvas.slots):
        assert np.count_nonzero((slots == 1) != (frame[..., 1] > 127)) <= 4
    assert np.count_nonzero(canvas.slots[0] != canvas.slots[-1]) > 60


def test_masks_leave_out_what_the_first_frame_does_not_show():
    canvas = _canvas()
    canvas.slots[1:, :20, :20] = 2  # appears later
    canvas.slots[:, 80:, 80:] = 3
    masks = canvas.sample(SampleShape(crop=96, objects=3), "").masks
    assert masks.shape == (_TIMES, 3, 96, 96)
    assert (masks[:, 0] == (canvas.slots == 1)).all() and (masks[:, 1] == (canvas.slots == 3)).all()
    assert not masks[:, 2].any()
    canvas.slots[0] = 0
    assert canvas.sample(SampleShape(crop=96, objects=3), "") is None
