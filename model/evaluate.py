"""Measures a network on annotated sequences: J, F and frames per second.

Every object's first true mask is given on its frame, the rest is propagated and compared with the truth. Not scored
are the first and the last frame of a sequence, and an object on the frame that gives it and before. Pixels labelled 255
(void) count for nothing.

The headline J, F and J&F are means over the sequences of the means over their objects; the mean over all objects, which
the official tool of DAVIS 2017 prints, stands beside it.
"""

import argparse
import csv
import dataclasses
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import IO, TYPE_CHECKING

from model.errors import InputError
from model.network.checkpoint_files import named_in_utf8
from model.network.config import DEFAULT_NETWORK, NETWORKS, NetworkConfig
from model.options import DTYPES, MEMORY_POLICIES, PropagationOptions
from model.program.command_line import Parser, run_program
from model.program.printable import printable

if TYPE_CHECKING:
    from model.data.annotated_sequences import AnnotatedSequence
    from model.evaluation.scores import Evaluation, Measures

EXAMPLES = """\
examples:
  %(prog)s DAVIS/ --sequences bus,hike
  %(prog)s val.zip --clip-length 25 --json > fast.json
  %(prog)s val.zip --network pcvos --weights pcvos.pth --worst out/worst

exit codes: 0 done, 2 bad input, 130 interrupted
"""

_DEFAULT = PropagationOptions()
_HEADINGS = ("J", "F", "J&F", "recall", "decay", "objects", "frames", "fps")


def main(argv: Sequence[str] | None = None) -> int:
    """Evaluate and print; returns the exit code."""
    return run_program(_parser(), run, argv)


def _parser() -> Parser:
    parser = Parser(
        prog=f"python -m {__package__}.evaluate",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "data",
        type=Path,
        metavar="ARCHIVE_OR_FOLDER",
        help="JPEGImages/<sequence>/ and Annotations/<sequence>/, in a folder or a zip",
    )
    parser.add_argument("--sequences", metavar="NAME,...", help="only these (default: all)")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output instead of a table")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="J, F and confidence of every object in every frame")
    parser.add_argument("--worst", type=Path, metavar="DIR", help="pictures of each sequence's three worst frames")

    network = parser.add_argument_group("network")
    network.add_argument(
        "--network",
        choices=sorted(NETWORKS),
        help=f"default: the one that the weights name, else {DEFAULT_NETWORK}",
    )
    network.add_argument("--weights", type=Path, metavar="FILE", help="checkpoint (default: the shipped one)")
    network.add_argument("--no-refinement", action="store_true", help="leave the intra-clip refinement out")

    how = parser.add_argument_group("how to propagate")
    how.add_argument(
        "--clip-length", type=int, default=_DEFAULT.clip_length, metavar="L", help="default 5; of stm and swem 1"
    )
    how.add_argument(
        "--short-side", type=int, default=_DEFAULT.short_side, metavar="PIXELS", help="0: as they are; default 480"
    )
    how.add_argument("--top-k", type=int, metavar="K", help="default by network")
    progressive = how.add_mutually_exclusive_group()
    progressive.add_argument(
        "--progressive-interval", type=int, default=_DEFAULT.progressive_interval, metavar="F", help="default 5"
    )
    progressive.add_argument("--no-progressive", action="store_true", help="no progressive matching inside long clips")
    how.add_argument("--memory", choices=MEMORY_POLICIES, default=_DEFAULT.memory, help=f"default {_DEFAULT.memory}")
    how.add_argument("--memory-tokens", type=int, metavar="N", help="budget of --memory bounded in positions")
    how.add_argument("--device", default=_DEFAULT.device, help="auto, cpu, cuda, cuda:1 (default auto)")
    how.add_argument("--dtype", choices=DTYPES, default=_DEFAULT.dtype, help="default auto")
    return parser


def run(arguments: argparse.Namespace) -> None:
    """Evaluate as the arguments say and print; raises PerclipError."""
    options = PropagationOptions(
        clip_length=arguments.clip_length,
        short_side=arguments.short_side or None,
        top_k=arguments.top_k,
        progressive_interval=None if arguments.no_progressive else arguments.progressive_interval,
        memory=arguments.memory,
        memory_tokens=arguments.memory_tokens,
        refinement=not arguments.no_refinement,
        device=arguments.device,
        dtype=arguments.dtype,
    )

    # Torch and OpenCV load only when there is something to do.
    from model.data.annotated_sequences import read_sequences
    from model.data.inside_out import first_masks, inside_out_warnings
    from model.evaluation.semi_supervised import evaluate
    from model.evaluation.worst_frames import WorstFrames
    from model.network.checkpoint import load_network
    from model.propagation.propagator import Propagator

    name = arguments.network or named_network(arguments.weights)
    network = load_network(name, arguments.weights)
    propagator = Propagator(network, options)
    sequences = read_sequences(arguments.data)
    if arguments.sequences is not None:
        sequences = chosen_sequences(sequences, arguments.sequences)
    for warning in inside_out_warnings(first_masks(sequences)):
        print(f"warning: {warning}", file=sys.stderr)
    if arguments.csv:
        with _writing(arguments.csv, "a"):
            pass  # known now rather than after the work
    with WorstFrames(arguments.worst) if arguments.worst else nullcontext() as worst:
        evaluation = evaluate(propagator, sequences, worst, progress=True)
    if arguments.csv:
        _write_csv(evaluation, arguments.csv)
    if arguments.json:
        settings = {
            "data": printable(str(arguments.data)),
            "network": name,
            "weights": arguments.weights and printable(str(arguments.weights)),
            **dataclasses.asdict(propagator.options),
            "refinement": options.refinement and network.refines,
            "device": str(propagator.device),
            "dtype": propagator.number_format,
        }
        print(json.dumps({**evaluation.to_dict(), "settings": settings}, indent=2, allow_nan=False))
    else:
        _print_table(evaluation)


def named_network(weights: Path | None) -> str:
    """The network that a checkpoint of ours names; the default for others, whose loading then says what is wrong."""
    import safetensors

    if weights is None:
        return DEFAULT_NETWORK
    try:
        with named_in_utf8(weights) as path, safetensors.safe_open(path, "pt") as file:
            return NetworkConfig.from_json(file.metadata()["config"]).name
    except (safetensors.SafetensorError, OSError, ValueError, KeyError, TypeError):
        return DEFAULT_NETWORK


def chosen_sequences(sequences: "list[AnnotatedSequence]", names: str) -> "list[AnnotatedSequence]":
    """Those of the comma-separated names, in this order; raises InputError for one that is not there."""
    by_name = {s.name: s for s in sequences}
    asked = list(dict.fromkeys(printable(name.strip()) for name in names.split(",")))
    for name in asked:
        if name not in by_name:
            known = ", ".join(list(by_name)[:20]) + (", ..." if len(by_name) > 20 else "")
            raise InputError(f"no sequence {name!r}; there are {known}")
    return [by_name[name] for name in asked]


@contextmanager
def _writing(path: Path, mode: str) -> Iterator[IO[str]]:
    """The file, opened, its folder made; raises InputError where it cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open(mode, encoding="utf-8", newline="") as file:
            yield file
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}; choose another file") from error


def _write_csv(evaluation: "Evaluation", path: Path) -> None:
    with _writing(path, "w") as file:
        rows = csv.writer(file)
        rows.writerow(("sequence", "object", "frame", "J", "F", "confidence"))
        for s in evaluation.scores:
            rows.writerow((s.sequence, s.object, s.frame, f"{s.j:.6f}", f"{s.f:.6f}", f"{s.confidence:.6f}"))


def _print_table(evaluation: "Evaluation") -> None:
    width = max(24, *(len(s.name) for s in evaluation.sequences))

    def line(name: str, measures: "Measures", *more: str) -> None:
        numbers = (measures.j, measures.f, measures.jf, measures.j_recall, measures.j_decay)
        print(f"{name:{width}}" + "".join(f"{n:9.3f}" for n in numbers) + "".join(f"{m:>9}" for m in more))

    print(f"{'sequence':{width}}" + "".join(f"{heading:>9}" for heading in _HEADINGS))
    for s in evaluation.sequences:
        line(s.name, s.mean, str(len(s.objects)), str(s.frames), f"{s.fps:.2f}")
    line(f"mean of {len(evaluation.sequences)} sequences", evaluation.mean)
    line(f"mean of {sum(len(s.objects) for s in evaluation.sequences)} objects", evaluation.object_mean)
    print(f"{evaluation.fps:.2f} fps, {evaluation.fps_without_decoding:.2f} without decoding")


if __name__ == "__main__":
    sys.exit(main())
