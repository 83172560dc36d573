"""What a benchmark measures: which network, with which options, on which sequences; the arguments that say so."""

import argparse
import hashlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from model.data.annotated_sequences import AnnotatedSequence, read_sequences
from model.errors import InputError
from model.evaluate import chosen_sequences, named_network
from model.network.checkpoint import load_network
from model.network.checkpoint_files import shipped_path
from model.network.segmentation_network import SegmentationNetwork
from model.options import DTYPES, PropagationOptions

# The validation archive of the project, beside the checkout.
_ARCHIVE = Path(__file__).resolve().parents[2] / "shared" / "data" / "video-val-480.zip"
_DEFAULT = PropagationOptions()


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
        path = shipped_path(network) if path is None else path
        try:
            digest = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
        except OSError as error:
            raise InputError(f"no weights file at {path}: {error.strerror}") from error
        return cls(network, path, digest)

    def load(self) -> SegmentationNetwork:
        """The network with these weights."""
        return load_network(self.network, self.path)


def add_measured_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments that `sequences_of` and `options_of` read, `--weights` and `--out`."""
    parser.add_argument(
        "data",
        type=Path,
        nargs="*",
        default=[_ARCHIVE],
        metavar="ARCHIVE",
        help="annotated sequences, folders or zips (default: ../shared/data/video-val-480.zip beside the checkout)",
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
    """The sequences that are asked for, of all archives; raises InputError."""
    if arguments.frames is not None and arguments.frames < 3:
        raise InputError("--frames must be at least 3: the first and the last frame are not scored")
    sequences = [sequence for path in arguments.data for sequence in read_sequences(path)]
    twice = [name for name, count in Counter(s.name for s in sequences).items() if count > 1]
    if twice:
        raise InputError(f"several archives have a sequence {twice[0]}: measure them apart, with an --out each")
    if arguments.sequences is not None:
        sequences = chosen_sequences(sequences, arguments.sequences)
    return [sequence.leading(arguments.frames) for sequence in sequences]


def archives_of(arguments: argparse.Namespace) -> str:
    """What the archives are called."""
    return ", ".join(path.name for path in arguments.data)


def options_of(arguments: argparse.Namespace) -> PropagationOptions:
    """The run options that are asked for, the others by default; raises InputError."""
    return PropagationOptions(short_side=arguments.short_side or None, device=arguments.device, dtype=arguments.dtype)
