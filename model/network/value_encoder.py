"""The value encoder: what the memory keeps of one object on one frame (PCVOS and STCN)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.network.residual_block import ResBlock
from model.network.resnet import BasicBlock, stage


class _ChannelGate(nn.Module):
    def __init__(self, dim: int, hidden: int):
        super().__init__()
        self.mlp = nn.Sequential(nn.Flatten(), nn.Linear(dim, hidden), nn.ReLU(), nn.Linear(hidden, dim))

    def forward(self, x: Tensor) -> Tensor:
        pooled = self.mlp(x.mean((2, 3), keepdim=True)) + self.mlp(x.amax((2, 3), keepdim=True))
        return x * torch.sigmoid(pooled)[:, :, None, None]


class _Spatial(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 1, 7, padding=3)


class _SpatialGate(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.spatial = _Spatial()

    def forward(self, x: Tensor) -> Tensor:
        pooled = torch.cat([x.amax(1, keepdim=True), x.mean(1, keepdim=True)], 1)
        return x * torch.sigmoid(self.spatial.conv(pooled))


class CBAM(nn.Module):
    """Channel gate, then spatial gate (CBAM, ECCV 2018)."""

    def __init__(self, dim: int):
        super().__init__()
        self.ChannelGate = _ChannelGate(dim, dim // 16)
        self.SpatialGate = _SpatialGate()

    def forward(self, x: Tensor) -> Tensor:
        """(N, dim, H, W) -> the same shape."""
        return self.SpatialGate(self.ChannelGate(x))


class FeatureFusion(nn.Module):
    """Joins the object's features with the frame's: ResBlock, CBAM with residual, ResBlock."""

    def __init__(self, object_dim: int, image_dim: int, out_dim: int):
        super().__init__()
        self.block1 = ResBlock(object_dim + image_dim, out_dim)
        self.attention = CBAM(out_dim)
        self.block2 = ResBlock(out_dim, out_dim)

    def forward(self, x: Tensor, f16: Tensor) -> Tensor:
        """Object features (N, K, object_dim, h, w) and image features (N, image_dim, h, w) -> (N, K, out_dim, h, w)."""
        objects = x.shape[:2]
        x = self.block1.forward_shared(x, self.block1.share(f16)).flatten(0, 1)
        return self.block2(x + self.attention(x)).unflatten(0, objects)


class ValueEncoder(nn.Module):
    """ResNet-18 over image, this object's mask and the other objects' masks, fused with the key encoder's features."""

    def __init__(self, image_dim: int, value_dim: int):
        super().__init__()
        self.conv1 = nn.Conv2d(5, 64, 7, 2, padding=3)
        self.bn1 = nn.BatchNorm2d(64)
        self.layer1 = stage(BasicBlock, 64, 64, 2, 1)
        self.layer2 = stage(BasicBlock, 64, 128, 2, 2)
        self.layer3 = stage(BasicBlock, 128, 256, 2, 2)
        self.fuser = FeatureFusion(256, image_dim, value_dim)

    def forward(self, images: Tensor, f16: Tensor, masks: Tensor, others: Tensor) -> Tensor:
        """Values of K objects.

        Args:
            images: normalised, (N, 3, H, W).
            f16: the key encoder's stride-16 features of the same images, (N, image_dim, H / 16, W / 16).
            masks: probability of each object, 0..1, (N, K, H, W).
            others: sum of the probabilities of the other objects of its layer, (N, K, H, W).

        Returns:
            (N, K, value_dim, H / 16, W / 16).
        """
        objects = masks.shape[:2]
        images = images[:, None].expand(-1, objects[1], -1, -1, -1)
        x = torch.cat([images, masks[:, :, None], others[:, :, None]], 2).flatten(0, 1)
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, padding=1)
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fuser(x.unflatten(0, objects), f16)
