"""What a training remembers is spoiled as often and in the ways that it should be."""

import pytest
import torch

from model import load_network
from model.training.batch_layers import BatchLayers
from model.training.memory_faults import MemoryFaults
from model.training.per_clip import segment_clips
from model.training.trainer import normalise

_ALWAYS = MemoryFaults(share=1.0, blurred=1.0, placeless=1.0)


def _random(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _two_objects(batch: int = 1) -> torch.Tensor:
    masks = torch.zeros(batch, 2, 96, 128)
    masks[:, 0, 20:70, 10:60] = 1
    masks[:, 1, 30:60, 80:120] = 1
    return masks


def test_faults_are_of_every_kind_and_leave_probabilities():
    masks, kinds = _two_objects(), {"missing": 0, "added": 0, "given away": 0, "lost": 0}
    for seed in range(300):
        spoiled = MemoryFaults(0.5, 0, 0).spoil(masks[:, None], _random(seed))[:, 0]
        assert spoiled.min() >= 0 and spoiled.max() <= 1
        change = spoiled - masks
        kinds["missing"] += bool((change < -0.5).any())
        kinds["added"] += bool((change[(masks.sum(1, keepdim=True) == 0).expand_as(change)] > 0.5).any())
        kinds["given away"] += bool(((change[:, 0] < -0.5) & (change[:, 1] > 0.5)).any())
        kinds["lost"] += bool((spoiled.sum((2, 3)) == 0).any())
    assert all(count > 3 for count in kinds.values()) and kinds["missing"] > 100, kinds


def test_the_share_is_kept_and_a_seed_repeats_itself():
    masks = _two_objects(100)
    changed = (MemoryFaults(0.3, 0, 0).spoil(masks[:, None], _random())[:, 0] != masks).flatten(2).any(2).float().mean()
    assert 0.2 < changed < 0.45  # what is given away changes another mask, too
    assert torch.equal(_ALWAYS.spoil(masks[:, None], _random(5)), _ALWAYS.spoil(masks[:, None], _random(5)))
    assert MemoryFaults(0, 0, 0).spoil(masks, _random()) is masks


def test_objects_of_other_layers_lose_nothing_and_get_nothing():
    masks = _two_objects()
    masks[:, 1] = 0
    masks[:, 1, 30:50, 20:40] = 1  # inside of the other one
    apart = BatchLayers(torch.tensor([[0, 1]]))
    alone = 0
    for seed in range(60):
        spoiled = MemoryFaults(0.5, 0, 0).spoil(masks[:, None], _random(seed), apart)[:, 0]
        drawn = torch.rand(1, 2, generator=_random(seed))[0] < 0.5
        assert torch.equal(spoiled[0, ~drawn], masks[0, ~drawn])
        alone += int(drawn.sum() == 1)
    assert alone > 10


def test_a_piece_of_what_nobody_asks_for_is_taken_for_the_object():
    masks, decoys = torch.zeros(1, 1, 96, 128), torch.zeros(1, 1, 96, 128, dtype=torch.bool)
    masks[..., 60:90, 5:35] = 1
    decoys[..., :30, 100:] = True  # out of reach of what is added beside
    taken = 0
    for seed in range(100):
        plain, spoiled = (_ALWAYS.spoil(masks[:, None], _random(seed), None, d)[0, 0] for d in (None, decoys))
        assert not (plain[:, decoys[0, 0]] > 0.5).any()
        taken += bool((spoiled[:, decoys[0, 0]] > 0.5).any())
        assert spoiled.sum(0).max() <= 1.001
    assert 15 < taken < 70


def test_objects_that_are_nowhere_stay_nowhere():
    nothing = torch.zeros(3, 1, 2, 32, 32)
    assert torch.equal(_ALWAYS.spoil(nothing, _random()), nothing)


def test_the_gradient_flows_on_where_nothing_is_changed():
    masks = _two_objects().requires_grad_()
    MemoryFaults(1, 0, 0).spoil(masks[:, None], _random(1)).sum().backward()
    assert (masks.grad == 1).float().mean() > 0.5


def test_the_frames_of_a_clip_have_the_same_fault():
    masks = _two_objects()
    both = torch.stack([masks, masks.roll(7, -1)], 1)
    for seed in range(20):
        first, second = MemoryFaults(1, 0, 0).spoil(both, _random(seed))[0].unbind(0)
        moved, alike = second.roll(-7, -1), (first > 0.5) == (second.roll(-7, -1) > 0.5)
        assert moved.shape == first.shape and alike.float().mean() > 0.97


def test_blurred_values_tell_how_much_of_a_cell_is_covered_and_no_more():
    values = torch.rand(1, 2, 20, 3, 4)
    blurred = _ALWAYS.blur_mask_channels(values, _random())
    assert torch.equal(blurred[:, :, :4], values[:, :, :4])
    torch.testing.assert_close(blurred[:, :, 4:], values[:, :, 4:].mean(2, keepdim=True).expand(-1, -1, 16, -1, -1))


def test_places_are_weakened_alike_in_all_frames_of_a_sample():
    keys = torch.ones(50, 3, 6, 2, 2)
    weak = _ALWAYS.weaken_places(keys, 2, _random())
    assert torch.equal(weak[:, :, :4], keys[:, :, :4])
    factors = weak[:, :, 4:].flatten(1)
    assert (factors == factors[:, :1]).all() and factors.min() >= 0 and factors.max() < 1
    assert (factors == 0).any() and (factors > 0.5).any()


@pytest.mark.parametrize("fault", [MemoryFaults(1, 0, 0), MemoryFaults(0, 1, 0), MemoryFaults(0, 0, 1)])
def test_each_fault_reaches_the_second_clip(squares, fault):
    images = normalise(torch.from_numpy(squares.frames[:7]))[None]
    masks = torch.stack([torch.from_numpy(squares.labels[0] == o).float() for o in (1, 2)])[None]
    network = load_network("perclip-lite")
    with torch.no_grad():
        plain = segment_clips(network, images, masks, 3)
        spoiled = segment_clips(network, images, masks, 3, faults=fault, random=_random(3))
    assert (plain[:, 3:] - spoiled[:, 3:]).abs().max() > 0.05
    if fault.share:  # the first memory is the annotator's
        assert torch.equal(plain[:, :3], spoiled[:, :3])
