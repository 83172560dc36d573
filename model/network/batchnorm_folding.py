"""Folds BatchNorm into the convolution before it: the same function with less work."""

from typing import cast

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from model.network.activated_convolution import ActivatedConv2d


def fold_batchnorm(network: nn.Module) -> None:
    """Replaces, in place and in eval mode, each BatchNorm by nothing and scales the convolution that it followed.

    Pairs are `convN` with `bnN` in one module, and the two members of a shortcut's Sequential. A `reluN` behind them
    goes into the convolution, too.
    """
    for module in network.modules():
        names = dict(module.named_children())
        pairs = [(f"conv{n.removeprefix('bn')}", n) for n in names if n.startswith("bn")]
        if isinstance(module, nn.Sequential) and isinstance(names.get("1"), nn.BatchNorm2d):
            pairs.append(("0", "1"))
        for conv, norm in pairs:
            folded = fuse_conv_bn_eval(cast(nn.Conv2d, names[conv]), cast(nn.BatchNorm2d, names[norm]))
            setattr(module, norm, nn.Identity())
            relu = norm.replace("bn", "relu")
            if norm != relu and relu in names:
                folded = ActivatedConv2d.of(folded, "relu")
                setattr(module, relu, nn.Identity())
            setattr(module, conv, folded)
