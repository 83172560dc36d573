"""Nested objects: which become part of which, and that a whole has its parts' pixels."""

import numpy as np

from model.training.samples.appearance import Appearance
from model.training.samples.nesting import nest_neighbour, whole_masks
from model.training.samples.sample_shape import SampleShape
from model.training.samples.still_samples import StillClips
from model.training.samples.stills import Photo, Stills
from model.training.samples.training_samples import TrainingSamples
from tests.model.training.data_sets import BLUE, GREEN, RED, moving_squares

_SHAPE = SampleShape(crop=96, objects=3, nested=1.0)


def _slots() -> np.ndarray:
    """1 and 2 touch, 3 is away from both."""
    slots = np.zeros((2, 64, 64), np.uint8)
    slots[:, 5:25, 5:25], slots[:, 5:25, 25:40], slots[:, 45:60, 45:60] = 1, 2, 3
    return slots


def test_only_objects_that_touch_become_part_of_each_other():
    chosen = set()
    for seed in range(20):
        inside: dict[int, int] = {}
        nest_neighbour(np.random.default_rng(seed), _slots(), inside)
        chosen |= set(inside.items())
    assert chosen == {(1, 2), (2, 1)}
    nothing: dict[int, int] = {}
    nest_neighbour(np.random.default_rng(0), np.where(_slots() == 2, 0, _slots()), nothing)
    assert nothing == {}


def test_a_whole_has_the_pixels_of_its_parts_and_lies_in_another_layer():
    masks, layers = whole_masks(_slots(), [1, 2, 3], {2: 1})
    assert layers == [0, 1, 0]
    assert (masks[:, 0] == np.isin(_slots(), (1, 2))).all() and (masks[:, 1] == (_slots() == 2)).all()
    assert (masks[:, 2] == (_slots() == 3)).all()


def test_neighbours_in_a_video_are_nested_and_objects_of_one_layer_never_overlap():
    samples = TrainingSamples([moving_squares("a", {1: RED, 2: GREEN}, side=20, apart=20)], None, _SHAPE, 0)
    drawn = [samples.sample(i) for i in range(12)]
    assert any(sample.layers.any() for sample in drawn)
    for sample in drawn:
        for layer in set(sample.layers.tolist()):
            assert sample.masks[:, sample.layers == layer].sum(1).max() <= 1


def test_garments_lie_on_their_person_and_what_is_worn_moves_with_its_wearer():
    image, labels = np.full((200, 140, 3), 90, np.uint8), np.zeros((200, 140), np.uint8)
    for k, (top, colour) in enumerate([(30, RED), (80, GREEN), (130, BLUE)], 1):
        image[top : top + 50, 45:95], labels[top : top + 50, 45:95] = colour, k
    clips = StillClips(
        Stills({"people": [Photo(image, labels, of_parts=True)]}, [], [image * 0]), _SHAPE, Appearance.none(), 0
    )
    kinds = {"photo": 0, "collage": 0}
    for seed in range(60):
        sample = clips.draw(np.random.default_rng(seed), 10)
        if sample is None or not sample.layers.any():
            continue
        wholes, parts = sample.masks[0, sample.layers == 0], sample.masks[0, sample.layers == 1]
        overlap = (wholes[:, None] & parts[None]).sum((2, 3)) / parts.sum((1, 2))
        kinds[sample.source] += bool((overlap.max(0) > 0.99).all())
    assert min(kinds.values()) >= 3
