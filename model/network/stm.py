"""STM (ICCV 2019), to be read beside its Fig. 2: two encoders, key and value of memory and query, the decoder.

The space-time memory read (STM 3.2) has no parameters: `model.memory.dense_memory`.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.network.config import NetworkConfig
from model.network.decoder import DecoderInput
from model.network.input_constants import carry_input_constants
from model.network.residual_block import ResBlock
from model.network.resnet import Bottleneck, Pyramid, PyramidDims, stage
from model.network.segmentation_network import FrameFeatures, SegmentationNetwork
from model.network.soft_aggregation import layer_sums


class _Encoder(nn.Module):
    """ResNet-50 up to stride 16, with the names of STM's checkpoints."""

    dims = PyramidDims(1024, 512, 256)

    def __init__(self) -> None:
        super().__init__()
        carry_input_constants(self)
        self.conv1 = nn.Conv2d(3, 64, 7, 2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.res2 = stage(Bottleneck, 64, 64, 3, 1)
        self.res3 = stage(Bottleneck, 256, 128, 4, 2)
        self.res4 = stage(Bottleneck, 512, 256, 6, 2)

    def forward(self, x: Tensor) -> Pyramid:
        """What the first convolution takes, (N, C, H, W), H and W multiples of 16."""
        x = F.max_pool2d(F.relu(self.bn1(self.stem(x))), 3, 2, padding=1)
        f4 = self.res2(x)
        f8 = self.res3(f4)
        return Pyramid(self.res4(f8), f8, f4)

    def stem(self, x: Tensor) -> Tensor:
        """The first convolution: (N, C, H, W) -> (N, 64, H / 2, W / 2)."""
        return self.conv1(x)


class _MemoryEncoder(_Encoder):
    """Sees, beside the image, the mask of one object and that of the others: three first convolutions, added."""

    conv1_m: nn.Conv2d | None
    conv1_o: nn.Conv2d | None

    def __init__(self) -> None:
        super().__init__()
        self.conv1_m = nn.Conv2d(1, 64, 7, 2, padding=3, bias=False)
        self.conv1_o = nn.Conv2d(1, 64, 7, 2, padding=3, bias=False)

    def stem(self, x: Tensor) -> Tensor:
        """Image, mask and others' mask, (N, 5, H, W) -> (N, 64, H / 2, W / 2)."""
        if self.conv1_m is None or self.conv1_o is None:
            return self.conv1(x)
        return self.conv1(x[:, :3]) + self.conv1_m(x[:, 3:4]) + self.conv1_o(x[:, 4:])

    def join_stem(self) -> None:
        """One first convolution instead of three, in place, so that the norm behind it can be folded."""
        assert self.conv1_m is not None and self.conv1_o is not None
        joined = nn.Conv2d(5, 64, 7, 2, padding=3, bias=False)
        weight = torch.cat([self.conv1.weight, self.conv1_m.weight, self.conv1_o.weight], 1)
        joined.weight = nn.Parameter(weight, requires_grad=False)
        self.conv1, self.conv1_m, self.conv1_o = joined.train(self.training), None, None


class _KeyValue(nn.Module):
    def __init__(self, in_dim: int, key_dim: int, value_dim: int):
        super().__init__()
        self.Key = nn.Conv2d(in_dim, key_dim, 3, padding=1)
        self.Value = nn.Conv2d(in_dim, value_dim, 3, padding=1)


class _DecoderFrame(NamedTuple):
    """What the objects of a frame share: the query value's part of the first convolution, and both skips."""

    query: Tensor
    skip8: Tensor
    skip4: Tensor


class _Refine(nn.Module):
    """STM's upsampling block; its skip has a residual block of its own."""

    def __init__(self, skip_dim: int, dim: int):
        super().__init__()
        self.convFS = nn.Conv2d(skip_dim, dim, 3, padding=1)
        self.ResFS = ResBlock(dim, dim)
        self.ResMM = ResBlock(dim, dim)

    def skip(self, image: Tensor) -> Tensor:
        """Image features (N, skip_dim, 2h, 2w) -> (N, dim, 2h, 2w), the same for all objects."""
        return self.ResFS(self.convFS(image))

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Coarse (N, K, dim, h, w) and `skip` (N, dim, 2h, 2w) -> (N, K, dim, 2h, 2w)."""
        up = F.interpolate(x.flatten(0, 1), scale_factor=2, mode="bilinear", align_corners=False)
        return self.ResMM((up.unflatten(0, x.shape[:2]) + skip[:, None]).flatten(0, 1)).unflatten(0, x.shape[:2])


class _Decoder(nn.Module):
    def __init__(self, value_dim: int, image_dims: PyramidDims, dim: int):
        super().__init__()
        self.convFM = nn.Conv2d(2 * value_dim, dim, 3, padding=1)
        self.ResMM = ResBlock(dim, dim)
        self.RF3 = _Refine(image_dims.f8, dim)
        self.RF2 = _Refine(image_dims.f4, dim)
        self.pred2 = nn.Conv2d(dim, 2, 3, padding=1)

    def prepare(self, image: DecoderInput) -> _DecoderFrame:
        """A convolution is linear in its input channels: those of the query value are computed once per frame."""
        n = image.thin.shape[1]
        query = F.conv2d(image.thin, self.convFM.weight[:, -n:], self.convFM.bias, padding=1)
        return _DecoderFrame(query, self.RF3.skip(image.f8), self.RF2.skip(image.f4))

    def forward(self, frame: _DecoderFrame, readout: Tensor) -> Tensor:
        """Readouts (N, K, value_dim, h, w) -> logits (N, K, 4h, 4w).

        The network has a logit of the background and one of the object; by their softmax, their difference is the
        object's logit, and resampling them is resampling it.
        """
        objects, n = readout.shape[:2], readout.shape[2]
        x = F.conv2d(readout.flatten(0, 1), self.convFM.weight[:, :n], padding=1).unflatten(0, objects)
        x = self.ResMM((x + frame.query[:, None]).flatten(0, 1)).unflatten(0, objects)
        x = self.RF2(self.RF3(x, frame.skip8), frame.skip4)
        both = self.pred2(F.relu(x.flatten(0, 1))).float()
        return (both[:, 1] - both[:, 0]).unflatten(0, objects)


class STM(SegmentationNetwork):
    """Space-time memory networks. Frames are padded with black, and memory keys depend on the object."""

    def __init__(self, config: NetworkConfig):
        super().__init__(config)
        self.Encoder_M = _MemoryEncoder()
        self.Encoder_Q = _Encoder()
        dims = self.Encoder_Q.dims
        self.KV_M_r4 = _KeyValue(dims.f16, config.key_dim, config.value_dim)
        self.KV_Q_r4 = _KeyValue(dims.f16, config.key_dim, config.value_dim)
        self.Decoder = _Decoder(config.value_dim, dims, config.decoder_dims[0])

    def fold_norms(self) -> None:
        """As `SegmentationNetwork.fold_norms`."""
        self.Encoder_M.join_stem()
        super().fold_norms()

    def encode(self, images: Tensor, corner: tuple[int, int] = (0, 0)) -> FrameFeatures:
        """The query; its value joins the readout in the decoder."""
        pyramid = self.Encoder_Q(images)
        return FrameFeatures(pyramid, self.KV_Q_r4.Key(pyramid.f16), self.KV_Q_r4.Value(pyramid.f16), None)

    def prepare_decoding(self, image: DecoderInput) -> _DecoderFrame:
        """As `SegmentationNetwork.prepare_decoding`."""
        return self.Decoder.prepare(image)

    def decode(self, frame: _DecoderFrame, readouts: Tensor) -> Tensor:
        """As `SegmentationNetwork.decode`; readouts (N, K, value_dim, h, w)."""
        return self.Decoder(frame, readouts)

    def encode_value(
        self,
        images: Tensor,
        f16: Tensor,
        masks: Tensor,
        layers: Sequence[int] | None = None,
        drawn: bool = False,
    ) -> Tensor:
        """Value and key of each object, (N, K, value_dim + key_dim, h, w); the query's features are not used."""
        objects = masks.shape[:2]
        masks = masks.to(images.dtype)
        others = (layer_sums(masks, layers, layers) - masks).clamp(0, 1)
        images = images[:, None].expand(-1, objects[1], -1, -1, -1)
        x = torch.cat([images, masks[:, :, None], others[:, :, None]], 2).flatten(0, 1)
        r4 = self.Encoder_M(x).f16
        return torch.cat([self.KV_M_r4.Value(r4), self.KV_M_r4.Key(r4)], 1).unflatten(0, objects)
