"""What each further corrected keyframe is worth: J&F against the number of keyframes, by a simulated annotator.

Round 1 gives each object's first mask. In every further round the annotator corrects one whole frame: by `confidence`
the frame that the network is least sure of, by `truth` the one that is worst, by `even` the middle of the longest
stretch. `forward`, a correction acts on the frames behind it; with `fusion`, on both sides up to the next keyframes.
With `learning`, as with fusion, and before each round the network learns from all that is drawn by then, as
with `--learn`: on from what it has learned, and used where the check says so. The same number of steps is made
everywhere, whatever the machine.

Writes effort.csv (a row per sequence and round), effort.json, effort.md and effort.png. After a kill, --resume goes on
behind the last finished annotator of the last sequence.
"""

import argparse
import dataclasses
import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from tqdm import tqdm

from benchmarks.annotator import MODES, POLICIES, CorrectedSequence, Round, annotate
from benchmarks.effort_gain import LearningGain
from benchmarks.effort_report import Curve, write_report
from benchmarks.learning_annotator import LearningSequence, fixed_steps
from benchmarks.measured import Weights, add_measured_arguments, archives_of, options_of, sequences_of
from benchmarks.row_log import RowLog
from model.errors import InputError
from model.evaluation.semi_supervised import Task
from model.learning.learned_weights import LearnedWeights
from model.learning.recipe import LearningRecipe
from model.learning.record import LearningRecord
from model.network.segmentation_network import SegmentationNetwork
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
    "learning",  # what came of it in this round; empty without
    "check before",
    "check after",
    "settings",  # digest; effort.json has them in words
)
_LEARNING = "learning"
_MODES = (*MODES, _LEARNING)
_LEARNED = "effort-learned"  # folder, while it goes on


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
    parser.add_argument(
        "--modes",
        default=",".join(MODES),
        metavar="NAME,...",
        help=f"of {', '.join(_MODES)} (default {','.join(MODES)}); beside fusion, what learning gains is told",
    )
    steps = LearningRecipe().most_steps
    parser.add_argument(
        "--steps",
        type=int,
        default=steps,
        metavar="N",
        help=f"of each learning, for the mode learning (default {steps})",
    )
    parser.add_argument(
        "--crop",
        type=int,
        default=LearningRecipe().crop,
        metavar="PIXELS",
        help=f"side of its samples (default {LearningRecipe().crop})",
    )
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
    policies, modes = _named(arguments.policies, POLICIES, "policy"), _named(arguments.modes, _MODES, "mode")
    for name in ("rounds", "distance"):
        if getattr(arguments, name) < 1:
            raise InputError(f"--{name} must be at least 1, not {getattr(arguments, name)}")
    sequences = sequences_of(arguments)
    tasks = [Task(s) for s in sequences]
    weights = Weights.find(arguments.weights)
    network = weights.load()
    propagator = Propagator(network, options_of(arguments))
    recipe = fixed_steps(replace(LearningRecipe(), crop=arguments.crop), arguments.steps)
    settings = {
        "data": archives_of(arguments),
        "weights": {"network": weights.network, "file": weights.path.name, "sha256": weights.digest},
        "frames": arguments.frames,
        "rounds": arguments.rounds,
        "distance": arguments.distance,
        **dataclasses.asdict(propagator.options),
        "device": str(propagator.device),
        "dtype": propagator.number_format,
    }
    # A checkpoint is the same under another name, and a machine's digits of another device are not.
    plain = {**settings, "weights": weights.digest}
    digests = {mode: _digest(plain) for mode in MODES}
    digests[_LEARNING] = _digest({**plain, "learning": recipe.identity})
    if _LEARNING in modes:
        settings["learning"] = json.loads(recipe.identity)
    log = RowLog(arguments.out / "effort.csv", COLUMNS, arguments.resume)
    if any(row["settings"] != digests.get(row["mode"]) for row in log.rows):
        raise InputError(
            f"{arguments.out / 'effort.csv'} was measured with other weights or settings: "
            "leave out --resume to start afresh, or choose another --out"
        )
    log.keep([row for row in log.rows if _done(log, row["sequence"], row["policy"], row["mode"], arguments.rounds)])
    # What a killed annotator has learned is found again.
    kept = LearnedWeights(arguments.out / _LEARNED)
    if not arguments.resume:
        kept.empty()
    measure(Sessions(network, propagator, recipe, kept), tasks, policies, modes, arguments, log, digests)
    with suppress(OSError):
        kept.folder.rmdir()
    names = [s.name for s in sequences]
    mine = [row for row in log.rows if row["sequence"] in names]
    curves = [Curve.of(policy, mode, mine, arguments.rounds) for policy in policies for mode in modes]
    gains = [gain for policy in policies if (gain := LearningGain.of(policy, mine)) is not None]
    print(write_report(arguments.out, curves, names, settings, gains))


@dataclass(frozen=True, eq=False)
class Sessions:
    """Begins an annotator's work on a sequence.

    Attributes:
        network: as it is.
        propagator: its.
        recipe: of learning.
        kept: where what the annotator at work has learned is kept.
    """

    network: SegmentationNetwork
    propagator: Propagator
    recipe: LearningRecipe
    kept: LearnedWeights

    def plain(self, task: Task) -> CorrectedSequence:
        """Without learning; for any number of annotators."""
        return CorrectedSequence(self.propagator, task)

    def learning(self, task: Task) -> LearningSequence:
        """With learning, for one."""
        progress = sys.stderr.isatty()
        options = self.propagator.options
        return LearningSequence(self.network, options, task, self.recipe, self.kept, progress)


def measure(
    sessions: Sessions,
    tasks: Sequence[Task],
    policies: Sequence[str],
    modes: Sequence[str],
    arguments: argparse.Namespace,
    log: RowLog,
    digests: Mapping[str, str],
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
            decoded = _decoded(task)
            plain = sessions.plain(decoded)
            for policy, mode in missing:
                learning = sessions.learning(decoded) if mode == _LEARNING else None
                sequence, acts = (plain, mode) if learning is None else (learning, "fusion")
                rows = []
                for r in annotate(sequence, policy, acts, arguments.rounds, arguments.distance):
                    said = _learning(None if learning is None else learning.records[-1])
                    facts = {"sequence": name, "policy": policy, "mode": mode, "settings": digests[mode]}
                    rows.append({**_row(r), **said, **facts})
                    bar.set_description(f"{name}, {policy}, {mode}")
                    bar.set_postfix_str(f"J&F {r.everything.jf:.3f}, {sequence.propagated} frames run")
                    bar.update()
                log.append(rows)
                sessions.kept.empty()


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


def _learning(record: LearningRecord | None) -> dict[str, object]:
    if record is None:
        return {"learning": "", "check before": "", "check after": ""}
    before, after = ("" if score is None else f"{score:.4f}" for score in (record.before, record.after))
    return {"learning": record.outcome, "check before": before, "check after": after}


def _digest(settings: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:8]


def _named(text: str, known: Sequence[str], kind: str) -> list[str]:
    names = list(dict.fromkeys(name.strip() for name in text.split(",")))
    for name in names:
        if name not in known:
            raise InputError(f"no {kind} {name!r}; there are {', '.join(known)}")
    return names


if __name__ == "__main__":
    sys.exit(main())
