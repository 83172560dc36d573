"""Starts the compact network from a public trunk: fixed statistics, and keys by principal components."""

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from model.errors import CheckpointError
from model.network.checkpoint_files import named_in_utf8
from model.network.compact_trunk import TRUNKS, CompactTrunk
from model.network.input_constants import IMAGE_MEAN, IMAGE_STD
from model.network.pcvos import PCVOS

_KEY_SPREAD = 60.0  # |k|^2 of a mean key; of 14, 60, 200, 600 the best untrained label propagation (J 0.71)


def trunk_name(weights: Path) -> str:
    """Which of the compact trunks a file of folded public weights is for.

    Raises:
        CheckpointError: the file is missing, unreadable or for none of them.
    """
    tensors = _read(weights)
    for name in TRUNKS:
        try:
            CompactTrunk(name).load_folded(tensors, torch.zeros(3), torch.ones(3))
        except (KeyError, RuntimeError):
            continue
        return name
    raise CheckpointError(f"{weights} is for none of the trunks {', '.join(TRUNKS)}: give folded weights of one")


def _read(weights: Path) -> dict[str, Tensor]:
    try:
        with named_in_utf8(weights) as name:
            return load_file(name)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{weights} cannot be read ({type(error).__name__}): check the path of --trunk") from None


@torch.no_grad()
def start_from_trunk(network: PCVOS, weights: Path, images: Tensor) -> None:
    """Loads a trunk and fits what depends on its features.

    The stride-16 features are standardised by their mean and deviation over the images; the key projection becomes
    their first principal components, so that affinity is a working label propagation before any training. The
    refinement and the decoder's correction start at zero.

    Args:
        network: of the compact kind.
        weights: folded public weights of its trunk, safetensors.
        images: normalised sample images, float32 (N, 3, H, W).

    Raises:
        CheckpointError: the file is missing, unreadable or for another trunk.
    """
    trunk, key_projection, prediction = network.key_encoder, network.key_proj.key_proj, network.decoder.pred
    # Such a network has a compact trunk, and its convolutions have biases.
    assert isinstance(trunk, CompactTrunk) and key_projection.bias is not None and prediction.bias is not None
    try:
        trunk.load_folded(_read(weights), torch.tensor(IMAGE_MEAN), torch.tensor(IMAGE_STD))
    except (KeyError, RuntimeError):
        raise CheckpointError(f"{weights} is no trunk for {network.config.trunk}: give its folded weights") from None
    raw = torch.cat([trunk(image[None]).f16 for image in images]).transpose(0, 1).flatten(1)
    trunk.f16_mean.copy_(raw.mean(1))
    trunk.f16_std.copy_(raw.std(1).clamp(min=1e-3))
    standard = (raw - trunk.f16_mean[:, None]) / trunk.f16_std[:, None]
    directions = torch.linalg.eigh(standard @ standard.T / standard.shape[1]).eigenvectors.flip(1)
    projection = directions[:, : len(key_projection.weight)].T
    projection *= (_KEY_SPREAD / (projection @ standard).square().sum(0).mean()) ** 0.5
    key_projection.weight.copy_(projection[:, :, None, None])
    key_projection.bias.zero_()
    prediction.weight.zero_()
    prediction.bias.zero_()
    if network.refine_transformer is not None:
        for block in network.refine_transformer.blocks:
            for layer in (block.attn.proj, block.mlp.fc2):
                layer.weight.zero_()
                layer.bias.zero_()
