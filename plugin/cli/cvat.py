"""Propagates keyframes in whole tasks, jobs and projects on a CVAT server.

What people have drawn are the keyframes; every other frame is filled. Nothing that Perclip did not write itself is
changed or deleted. After corrections the same command computes the stretches beside them anew, and nothing else.
"""

import argparse
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from model.errors import InputError, PerclipError
from model.learning.recipe import DEFAULT_SECONDS, USUAL_TIME, refuse_unsuited
from model.network.config import DEFAULT_NETWORK, NETWORKS
from model.options import DIRECTIONS, DTYPES, PropagationOptions
from model.program.atomic_write import check_writable
from plugin.cli.cvat_learn import EXAMPLES_OF_LEARN, add_learn, learn, learned_engine
from plugin.cli.cvat_server import ids, open_server, workplace
from plugin.cli.learning_time import learning_time
from plugin.cvat.settings import OUTPUTS, REVIEWS, BulkSettings

if TYPE_CHECKING:
    from plugin.cvat.engine.engine import Engine
    from plugin.cvat.open_task import Workplace
    from plugin.cvat.run.task_run import TaskOutcome
    from plugin.cvat.server.client import Server

HELP = "propagate whole tasks and projects on a CVAT server"
EXAMPLES = """\
`perclip cvat COMMAND --help` explains a command with examples.
"""
_EXAMPLES = {
    "propagate": """\
examples:
  export CVAT_ACCESS_TOKEN=...
  perclip cvat propagate --url https://cvat.example.org --task 12
  perclip cvat propagate --url https://cvat.example.org --task 12 --dry-run
  perclip cvat propagate --url https://cvat.example.org --job 7,8 --label horse --frames 0-199
  perclip cvat propagate --url https://cvat.example.org --project 3 --subset train --report night.html
  perclip cvat propagate --url https://cvat.example.org --project 3 --function-url http://gpu1:8070,http://gpu2:8070
  perclip cvat propagate --url https://cvat.example.org --project 3 --propose detector
  perclip cvat propagate --url https://cvat.example.org --task 12 --learn
  perclip cvat propagate --url https://cvat.example.org --project 3 --weights learned

Run it again after a crash, or after people have corrected frames: it goes on, or repairs what lies beside the
corrections. Exit codes: 0 done, 2 bad input or a task failed, 130 interrupted.
""",
    "learn": EXAMPLES_OF_LEARN,
    "review": """\
examples:
  perclip cvat review --url https://cvat.example.org --task 12 --report review.html
""",
    "undo": """\
examples:
  perclip cvat undo --url https://cvat.example.org --task 12 --dry-run
  perclip cvat undo --url https://cvat.example.org --task 12
""",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The commands behind `perclip cvat`."""
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, what, add, run in (
        ("propagate", "fill tasks from their keyframes", _add_propagate, _propagate),
        ("learn", "learn from all keyframes of a project", add_learn, learn),
        ("review", "list the doubtful frames of a task", _add_review, _review),
        ("undo", "take back what was written and not touched since", _add_undo, _undo),
    ):
        sub = commands.add_parser(
            name,
            help=what,
            description=f"{what[0].upper()}{what[1:]}.",
            epilog=_EXAMPLES[name],
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        _add_server(sub)
        add(sub)
        sub.set_defaults(run_cvat=run)


def run(arguments: argparse.Namespace) -> None:
    """Run one of the commands; raises PerclipError."""
    arguments.run_cvat(arguments)


def _add_server(parser: argparse.ArgumentParser) -> None:
    server = parser.add_argument_group("server")
    server.add_argument("--url", required=True, help="address of the CVAT server")
    server.add_argument(
        "--access-token", metavar="@FILE", help="file with an access token (default: environment CVAT_ACCESS_TOKEN)"
    )
    server.add_argument("--user", metavar="NAME", help="log in by password, from CVAT_PASSWORD or asked for")
    server.add_argument("--organization", metavar="SLUG", help="short name of the organisation")
    server.add_argument("--insecure", action="store_true", help="accept any certificate")
    server.add_argument("--journal", type=Path, metavar="DIR", help="where journals are kept (default: user state)")
    server.add_argument("--cache", type=Path, metavar="DIR", help="where images are kept (default: user cache)")
    server.add_argument("--cache-gb", type=float, default=10.0, metavar="N", help="size of that (default 10)")


def _add_propagate(parser: argparse.ArgumentParser) -> None:
    what = parser.add_argument_group("what to propagate")
    what.add_argument("--task", type=ids, action="extend", default=[], metavar="ID,...", help="tasks")
    what.add_argument(
        "--job", type=ids, action="extend", default=[], metavar="ID,...", help="jobs: only these of their tasks"
    )
    what.add_argument(
        "--project", type=ids, action="extend", default=[], metavar="ID,...", help="all tasks of projects"
    )
    what.add_argument("--subset", metavar="NAME", help="of a project: only tasks of this subset")
    what.add_argument("--name", metavar="TEXT", help="of a project: only tasks with this in their name")
    what.add_argument("--state", type=_states, default=[], metavar="STATE,...", help="only jobs in these states")
    what.add_argument("--stage", type=_stages, default=[], metavar="STAGE,...", help="only jobs at these stages")
    what.add_argument("--limit", type=int, metavar="N", help="at most so many tasks")
    what.add_argument("--label", type=_words, default=[], metavar="NAME,...", help="only objects of these labels")
    what.add_argument("--frames", type=_ranges, default=[], metavar="A-B,...", help="write only to these frames")
    what.add_argument("--rectangles", action="store_true", help="rectangles are keyframes too (found by GrabCut)")
    what.add_argument(
        "--propose", choices=("detector",), help="shapes that a detector wrote are keyframes too, on a few frames"
    )
    what.add_argument("--proposals", type=int, default=5, metavar="K", help="on how many frames (default 5)")

    how = parser.add_argument_group("how")
    how.add_argument("--direction", choices=DIRECTIONS, default="both", help="from the keyframes (default both)")
    how.add_argument("--max-gap", type=int, metavar="N", help="only frames this near to a keyframe")
    how.add_argument("--min-confidence", type=float, default=0.0, metavar="C", help="leave out masks below it, 0..1")
    how.add_argument(
        "--clip-length", type=int, metavar="L", help="5 is accurate, 25 is fast (default 5; stm and swem 1)"
    )
    how.add_argument("--short-side", type=int, metavar="PIXELS", help="of the network's input (default 480)")
    how.add_argument(
        "--memory",
        choices=("every", "spread"),
        help="spread: constant memory and time per frame, for long videos (default every)",
    )
    how.add_argument("--model", choices=sorted(NETWORKS), help=f"default {DEFAULT_NETWORK}")
    how.add_argument(
        "--weights",
        type=Path,
        metavar="FILE",
        help="checkpoint, or the word learned: what `perclip cvat learn` has made of the project (default: the shipped "
        "one)",
    )
    how.add_argument(
        "--learn",
        nargs="?",
        type=learning_time,
        const=USUAL_TIME,
        metavar="SECONDS",
        help="first let the network learn from each task's keyframes, and use that where a check says it is better "
        f"(default {DEFAULT_SECONDS['cpu']:g} seconds, {DEFAULT_SECONDS['cuda']:g} on a GPU); Ctrl-C goes on without",
    )
    how.add_argument("--device", help="auto, cpu, cuda, cuda:1 (default auto)")
    how.add_argument("--dtype", choices=DTYPES, help="number format of the network (default auto)")
    how.add_argument(
        "--function-url", type=_words, default=[], metavar="URL,...", help="compute there instead of here, side by side"
    )

    output = parser.add_argument_group("what to write")
    output.add_argument("--dry-run", action="store_true", help="write nothing to the server; make the report")
    output.add_argument(
        "--output",
        choices=OUTPUTS,
        default="as-drawn",
        help="shapes of each frame, polygon tracks beside what was drawn (track), or as drawn, but that drawn polygon "
        "tracks themselves get Perclip's keyframes between the person's (one-track)",
    )
    output.add_argument("--tolerance", type=float, default=2.0, metavar="PIXELS", help="of polygons (default 2)")
    output.add_argument("--review", choices=REVIEWS, default="none", help="mark doubtful frames in CVAT")
    output.add_argument("--review-label", metavar="NAME", help="label of the tags (default: the first for tags)")
    output.add_argument(
        "--doubt", type=float, default=0.5, metavar="C", help="frames below it are doubtful (default 0.5)"
    )
    output.add_argument("--report", type=Path, metavar="FILE", help="HTML page (default perclip-report-DATE.html)")


def _add_review(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--task", type=ids, action="extend", required=True, metavar="ID,...", help="tasks")
    parser.add_argument(
        "--doubt", type=float, default=0.5, metavar="C", help="frames below it are doubtful (default 0.5)"
    )
    parser.add_argument("--report", type=Path, metavar="FILE", help="write an HTML page with pictures too")


def _add_undo(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--task", type=ids, action="extend", required=True, metavar="ID,...", help="tasks")
    parser.add_argument("--dry-run", action="store_true", help="only count")


def _propagate(arguments: argparse.Namespace) -> None:
    settings = _settings(arguments)
    options = PropagationOptions(
        clip_length=arguments.clip_length,
        short_side=480 if arguments.short_side is None else arguments.short_side or None,
        memory=arguments.memory or "auto",
        device=arguments.device or "auto",
        dtype=arguments.dtype or "auto",
    )
    if arguments.function_url:
        for name in ("model", "weights", "device", "dtype", "memory", "short_side"):
            if getattr(arguments, name) is not None:
                option = "--" + name.replace("_", "-")
                raise InputError(f"{option} is a setting of the function itself: leave it out beside --function-url")
        if arguments.learn is not None:
            raise InputError(
                "--learn is for the network in this process: leave it out, or --function-url (a function learns where "
                "CVAT's page asks for it)"
            )
    if arguments.learn is not None:
        refuse_unsuited(arguments.model or DEFAULT_NETWORK)
        if arguments.propose:
            raise InputError("--learn wants keyframes that people drew: leave it out beside --propose")
    if not arguments.task and not arguments.job and not arguments.project:
        raise InputError("what is to be propagated? Give --task, --job or --project")
    if not 0 <= arguments.cache_gb < 1e6:
        raise InputError(f"--cache-gb {arguments.cache_gb:g}: give 0 or more")
    if arguments.limit is not None and arguments.limit < 1:
        raise InputError(f"--limit {arguments.limit}: give 1 or more")
    # Known before the night, not after it.
    report = arguments.report or Path(time.strftime("perclip-report-%Y%m%d-%H%M%S.html"))

    check_writable(report)
    from plugin.cvat.run.bulk import BulkRun, TargetFilter, find_targets
    from plugin.cvat.run.bulk_report import write_bulk_report
    from plugin.cvat.task.chunk_store import prune

    chosen = TargetFilter(arguments.subset, arguments.name, arguments.state, arguments.stage, arguments.limit)
    began = time.perf_counter()
    with open_server(arguments) as server:
        place = workplace(arguments, server, arguments.dry_run)
        targets, refused = find_targets(server, arguments.task, arguments.job, arguments.project, chosen)
        prune(place.cache, int(arguments.cache_gb * 2**30))
        engine = learned_engine(server, arguments, targets, options) or _engine(arguments, options)
        bulk = BulkRun(place, engine, settings, chosen)
        try:
            outcomes = bulk.run(targets)
        except KeyboardInterrupt:
            write_bulk_report(
                report, "Perclip: an interrupted run", bulk.outcomes, _link(server), {"server": server.url}
            )
            raise
        facts = {
            "server": server.url,
            "weights": engine.weights,
            "tasks": str(len(outcomes)),
            "frames": str(sum(o.frames for o in outcomes)),
            "seconds": f"{time.perf_counter() - began:.1f}",
            **({"dry run": "nothing was written to the server"} if arguments.dry_run else {}),
        }
        _print(outcomes, _link(server), arguments.doubt, arguments.dry_run)
        write_bulk_report(report, "Perclip: propagated tasks", outcomes, _link(server), facts)
    print(f"report: {report}")
    if refused:
        raise PerclipError("; ".join(refused))
    failed = [outcome for outcome in outcomes if outcome.error]
    untold = [outcome.error for outcome in failed if outcome.error and not outcome.is_told]
    if failed:
        raise PerclipError(
            untold[0]
            if len(outcomes) == 1 and untold
            else f"{len(failed)} of {len(outcomes)} tasks failed or lack jobs, see above"
        )


def _review(arguments: argparse.Namespace) -> None:
    from plugin.cvat.run.bulk_report import write_bulk_report
    from plugin.cvat.run.task_review import review_task
    from plugin.cvat.task.layout import read_task

    outcomes: list[TaskOutcome] = []
    with open_server(arguments) as server:
        place = workplace(arguments, server, dry=True)

        def review(task: int) -> None:
            _check_journal(place, task)
            with place.open(read_task(server, task)) as opened:
                outcome = review_task(opened, arguments.doubt)
            outcomes.append(outcome)
            if not outcome.pictures:
                print(f"task {task}: nothing below {arguments.doubt:g} that nobody has touched")
            for doubt in (picture.doubt for picture in outcome.pictures):
                name = outcome.names[doubt.group]
                print(f"{doubt.confidence:.2f}  {name:24} {_link(server)(outcome, doubt.frame)}")

        try:
            _each(arguments.task, review)
        finally:
            if arguments.report is not None:
                write_bulk_report(arguments.report, "Perclip: frames to look at", outcomes, _link(server), {})
                print(f"report: {arguments.report}")


def _undo(arguments: argparse.Namespace) -> None:
    from plugin.cvat.run.undo import Undone, undo_task
    from plugin.cvat.task.layout import read_task

    with open_server(arguments) as server:
        place = workplace(arguments, server, arguments.dry_run)

        def undo(task: int) -> None:
            _check_journal(place, task)
            with place.journal(task) as journal:
                total = Undone(0, 0)

                def undo_job(job: int) -> None:
                    nonlocal total
                    total += undo_task(server, journal, read_task(server, task, [job]), arguments.dry_run)

                try:
                    _each(sorted(journal.jobs()), undo_job)
                finally:
                    verb = "would be deleted" if arguments.dry_run else "deleted"
                    tracks = "1 drawn track" if total.restored == 1 else f"{total.restored} drawn tracks"
                    back = f", {tracks} put back as drawn" if total.restored else ""
                    print(
                        f"task {task}: {total.deleted} of Perclip's own {verb}{back}, "
                        f"{total.kept} kept that people have touched"
                    )

        _each(arguments.task, undo)


def _each(numbers: Sequence[int], work: "Callable[[int], None]") -> None:
    """Works on all; one that fails does not stop the others. Raises PerclipError at the end."""
    errors = []
    for number in numbers:
        try:
            work(number)
        except PerclipError as error:
            errors.append(str(error))
    if errors:
        raise PerclipError("; ".join(errors))


def _engine(arguments: argparse.Namespace, options: PropagationOptions) -> "Engine":
    """What propagates; the network itself is loaded when there is something to do."""
    if arguments.function_url:
        from plugin.cvat.engine.function_engine import FunctionEngine

        return FunctionEngine(arguments.function_url, options.clip_length)
    from plugin.cvat.engine.engine import LocalEngine

    return LocalEngine(arguments.model or DEFAULT_NETWORK, arguments.weights, options, arguments.learn)


def _check_journal(place: "Workplace", task: int) -> None:
    path = place.journal_path(task)
    if not path.exists():
        raise InputError(f"task {task}: Perclip has written nothing here, as far as {path} tells; check --journal")


def _link(server: "Server") -> "Callable[[TaskOutcome, int], str]":
    def link(outcome: "TaskOutcome", frame: int) -> str:
        jobs = outcome.layout.jobs_with(frame) if outcome.layout else []
        return server.frame_link(outcome.task, jobs[0].id if jobs else 0, frame)

    return link


def _print(
    outcomes: "Sequence[TaskOutcome]", link: "Callable[[TaskOutcome, int], str]", below: float, dry: bool
) -> None:
    for outcome in outcomes:
        written = outcome.written
        verb = "would be written" if dry else "written"
        counts = f"{written.created} annotations {verb}, {written.kept} as before, {written.deleted} replaced"
        if outcome.error:
            print(f"task {outcome.task}: FAILED after {outcome.frames} frames, {counts}")
        elif outcome.frames or written.deleted:
            print(f"task {outcome.task}: {outcome.frames} frames propagated, {counts}")
        else:
            print(f"task {outcome.task}: nothing to do")
        # A run that writes has told of these before.
        for line in (*outcome.unmatched, *(f"one object: {text}" for text in outcome.joined)) if dry else ():
            print(f"  {line}")
        for warning in outcome.warnings[:10]:
            print(f"  {warning}")
        doubts = [p.doubt for p in outcome.pictures if p.doubt.confidence < below]
        for doubt in doubts[:5]:
            print(f"  look at {doubt.confidence:.2f} {outcome.names[doubt.group]}: {link(outcome, doubt.frame)}")


def _settings(arguments: argparse.Namespace) -> BulkSettings:
    for name, value in (("--min-confidence", arguments.min_confidence), ("--doubt", arguments.doubt)):
        if not 0 <= value <= 1:
            raise InputError(f"{name} {value:g}: give a number from 0 to 1")
    if not 0 <= arguments.tolerance <= 100:
        raise InputError(f"--tolerance {arguments.tolerance:g}: give 0 to 100 pixels")
    if arguments.max_gap is not None and arguments.max_gap < 1:
        raise InputError(f"--max-gap {arguments.max_gap}: give 1 or more frames")
    if arguments.proposals < 1:
        raise InputError(f"--proposals {arguments.proposals}: give 1 or more frames")
    return BulkSettings(
        output=arguments.output,
        tolerance=arguments.tolerance,
        direction=arguments.direction,
        max_gap=arguments.max_gap,
        min_confidence=arguments.min_confidence,
        labels=tuple(arguments.label),
        frames=tuple(arguments.frames),
        rectangles=arguments.rectangles,
        proposals=arguments.proposals if arguments.propose else 0,
        review=arguments.review,
        review_label=arguments.review_label,
        doubt_below=arguments.doubt,
    )


def _words(text: str) -> list[str]:
    words = [word.strip() for word in text.split(",") if word.strip()]
    if not words:
        raise argparse.ArgumentTypeError("nothing is named")
    return words


def _states(text: str) -> list[str]:
    return _among(text, ("new", "in progress", "completed", "rejected"))


def _stages(text: str) -> list[str]:
    return _among(text, ("annotation", "validation", "acceptance"))


def _among(text: str, known: Sequence[str]) -> list[str]:
    words = _words(text)
    for word in words:
        if word not in known:
            raise argparse.ArgumentTypeError(f"{word!r} is none of {', '.join(known)}")
    return words


def _ranges(text: str) -> list[range]:
    found = []
    for part in text.replace(" ", "").split(","):
        match = re.fullmatch(r"(\d{1,9})(?:-(\d{1,9}))?", part)
        if not match or (match[2] and int(match[2]) < int(match[1])):
            raise argparse.ArgumentTypeError(f"{part!r} are no frames like 0-99 or 12")
        found.append(range(int(match[1]), int(match[2] or match[1]) + 1))
    return found
