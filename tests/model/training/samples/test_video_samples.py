"""Samples of videos: gaps, masks that move with the pixels, occlusion, scale."""

from itertools import islice

import numpy as np
import pytest

from model.data.annotated_sequences import VOID, AnnotatedSequence
from model.errors import InputError
from model.training.samples.appearance import Appearance
from model.training.samples.frame_gaps import draw_times
from model.training.samples.motion import phases
from model.training.samples.sample_shape import LEAST_AREA, Sample, SampleShape
from model.training.samples.video_samples import ClipSampler
from tests.model.training.data_sets import BLUE, GREEN, RED, moving_squares, shows, strangers

_SHAPE = SampleShape(crop=96, objects=3)


def _draw(sequences: list[AnnotatedSequence], count: int, max_gap: int = 10, **options) -> list[Sample]:
    sampler = ClipSampler(sequences, _SHAPE, Appearance.none())
    drawn = (sampler.draw(np.random.default_rng(i), max_gap, **options) for i in range(3 * count))
    return list(islice((sample for sample in drawn if sample is not None), count))


def _differ(mask: np.ndarray, region: np.ndarray) -> float:
    """Pixels in which they differ, per pixel of contour of a region of that size."""
    return np.count_nonzero(mask != region) / max(1.0, 4 * np.count_nonzero(mask) ** 0.5)


@pytest.mark.parametrize("max_gap", [1, 5, 15])
def test_gaps_before_and_inside_clips_are_bounded(max_gap):
    directions, widest, inner = set(), 0, 0
    for seed in range(200):
        steps = np.diff(draw_times(np.random.default_rng(seed), range(100), _SHAPE, max_gap))
        directions.add(tuple(np.unique(np.sign(steps))))
        widest = max(widest, np.abs(steps)[[0, 3]].max())
        inner = max(inner, np.abs(steps)[[1, 2, 4, 5]].max())
    assert directions == {(1,), (-1,)}
    assert widest == max_gap
    assert inner == 5


def test_the_frames_of_a_sample_are_those_of_its_gaps():
    for sample in _draw([moving_squares("a", {1: RED})], 30, max_gap=4, paste=0):
        numbers = sample.frames[..., 1].max((1, 2)).astype(int) - 50  # red has no green
        first, last = (int(n) for n in sample.source.split()[1].split("-"))
        assert (numbers[0], numbers[-1]) == (first, last)
        steps = np.abs(np.diff(numbers))
        assert steps.min() >= 1 and steps[[0, 3]].max() <= 4 and steps.max() <= 5


def test_sparse_annotation_gives_annotated_frames_only():
    sequence = moving_squares("a", {1: RED}, annotate_every=5)
    for seed in range(50):
        times = draw_times(np.random.default_rng(seed), sequence.annotated, _SHAPE, 12)
        assert not (times % 5).any()
        assert np.abs(np.diff(times)).max() <= 10
    assert len(_draw([sequence], 10)) == 10


@pytest.mark.parametrize("length", [2, 5, 7, 8])
def test_short_sequences_are_fitted(length):
    for seed in range(30):
        times = draw_times(np.random.default_rng(seed), range(length), _SHAPE, 15)
        assert len(times) == 7 and times.min() >= 0 and times.max() < length
        if length >= 7:
            assert len(set(times.tolist())) == 7


def test_masks_move_with_the_pixels():
    """Crop, scale, drift, rotation and mirroring treat frames and masks alike."""
    places = []
    for sample in _draw([moving_squares("a", {4: RED})], 30, paste=0):
        for frame, mask in zip(sample.frames, sample.masks[:, 0]):
            assert _differ(mask > 0, shows(frame, RED)) < 0.5
        places.append([np.argwhere(m).mean(0) for m in sample.masks[[0, -1], 0] if m.any()])
    assert np.mean([np.abs(p[-1] - p[0]).max() > 3 for p in places]) > 0.3


def test_objects_keep_their_slot_and_share_no_pixel():
    counts = np.zeros(4, int)
    for sample in _draw([moving_squares("a", {3: RED, 9: GREEN, 200: BLUE}, side=12, apart=8)], 40, paste=0):
        assert sample.masks.shape == (7, 3, 96, 96) and sample.masks.dtype == np.uint8
        assert sample.masks.sum(1).max() <= 1
        used = sample.masks[0].any((1, 2))
        counts[used.sum()] += 1
        assert (sample.masks[0].mean((1, 2))[used] >= LEAST_AREA).all()
        assert (not sample.masks[:, ~used].any() and not used[np.argmin(used) :].any()) or used.all()
        for k in np.flatnonzero(used):
            colour = np.median(sample.frames[0][sample.masks[0, k] > 0], 0)
            for frame, mask in zip(sample.frames, sample.masks[:, k]):
                assert _differ(mask > 0, shows(frame, colour)) < 0.6
    assert counts[0] == 0 and (counts[1:] > 0).all()


def test_pasted_objects_occlude_consistently():
    """Whoever is in front: a mask holds pixels of its own object alone, and what is hidden has left its mask."""
    sequences = [moving_squares("a", {1: RED}), moving_squares("b", {1: GREEN})]
    objects, hidden, distracted = 0, 0, 0
    for sample in _draw(sequences, 60, paste=1):
        distracted += "distractor" in sample.source
        objects += sample.masks[0].any((1, 2)).sum()
        colours = [np.median(sample.frames[0][m > 0], 0) if m.any() else None for m in sample.masks[0]]
        for frame, masks in zip(sample.frames, sample.masks):
            assert masks.sum(0).max() <= 1
            for mask, colour in zip(masks, colours):
                if colour is not None:
                    assert strangers(frame, mask, colour) <= 2
        if "distractor" not in sample.source and "look-alike" not in sample.source:
            for frame, masks in zip(sample.frames, sample.masks):
                coloured = shows(frame, RED) | shows(frame, GREEN)
                hidden += _differ(masks.any(0), coloured) < 0.6
    assert objects > 75 and distracted > 10 and hidden > 50


def test_some_pasted_objects_pass_behind_and_some_in_front():
    """The same views with and without pasting: who passes behind leaves the masks as they were."""
    sequences = [moving_squares("a", {1: RED}), moving_squares("b", {1: RED})]
    sampler, changed = ClipSampler(sequences, _SHAPE, Appearance.none()), []
    for i in range(150):
        alone, joined = (sampler.draw(np.random.default_rng(i), 10, paste=p) for p in (0, 1))
        if alone is not None and joined is not None and joined.source.count("+") == 1:
            changed.append((alone.masks[:, 0] != joined.masks[:, 0]).any())
    assert len(changed) > 30
    assert 0.25 < np.mean(changed) < 0.65


def test_what_the_border_cuts_is_not_pasted():
    whole, cut = moving_squares("whole", {1: RED}), moving_squares("cut", {1: RED}, start=0, speed=0)
    sources = [s.source for s in _draw([whole, cut], 80, paste=1)]
    assert any("+ whole" in s for s in sources)
    assert not any("+ cut" in s or (s.startswith("cut") and "look-alike" in s) for s in sources)


def test_most_views_follow_their_object():
    """It crosses the source at twice the crop's width per sample."""
    sequence = moving_squares("fast", {1: RED}, size=(800, 320), start=40, speed=10, side=30)
    ends = [s.masks[-1, 0].any() for s in _draw([sequence], 60, paste=0)]
    assert 0.4 < np.mean(ends) < 1


def test_motion_grows_with_the_time_that_passes():
    assert phases(np.array([7, 8, 10])).tolist() == [0, 1 / 15, 3 / 15]
    assert phases(np.array([40, 20, 10])).tolist() == [0, 2 / 3, 1]


def test_look_alikes_are_drawn_with_and_without_label():
    sources = [s.source for s in _draw([moving_squares("a", {1: RED})], 60, paste=1)]
    assert sum("look-alike" in s and "distractor" not in s for s in sources) > 5
    assert sum("look-alike (distractor)" in s for s in sources) > 3


@pytest.mark.parametrize("lines", [320, 480, 960])
def test_objects_appear_at_the_scale_of_inference(lines):
    """Enlarged to 480 lines, give or take a third."""
    side = lines // 8
    sequence = moving_squares("a", {1: RED}, length=30, size=(lines * 5 // 4, lines), side=side)
    scales = []
    for sample in _draw([sequence], 30, paste=0):
        ys, xs = np.nonzero(sample.masks[0, 0])
        if ys.min() > 0 and xs.min() > 0 and ys.max() < 95 and xs.max() < 95:
            scales.append(np.count_nonzero(sample.masks[0, 0]) ** 0.5 / side * lines / 480)
    assert len(scales) > 3
    assert min(scales) > 0.6 and max(scales) < 1.4


def test_void_is_no_object():
    sequence = moving_squares("a", {255: RED, 1: GREEN})
    for sample in _draw([sequence], 20, paste=1):
        for frame, mask in zip(sample.frames, sample.masks.any(1)):
            assert not (mask & shows(frame, RED)).any()


def test_objects_too_small_to_learn_from_are_not_drawn():
    tiny = moving_squares("tiny", {1: RED}, side=1)
    sampler = ClipSampler([tiny], _SHAPE)
    assert all(sampler.draw(np.random.default_rng(i), 5, paste=0) is None for i in range(20))


def test_sequences_without_two_annotated_frames_are_refused():
    with pytest.raises(InputError, match="two annotated frames"):
        ClipSampler([moving_squares("a", {1: RED}, annotate_every=100)], _SHAPE)


def test_what_is_marked_as_unsure_is_void_and_no_object():
    sequence = moving_squares("a", {1: RED, VOID: GREEN}, apart=6)
    seen = 0
    for sample in _draw([sequence], 20, paste=0):
        green = np.stack([shows(frame, GREEN) for frame in sample.frames])
        assert sample.void[green].all() and not sample.masks.any(1)[green].any()
        assert not sample.void[np.stack([shows(frame, RED) for frame in sample.frames])].any()
        seen += green.any()
    assert seen > 5
