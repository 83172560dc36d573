"""The training pass computes what the engine computes."""

import pytest
import torch

from model import PropagationOptions, Propagator, load_network
from model.network.pcvos import PCVOS
from model.training.batch_layers import BatchLayers
from model.training.per_clip import segment_clips
from model.training.trainer import normalise


def _network() -> PCVOS:
    return load_network("perclip-lite")


def _inputs(squares, frames: list[int], objects: tuple[int, ...] = (1, 2)) -> tuple[torch.Tensor, torch.Tensor]:
    images = normalise(torch.from_numpy(squares.frames[frames]))[None]
    labels = torch.from_numpy(squares.labels[frames[0]])
    return images, torch.stack([(labels == o).float() for o in objects])[None]


@pytest.mark.parametrize(("clip_frames", "clips"), [(1, 3), (3, 2)])
def test_the_training_pass_equals_the_engine(squares, clip_frames, clips):
    network = _network()
    length = 1 + clips * clip_frames
    frames = list(range(0, 2 * length, 2))  # fast motion, so that the predicted masks of the memory matter
    images, masks = _inputs(squares, frames)
    with torch.no_grad():
        trained = segment_clips(network, images, masks, clip_frames)[0]
    options = PropagationOptions(
        clip_length=clip_frames, short_side=None, dtype="float32", device="cpu", keep_probabilities=True
    )
    results = Propagator(network, options).run(squares.frames[frames], [squares.keyframe(0)], direction="forward")
    engine = torch.stack([torch.from_numpy(r.probabilities) for r in results if not r.is_keyframe])
    assert engine.shape == trained.shape
    assert (engine.argmax(1) > 0).float().mean() > 0.05  # something is segmented
    # Of equally similar positions either may be among those that are read, after another order of summing.
    difference = (engine - trained).abs()
    assert difference.mean() < 1e-5 and difference.max() < 5e-3


def test_a_sample_is_segmented_the_same_alone_and_in_a_batch(squares):
    network = _network()
    (a, first), (b, second) = (_inputs(squares, list(range(t, t + 7))) for t in (0, 12))
    with torch.no_grad():
        both = segment_clips(network, torch.cat([a, b]), torch.cat([first, second]), 3)
        alone = [segment_clips(network, *inputs, 3) for inputs in ((a, first), (b, second))]
    assert (both - torch.cat(alone)).abs().max() < 5e-3
    assert (alone[0] - alone[1]).abs().max() > 0.5


def test_probabilities_sum_to_one_and_the_gradient_reaches_the_first_masks(squares):
    images, masks = _inputs(squares, list(range(7)))
    masks.requires_grad_()
    probabilities = segment_clips(_network(), images[..., :64, :64], masks[..., :64, :64], 3)
    assert probabilities.shape == (1, 6, 3, 64, 64)
    assert (probabilities.sum(2) - 1).abs().max() < 1e-5
    probabilities[:, 3:, 1].sum().backward()  # of the second clip, through the predicted memory
    assert masks.grad.abs().sum() > 0


def test_objects_of_different_layers_are_segmented_as_if_each_were_alone(squares):
    """Beside them in the batch a sample of one layer, whose objects compete as ever."""
    network = _network()
    images, masks = _inputs(squares, list(range(0, 14, 2)))
    masks[:, 0] = torch.maximum(masks[:, 0], masks[:, 1])  # the second is a part of the first
    later, plain = _inputs(squares, list(range(10, 24, 2)))
    layers = BatchLayers(torch.tensor([[0, 1], [0, 0]]))
    with torch.no_grad():
        rows = segment_clips(network, torch.cat([images, later]), torch.cat([masks, plain]), 3, layers=layers)
        alone = [segment_clips(network, images, masks[:, k : k + 1], 3)[0, :, 1] for k in range(2)]
        together = segment_clips(network, later, plain, 3)
    assert layers.samples.tolist() == [0, 0, 1]
    both = layers.objects_of(rows[:, :, 1:])
    assert both.shape == (2, 6, 2, *images.shape[-2:])
    for found, mask in zip(both[0].unbind(1), alone):
        assert (found - mask).abs().max() < 5e-3
    assert (rows[2] - together[0]).abs().max() < 5e-3
    assert (both[0].sum(1) > 1.5).any()  # overlapping, which no competition leaves


def test_each_row_has_the_classes_of_its_own_layer():
    masks = torch.zeros(2, 1, 3, 4, 4)
    masks[0, :, 0, :3] = 1  # the whole
    masks[0, :, 1, 1] = 1  # a part of it
    masks[0, :, 2, 3] = 1
    masks[1, :, 0, 0] = 1
    rows = BatchLayers(torch.tensor([[0, 1, 0], [0, 0, 0]])).classes(masks)
    assert rows[:, 0, :, 0].tolist() == [[1, 1, 1, 3], [0, 2, 0, 0], [1, 0, 0, 0]]
