"""Where programs keep what is the user's: by the XDG base directories, or by their usual places."""

import os
from pathlib import Path


def cache_folder(kind: str) -> Path:
    """Of what can be had again, at the cost of time; may be emptied at any time."""
    return _base("XDG_CACHE_HOME", ".cache") / "perclip" / kind


def data_folder(kind: str) -> Path:
    """Of what was made and goes on being used; costs much to make again."""
    return _base("XDG_DATA_HOME", ".local/share") / "perclip" / kind


def state_folder(kind: str) -> Path:
    """Of what was done; must not be lost."""
    return _base("XDG_STATE_HOME", ".local/state") / "perclip" / kind


def _base(variable: str, usual: str) -> Path:
    return Path(os.environ.get(variable) or Path.home() / usual)
