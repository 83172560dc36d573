"""What each further corrected keyframe is worth: J&F against the number of keyframes, by a simulated annotator.

Round 1 gives each object's first mask. In every further round the annotator corrects one whole frame: by `confidence`
the frame that the network is least sure of, by `truth` the one that is worst, by `even` the middle of the longest
stretch. `forward`, a correction acts on the frames behind it; with `fusion`, on both sides up to the next keyframes.

Writes effort.csv (a row per sequence and round), effort.json, effort.md and effort.png. After a kill, --resume goes on
behind the last finished annotator of the last sequence.
"""

import argparse
import dataclasses
import hashlib
import json
import sys
from collections.abc import Sequence
from dataclasses import replace

from tqdm import tqdm

from benchmarks.annotator import MODES, POLICIES, CorrectedSequence, Round, annotate
from benchmarks.effort_report import Curve, write_report
from benchmarks.measured import Weights, add_measured_arguments, options_of, sequences_of
from benchmarks.row_log import RowLog
from model.errors import InputError
from model.evaluation.semi_supervised import Task
from model.program.command_line import Parser, run_program
from model.propagation.propagator import Propagator

COLUMNS = (
    "sequence",
    "policy",
    "mode",
    "keyframes",
    "frame",  # corrected in this round
    "rerun",  # frames that this changed
    "J",
    "F",
    "J&F",
    "J&F rest",  # frames that were never annotated
    "J&F rest before",  # the same frames before this round
    "settings",  # digest; effort.json has them in words
)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; gives the exit code."""
    return run_program(_parser(), run, argv)


def _parser() -> Parser:
    parser = Parser(
        prog="python -m benchmarks.effort",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_measured_arguments(parser)
    parser.add_argument("--rounds", type=int, default=8, metavar="N", help="keyframes at the end (default 8)")
    parser.add_argument("--policies", default=",".join(POLICIES), metavar="NAME,...", help="default: all three")
    parser.add_argument("--modes", default=",".join(MODES), metavar="NAME,...", help="default: both")
    parser.add_argument(
        "--distance",
        type=int,
        default=5,
        metavar="N",
        help="by confidence, pass over frames nearer than this to an annotated one: neighbours look alike (default 5)",
    )
    parser.add_argument("--resume", action="store_true", help="go on where an earlier run with the same settings ended")
    return parser


def run(arguments: argparse.Namespace) -> None:
    """Measure as the arguments say; raises PerclipError."""
    policies, modes = _named(arguments.policies, POLICIES, "policy"), _named(arguments.modes, MODES, "mode")
    for name in ("rounds", "distance"):
        if getattr(arguments, name) < 1:
            raise InputError(f"--{name} must be at least 1, not {getattr(arguments, name)}")
    sequences = sequences_of(arguments)
    tasks = [Task(s) for s in sequences]
    weights = Weights.find(arguments.weights)
    propagator = Propagator(weights.load(), options_of(arguments))
    settings = {
        "data": arguments.data.name,
        "weights": {"network": weights.network, "file": weights.path.name, "sha256": weights.digest},
        "frames": arguments.frames,
        "rounds": arguments.rounds,
        "distance": arguments.distance,
        **dataclasses.asdict(propagator.options),
        "device": str(propagator.device),
        "dtype": propagator.number_format,
    }
    # A checkpoint is the same under another name, and a machine's digits of another device are not.
    digest = hashlib.sha256(json.dumps({**settings, "weights": weights.digest}).encode()).hexdigest()[:8]
    log = RowLog(arguments.out / "effort.csv", COLUMNS, arguments.resume)
    if any(row["settings"] != digest for row in log.rows):
        raise InputError(
            f"{arguments.out / 'effort.csv'} was measured with other weights or settings: "
            "leave out --resume to start afresh, or choose another --out"
        )
    log.keep([row for row in log.rows if _done(log, row["sequence"], row["policy"], row["mode"], arguments.rounds)])
    measure(propagator, tasks, policies, modes, arguments, log, digest)
    names = [s.name for s in sequences]
    mine = [row for row in log.rows if row["sequence"] in names]
    curves = [Curve.of(policy, mode, mine, arguments.rounds) for policy in policies for mode in modes]
    print(write_report(arguments.out, curves, names, settings))


def measure(
    propagator: Propagator,
    tasks: Sequence[Task],
    policies: Sequence[str],
    modes: Sequence[str],
    arguments: argparse.Namespace,
    log: RowLog,
    digest: str,
) -> None:
    """Every annotator on every sequence that the log does not have yet; one annotator's rounds are logged at once."""
    wanted = [(policy, mode) for mode in modes for policy in policies]
    with tqdm(total=len(tasks) * len(wanted) * arguments.rounds, unit="round", file=sys.stderr) as bar:
        for task in tasks:
            name = task.sequence.name
            missing = [(p, m) for p, m in wanted if not _done(log, name, p, m, arguments.rounds)]
            bar.update((len(wanted) - len(missing)) * arguments.rounds)
            if not missing:
                continue
            sequence = CorrectedSequence(propagator, _decoded(task))
            for policy, mode in missing:
                rows = []
                for r in annotate(sequence, policy, mode, arguments.rounds, arguments.distance):
                    rows.append({**_row(r), "sequence": name, "policy": policy, "mode": mode, "settings": digest})
                    bar.set_description(f"{name}, {policy}, {mode}")
                    bar.set_postfix_str(f"J&F {r.everything.jf:.3f}, {sequence.propagated} frames run")
                    bar.update()
                log.append(rows)


def _decoded(task: Task) -> Task:
    """The task with its frames in memory, as they are read many times."""
    s = task.sequence
    return Task(replace(s, frames=list(s.frames), label_maps=list(s.label_maps)))


def _done(log: RowLog, sequence: str, policy: str, mode: str, rounds: int) -> bool:
    """True if all rounds of an annotator are logged."""
    found = [row for row in log.rows if (row["sequence"], row["policy"], row["mode"]) == (sequence, policy, mode)]
    return len(found) == rounds


def _row(r: Round) -> dict[str, object]:
    return {
        "keyframes": r.keyframes,
        "frame": r.corrected[-1] if r.corrected else "",
        "rerun": len(r.rerun),
        "J": f"{r.everything.j:.6f}",
        "F": f"{r.everything.f:.6f}",
        "J&F": f"{r.everything.jf:.6f}",
        "J&F rest": f"{r.rest.jf:.6f}",
        "J&F rest before": f"{r.rest_before.jf:.6f}",
    }


def _named(text: str, known: Sequence[str], kind: str) -> list[str]:
    names = list(dict.fromkeys(name.strip() for name in text.split(",")))
    for name in names:
        if name not in known:
            raise InputError(f"no {kind} {name!r}; there are {', '.join(known)}")
    return names


if __name__ == "__main__":
    sys.exit(main())
