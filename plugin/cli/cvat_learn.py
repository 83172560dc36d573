"""`perclip cvat learn`, and what `perclip cvat propagate` makes of it."""

import argparse
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from model.errors import InputError
from model.network.checkpoint_files import SHIPPED
from model.network.config import DEFAULT_NETWORK
from model.options import DTYPES, PropagationOptions
from model.program.atomic_write import check_writable
from plugin.cli.cvat_server import ids, open_server, workplace

if TYPE_CHECKING:
    from plugin.cvat.engine.engine import Engine
    from plugin.cvat.run.bulk import Target
    from plugin.cvat.server.client import Server

EXAMPLES_OF_LEARN = """\
examples:
  perclip cvat learn --url https://cvat.example.org --project 3
  perclip cvat learn --url https://cvat.example.org --project 3 --task 12,13 --seconds 28800 --report night.html
  perclip cvat propagate --url https://cvat.example.org --project 3 --weights learned

Nothing is written to the server. Run it again after Ctrl-C or a crash: it goes on. What is learned is used only by
--weights learned, and only where it is better on keyframes that were held out.
"""

_SECONDS = 3600.0
_LEARNED = Path("learned")


def add_learn(parser: argparse.ArgumentParser) -> None:
    """The options of `perclip cvat learn`."""
    what = parser.add_argument_group("what to learn from")
    what.add_argument("--project", type=int, required=True, metavar="ID", help="its tasks' human keyframes")
    what.add_argument(
        "--task", "--tasks", type=ids, action="extend", default=[], metavar="ID,...", help="only these tasks of it"
    )
    how = parser.add_argument_group("how")
    budget = how.add_mutually_exclusive_group()
    budget.add_argument("--seconds", type=float, default=_SECONDS, metavar="N", help=f"about (default {_SECONDS:g})")
    budget.add_argument("--steps", type=int, metavar="N", help="steps of the training, instead of a time")
    how.add_argument("--resume", action="store_true", help="only go on with a run that was ended early")
    how.add_argument("--anew", action="store_true", help="forget what a run that was ended early has begun")
    how.add_argument("--model", choices=sorted(SHIPPED), default=DEFAULT_NETWORK, help=f"default {DEFAULT_NETWORK}")
    how.add_argument("--weights", type=Path, metavar="FILE", help="begin with these (default: the shipped ones)")
    how.add_argument(
        "--short-side", type=int, metavar="PIXELS", default=480, help="of the network's input, as of propagate"
    )
    how.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 (default auto)")
    how.add_argument("--dtype", choices=DTYPES, default="auto", help="number format of the check (default auto)")
    parser.add_argument("--report", type=Path, metavar="FILE", help="HTML page (default perclip-learn-DATE.html)")


def learn(arguments: argparse.Namespace) -> None:
    """Runs `perclip cvat learn`; raises PerclipError."""
    from model.learning.project_learner import Budget

    budget = Budget(arguments.seconds, arguments.steps)
    if arguments.resume and arguments.anew:
        raise InputError("--resume goes on and --anew begins again: leave one out")
    if arguments.weights == _LEARNED:
        raise InputError("learning begins with the shipped weights or a file: leave --weights learned out")
    options = PropagationOptions(
        device=arguments.device, dtype=arguments.dtype, short_side=arguments.short_side or None
    )
    report = arguments.report or Path(time.strftime("perclip-learn-%Y%m%d-%H%M%S.html"))
    check_writable(report)
    from plugin.cvat.engine.engine import LocalEngine
    from plugin.cvat.run.learned_project import LearnedFiles
    from plugin.cvat.run.learning_report import scores_by_label, write_learning_report
    from plugin.cvat.run.project_learning import ProjectLearning

    engine = LocalEngine(arguments.model, arguments.weights, options)
    with open_server(arguments) as server:
        files = LearnedFiles.of(server.url, arguments.project)
        targets = _targets(server, arguments.project, arguments.task)
        with ProjectLearning(workplace(arguments, server, dry=True), engine, files) as learning:
            goes_on = learning.begin(arguments.task, budget, arguments.anew)
            if arguments.resume and not goes_on:
                learning.finish()
                raise InputError(f"nothing to resume: no run for project {arguments.project} was ended early")
            if goes_on:
                server.tell(f"project {arguments.project}: going on with the run that was ended early")
            try:
                outcome = learning.learn(targets, budget)
            except KeyboardInterrupt:
                raise KeyboardInterrupt("what was done is kept; run the same command again to go on") from None
            checkpoint = {"checkpoint": str(files.checkpoint)} if outcome.used else {}
            facts = {"server": server.url, "project": str(arguments.project), **checkpoint}
            write_learning_report(report, outcome, server, facts)
            learning.finish()
    for warning in outcome.warnings[:10]:
        print(f"  {warning}")
    print(f"project {arguments.project}: {outcome.words}")
    for label, (count, before, after) in scores_by_label(outcome).items():
        print(f"  {label}: J&F {before:.3f} -> {after:.3f} on {count} masks")
    if outcome.used:
        print(f"checkpoint: {files.checkpoint}")
        print(f"use it: perclip cvat propagate --project {arguments.project} --weights learned")
    print(f"report: {report}")


def _targets(server: "Server", project: int, tasks: Sequence[int]) -> "list[Target]":
    """The tasks of a project, or those of them that were named; raises PerclipError."""
    from plugin.cvat.run.bulk import TargetFilter, find_targets

    targets, _ = find_targets(server, (), (), [project], TargetFilter())
    foreign = sorted(set(tasks) - {target.task for target in targets})
    if foreign:
        raise InputError(f"task {foreign[0]} is none of project {project} that has frames: check --task")
    return [target for target in targets if not tasks or target.task in tasks]


def learned_engine(
    server: "Server", arguments: argparse.Namespace, targets: "Iterable[Target]", options: PropagationOptions
) -> "Engine | None":
    """The engine with what was learned from the targets' project, where `--weights learned` asks for it.

    Without it the person is told of what there is.

    Raises:
        InputError: the tasks are not of one project, nothing was learned from it, or `--model` is another network.
        CvatError: the server refuses.
    """
    from plugin.cvat.engine.engine import LocalEngine
    from plugin.cvat.run.bulk import projects_of
    from plugin.cvat.run.learned_project import LearnedFiles

    projects: set[int | None] = set(arguments.project)
    if arguments.weights != _LEARNED:
        for project in () if arguments.weights or arguments.function_url else sorted(arguments.project):
            known = None
            with suppress(InputError):  # damaged: nobody has asked for it
                known = LearnedFiles.of(server.url, project).read()
            if known is not None and arguments.model in (None, known.network):
                server.tell(f"project {project} has weights of its own, {known.words}: --weights learned uses them")
        return None
    if not projects or arguments.task or arguments.job:
        projects |= projects_of(server, [target.task for target in targets])
    project = projects.pop() if len(projects) == 1 else None
    if project is None:
        raise InputError("--weights learned is for tasks of one project: give one --project")
    files = LearnedFiles.of(server.url, project)
    learned = files.read()
    if learned is None:
        raise InputError(
            f"nothing that is better was learned from project {project}: run perclip cvat learn --project {project}"
        )
    if arguments.model not in (None, learned.network):
        raise InputError(f"project {project} has learned weights of {learned.network}: leave --model out")
    engine = LocalEngine(learned.network, files.checkpoint, options, arguments.learn)
    engine.weights = f"{files.checkpoint}, {learned.words}; begun with {learned.begun_with}"
    return engine
