"""Where the checkpoints lie that ship with Perclip and under which terms, and how files are named to readers."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from model.errors import CheckpointError

_FOLDER = Path(__file__).parents[1] / "weights"


@dataclass(frozen=True)
class ShippedWeights:
    """A checkpoint that ships with Perclip.

    Attributes:
        path: the file.
        terms: under which it may be used, a few words for people; the model cards beside the file say more.
    """

    path: Path
    terms: str


SHIPPED = {
    "perclip-lite": ShippedWeights(
        _FOLDER / "perclip-lite.safetensors", "not for commercial use (trained on DAVIS, among others)"
    ),
    "perclip-lite-open": ShippedWeights(
        _FOLDER / "perclip-lite-open.safetensors",
        "for any use, with attribution (model/weights/ATTRIBUTION.md)",
    ),
}
"""By the name of the network, as `--model` and PERCLIP_NETWORK take it."""


def shipped_path(name: str) -> Path:
    """The checkpoint of a network that ships with one.

    Raises:
        CheckpointError: none ships with it.
    """
    if name not in SHIPPED:
        raise CheckpointError(f"no weights of {name!r} ship with Perclip: give the path of its public checkpoint")
    return SHIPPED[name].path


def weights_in_words(name: str, weights: Path | None) -> str:
    """Which weights run, and under which terms: a line for people.

    Args:
        name: of the network.
        weights: a checkpoint of the caller's; None: the shipped one.
    """
    if weights is not None:
        return f"{weights}; its terms are its author's"
    return f"{shipped_path(name).name}, {SHIPPED[name].terms}"


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
