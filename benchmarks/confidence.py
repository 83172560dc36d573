"""Judges the confidence, and fits it to a network: `python -m benchmarks.confidence [--fit] [--weights FILE]`.

Judged is it on the validation archive, on the sequences as they are and on runs that fail on purpose. `--fit` first
fits its calibration on the training archives, with failing runs of its own, and writes it into the checkpoint; nothing
of the validation archive goes into it. Writes confidence.json, confidence.csv and confidence.png.

What the engine finds out about every mask is kept in the cache, by the digest of the weights: a second fit takes
seconds. Between two keyframes it depends a little on the calibration, through the weights of the fusion: `--fresh`
propagates again.
"""

import argparse
import csv
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from benchmarks.confidence_fit import fit
from benchmarks.confidence_report import plot, summary
from benchmarks.confidence_samples import (
    Sample,
    collect,
    digest,
    read_samples,
    training_runs,
    validation_runs,
    write_samples,
)
from benchmarks.failing_runs import Run
from benchmarks.measured import Weights, add_measured_arguments, options_of, sequences_of
from model.confidence.cues import Evidence
from model.data.annotated_sequences import AnnotatedSequence, read_sequences
from model.network.checkpoint import write_calibration
from model.network.segmentation_network import SegmentationNetwork
from model.program.command_line import Parser, run_program
from model.propagation.propagator import Propagator

_TRAINING = Path(__file__).resolve().parents[2] / "shared" / "data" / "video-train-320.zip"


def main(argv: Sequence[str] | None = None) -> int:
    """Fit if asked for, judge and write.

    Returns:
        0 done, 2 bad input (one line on standard error says what to do), 130 interrupted.
    """
    parser = Parser(
        prog="python -m benchmarks.confidence",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_measured_arguments(parser)
    parser.add_argument("--fit", action="store_true", help="fit the calibration and write it into the checkpoint first")
    parser.add_argument(
        "--training-data",
        type=Path,
        nargs="+",
        default=[_TRAINING],
        metavar="ARCHIVE",
        help="to fit on, archives with a choice of their folders (data.zip::chen-*); default video-train-320.zip",
    )
    parser.add_argument(
        "--cache", type=Path, default=Path("/tmp/perclip-confidence"), metavar="DIR", help="default %(default)s"
    )
    parser.add_argument("--fresh", action="store_true", help="propagate again what is in the cache")
    return run_program(parser, run, argv)


def run(arguments: argparse.Namespace) -> None:
    """Fit and judge as the arguments say; raises PerclipError."""
    weights = Weights.find(arguments.weights)
    network = weights.load()
    if arguments.fit:
        sequences = [s for path in arguments.training_data for s in read_sequences(path)]
        network.calibration = fit(_samples(arguments, network, sequences, training_runs, "training"))
        write_calibration(weights.path, network.calibration)
        print(f"{weights.path}: {network.calibration.to_json()}")
    samples = _samples(arguments, network, sequences_of(arguments), validation_runs, "validation")
    confidence = np.array([network.calibration.confidence(s.cues) for s in samples])
    report = {
        "weights": digest(network),
        **summary(samples, confidence),
        "calibration": json.loads(network.calibration.to_json()),
    }
    arguments.out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(report, indent=2)
    (arguments.out / "confidence.json").write_text(text + "\n", encoding="utf-8")
    _write_csv(samples, confidence, arguments.out / "confidence.csv")
    plot(samples, confidence, arguments.out / "confidence.png")
    print(text)


def _samples(
    arguments: argparse.Namespace,
    network: SegmentationNetwork,
    sequences: Sequence[AnnotatedSequence],
    runs: Callable[[Sequence[AnnotatedSequence]], Iterable[Run]],
    title: str,
) -> list[Sample]:
    """From the cache, or else propagated and kept there."""
    options = options_of(arguments)
    frames = sum(len(s.frames) for s in sequences)
    of = f"{title}-{len(sequences)}x{frames}-{options.short_side}-{options.dtype}"
    name = f"{digest(network)}-{len(Evidence._fields)}-{of}.csv"
    kept = arguments.cache / name
    if kept.exists() and not arguments.fresh:
        return read_samples(kept)
    samples = collect(Propagator(network, options), runs(sequences), title)
    write_samples(samples, kept)
    return samples


def _write_csv(samples: Sequence[Sample], confidence: np.ndarray, path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("kind", "run", "object", "frame", "J", "confidence"))
        for s, c in zip(samples, confidence):
            rows.writerow((s.kind, s.run, s.object, s.frame, f"{s.j:.4f}", f"{c:.4f}"))


if __name__ == "__main__":
    sys.exit(main())
