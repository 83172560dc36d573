"""Folds BatchNorm into the convolution before it: the same function with less work."""

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


def fold_batchnorm(network: nn.Module) -> None:
    """Replaces, in place and in eval mode, each BatchNorm by nothing and scales the convolution that it followed.

    Pairs are `convN` with `bnN` in one module, and the two members of a shortcut's Sequential.
    """
    for module in network.modules():
        names = dict(module.named_children())
        pairs = [(f"conv{n.removeprefix('bn')}", n) for n in names if n.startswith("bn")]
        if isinstance(module, nn.Sequential) and isinstance(names.get("1"), nn.BatchNorm2d):
            pairs.append(("0", "1"))
        for conv, norm in pairs:
            setattr(module, conv, fuse_conv_bn_eval(names[conv], names[norm]))
            setattr(module, norm, nn.Identity())
