"""What a benchmark measures: which network, with which options, on which sequences; the arguments that say so."""

import argparse
import hashlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn

from model.annotated_sequences import AnnotatedSequence, read_sequences
from model.checkpoint import load_network
from model.checkpoint_files import SHIPPED
from model.errors import InputError, PerclipError
from model.evaluate import EXIT_BAD_INPUT, EXIT_INTERRUPTED, chosen_sequences, named_network
from model.options import DTYPES, PropagationOptions
from model.pcvos import PCVOS

# The validation archive of the project, beside the checkout.
_ARCHIVE = Path(__file__).resolve().parents[2] / "shared" / "data" / "video-val-480.zip"
_DEFAULT = PropagationOptions()


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Leave with exit code 2."""
        self.exit(EXIT_BAD_INPUT, f"error: {message} (see {self.prog} --help)\n")


@dataclass(frozen=True)
class Weights:
    """A checkpoint.

    Attributes:
        network: the name of its architecture.
        path: the file.
        digest: the first 12 digits of the file's SHA-256.
    """

    network: str
    path: Path
    digest: str

    @classmethod
    def find(cls, path: Path | None) -> "Weights":
        """Those of a file, or the shipped ones; raises InputError for a file that cannot be read."""
        network = named_network(path)
        path = Path(SHIPPED[network]) if path is None else path
        try:
            digest = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
        except OSError as error:
            raise InputError(f"no weights file at {path}: {error.strerror}") from error
        return cls(network, path, digest)

    def load(self) -> PCVOS:
        """The network with these weights."""
        return load_network(self.network, self.path)


def add_measured_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments that `sequences_of` and `options_of` read, `--weights` and `--out`."""
    parser.add_argument(
        "data",
        type=Path,
        nargs="?",
        default=_ARCHIVE,
        metavar="ARCHIVE",
        help="annotated sequences, folder or zip (default: ../shared/data/video-val-480.zip beside the checkout)",
    )
    parser.add_argument("--weights", type=Path, metavar="FILE", help="checkpoint (default: the shipped one)")
    parser.add_argument("--sequences", metavar="NAME,...", help="only these (default: all)")
    parser.add_argument(
        "--frames", type=int, metavar="N", help="only the first N frames of each sequence, to try it out"
    )
    parser.add_argument(
        "--short-side", type=int, default=_DEFAULT.short_side, metavar="PIXELS", help="0: as they are; default 480"
    )
    parser.add_argument("--device", default=_DEFAULT.device, help="auto, cpu, cuda, cuda:1 (default auto)")
    parser.add_argument("--dtype", choices=DTYPES, default=_DEFAULT.dtype, help="default auto")
    parser.add_argument(
        "--out", type=Path, default=Path("benchmarks/results"), metavar="DIR", help="default benchmarks/results"
    )


def sequences_of(arguments: argparse.Namespace) -> list[AnnotatedSequence]:
    """The sequences that are asked for; raises InputError."""
    if arguments.frames is not None and arguments.frames < 3:
        raise InputError("--frames must be at least 3: the first and the last frame are not scored")
    sequences = read_sequences(arguments.data)
    if arguments.sequences is not None:
        sequences = chosen_sequences(sequences, arguments.sequences)
    if arguments.frames is None:
        return sequences
    n = arguments.frames
    return [replace(s, frames=s.frames[:n], label_maps=s.label_maps[:n], annotated=()) for s in sequences]


def options_of(arguments: argparse.Namespace) -> PropagationOptions:
    """The run options that are asked for, the others by default; raises InputError."""
    return PropagationOptions(short_side=arguments.short_side or None, device=arguments.device, dtype=arguments.dtype)


def run_program(parser: argparse.ArgumentParser, run: Callable, argv: Sequence[str] | None) -> int:
    """Calls `run` with the arguments.

    Returns:
        0 done, 2 bad input (one line on standard error says what to do), 130 interrupted.
    """
    arguments = parser.parse_args(argv)
    try:
        run(arguments)
    except PerclipError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_BAD_INPUT
    except KeyboardInterrupt:
        print("\ninterrupted; --resume goes on" if hasattr(arguments, "resume") else "\ninterrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    return 0
