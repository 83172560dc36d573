"""Standard streams that never end a program: closed, full or gone, or with an encoding that lacks a letter."""

import errno
import io
import os
import select
import sys
from typing import TYPE_CHECKING, TextIO

from model.program.printable import SHOW_BYTES

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

# Nobody wants to read on: no loss.
_GONE = (errno.EPIPE, errno.EBADF, errno.EIO)


class _Bytes(io.RawIOBase):
    """A file descriptor to write to; what it does not take is dropped.

    Attributes:
        lost: why the first bytes were lost that somebody may miss; None: none were.
    """

    def __init__(self, descriptor: int):
        self._descriptor = descriptor
        self.lost: OSError | None = None

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def write(self, content: "ReadableBuffer") -> int:
        while True:
            try:
                return os.write(self._descriptor, content)
            except BlockingIOError:  # whoever shares the pipe made it so
                select.select([], [self._descriptor], [])
            except OSError as error:
                if error.errno not in _GONE:
                    self.lost = self.lost or error
                return memoryview(content).nbytes


def settle_streams() -> None:
    """Makes standard input, output and error fit for any program; to be called before anything is printed.

    * A closed one becomes the null device. So no file that is opened later gets its number and, with it, what
      libraries print.
    * What standard output and error do not take (a full disk, a reader that has gone) is dropped.
    * Letters that their encoding lacks, and bytes of file names that are no text, are shown as escapes.

    Streams that the caller of this process's own code has put in place (tests, notebooks) stay as they are.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number
    if sys.stdin is None:
        sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: SIM115
    if sys.stdout is sys.__stdout__:
        sys.stdout = _settled(sys.stdout, 1)
    if sys.stderr is sys.__stderr__:
        sys.stderr = _settled(sys.stderr, 2)


def lost_output() -> str | None:
    """Why some of standard output was lost that somebody may miss, as on a full disk; None: nothing was."""
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    return raw.lost.strerror if isinstance(raw, _Bytes) and raw.lost else None


def _settled(stream: TextIO | None, descriptor: int) -> TextIO:
    if stream is not None:
        stream.flush()
    by_line = descriptor == 2 or os.isatty(descriptor)
    encoding = "utf-8" if stream is None else stream.encoding
    return io.TextIOWrapper(io.BufferedWriter(_Bytes(descriptor)), encoding, errors=SHOW_BYTES, line_buffering=by_line)
