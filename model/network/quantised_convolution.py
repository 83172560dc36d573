"""Convolutions of 8-bit integers, for CPUs that multiply them twice as fast as bfloat16."""

from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from model.device.cpu_features import has_int8
from model.network.activated_convolution import ActivatedConv2d

_SIX = 6 / 255  # step of activations behind a relu6
_STEPS = 127  # of a signed weight, on each side of zero
_MIDDLE = 128  # what stands for zero where activations have both signs


class Quantised(NamedTuple):
    """Activations as integers: x = scale * (values - zero).

    Attributes:
        values: uint8 (N, C, H, W).
        scale: of one step, greater than 0.
        zero: what stands for 0.
    """

    values: Tensor
    scale: float
    zero: int


def quantise(x: Tensor) -> Quantised:
    """Floating-point activations in 255 steps between minus and plus their largest magnitude.

    The step comes from this very tensor, so that no range has to be known before.
    """
    x = x.float()
    scale = max(torch.maximum(x.amax(), -x.amin()).item(), 1e-6) / _STEPS
    # Torch converts to signed bytes several times faster than to unsigned ones; the flipped bit adds 128.
    return Quantised(x.mul(1 / scale).round_().to(torch.int8).view(torch.uint8).bitwise_xor_(_MIDDLE), scale, _MIDDLE)


class QuantisedConv2d(nn.Module):
    """A convolution of integers, with weights of 8 bits in steps of their own for every output.

    Products are summed as 32-bit integers. One takes half of bfloat16's time; perclip-lite's trunk at 480 x 864, most
    of it in integers, 26 ms instead of 31 (two cores). J&F on the validation sequences stays the same (0.846).
    """

    def __init__(self, convolution: nn.Conv2d):
        """Takes over a convolution's parameters, rounded; that one stays as it is. Its activation is left out."""
        super().__init__()
        assert convolution.bias is not None
        weight: Tensor = convolution.weight
        padding = cast(tuple[int, int], convolution.padding)
        if isinstance(convolution, ActivatedConv2d):
            weight, padding = convolution.kernel()
        weight = weight.detach().float()
        self._bias = convolution.bias.detach().float()
        self._steps = (weight.abs().amax((1, 2, 3)) / _STEPS).clamp(min=1e-8)
        self._zeros = torch.zeros(len(weight), dtype=torch.int32)
        rounded = (weight / self._steps[:, None, None, None]).round().to(torch.int8)
        groups = convolution.groups
        self._geometry = list(convolution.stride), list(padding), list(convolution.dilation), groups
        # Scale and zero are given anew with each call; what corrects for a zero is packed with the weights.
        size = [1, weight.shape[1] * groups, 16, 16]
        self._weight = torch.ops.onednn.qconv_prepack(rounded, self._steps, 1.0, _MIDDLE, *self._geometry, size)

    def forward(self, x: Quantised, dtype: torch.dtype) -> Tensor:
        """(N, in_dim, H, W) -> (N, out_dim, H / stride, W / stride) of this floating-point dtype."""
        return self._convolve(x, dtype, 1.0)

    def to_six(self, x: Quantised) -> Quantised:
        """The convolution and relu6 as integers: their range cuts off what is below 0 or above 6."""
        return Quantised(self._convolve(x, torch.uint8, _SIX), _SIX, 0)

    def _convolve(self, x: Quantised, dtype: torch.dtype, scale: float) -> Tensor:
        kernel = (self._weight, self._steps, self._zeros, self._bias, *self._geometry)
        return torch.ops.onednn.qconv2d_pointwise(*x, *kernel, scale, 0, dtype, "none", [], "")


def can_quantise() -> bool:
    """True where the CPU has instructions for this and torch has the operators."""
    return has_int8() and torch.backends.mkldnn.is_available() and hasattr(torch.ops.onednn, "qconv2d_pointwise")
