"""ResNet trunks up to stride 16: ResNet-50 for the key encoder, ResNet-18 for the value encoder."""

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn


class PyramidDims(NamedTuple):
    """Channels of the image features at strides 16, 8 and 4."""

    f16: int
    f8: int
    f4: int


class Pyramid(NamedTuple):
    """Image features at strides 16, 8 and 4, each (N, C, H / stride, W / stride)."""

    f16: Tensor
    f8: Tensor
    f4: Tensor


def _shortcut(in_dim: int, out_dim: int, stride: int, bias: bool) -> nn.Sequential | None:
    if stride == 1 and in_dim == out_dim:
        return None
    return nn.Sequential(nn.Conv2d(in_dim, out_dim, 1, stride, bias=bias), nn.BatchNorm2d(out_dim))


class Bottleneck(nn.Module):
    """ResNet-50's block, 1x1 - 3x3 - 1x1, with the stride in the 3x3."""

    def __init__(self, in_dim: int, dim: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(in_dim, dim, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(dim)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(dim, dim, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(dim)
        self.relu2 = nn.ReLU()
        self.conv3 = nn.Conv2d(dim, 4 * dim, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * dim)
        self.downsample = _shortcut(in_dim, 4 * dim, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_dim, H, W) -> (N, 4 dim, H / stride, W / stride)."""
        out = self.relu1(self.bn1(self.conv1(x)))
        out = self.relu2(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        return F.relu(out + (x if self.downsample is None else self.downsample(x)))


class BasicBlock(nn.Module):
    """ResNet-18's block, two 3x3, here with biases as in the public value encoder."""

    def __init__(self, in_dim: int, dim: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(in_dim, dim, 3, stride, padding=1)
        self.bn1 = nn.BatchNorm2d(dim)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(dim, dim, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(dim)
        self.downsample = _shortcut(in_dim, dim, stride, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_dim, H, W) -> (N, dim, H / stride, W / stride)."""
        out = self.relu1(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        return F.relu(out + (x if self.downsample is None else self.downsample(x)))


def stage(block: type[Bottleneck] | type[BasicBlock], in_dim: int, dim: int, blocks: int, stride: int) -> nn.Sequential:
    """Blocks of one resolution, the first of which changes size and channels."""
    out_dim = 4 * dim if block is Bottleneck else dim
    return nn.Sequential(block(in_dim, dim, stride), *(block(out_dim, dim, 1) for _ in range(blocks - 1)))


class ResNet50(nn.Module):
    """The key encoder of PCVOS and STCN: features of 1024, 512 and 256 channels at strides 16, 8 and 4."""

    dims = PyramidDims(1024, 512, 256)

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu1 = nn.ReLU()
        self.res2 = stage(Bottleneck, 64, 64, 3, 1)
        self.layer2 = stage(Bottleneck, 256, 128, 4, 2)
        self.layer3 = stage(Bottleneck, 512, 256, 6, 2)

    def forward(self, images: Tensor) -> Pyramid:
        """Normalised images (N, 3, H, W), H and W multiples of 16."""
        x = F.max_pool2d(self.relu1(self.bn1(self.conv1(images))), 3, 2, padding=1)
        f4 = self.res2(x)
        f8 = self.layer2(f4)
        return Pyramid(self.layer3(f8), f8, f4)
