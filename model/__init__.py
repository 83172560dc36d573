"""The network and the propagation engine: frames and keyframe masks in, a mask for every frame out.

Torch is imported only when a name that needs it is used, so that `import model` stays quick.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING

from model.errors import CheckpointError, InputError, PerclipError
from model.keyframe import Keyframe
from model.result import FrameResult

if TYPE_CHECKING:
    from model.checkpoint import load_network
    from model.options import PropagationOptions
    from model.propagator import Propagator

# Torch's threads wait by spinning unless told otherwise, which ruins a machine that has other work: with busy processes
# beside it on two cores, a small clip took 15 s instead of 0.6 s.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

_LAZY = {"load_network": "model.checkpoint", "PropagationOptions": "model.options", "Propagator": "model.propagator"}

__all__ = [
    "CheckpointError",
    "FrameResult",
    "InputError",
    "Keyframe",
    "PerclipError",
    "PropagationOptions",
    "Propagator",
    "load_network",
]


def __getattr__(name: str):
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'model' has no attribute {name!r}")
