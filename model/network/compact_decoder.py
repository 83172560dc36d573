"""The compact network's decoder: light convolutions, and the propagated mask itself as a first guess."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.network.compact_value_encoder import MASK_CHANNELS, SUB_PIXEL
from model.network.decoder import DecoderFrame, DecoderInput
from model.network.residual_block import ResBlock
from model.network.resnet import PyramidDims


class CompactUpsampleBlock(nn.Module):
    """Narrows, upsamples, adds the image's finer features, and one residual block."""

    def __init__(self, in_dim: int, skip_dim: int, out_dim: int):
        super().__init__()
        self.narrow = nn.Conv2d(in_dim, out_dim, 1)
        self.skip_conv = nn.Conv2d(skip_dim, out_dim, 3, padding=1)
        self.block = ResBlock(out_dim, out_dim)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Coarse (N, K, in_dim, h, w) and `skip_conv` of the image (N, out_dim, 2h, 2w) -> (N, K, out_dim, 2h, 2w)."""
        up = F.interpolate(self.narrow(x.flatten(0, 1)), scale_factor=2, mode="bilinear", align_corners=False)
        return self.block((up.unflatten(0, x.shape[:2]) + skip[:, None]).flatten(0, 1)).unflatten(0, x.shape[:2])


class CompactDecoder(nn.Module):
    """Same interface as `Decoder`; its logits are a correction of the mask that the readout's fixed channels carry."""

    def __init__(self, value_dim: int, thin_dim: int, image_dims: PyramidDims, dims: tuple[int, int, int]):
        super().__init__()
        self.compress = ResBlock(value_dim + thin_dim, dims[0])
        self.up_16_8 = CompactUpsampleBlock(dims[0], image_dims.f8, dims[1])
        self.up_8_4 = CompactUpsampleBlock(dims[1], image_dims.f4, dims[2])
        self.guess = nn.Conv2d(1, dims[2], 3, padding=1)
        self.pred = nn.Conv2d(dims[2], 1, 3, padding=1)
        self.guess_scale = nn.Parameter(torch.tensor(8.0))

    def prepare(self, image: DecoderInput) -> DecoderFrame:
        """What all objects of a frame share."""
        return DecoderFrame(
            self.compress.share(image.thin), self.up_16_8.skip_conv(image.f8), self.up_8_4.skip_conv(image.f4)
        )

    def forward(self, frame: DecoderFrame, readout: Tensor) -> Tensor:
        """Readouts (N, K, value_dim, h, w) -> logits (N, K, 4h, 4w)."""
        guess = F.pixel_shuffle(readout[:, :, -MASK_CHANNELS:].flatten(0, 1), SUB_PIXEL) - 0.5
        x = self.compress.forward_shared(readout, frame.compress)
        x = self.up_16_8(x, frame.skip8)
        x = self.up_8_4(x, frame.skip4).flatten(0, 1)
        logits = self.pred(F.relu(x + self.guess(guess))) + self.guess_scale * guess
        return logits.unflatten(0, readout.shape[:2])[:, :, 0]
