"""Mean and deviation of the network's input, which some public checkpoints carry among their parameters."""

import torch
from torch import nn

IMAGE_MEAN = (0.485, 0.456, 0.406)  # ImageNet, of RGB in 0..1
IMAGE_STD = (0.229, 0.224, 0.225)


def carry_input_constants(encoder: nn.Module) -> None:
    """Gives an encoder the buffers `mean` and `std`, (1, 3, 1, 1), that its public checkpoint has.

    They are there to be loaded and saved; images come normalised (`model.inference.framing`).
    """
    encoder.register_buffer("mean", torch.tensor(IMAGE_MEAN).view(1, 3, 1, 1))
    encoder.register_buffer("std", torch.tensor(IMAGE_STD).view(1, 3, 1, 1))
