"""Weights made from parameter names, the recipe by which the golden outputs were computed (no weight file involved)."""

import math
import zlib
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from model.network.config import network_config
from model.network.networks import new_network
from model.network.segmentation_network import SegmentationNetwork

# Gain and bias of the last convolution, which keep the logits' deviation at about 2.
_LAST = {"pcvos": (0.393, -5.795), "stcn": (0.1656, -3.927)}
# Gains of inputs that would drown or be drowned: (parameter, first input channel it applies from, gain).
_GAINS = (
    ("key_proj.key_proj.weight", 0, 0.35),
    ("value_encoder.conv1.weight", 3, 10),
    ("value_encoder.fuser.block1.conv1.weight", 256, 0.1),
    ("value_encoder.fuser.block1.downsample.weight", 256, 0.1),
    ("decoder.compress.conv1.weight", 512, 0.3),
    ("decoder.compress.downsample.weight", 512, 0.3),
)

# Of STM and SWEM on top of the same: (name starts with, ends with, first input channel, gain), and last biases.
_FURTHER_GAINS = {
    "stm": (
        ("Encoder_M.res", ".conv3.weight", 0, 0.3),
        ("Encoder_Q.res", ".conv3.weight", 0, 0.3),
        ("Encoder_M.conv1_", ".weight", 0, 3.0),
        ("KV_", ".Key.weight", 0, 0.45),
        ("Decoder.pred2.", ".weight", 0, 0.17),
    ),
    "swem": (
        ("key_proj.", ".weight", 0, 0.15),
        ("swem_core.fusion_layer.layer_a.", ".weight", 0, 0.2),
        ("swem_core.fusion_layer.", ".weight", 1024, 4.0),
        ("decoder.pred.", ".weight", 0, 1.7),
    ),
}
_LAST_BIASES = {"stm": {"Decoder.pred2.bias": (0.0, -0.8)}, "swem": {"decoder.pred.bias": (-5.2,)}}


def _weights(name: str, shape: tuple[int, ...], network: str) -> np.ndarray:
    if network not in _FURTHER_GAINS:
        return _fill(name, shape, network).astype(np.float32)
    if name in _LAST_BIASES[network]:
        return np.array(_LAST_BIASES[network][name], np.float32)
    value = _fill(name, shape, "stcn").astype(np.float32)
    for start, end, first, gain in _FURTHER_GAINS[network]:
        if name.startswith(start) and name.endswith(end):
            value[:, first:] *= np.float32(gain)
    return value


def _fill(name: str, shape: tuple[int, ...], network: str) -> np.ndarray:
    kind = name.rsplit(".", 1)[-1]
    normal = np.random.RandomState(zlib.crc32(name.encode()) & 0x7FFFFFFF).standard_normal(shape)
    if kind == "running_mean":
        return 0.1 * normal
    if kind == "running_var":
        return 1 + 0.3 * np.tanh(normal)
    if kind == "relative_position_bias_table":
        return 0.5 * normal
    if name == "decoder.pred.bias":
        return np.full(shape, _LAST[network][1])
    if kind == "bias":
        return 0.05 * normal
    if len(shape) == 1:
        return 1 + 0.2 * np.tanh(normal)
    weight = normal * math.sqrt(2 / math.prod(shape[1:]))
    trunk = name.startswith(("key_encoder.layer", "key_encoder.res2", "value_encoder.layer"))
    if trunk and ("conv3." in name or (name.startswith("value_encoder") and "conv2." in name)):
        weight *= 0.3
    for parameter, first, gain in _GAINS:
        if name == parameter:
            weight[:, first:] *= gain
    return weight * _LAST[network][0] if name == "decoder.pred.weight" else weight


def named_network(name: str, **sizes: Any) -> SegmentationNetwork:
    """The network "pcvos", "stcn", "stm" or "swem" with these weights; sizes may differ from the published ones."""
    network = new_network(replace(network_config(name), **sizes)).eval()
    for key, tensor in network.state_dict().items():
        if not key.endswith(("relative_position_index", "num_batches_tracked", ".mean", ".std")):
            tensor.copy_(torch.from_numpy(_weights(key, tuple(tensor.shape), name)))
    return network
