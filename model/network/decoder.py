"""The decoder: from readout and image features to mask logits at stride 4 (PCVOS and STCN)."""

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from model.network.residual_block import ResBlock, SharedInput
from model.network.resnet import PyramidDims


class DecoderInput(NamedTuple):
    """Image features of N frames that decoding needs: (N, C, h, w), (N, C, 2h, 2w) and (N, C, 4h, 4w)."""

    thin: Tensor
    f8: Tensor
    f4: Tensor


class DecoderFrame(NamedTuple):
    """The part of decoding that depends on the frame alone, computed once for all its objects."""

    compress: SharedInput
    skip8: Tensor
    skip4: Tensor


class UpsampleBlock(nn.Module):
    """Adds the image's finer features to the upsampled coarser ones."""

    def __init__(self, skip_dim: int, up_dim: int, out_dim: int):
        super().__init__()
        self.skip_conv = nn.Conv2d(skip_dim, up_dim, 3, padding=1)
        self.out_conv = ResBlock(up_dim, out_dim)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Coarse (N, K, up_dim, h, w) and `skip_conv` of the image (N, up_dim, 2h, 2w) -> (N, K, out_dim, 2h, 2w)."""
        up = F.interpolate(x.flatten(0, 1), scale_factor=2, mode="bilinear", align_corners=False)
        return self.out_conv((up.unflatten(0, x.shape[:2]) + skip[:, None]).flatten(0, 1)).unflatten(0, x.shape[:2])


class Decoder(nn.Module):
    """Compress the joined readout and thin features, then two upsampling steps with image skips."""

    def __init__(self, value_dim: int, thin_dim: int, image_dims: PyramidDims, dims: tuple[int, int, int]):
        super().__init__()
        self.compress = ResBlock(value_dim + thin_dim, dims[0])
        self.up_16_8 = UpsampleBlock(image_dims.f8, dims[0], dims[1])
        self.up_8_4 = UpsampleBlock(image_dims.f4, dims[1], dims[2])
        self.pred = nn.Conv2d(dims[2], 1, 3, padding=1)

    def prepare(self, image: DecoderInput) -> DecoderFrame:
        """What all objects of a frame share."""
        return DecoderFrame(
            self.compress.share(image.thin), self.up_16_8.skip_conv(image.f8), self.up_8_4.skip_conv(image.f4)
        )

    def forward(self, frame: DecoderFrame, readout: Tensor) -> Tensor:
        """Readouts (N, K, value_dim, h, w) -> logits (N, K, 4h, 4w)."""
        x = self.compress.forward_shared(readout, frame.compress)
        x = self.up_16_8(x, frame.skip8)
        x = self.up_8_4(x, frame.skip4)
        return self.pred(F.relu(x.flatten(0, 1))).unflatten(0, readout.shape[:2])[:, :, 0]
