"""What is done to be faster or smaller changes no result."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from model import Keyframe, PropagationOptions, Propagator, load_network
from model.inference.clip_segmentation import ClipSegmentation
from model.inference.prepared_network import InferenceNetwork
from model.network import refinement
from model.network.activated_convolution import ActivatedConv2d, fuse_activations
from model.network.config import network_config
from model.network.pcvos import PCVOS
from model.network.refinement import IntraClipRefinement
from tests.model.device.processor import needs_bfloat16, on_all_processors


@on_all_processors
@pytest.mark.parametrize("dtype", [torch.float32, pytest.param(torch.bfloat16, marks=needs_bfloat16)])
@pytest.mark.parametrize("activation", ["relu", "relu6"])
def test_fused_activations_are_the_same_bits(dtype, activation):
    torch.manual_seed(0)
    conv = ActivatedConv2d(8, 16, 3, activation, padding=1, stride=2).to(dtype).to(memory_format=torch.channels_last)
    nn.init.normal_(conv.weight, std=3)
    x = torch.randn(2, 8, 17, 23).to(dtype).to(memory_format=torch.channels_last)
    with torch.inference_mode():
        plain = conv(x)
        fuse_activations(nn.Sequential(conv))
        fused = conv(x)
    assert torch.equal(plain, fused)
    assert plain.min() == 0 and (activation == "relu") == bool(plain.max() > 6)


def test_a_network_gives_the_same_masks_with_and_without_fused_activations(squares, lite):
    plain = Propagator(
        load_network("perclip-lite"),
        PropagationOptions(short_side=None, dtype="float32", device="cpu", fuse_activations=False),
    )
    keyframe = squares.keyframe(0)
    for a, b in zip(plain.run(squares.frames, [keyframe], stop=8), lite.run(squares.frames, [keyframe], stop=8)):
        assert (a.label_map == b.label_map).all()
        assert a.confidence == pytest.approx(b.confidence, abs=1e-4)


@pytest.mark.parametrize("frames", [1, 2, 3, 5, 6, 9])
def test_refining_in_rows_of_windows_is_refining_the_clip(frames, monkeypatch):
    torch.manual_seed(frames)
    network = IntraClipRefinement(8, 12, 16, 2, final_norm=True).eval()
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.5)
    key, value = torch.randn(1, 8, frames, 10, 15), torch.randn(1, 2, 12, frames, 10, 15)
    results = []
    with torch.inference_mode():
        for positions in (1, 2 * 2 * 150, 10**6):
            monkeypatch.setitem(refinement._POSITIONS, "cpu", positions)
            results.append(network(key, value))
    for result in results[1:]:
        torch.testing.assert_close(result, results[0], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(results[0], value, atol=0.1)


def test_a_clip_in_the_room_of_an_earlier_one_is_the_same():
    options = PropagationOptions(device="cpu", dtype="float32")
    network = InferenceNetwork(load_network("perclip-lite"), options)
    torch.manual_seed(0)
    first, second = torch.randn(3, 3, 64, 96), torch.randn(2, 3, 64, 96)
    with torch.inference_mode():
        room = network.encode_clip(iter(first)).decoding
        places = {image.f4.data_ptr() for image in room}
        reused = network.encode_clip(iter(second), room)
        assert len(room) == 1 and {image.f4.data_ptr() for image in reused.decoding} < places
        for old, new in zip(reused.decoding, network.encode_clip(iter(second)).decoding):
            assert all(map(torch.equal, old, new))
        other_size = network.encode_clip(iter(torch.randn(1, 3, 32, 32)), room)
        assert other_size.decoding[0].f4.shape[-2:] == (8, 8)


@pytest.mark.parametrize(
    ("blocks", "length", "interval"),
    [(2, 11, 5), (2, 16, 5), (2, 25, 5), (2, 23, 4), (2, 22, 1), (2, 24, 7), (0, 23, 5), (1, 25, 5), (4, 25, 3)],
)
def test_a_long_clip_in_pieces_is_the_same_as_whole(squares, monkeypatch, blocks, length, interval):
    torch.manual_seed(3)
    if blocks == 2:
        network = load_network("perclip-lite")
    else:
        config = network_config("perclip-lite")
        config = replace(config, refinement_blocks=blocks) if blocks else config.without_refinement()
        network = PCVOS(config).eval()
        for parameter in network.parameters():
            if parameter.dim() > 1:
                torch.nn.init.kaiming_normal_(parameter)
    options = PropagationOptions(
        short_side=None,
        dtype="float32",
        device="cpu",
        clip_length=length,
        progressive_interval=interval,
        focus=False,
        keep_probabilities=True,
    )
    frames, keyframe = squares.frames[: length + 1, 16:80, 16:112], squares.labels[0, 16:80, 16:112]
    waiting = []
    add = ClipSegmentation.add

    def watched(self, clip, readouts):
        waiting.append(len(self._images) + len(clip.decoding))
        add(self, clip, readouts)

    monkeypatch.setattr(ClipSegmentation, "add", watched)
    found = []
    for in_pieces in (True, False):
        waiting.clear()
        monkeypatch.setattr(InferenceNetwork, "in_pieces", in_pieces)
        results = list(Propagator(network, options).run(frames, [Keyframe(0, keyframe)]))
        found.append(np.stack([result.probabilities for result in results]))
        assert max(waiting) <= (max(2 * interval, interval + 7, 14 if blocks == 4 else 0) if in_pieces else length)
    np.testing.assert_allclose(found[0], found[1], atol=2e-4)
    assert found[0][-1, 1:].max() > 0.05  # objects are still there to be compared
