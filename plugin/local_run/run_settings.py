"""What a folder of results was made with: a run may go on in it only with the same."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from model.errors import InputError
from model.program.atomic_write import atomic_write
from model.program.folder_lock import LOCK_FILE, FolderLock

_SETTINGS = "run.json"


@contextmanager
def claimed_folder(folder: Path, settings: Mapping[str, object], resume: bool) -> Iterator[FolderLock]:
    """Keep a folder for a run with these settings while the block goes on, and note them there in `run.json`.

    Args:
        folder: made if missing.
        settings: JSON values by name; digests under "source", "keyframes", "labels" and "weights".
        resume: the folder may hold results of an earlier run with the same settings.

    Raises:
        InputError: the folder cannot be used, holds something else, or another run works there; nothing has been
            written then.
    """
    if not os.path.exists(folder / LOCK_FILE):
        _is_claimed(folder, settings, resume)  # before anything is made there
    with FolderLock(folder) as lock:
        if not _is_claimed(folder, settings, resume):
            path = folder / _SETTINGS
            with atomic_write(path) as temporary:
                temporary.write_text(json.dumps(settings, indent=1), encoding="utf-8")
        yield lock


def _is_claimed(folder: Path, settings: Mapping[str, object], resume: bool) -> bool:
    """Whether a run has noted these settings in a folder; raises InputError where this one may not write there."""
    path = folder / _SETTINGS
    try:
        holds = {file.name for file in folder.iterdir()} - {LOCK_FILE} if folder.exists() else set()
    except OSError as error:
        raise InputError(f"{folder} cannot be used ({error.strerror}): choose another folder") from None
    if path.name in holds:
        if not resume:
            raise InputError(
                f"{folder} holds the results of an earlier run: add --resume to go on, or choose another --out"
            )
        try:
            before = dict(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            raise InputError(f"{path} cannot be read: choose another --out and start anew") from None
        changed = next((name for name in settings if before.get(name) != settings[name]), None)
        if changed is not None:
            digests = {
                "source": "another source",
                "keyframes": "other keyframes or objects",
                "labels": "other names of the objects",
                "weights": "other weights",
                "learn": "another --learn",
            }
            what = "with " + digests.get(changed, f"{changed} {before.get(changed)}")
            raise InputError(f"{folder} was made {what}: --resume needs the same settings; else choose another --out")
        return True
    if holds:
        raise InputError(f"{folder} is not empty and holds no results: choose a new or empty folder for --out")
    return False
