"""Writes a file whole or not at all."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from model.errors import InputError

PART = ".part"  # what a file that is being written has before its suffix


@contextmanager
def atomic_write(path: Path, make_folder: bool = True) -> Iterator[Path]:
    """Give a temporary path beside `path` to write to; it becomes `path` when the block ends without an error.

    The temporary name keeps the suffix, from which writers tell the format. Missing folders are made, unless they must
    be there. When the block raises, the temporary file is removed and an older file at `path` stays as it was.

    Raises:
        InputError: the file cannot be written (no space, no permission); names `path` and says what to do.
    """
    temporary = path.with_name(f"{path.stem}{PART}{path.suffix}")
    try:
        if make_folder:
            path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise write_error(path, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def check_writable(path: Path) -> None:
    """Raises InputError where a file could not be written, before there is anything to write."""
    probe = path.with_name(f"{path.stem}{PART}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    except OSError as error:
        raise write_error(path, error) from error


def write_error(path: Path, error: OSError) -> InputError:
    """The one-line error that says why `path` cannot be written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return InputError(f"cannot write {path}: no space left; free some space and run again with --resume")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return InputError(f"cannot write {path}: permission denied; choose another folder")
    if error.errno in (errno.ENOENT, errno.ESTALE) and not path.parent.exists():
        return InputError(f"cannot write {path}: its folder has been removed; run again into a new folder")
    return InputError(f"cannot write {path}: {error.strerror or error}; choose another folder")
