"""One run at a time in a folder of results."""

import errno
import fcntl
import json
import os
import socket
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from model.errors import InputError

LOCK_FILE = "run.lock"
"""The file in a folder that is there while a run works in it, and after a kill."""

_BEAT = 5.0  # seconds between two signs of life
_SILENCE = 4 * _BEAT  # after which a run on another machine counts as dead
_LENGTH = 256  # of the file: it is written over in place
# File systems that know no locks.
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)


class FolderLock:
    """Keeps other runs out of a folder, from its making until `release` or the end of the process, even by a kill.

    The lock is the kernel's, which network file systems hand on to other machines where they can. For those that cannot
    there is a sign of life in the file: a run that finds one of another machine waits to see whether it goes on.

    Use it in a `with` block.

    Args:
        folder: made if missing.
        pause: what waits.

    Raises:
        InputError: another run works there, or the folder cannot be used.
    """

    def __init__(self, folder: Path, pause: Callable[[float], None] = time.sleep):
        self._folder, self._path = folder, folder / LOCK_FILE
        self._beats = 0
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file, is_locked = self._open()
        except OSError as error:
            raise InputError(f"{folder} cannot be used ({error.strerror}): choose another folder") from None
        try:
            mark = self._mark()
            if mark and not (is_locked and mark.get("machine") == _machine()):
                self._wait_for_silence(mark, pause)
        except BaseException:
            os.close(self._file)
            raise
        self._over = threading.Event()
        self._beat()
        self._thread = threading.Thread(target=self._live, name="folder-lock", daemon=True)
        self._thread.start()
        _HELD.add(self)

    def check(self) -> None:
        """Raises InputError where the folder, or its lock, has been removed since."""
        if not self._is_there():
            raise InputError(f"{self._folder} was removed while the run worked in it: run again into a new folder")

    def release(self) -> None:
        """Lets other runs in; may be called again."""
        if self not in _HELD:
            return
        _HELD.discard(self)
        self._over.set()
        self._thread.join()
        if self._is_there():
            with suppress(OSError):
                self._path.unlink()
        os.close(self._file)

    def __enter__(self) -> "FolderLock":
        return self

    def __exit__(self, *exception: object) -> None:
        self.release()

    def _open(self) -> tuple[int, bool]:
        """The file, and whether the kernel's lock is on it."""
        while True:
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                is_locked = True
            except OSError as error:
                if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                    busy = self._busy(self._mark())
                    os.close(self._file)
                    raise busy from None
                if error.errno not in _NO_LOCKS:
                    os.close(self._file)
                    raise
                is_locked = False
            if self._is_there():
                return self._file, is_locked
            os.close(self._file)  # its owner has just finished and removed it

    def _is_there(self) -> bool:
        try:
            return os.path.samestat(os.fstat(self._file), self._path.stat())
        except OSError:
            return False

    def _mark(self) -> dict[str, object]:
        """What the file says of the run that works, or worked, here; empty for nothing."""
        try:
            mark = json.loads(os.pread(self._file, _LENGTH, 0))
        except (OSError, ValueError):
            return {}
        return mark if isinstance(mark, dict) else {}

    def _wait_for_silence(self, mark: dict[str, object], pause: Callable[[float], None]) -> None:
        waited = 0.0
        while waited < _SILENCE:
            pause(_BEAT)
            waited += _BEAT
            # Opened anew: a network file system asks the server then.
            with suppress(OSError, ValueError):
                now = json.loads(self._path.read_bytes())
                if now != mark:
                    raise self._busy(now)

    def _busy(self, mark: dict[str, object]) -> InputError:
        who = f" (process {mark['pid']} on {mark['host']})" if {"pid", "host"} <= mark.keys() else ""
        return InputError(f"another run works in {self._folder}{who}: wait for its end, or choose another folder")

    def _live(self) -> None:
        while not self._over.wait(_BEAT):
            self._beat()

    def _beat(self) -> None:
        self._beats += 1
        host = socket.gethostname()[:60]
        mark = {"host": host, "pid": os.getpid(), "machine": _machine(), "beat": self._beats}
        with suppress(OSError):  # a full disk: the kernel's lock holds
            os.pwrite(self._file, json.dumps(mark).encode().ljust(_LENGTH), 0)

    def _leave_to_parent(self) -> None:
        """In a forked process, which would hold the lock when this one is killed."""
        os.close(self._file)


_HELD: "weakref.WeakSet[FolderLock]" = weakref.WeakSet()


def _leave_all_to_parent() -> None:
    for lock in list(_HELD):
        lock._leave_to_parent()
    _HELD.clear()


os.register_at_fork(after_in_child=_leave_all_to_parent)


def _machine() -> str:
    """Tells this machine, as it was started, from others; containers on it are the same."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return socket.gethostname()
