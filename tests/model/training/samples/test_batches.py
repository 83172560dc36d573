"""Batches: by number, from workers or without, and what goes wrong inside a worker."""

import sys

import pytest
import torch

from model.data.annotated_sequences import AnnotatedSequence
from model.errors import InputError
from model.training.recipe import Recipe
from model.training.samples.batches import draw_batches
from model.training.samples.sample_shape import SampleShape
from model.training.samples.training_samples import TrainingSamples
from tests.model.training.data_sets import BLUE, GREEN, RED, moving_squares

_RECIPE = Recipe(crop=64, batch=2, iterations=4)


def _samples(sequence: AnnotatedSequence) -> TrainingSamples:
    return TrainingSamples([sequence], None, SampleShape(crop=64), 0)


def test_batches_depend_on_the_step_alone_with_workers_and_without(monkeypatch):
    samples = _samples(moving_squares("a", {1: RED, 2: GREEN}))
    whole = list(draw_batches(samples, _RECIPE, 0))
    assert [frames.shape for frames, *_ in whole] == [(2, 7, 64, 64, 3)] * 4
    monkeypatch.setattr(sys, "platform", "win32")
    late = list(draw_batches(samples, _RECIPE, 3))
    assert len(late) == 1 and all(torch.equal(a, b) for a, b in zip(whole[3], late[0]))


def test_a_batch_has_no_more_masks_than_its_samples_have_objects_nor_than_its_step_allows():
    seen = []
    for colours in ({1: RED}, {1: RED, 2: GREEN, 3: BLUE}):
        samples = _samples(moving_squares("a", colours, side=12, apart=4))
        for step, (_, masks, layers, decoys, void) in enumerate(draw_batches(samples, _RECIPE, 0)):
            used = masks.flatten(3).any(3).any(1)
            assert used.any(0).all() and used.sum(1).max() == masks.shape[2] <= 1 + step % 3
            assert layers.shape == (2, masks.shape[2])
            assert void.shape == decoys.shape == (2, 7, 64, 64) and not void.any() and not (masks.any(2) & decoys).any()
            seen.append(masks.shape[2])
    assert len(set(seen)) > 1


def test_an_error_of_a_worker_stays_one_line():
    recipe = Recipe(crop=64, batch=1, iterations=1)
    with pytest.raises(InputError, match="check the annotations") as caught:
        next(draw_batches(_samples(moving_squares("a", {1: RED}, side=1)), recipe, 0))
    assert "\n" not in str(caught.value)
