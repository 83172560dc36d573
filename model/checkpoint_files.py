"""Where the checkpoints lie that ship with Perclip, and how checkpoint files are named to readers."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SHIPPED = {"perclip-lite": Path(__file__).parent / "weights" / "perclip-lite.safetensors"}


@contextmanager
def named_in_utf8(path: Path) -> Iterator[str]:
    """A name of a file that is UTF-8, as the reader of safetensors wants it, while the block goes on.

    Raises:
        OSError: the file cannot be opened.
    """
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError:  # only Linux has such names
        with path.open("rb") as file:
            yield f"/proc/self/fd/{file.fileno()}"
    else:
        yield str(path)
