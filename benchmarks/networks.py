"""Compares networks on all validation sequences of several archives, so that none is chosen by a few that suit it.

`python -m benchmarks.networks --weights NAME=FILE ... [--data ARCHIVE ...] [--clip-length 5] [--dtype float32]`

Each network's J&F on each sequence goes into `networks.csv`, a line as soon as it is known; what is in there already is
not measured again. `networks.md` shows the means: of each archive, and of all sequences, which is what to choose by.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from benchmarks.measured import Weights
from benchmarks.row_log import RowLog
from model.data.annotated_sequences import read_sequences
from model.errors import InputError, PerclipError
from model.evaluation.semi_supervised import evaluate
from model.options import DTYPES, PropagationOptions
from model.propagation.propagator import Propagator

_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
_ARCHIVES = (_DATA / "video-val-480.zip", _DATA / "video-val2-480.zip")
_COLUMNS = ("network", "digest", "archive", "frames", "clip_length", "top_k", "dtype", "sequence", "j", "f", "jf")


def main(argv: Sequence[str] | None = None) -> None:
    """Measures what is missing and writes the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.networks", description=__doc__)
    parser.add_argument("--weights", nargs="+", required=True, metavar="NAME=FILE", help="FILE empty: the shipped ones")
    parser.add_argument("--data", type=Path, nargs="+", default=list(_ARCHIVES), metavar="ARCHIVE")
    parser.add_argument("--frames", type=int, help="only the first of each sequence, to look at a training's progress")
    parser.add_argument("--clip-length", type=int, default=5, metavar="L")
    parser.add_argument("--top-k", type=int, metavar="K", help="memory positions read; default by network")
    parser.add_argument("--dtype", choices=DTYPES, default="float32")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"), metavar="DIR")
    arguments = parser.parse_args(argv)
    log = RowLog(arguments.out / "networks.csv", _COLUMNS, resume=True)
    options = PropagationOptions(clip_length=arguments.clip_length, top_k=arguments.top_k, dtype=arguments.dtype)
    for candidate in arguments.weights:
        name, found, file = candidate.partition("=")
        if not found:
            raise InputError(f"{candidate}: give NAME=FILE")
        _measure(name, Weights.find(Path(file) if file else None), arguments, options, log)
    (arguments.out / "networks.md").write_text(_table(log.rows), encoding="utf-8")
    print(_table(log.rows))


def _measure(
    name: str, weights: Weights, arguments: argparse.Namespace, options: PropagationOptions, log: RowLog
) -> None:
    """Adds a row for each sequence that this network was not measured on."""
    propagator = Propagator(weights.load(), options)
    for archive in arguments.data:
        how = {
            "digest": weights.digest,
            "archive": archive.stem,
            "frames": str(arguments.frames or "all"),
            "clip_length": str(options.clip_frames),
            "top_k": str(propagator.options.top_k),
            "dtype": propagator.number_format,
        }
        known = {row["sequence"] for row in log.rows if how.items() <= row.items()}
        for sequence in tqdm(read_sequences(archive), f"{name}, {archive.stem}", unit="sequence"):
            if sequence.name not in known:
                mean = evaluate(propagator, [sequence.leading(arguments.frames)]).mean
                numbers = {key: f"{value:.4f}" for key, value in (("j", mean.j), ("f", mean.f), ("jf", mean.jf))}
                log.append([{"network": name, "sequence": sequence.name} | how | numbers])


def _table(rows: Sequence[dict[str, str]]) -> str:
    """A line per network, clip length, number format and choice of frames, as Markdown."""
    archives = list(dict.fromkeys(row["archive"] for row in rows))
    runs: dict[tuple[str, ...], list[dict[str, str]]] = {}
    for row in rows:
        key = tuple(row[c] for c in ("network", "digest", "clip_length", "top_k", "dtype", "frames"))
        runs.setdefault(key, []).append(row)
    lines = [
        "| network | digest | L | top k | dtype | frames | " + " | ".join(archives) + " | all sequences |",
        "|" + "---|" * (7 + len(archives)),
    ]
    for key, found in runs.items():
        parts = [[float(row["jf"]) for row in found if row["archive"] == archive] for archive in archives]
        means = [f"{sum(part) / len(part):.4f} ({len(part)})" if part else "" for part in parts]
        every = [jf for part in parts for jf in part]
        lines.append(f"| {' | '.join([*key, *means])} | **{sum(every) / len(every):.4f}** ({len(every)}) |")
    return (
        "J&F of networks, means over the sequences of each archive (how many) and over all; choose by the last\n"
        "column. Made by `python -m benchmarks.networks`, which documents the columns.\n\n" + "\n".join(lines) + "\n"
    )


if __name__ == "__main__":
    try:
        main()
    except PerclipError as error:
        sys.exit(f"error: {error}")
