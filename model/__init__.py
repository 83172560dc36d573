"""The network and the propagation engine: frames and keyframe masks in, a mask for every frame out.

Torch is imported only when a name that needs it is used, so that `import model` stays quick.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from model.errors import CheckpointError, InputError, PerclipError
from model.keyframe import Keyframe
from model.object_masks import ObjectMasks
from model.result import FrameResult

if TYPE_CHECKING:
    from model.network.checkpoint import load_network
    from model.options import PropagationOptions
    from model.propagation.propagator import Propagator

__version__ = "0.2.0"

_LAZY = {
    "load_network": ".network.checkpoint",
    "PropagationOptions": ".options",
    "Propagator": ".propagation.propagator",
}

__all__ = [
    "CheckpointError",
    "FrameResult",
    "InputError",
    "Keyframe",
    "ObjectMasks",
    "PerclipError",
    "PropagationOptions",
    "Propagator",
    "load_network",
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
