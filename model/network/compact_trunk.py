"""The compact network's image trunks at output stride 16, and the public weights that they start from.

BatchNorm is folded into the convolutions for good (training goes on without norm layers), so that a trunk can start
from folded public weights.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.network.activated_convolution import ActivatedConv2d
from model.network.quantised_convolution import QuantisedConv2d, quantise
from model.network.resnet import Pyramid, PyramidDims


class BlockPlan(NamedTuple):
    """One inverted residual block: output channels, expansion, depthwise kernel, stride and dilation."""

    dim: int
    expansion: int
    kernel: int
    stride: int
    dilation: int = 1


@dataclass(frozen=True)
class TrunkPlan:
    """A trunk, and how the file of its folded public weights is read.

    Attributes:
        blocks: in their order; together with the first convolution of stride 2 they come to stride 16.
        f4: block whose output is the feature at stride 4.
        f8: at stride 8.
        f16: blocks whose outputs, joined, are the feature at stride 16.
        first_quantised: the first of the blocks that are worth computing in 8-bit integers.
        first_name: of the first convolution in the public file.
        block_name: of block i there, with `{i}`; without it for the first block where that has none.
        middle: the public network takes RGB of 0..255 as (x - middle) / 128.
    """

    blocks: tuple[BlockPlan, ...]
    f4: int
    f8: int
    f16: tuple[int, ...]
    first_quantised: int
    first_name: str
    block_name: str
    middle: int

    @property
    def dims(self) -> PyramidDims:
        """Channels of the features."""
        f16 = sum(self.blocks[i].dim for i in self.f16)
        return PyramidDims(f16, self.blocks[self.f8].dim, self.blocks[self.f4].dim)


def _stages(*stages: tuple[int, BlockPlan]) -> tuple[BlockPlan, ...]:
    """So many blocks of each plan; the stride is that of a stage's first block."""
    return tuple(plan if i == 0 else plan._replace(stride=1) for count, plan in stages for i in range(count))


# MobileNetV2 (Sandler et al. 2018, table 2). Its last stride-2 block keeps stride 1 and the ones behind it dilate by 2,
# which holds the features at stride 16.
_MOBILENET_V2 = TrunkPlan(
    blocks=_stages(
        (1, BlockPlan(16, 1, 3, 1)),
        (2, BlockPlan(24, 6, 3, 2)),
        (3, BlockPlan(32, 6, 3, 2)),
        (4, BlockPlan(64, 6, 3, 2)),
        (3, BlockPlan(96, 6, 3, 1)),
        (1, BlockPlan(160, 6, 3, 1)),
        (2, BlockPlan(160, 6, 3, 1, 2)),
        (1, BlockPlan(320, 6, 3, 1, 2)),
    ),
    f4=2,
    f8=5,
    f16=(12, 16),
    # The large ones, which take 11 ms instead of 16 (two cores, 480 x 864). With all blocks it would be 2 ms less, and
    # 0.2 points of J&F.
    first_quantised=6,
    first_name="Conv",
    block_name="expanded_conv_{i}",
    middle=128,
)


# EfficientNet-Lite2 (Tan & Le 2019, table 1, without squeeze-and-excitation) up to its last stride-16 stage.
_EFFICIENTNET_LITE2 = TrunkPlan(
    blocks=_stages(
        (1, BlockPlan(16, 1, 3, 1)),
        (3, BlockPlan(24, 6, 3, 2)),
        (3, BlockPlan(48, 6, 5, 2)),
        (4, BlockPlan(88, 6, 3, 2)),
        (4, BlockPlan(120, 6, 5, 1)),
    ),
    f4=3,
    f8=6,
    f16=(10, 14),
    first_quantised=7,
    first_name="stem",
    block_name="blocks.{i}",
    middle=127,
)

TRUNKS = {
    "mobilenet_v2": _MOBILENET_V2,
    "efficientnet_lite2": _EFFICIENTNET_LITE2,
}
"""Plans of the compact trunks, by name."""


class _HalvingConv2d(ActivatedConv2d):
    """Convolution of stride 2 with TensorFlow's "SAME" padding: for even sizes one pixel more at the bottom right."""

    def __init__(self, in_dim: int, out_dim: int, kernel: int, groups: int = 1):
        super().__init__(in_dim, out_dim, kernel, "relu6", stride=2, groups=groups)

    def kernel(self) -> tuple[Tensor, tuple[int, int]]:
        """A kernel with zeros in a row and a column before it pads the same inside the convolution, without a copy."""
        padding = self.kernel_size[0] // 2
        return F.pad(self.weight, (1, 0, 1, 0)), (padding, padding)


class InvertedResidual(nn.Module):
    """Expand 1x1, depthwise, project 1x1; residual where the shape stays."""

    expand: ActivatedConv2d | QuantisedConv2d | None
    depthwise: ActivatedConv2d | QuantisedConv2d
    project: nn.Conv2d | QuantisedConv2d

    def __init__(self, in_dim: int, plan: BlockPlan):
        super().__init__()
        dim, out_dim = in_dim * plan.expansion, plan.dim
        self.expand = ActivatedConv2d(in_dim, dim, 1, "relu6") if plan.expansion > 1 else None
        if plan.stride == 2:
            self.depthwise = _HalvingConv2d(dim, dim, plan.kernel, groups=dim)
        else:
            around = plan.kernel // 2 * plan.dilation
            self.depthwise = ActivatedConv2d(
                dim, dim, plan.kernel, "relu6", padding=around, dilation=plan.dilation, groups=dim
            )
        self.project = nn.Conv2d(dim, out_dim, 1)
        self.residual = plan.stride == 1 and in_dim == out_dim

    def quantise(self) -> None:
        """For inference in 8-bit integers from now on, of a block with an expansion; the sum stays as it is."""
        for name in ("expand", "depthwise", "project"):
            setattr(self, name, QuantisedConv2d(getattr(self, name)))

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_dim, H, W) -> (N, out_dim, H / stride, W / stride)."""
        if isinstance(self.depthwise, QuantisedConv2d) and isinstance(self.expand, QuantisedConv2d):
            h = self.project(self.depthwise.to_six(self.expand.to_six(quantise(x))), x.dtype)
        else:
            h = self.project(self.depthwise(x if self.expand is None else self.expand(x)))
        return x + h if self.residual else h


class CompactTrunk(nn.Module):
    """Image features at strides 16, 8 and 4.

    The two features at stride 16 are joined and standardised by fixed statistics per channel: matching by distance
    needs channels of one scale.
    """

    f16_mean: Tensor
    f16_std: Tensor

    def __init__(self, name: str):
        """A trunk of random weights; `name` is one of `TRUNKS`."""
        super().__init__()
        self.plan = TRUNKS[name]
        self.dims = self.plan.dims
        self.Conv = _HalvingConv2d(3, 32, 3)
        dims = [32, *(block.dim for block in self.plan.blocks)]
        self.blocks = nn.ModuleList(InvertedResidual(dims[i], block) for i, block in enumerate(self.plan.blocks))
        self.register_buffer("f16_mean", torch.zeros(self.dims.f16))
        self.register_buffer("f16_std", torch.ones(self.dims.f16))
        self._standardises = True

    def forward(self, images: Tensor) -> Pyramid:
        """Normalised images (N, 3, H, W), H and W multiples of 16."""
        x = self.Conv(images)
        features = {}
        for i, block in enumerate(self.blocks):
            x = block(x)
            if i in (self.plan.f4, self.plan.f8, *self.plan.f16):
                features[i] = x
        f16 = torch.cat([features[i] for i in self.plan.f16], 1)
        if self._standardises:
            f16 = (f16 - self.f16_mean[:, None, None]) / self.f16_std[:, None, None]
        return Pyramid(f16, features[self.plan.f8], features[self.plan.f4])

    @torch.no_grad()
    def fold_statistics(self, readers: Iterable[nn.Conv2d]) -> None:
        """Leaves the standardising to the 1x1 convolutions that read the stride-16 features, in place; all of them."""
        for conv in readers:
            conv.weight /= self.f16_std[:, None, None]
            assert conv.bias is not None
            conv.bias -= (conv.weight[:, :, 0, 0] * self.f16_mean).sum(1)
        self._standardises = False

    def quantise(self) -> None:
        """For inference in 8-bit integers from now on, but for the first blocks."""
        for block in self._inverted_residuals()[self.plan.first_quantised :]:
            block.quantise()

    def freeze_depthwise(self) -> None:
        """Keeps the depthwise convolutions as they are from now on, whatever is trained."""
        for block in self._inverted_residuals():
            block.depthwise.requires_grad_(False)

    def _inverted_residuals(self) -> list[InvertedResidual]:
        return cast(list[InvertedResidual], list(self.blocks))

    def load_folded(self, tensors: dict[str, Tensor], image_mean: Tensor, image_std: Tensor) -> None:
        """Takes the trunk of a folded public network (see the weights' README for its names).

        That network wants RGB as (x - middle) / 128; ours comes normalised by mean and deviation of 0..1 images, (3,)
        each. The difference is folded into the first convolution (exact but for the border's padding).

        Raises:
            KeyError: a tensor of the trunk is missing.
        """
        plan, state = self.plan, {}
        for i, block in enumerate(self.blocks):
            source = plan.block_name.format(i=i).removesuffix("_0")  # TensorFlow numbers from the second block on
            for name in block.state_dict():
                state[f"blocks.{i}.{name}"] = tensors[f"{source}.{name}"].float()
        weight, bias = tensors[f"{plan.first_name}.weight"].float(), tensors[f"{plan.first_name}.bias"].float()
        scale, offset = image_std * 255 / 128, (image_mean * 255 - plan.middle) / 128
        state["Conv.weight"] = weight * scale[:, None, None]
        state["Conv.bias"] = bias + (weight * offset[:, None, None]).sum((1, 2, 3))
        self.load_state_dict(state | {"f16_mean": self.f16_mean, "f16_std": self.f16_std})
