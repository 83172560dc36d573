"""The network's parts compiled by torch, where that works."""

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from model.network.segmentation_network import SegmentationNetwork

_PARTS = ("encode", "refine", "prepare_decoding", "decode", "encode_value")
_OFTEN = 3  # calls with tensors of the same sizes before these are compiled for
_SIZES = 3  # for so many combinations of sizes at most; compiling takes many seconds


class CompiledPart:
    """A function of tensors that is compiled for the sizes that come often first.

    On a GPU the compiled code is replayed as a CUDA graph. If compiling fails, a warning says so, and the function goes
    on as it was.
    """

    def __init__(self, name: str, function: Callable[..., Any], device: torch.device):
        self._name, self._function = name, function
        on_gpu = device.type == "cuda"
        self._compiled = torch.compile(function, dynamic=False, mode="reduce-overhead" if on_gpu else "default")
        self._calls: dict[tuple[torch.Size, ...], int] = {}
        self._chosen: set[tuple[torch.Size, ...]] = set()
        self._works = True

    def __call__(self, *inputs: Any) -> Any:
        """What the function gives."""
        if not self._works or not self._is_worth_it(inputs):
            return self._function(*inputs)
        try:
            torch.compiler.cudagraph_mark_step_begin()
            # A graph writes its next results into the same memory.
            return tree_map(lambda y: y.clone() if isinstance(y, Tensor) else y, self._compiled(*inputs))
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # whatever the compiler, or the compiler that it calls, has to say
            self._works = False
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
            warnings.warn(f"{self._name} is not compiled, and so slower: {reason}", RuntimeWarning, stacklevel=2)
            return self._function(*inputs)

    def _is_worth_it(self, inputs: tuple[Any, ...]) -> bool:
        sizes = tuple(x.shape for x in tree_leaves(inputs) if isinstance(x, Tensor))
        if sizes not in self._chosen and len(self._chosen) < _SIZES:
            self._calls[sizes] = self._calls.get(sizes, 0) + 1
            if self._calls[sizes] >= _OFTEN:
                self._chosen.add(sizes)
        return sizes in self._chosen


def compile_parts(network: SegmentationNetwork, device: torch.device) -> None:
    """Compiles the parts of a network that is ready to run, in place; each when it is called."""
    # Of one function for all networks of a process; torch would go on without compiling, and say so to its log only.
    import torch._dynamo  # not before it is needed: it takes a second to load

    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, 64)
    for name in _PARTS:
        setattr(network, name, CompiledPart(name, getattr(network, name), device))
