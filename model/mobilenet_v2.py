"""MobileNetV2 trunk at output stride 16: the compact key encoder.

BatchNorm is folded into the convolutions for good (training goes on without norm layers), so that the trunk can start
from folded public weights whose names it keeps (TensorFlow's).
"""

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.activated_convolution import ActivatedConv2d
from model.quantised_convolution import QuantisedConv2d, quantise
from model.resnet import Pyramid

# Per block: output channels, expansion, stride, dilation. The last stride-2 block keeps stride 1 and the ones behind it
# dilate by 2, which holds the features at stride 16.
_BLOCKS = (
    (16, 1, 1, 1),
    *((24, 6, 2, 1), (24, 6, 1, 1)),
    *((32, 6, 2, 1), (32, 6, 1, 1), (32, 6, 1, 1)),
    *((64, 6, 2, 1), (64, 6, 1, 1), (64, 6, 1, 1), (64, 6, 1, 1)),
    *((96, 6, 1, 1), (96, 6, 1, 1), (96, 6, 1, 1)),
    *((160, 6, 1, 1), (160, 6, 1, 2), (160, 6, 1, 2)),
    (320, 6, 1, 2),
)
_F4, _F8, _F16_MID, _F16 = 2, 5, 12, 16  # blocks whose outputs are the features
# The large ones, which take 11 ms instead of 16 (two cores, 480 x 864). With all blocks it would be 2 ms less, and 0.2
# points of J&F.
_FIRST_QUANTISED = 6


class _HalvingConv2d(ActivatedConv2d):
    """3x3 convolution of stride 2 with TensorFlow's "SAME" padding: for even sizes one pixel, at the bottom right."""

    def __init__(self, in_dim: int, out_dim: int, groups: int = 1):
        super().__init__(in_dim, out_dim, 3, "relu6", stride=2, groups=groups)

    def kernel(self) -> tuple[Tensor, tuple[int, int]]:
        """A 4x4 kernel with zeros in its first row and column pads the same inside the convolution, without a copy."""
        return F.pad(self.weight, (1, 0, 1, 0)), (1, 1)


class InvertedResidual(nn.Module):
    """Expand 1x1, depthwise 3x3, project 1x1; residual where the shape stays."""

    def __init__(self, in_dim: int, out_dim: int, expansion: int, stride: int, dilation: int):
        super().__init__()
        dim = in_dim * expansion
        self.expand = ActivatedConv2d(in_dim, dim, 1, "relu6") if expansion > 1 else None
        self.depthwise = (
            _HalvingConv2d(dim, dim, groups=dim)
            if stride == 2
            else ActivatedConv2d(dim, dim, 3, "relu6", padding=dilation, dilation=dilation, groups=dim)
        )
        self.project = nn.Conv2d(dim, out_dim, 1)
        self.residual = stride == 1 and in_dim == out_dim
        self._quantised = False

    def quantise(self) -> None:
        """For inference in 8-bit integers from now on, of a block with an expansion; the sum stays as it is."""
        for name in ("expand", "depthwise", "project"):
            setattr(self, name, QuantisedConv2d(getattr(self, name)))
        self._quantised = True

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_dim, H, W) -> (N, out_dim, H / stride, W / stride)."""
        if self._quantised:
            h = self.project(self.depthwise.to_six(self.expand.to_six(quantise(x))), x.dtype)
        else:
            h = self.project(self.depthwise(x if self.expand is None else self.expand(x)))
        return x + h if self.residual else h


class MobileNetV2(nn.Module):
    """Features of 96 + 320, 32 and 24 channels at strides 16, 8 and 4.

    The two stride-16 features are joined and standardised by fixed statistics per channel: matching by distance needs
    channels of one scale, and the 320 alone match clearly worse.
    """

    dims = Pyramid(96 + 320, 32, 24)

    def __init__(self):
        super().__init__()
        self.Conv = _HalvingConv2d(3, 32)
        dims = [32, *(b[0] for b in _BLOCKS)]
        self.blocks = nn.ModuleList(InvertedResidual(dims[i], *b) for i, b in enumerate(_BLOCKS))
        self.register_buffer("f16_mean", torch.zeros(self.dims.f16))
        self.register_buffer("f16_std", torch.ones(self.dims.f16))
        self._standardises = True

    def forward(self, images: Tensor) -> Pyramid:
        """Normalised images (N, 3, H, W), H and W multiples of 16."""
        x = self.Conv(images)
        features = {}
        for i, block in enumerate(self.blocks):
            x = block(x)
            if i in (_F4, _F8, _F16_MID):
                features[i] = x
        f16 = torch.cat([features[_F16_MID], x], 1)
        if self._standardises:
            f16 = (f16 - self.f16_mean[:, None, None]) / self.f16_std[:, None, None]
        return Pyramid(f16, features[_F8], features[_F4])

    @torch.no_grad()
    def fold_statistics(self, readers: Iterable[nn.Conv2d]) -> None:
        """Leaves the standardising to the 1x1 convolutions that read the stride-16 features, in place; all of them."""
        for conv in readers:
            conv.weight /= self.f16_std[:, None, None]
            conv.bias -= (conv.weight[:, :, 0, 0] * self.f16_mean).sum(1)
        self._standardises = False

    def quantise(self) -> None:
        """For inference in 8-bit integers from now on, but for the first blocks."""
        for block in self.blocks[_FIRST_QUANTISED:]:
            block.quantise()

    def load_folded(self, tensors: dict[str, Tensor], image_mean: Tensor, image_std: Tensor) -> None:
        """Takes the trunk of a folded public MobileNetV2 (see the weights' README for its names).

        That network wants RGB as (x - 128) / 128; ours comes normalised by mean and deviation of 0..1 images, (3,)
        each. The difference is folded into the first convolution (exact but for the border's padding).

        Raises:
            KeyError: a tensor of the trunk is missing.
        """
        state = {}
        for i, block in enumerate(self.blocks):
            source = "expanded_conv" if i == 0 else f"expanded_conv_{i}"
            for name in block.state_dict():
                state[f"blocks.{i}.{name}"] = tensors[f"{source}.{name}"].float()
        weight, bias = tensors["Conv.weight"].float(), tensors["Conv.bias"].float()
        scale, offset = image_std * 255 / 128, image_mean * 255 / 128 - 1
        state["Conv.weight"] = weight * scale[:, None, None]
        state["Conv.bias"] = bias + (weight * offset[:, None, None]).sum((1, 2, 3))
        self.load_state_dict(state | {"f16_mean": self.f16_mean, "f16_std": self.f16_std})
