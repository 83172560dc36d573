"""SWEM (CVPR 2022): key and value encoders as STCN's, a fusion of what the bases gave back, the decoder.

The bases, how frames are absorbed and how they are read (SWEM 3.2, 3.3) have no parameters: `model.memory.bases`.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.network.config import NetworkConfig
from model.network.decoder import DecoderFrame, DecoderInput, UpsampleBlock
from model.network.input_constants import carry_input_constants
from model.network.key_projection import KeyProjection
from model.network.residual_block import ResBlock, SharedInput
from model.network.resnet import PyramidDims, ResNet50
from model.network.segmentation_network import FrameFeatures, SegmentationNetwork
from model.network.soft_aggregation import layer_sums
from model.network.value_encoder import ValueEncoder

AFFINITY_FEATURES = 128
"""Channels behind the value in a readout: how alike a position is to the background's bases and to the object's."""


class _FusionLayer(nn.Module):
    """Joins memory, thin and affinity features: a convolution and its gate."""

    def __init__(self, value_dim: int, thin_dim: int):
        super().__init__()
        self._value_dim, self._thin_dim = value_dim, thin_dim
        in_dim = value_dim + thin_dim + AFFINITY_FEATURES
        self.layer_f = nn.Conv2d(in_dim, value_dim, 3, padding=1)
        self.layer_a = nn.Conv2d(in_dim, value_dim, 3, padding=1)

    def share(self, thin: Tensor) -> SharedInput:
        """What thin features (N, thin_dim, h, w) give to both convolutions: the same for all objects of a frame."""
        part = slice(self._value_dim, self._value_dim + self._thin_dim)
        layers = (self.layer_f, self.layer_a)
        return SharedInput(*(F.conv2d(thin, layer.weight[:, part], layer.bias, padding=1) for layer in layers))

    def forward(self, readout: Tensor, shared: SharedInput) -> Tensor:
        """Memory and affinity features (N, K, value_dim + 128, h, w) -> (N, K, value_dim, h, w)."""
        part = [*range(self._value_dim), *range(self._value_dim + self._thin_dim, self.layer_f.in_channels)]
        x, objects = readout.flatten(0, 1), readout.shape[:2]
        f, a = (
            F.conv2d(x, layer.weight[:, part], padding=1).unflatten(0, objects) + common[:, None]
            for layer, common in zip((self.layer_f, self.layer_a), shared)
        )
        return f * torch.sigmoid(a)


class _Core(nn.Module):
    def __init__(self, value_dim: int, thin_dim: int):
        super().__init__()
        self.fusion_layer = _FusionLayer(value_dim, thin_dim)


class _Decoder(nn.Module):
    def __init__(self, image_dims: PyramidDims, dims: tuple[int, int, int]):
        super().__init__()
        self.compress = ResBlock(dims[0], dims[0])
        self.up_16_8 = UpsampleBlock(image_dims.f8, dims[0], dims[1])
        self.up_8_4 = UpsampleBlock(image_dims.f4, dims[1], dims[2])
        self.pred = nn.Conv2d(dims[2], 1, 3, padding=1)

    def forward(self, frame: DecoderFrame, x: Tensor) -> Tensor:
        """Fused readouts (N, K, dims[0], h, w) -> logits (N, K, 4h, 4w)."""
        objects = x.shape[:2]
        x = self.compress(x.flatten(0, 1)).unflatten(0, objects)
        x = self.up_8_4(self.up_16_8(x, frame.skip8), frame.skip4)
        return self.pred(F.relu(x.flatten(0, 1))).unflatten(0, objects)[:, :, 0]


class SWEM(SegmentationNetwork):
    """Sequential weighted EM. Frames are resized to whole strides, masks keep the frame's size."""

    def __init__(self, config: NetworkConfig):
        super().__init__(config)
        self.key_encoder = ResNet50()
        dims = self.key_encoder.dims
        self.key_proj = KeyProjection(dims.f16, config.key_dim, 3)
        self.key_comp = nn.Conv2d(dims.f16, config.thin_dim, 3, padding=1)
        self.value_encoder = ValueEncoder(dims.f16, config.value_dim)
        for encoder in (self.key_encoder, self.value_encoder):
            carry_input_constants(encoder)
        self.swem_core = _Core(config.value_dim, config.thin_dim)
        self.decoder = _Decoder(dims, config.decoder_dims)

    def encode(self, images: Tensor, corner: tuple[int, int] = (0, 0)) -> FrameFeatures:
        """As `SegmentationNetwork.encode`."""
        pyramid = self.key_encoder(images)
        return FrameFeatures(pyramid, self.key_proj(pyramid.f16), self.key_comp(pyramid.f16), None)

    def prepare_decoding(self, image: DecoderInput) -> DecoderFrame:
        """As `SegmentationNetwork.prepare_decoding`."""
        return DecoderFrame(
            self.swem_core.fusion_layer.share(image.thin),
            self.decoder.up_16_8.skip_conv(image.f8),
            self.decoder.up_8_4.skip_conv(image.f4),
        )

    def decode(self, frame: DecoderFrame, readouts: Tensor) -> Tensor:
        """As `SegmentationNetwork.decode`; readouts (N, K, value_dim + 128, h, w)."""
        return self.decoder(frame, self.swem_core.fusion_layer(readouts, frame.compress))

    def encode_value(
        self,
        images: Tensor,
        f16: Tensor,
        masks: Tensor,
        layers: Sequence[int] | None = None,
        drawn: bool = False,
    ) -> Tensor:
        """Value and group masks, (N, K, value_dim + 2, h, w), of masks (N, K, rows, columns) of any size."""
        inner = _nearest(masks, images.shape[2:]) if drawn else _bilinear(masks, images.shape[2:])
        hard = masks if drawn else _winners(masks, layers)
        soft = masks if drawn else inner
        groups = group_masks(hard, soft, (f16.shape[2], f16.shape[3]))
        others = (layer_sums(inner, layers, layers) - inner).to(images.dtype)
        value = self.value_encoder(images, f16, inner.to(images.dtype), others)
        return torch.cat([value, groups.to(value.dtype)], 2)


def group_masks(hard: Tensor, soft: Tensor, grid: tuple[int, int]) -> Tensor:
    """How much each position belongs to the background of an object (all that it is not), and to the object.

    A position counts by the soft mask, but only in the group that the hard mask puts it into.

    Args:
        hard: 0 or 1, (N, K, rows, columns) of any size.
        soft: 0..1, of any size, too.
        grid: h and w.

    Returns:
        float32 (N, K, 2, h, w): background, object.
    """
    hard, soft = _nearest(hard, grid), _bilinear(soft, grid)
    return torch.stack([(1 - hard) * (1 - soft), hard * soft], 2)


def _winners(masks: Tensor, layers: Sequence[int] | None) -> Tensor:
    """1 where an object is more likely than all others of its layer and than none of them: (N, K, rows, columns)."""
    winners = torch.zeros_like(masks)
    places: dict[int, list[int]] = {}
    for k, layer in enumerate([0] * masks.shape[1] if layers is None else layers):
        places.setdefault(layer, []).append(k)
    for mates in places.values():
        together = masks[:, mates]
        winner = torch.cat([1 - together.sum(1, keepdim=True), together], 1).argmax(1, keepdim=True)
        winners[:, mates] = (winner == torch.arange(1, len(mates) + 1, device=masks.device)[:, None, None]).float()
    return winners


def _bilinear(x: Tensor, size: tuple[int, ...]) -> Tensor:
    return F.interpolate(x, size, mode="bilinear", align_corners=False)


def _nearest(x: Tensor, size: tuple[int, ...]) -> Tensor:
    return F.interpolate(x, size, mode="nearest")
