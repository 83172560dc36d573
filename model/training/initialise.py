"""Starts the compact network from a public trunk: fixed statistics, and keys by principal components."""

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from model.checkpoint_files import named_in_utf8
from model.errors import CheckpointError
from model.framing import IMAGE_MEAN, IMAGE_STD
from model.pcvos import PCVOS

_KEY_SPREAD = 60.0  # |k|^2 of a mean key; of 14, 60, 200, 600 the best untrained label propagation (J 0.71)


@torch.no_grad()
def start_from_trunk(network: PCVOS, weights: Path, images: Tensor) -> None:
    """Loads a folded MobileNetV2 and fits what depends on its features.

    The stride-16 features are standardised by their mean and deviation over the images; the key projection becomes
    their first principal components, so that affinity is a working label propagation before any training. The
    refinement and the decoder's correction start at zero.

    Args:
        network: of the compact kind.
        weights: a folded MobileNetV2 in safetensors.
        images: normalised sample images, float32 (N, 3, H, W).

    Raises:
        CheckpointError: the file is missing, unreadable or no folded MobileNetV2.
    """
    trunk = network.key_encoder
    try:
        with named_in_utf8(weights) as name:
            trunk.load_folded(load_file(name), torch.tensor(IMAGE_MEAN), torch.tensor(IMAGE_STD))
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{weights} cannot be read ({type(error).__name__}): check the path of --trunk") from None
    except (KeyError, RuntimeError) as error:
        reason = f"it has no {error}" if isinstance(error, KeyError) else "its sizes are others"
        raise CheckpointError(f"{weights} is no folded MobileNetV2 of full width: {reason}") from None
    raw = torch.cat([trunk(image[None]).f16 for image in images]).transpose(0, 1).flatten(1)
    trunk.f16_mean.copy_(raw.mean(1))
    trunk.f16_std.copy_(raw.std(1).clamp(min=1e-3))
    standard = (raw - trunk.f16_mean[:, None]) / trunk.f16_std[:, None]
    directions = torch.linalg.eigh(standard @ standard.T / standard.shape[1]).eigenvectors.flip(1)
    projection = directions[:, : len(network.key_proj.key_proj.weight)].T
    projection *= (_KEY_SPREAD / (projection @ standard).square().sum(0).mean()) ** 0.5
    network.key_proj.key_proj.weight.copy_(projection[:, :, None, None])
    network.key_proj.key_proj.bias.zero_()
    network.decoder.pred.weight.zero_()
    network.decoder.pred.bias.zero_()
    if network.refine_transformer is not None:
        for block in network.refine_transformer.layers[0].blocks:
            for layer in (block.attn.proj, block.mlp.fc2):
                layer.weight.zero_()
                layer.bias.zero_()
