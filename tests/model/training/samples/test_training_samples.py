"""Samples by number, appearance and the contact sheet."""

import numpy as np
import pytest
from PIL import Image

from model.errors import InputError
from model.training.samples.appearance import Appearance, colour_matrix, recolour
from model.training.samples.sample_shape import SampleShape
from model.training.samples.stills import Photo, Stills
from model.training.samples.training_samples import TrainingSamples, main
from tests.model.training.data_sets import GREEN, RED, labels, moving_squares, write_frame, write_labels

_SHAPE = SampleShape(crop=64)


def _samples(seed: int = 3, share: float = 0.5) -> TrainingSamples:
    image, labels = np.random.default_rng(0).integers(0, 255, (120, 90, 3), np.uint8), np.zeros((120, 90), np.uint8)
    labels[30:90, 30:60] = 9
    stills = Stills({"people": [Photo(image, labels, of_parts=True)]}, [], [image])
    sequences = [moving_squares("a", {1: RED, 2: GREEN}), moving_squares("b", {1: GREEN})]
    return TrainingSamples(sequences, stills, _SHAPE, seed, share)


def test_a_sample_depends_on_seed_number_and_gap_alone():
    there = _samples()
    back = _samples()
    forward = [there.sample(i, 5) for i in range(12)]
    for i in reversed(range(12)):
        again = back.sample(i, 5)
        assert again.source == forward[i].source
        assert (again.frames == forward[i].frames).all() and (again.masks == forward[i].masks).all()


def test_samples_differ_by_number_and_seed():
    frames = [_samples().sample(i).frames for i in range(6)] + [_samples(seed=4).sample(i).frames for i in range(6)]
    assert all((a != b).any() for n, a in enumerate(frames) for b in frames[:n])


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_the_share_of_stills(share):
    samples = _samples(share=0.9)
    kinds = [samples.sample(i, still_share=share).source in ("collage", "photo") for i in range(80)]
    assert abs(np.mean(kinds) - share) < 0.13


def test_one_kind_of_source_is_enough():
    videos = TrainingSamples([moving_squares("a", {1: RED})], None, _SHAPE, 0, still_share=1.0)
    assert videos.sample(0).masks.any()
    with pytest.raises(InputError, match="nothing to train on"):
        TrainingSamples([], None, _SHAPE, 0)


def test_sources_that_show_nothing_end_with_an_error():
    with pytest.raises(InputError, match="check the annotations"):
        TrainingSamples([moving_squares("a", {1: RED}, side=1)], None, _SHAPE, 0).sample(0, paste=0)


def test_appearance_none_changes_nothing_and_the_default_does():
    frames = np.random.default_rng(0).integers(0, 255, (7, 32, 32, 3), np.uint8)
    for appearance, changes in ((Appearance.none(), False), (Appearance(), True)):
        changed = frames.copy()
        appearance.apply(np.random.default_rng(1), changed, np.linspace(0, 1, 7))
        assert (changed != frames).any() == changes


def test_colour_matrices():
    image = np.random.default_rng(0).integers(60, 120, (8, 8, 3), np.uint8)
    assert (recolour(image, colour_matrix(1, 1, 1, 0)) == image).all()
    grey = recolour(image, colour_matrix(1, 1, 0, 0.3)).astype(int)
    assert np.ptp(grey, axis=2).max() <= 1
    assert abs(recolour(image, colour_matrix(1.5, 1, 1, 0)).mean() - 1.5 * image.mean()) < 1
    red = recolour(np.full((1, 1, 3), (200, 100, 100), np.uint8), colour_matrix(1, 1, 1, 2 * np.pi / 3))[0, 0]
    assert red.argmax() != 0


def test_the_contact_sheet(tmp_path, capsys):
    for t in range(4):
        write_frame(tmp_path / "JPEGImages" / "a" / f"{t}.png", t, (160, 120))
        write_labels(tmp_path / "Annotations" / "a" / f"{t}.png", labels(1, 2, 3, size=(160, 120)))
    main(["--data", str(tmp_path), "--out", str(tmp_path / "sheet.png"), "--samples", "3", "--crop", "64"])
    assert Image.open(tmp_path / "sheet.png").size == (7 * 64, 3 * 64)
    assert "a " in capsys.readouterr().out
