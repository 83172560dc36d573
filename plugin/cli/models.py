"""Lists the networks that Perclip knows, and what `perclip cvat learn` has made of projects.

What was learned from a project is kept until it is removed here.
"""

import argparse
from typing import TYPE_CHECKING

from model.errors import InputError
from model.network.checkpoint_files import SHIPPED
from model.network.config import DEFAULT_NETWORK, NETWORKS
from plugin.cli.sizes import in_words

if TYPE_CHECKING:
    from plugin.cvat.run.learned_project import LearnedFiles

HELP = "list the networks, and what was learned from projects"
EXAMPLES = """\
examples:
  perclip models
  perclip models --remove cvat.example.org/project-3
"""

_ABOUT = {
    "perclip-lite": "compact network for CPUs and quick work",
    "perclip-lite-open": "the same, trained from data that may be used commercially",
    "pcvos": "the published per-clip network, J&F 86.1 by its paper; give its public checkpoint with --weights",
    "stcn": "PCVOS without intra-clip refinement, J&F 85.4 by its paper; give its public checkpoint with --weights",
    "stm": "space-time memory (ICCV 2019), J&F 81.8 as reported; give its public checkpoint with --weights",
    "swem": "memory of a fixed size (CVPR 2022), J&F 84.3 as reported; give its public checkpoint with --weights",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("--remove", metavar="SERVER/PROJECT", help="remove what was learned from a project, as listed")


def run(arguments: argparse.Namespace) -> None:
    """Remove what is asked for, or print a line per network and what was learned from each project."""
    # The rest of the program for CVAT loads only here.
    from plugin.cvat.run.learned_project import LearnedFiles

    if arguments.remove is not None:
        files = LearnedFiles.named(arguments.remove)
        size = files.size
        files.remove()
        print(f"removed: {files.name}, {in_words(size)}")
        return
    for name in sorted(NETWORKS):
        shipped = SHIPPED.get(name)
        state = "ready" if shipped is not None and shipped.path.is_file() else "needs --weights"
        default = " (default)" if name == DEFAULT_NETWORK else ""
        print(f"{name + default:28}{state:18}{_ABOUT[name]}{'' if shipped is None else f'; {shipped.terms}'}")
    every = LearnedFiles.every().values()
    if every:
        print("\nlearned from projects:")
    for files in every:
        print("\n".join([files.name, *(f"  {line}" for line in _lines(files))]))
    if every:
        print("remove one: perclip models --remove SERVER/PROJECT")


def _lines(files: "LearnedFiles") -> list[str]:
    try:
        learned = files.read()
    except InputError as error:
        return [str(error)]
    lines = []
    project = f"--project {files.project}"
    if learned is not None:
        server = learned.server or "URL"
        lines = [
            f"{learned.network}, {learned.words}",
            f"begun with {learned.begun_with}",
            f"{files.checkpoint} ({in_words(files.checkpoint.stat().st_size)})",
            f"use it: perclip cvat propagate --url {server} {project} --weights learned",
            f"or anywhere: --model {learned.network} --weights {files.checkpoint}",
        ]
    elif files.checkpoint.exists() or files.facts.exists():
        lines = [f"not whole: run `perclip cvat learn {project}` again, or remove it"]
    if files.work.is_dir():
        size = in_words(files.size_of_work)
        lines.append(f"an unfinished run, {size}: the same `perclip cvat learn` goes on with it")
    return lines
