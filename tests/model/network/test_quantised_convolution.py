"""8-bit convolutions: as good as floating-point ones, where the processor has them."""

import numpy as np
import pytest
import torch
from torch import nn

from model import InputError, PropagationOptions, Propagator, load_network
from model.evaluation.metrics import region_similarity
from model.inference.prepared_network import InferenceNetwork
from model.network.compact_trunk import BlockPlan, InvertedResidual
from model.network.config import network_config
from model.network.pcvos import PCVOS
from model.network.quantised_convolution import QuantisedConv2d, quantise
from tests.model.device.processor import needs_bfloat16, needs_int8, on_all_processors

pytestmark = on_all_processors


def _like(x: torch.Tensor, y: torch.Tensor) -> float:
    return float((x - y).norm() / y.norm())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_quantised_numbers_are_at_most_half_a_step_off(dtype):
    torch.manual_seed(0)
    x = (torch.randn(2, 8, 9, 7) * 5).to(dtype)
    whole = quantise(x)
    assert whole.values.dtype == torch.uint8 and whole.values.shape == x.shape
    back = (whole.values.float() - whole.zero) * whole.scale
    assert (back - x.float()).abs().max() <= 0.501 * whole.scale
    assert whole.scale == pytest.approx(x.float().abs().max().item() / 127)
    assert torch.equal(quantise(torch.zeros(1, 1, 2, 2)).values, torch.full((1, 1, 2, 2), 128, dtype=torch.uint8))


@needs_int8
@pytest.mark.parametrize(("kernel", "groups", "stride"), [(1, 1, 1), (3, 1, 1), (3, 32, 1), (3, 32, 2), (5, 32, 1)])
def test_a_convolution_of_integers_is_nearly_that_of_real_numbers(kernel, groups, stride):
    torch.manual_seed(0)
    convolution = nn.Conv2d(32, 32, kernel, padding=kernel // 2, groups=groups, stride=stride)
    convolution.weight.data *= torch.logspace(-2, 1, 32)[:, None, None, None]  # outputs of very different sizes
    quantised = QuantisedConv2d(convolution)
    for size in (0.01, 10.0):  # the scale is the input's own
        x = (torch.randn(1, 32, 20, 26) * size).to(memory_format=torch.channels_last)
        with torch.inference_mode():
            found, expected = quantised(quantise(x), torch.float32), convolution(x)
        each = [_like(a, b) for a, b in zip(found[0], expected[0])]
        assert max(each) < 0.03


@needs_int8
@pytest.mark.parametrize(("stride", "kernel"), [(1, 3), (2, 3), (1, 5), (2, 5)])
def test_a_quantised_block_is_nearly_the_same(stride, kernel):
    torch.manual_seed(0)
    block = InvertedResidual(32, BlockPlan(32, 6, kernel, stride)).eval()
    for module in (block.expand, block.depthwise):
        nn.init.normal_(module.weight, std=0.6)  # some activations are cut off at 6
    nn.init.normal_(block.project.weight, std=0.2)
    x = torch.randn(1, 32, 20, 24).to(memory_format=torch.channels_last) * 3
    with torch.inference_mode():
        expected, hidden = block(x), block.expand(x)
        assert 0.05 < (hidden == 6).float().mean() < 0.9
        block.quantise()
        assert _like(block(x), expected) < 0.03


@needs_int8
def test_masks_are_those_of_float32_and_the_format_is_told(squares):
    found = {}
    for dtype in ("float32", "int8"):
        propagator = Propagator(
            load_network("perclip-lite"), PropagationOptions(short_side=None, device="cpu", dtype=dtype)
        )
        assert propagator.number_format == dtype
        results = propagator.run(squares.frames, [squares.keyframe(0)])
        found[dtype] = np.stack([result.label_map for result in results])
    for obj in (1, 2):
        assert region_similarity(found["int8"] == obj, found["float32"] == obj) > 0.97


@needs_int8
def test_auto_takes_integers_for_the_compact_network_only():
    torch.manual_seed(0)
    lite, stcn = load_network("perclip-lite"), PCVOS(network_config("stcn"))
    assert InferenceNetwork(lite, PropagationOptions(device="cpu")).number_format == "int8"
    assert InferenceNetwork(stcn, PropagationOptions(device="cpu")).number_format in ("bfloat16", "float32")
    with pytest.raises(InputError, match='use "auto"'):
        InferenceNetwork(stcn, PropagationOptions(device="cpu", dtype="int8"))


@needs_bfloat16
def test_bfloat16_is_taken_where_it_is_asked_for():
    options = PropagationOptions(device="cpu", dtype="bfloat16")
    assert InferenceNetwork(load_network("perclip-lite"), options).number_format == "bfloat16"


def test_float16_is_for_gpus():
    with pytest.raises(InputError, match="for GPUs"):
        InferenceNetwork(load_network("perclip-lite"), PropagationOptions(device="cpu", dtype="float16"))


def test_without_the_instructions_auto_goes_on_and_int8_is_refused(monkeypatch):
    monkeypatch.setattr("model.network.quantised_convolution.has_int8", lambda: False)
    lite = load_network("perclip-lite")
    assert InferenceNetwork(lite, PropagationOptions(device="cpu")).number_format in ("bfloat16", "float32")
    with pytest.raises(InputError, match="VNNI"):
        InferenceNetwork(lite, PropagationOptions(device="cpu", dtype="int8"))
