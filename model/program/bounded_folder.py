"""Folders of files that can be made again, kept to a size: what was used longest ago gives way."""

from contextlib import suppress
from pathlib import Path
from typing import NamedTuple


class KeptFile(NamedTuple):
    """A file of such a folder.

    Attributes:
        used: when it was last used, seconds since the epoch; touch it when it is.
        size: bytes.
        path: where it is.
    """

    used: float
    size: int
    path: Path


def files_in(folder: Path, *patterns: str) -> list[KeptFile]:
    """The files of some patterns; what another process removes meanwhile is left out."""
    found = []
    for pattern in patterns:
        for path in folder.glob(pattern):
            with suppress(OSError):
                facts = path.stat()
                found.append(KeptFile(facts.st_mtime, facts.st_size, path))
    return found


def drop_oldest(files: list[KeptFile], budget: int) -> None:
    """Removes what was used longest ago until the rest fits into a budget in bytes."""
    excess = sum(file.size for file in files) - budget
    for file in sorted(files):
        if excess <= 0:
            return
        with suppress(OSError):
            file.path.unlink()
            excess -= file.size
