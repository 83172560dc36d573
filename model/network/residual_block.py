"""The residual block that the value encoder and the decoder are made of."""

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from model.network.activated_convolution import ActivatedConv2d


class SharedInput(NamedTuple):
    """What some input channels give to a block's first convolution and shortcut, biases included: (N, C, H, W)."""

    conv1: Tensor
    shortcut: Tensor


class ResBlock(nn.Module):
    """Pre-activation residual block without norm: conv2(relu(conv1(relu(x)))) + shortcut(x).

    The shortcut is a 3x3 convolution of the un-activated input where the number of channels changes.
    """

    def __init__(self, in_dim: int, out_dim: int):
        super().__init__()
        self.downsample = nn.Conv2d(in_dim, out_dim, 3, padding=1) if in_dim != out_dim else None
        self.conv1 = ActivatedConv2d(in_dim, out_dim, 3, "relu", padding=1)
        self.conv2 = nn.Conv2d(out_dim, out_dim, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_dim, H, W) -> (N, out_dim, H, W)."""
        shortcut = x if self.downsample is None else self.downsample(x)
        return shortcut + self.conv2(self.conv1(F.relu(x)))

    def share(self, tail: Tensor) -> SharedInput:
        """The contribution of the last input channels, which all objects of a frame share, (N, tail_dim, H, W).

        A convolution is linear in its input channels, so this part needs computing once per frame and not per object.
        """
        assert self.downsample is not None
        n = tail.shape[1]
        return SharedInput(
            F.conv2d(F.relu(tail), self.conv1.weight[:, -n:], self.conv1.bias, padding=1),
            F.conv2d(tail, self.downsample.weight[:, -n:], self.downsample.bias, padding=1),
        )

    def forward_shared(self, head: Tensor, shared: SharedInput) -> Tensor:
        """The block for (N, K, head_dim, H, W) inputs that share their other channels -> (N, K, out_dim, H, W)."""
        assert self.downsample is not None
        n = head.shape[2]
        x = head.flatten(0, 1)
        objects = head.shape[:2]
        hidden = F.conv2d(F.relu(x), self.conv1.weight[:, :n], padding=1).unflatten(0, objects)
        hidden = F.relu(hidden + shared.conv1[:, None]).flatten(0, 1)
        shortcut = F.conv2d(x, self.downsample.weight[:, :n], padding=1).unflatten(0, objects)
        return self.conv2(hidden).unflatten(0, objects) + (shortcut + shared.shortcut[:, None])
