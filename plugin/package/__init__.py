"""The package `perclip`: the public API of `model` and, as `python -m perclip`, the command line.

This folder is installed as `perclip` (setup.py): `from perclip import Propagator` works with a wheel and with an
editable install. Torch is imported only when a name that needs it is used.

Door: nothing.
Imports: `model`, `plugin.cli`.
"""

from typing import TYPE_CHECKING, Any

import model
from model import __all__ as __all__

if TYPE_CHECKING:
    from model import *  # noqa: F403


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(model, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
