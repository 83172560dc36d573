"""The command line: `perclip COMMAND ...`.

Door: the package itself.
Imports: `model`, `model.learning`, `model.network`, `model.program`, `model.training`, `plugin.cvat`,
`plugin.cvat.engine`, `plugin.cvat.journal`, `plugin.cvat.run`, `plugin.cvat.server`, `plugin.cvat.task`,
`plugin.local_run`, `plugin.training`, `serverless`.
"""

import argparse
from collections.abc import Sequence
from importlib import import_module

from model import __version__
from model.program.command_line import Parser, run_program

_COMMANDS = ("propagate", "cvat", "train", "serve", "models", "sample", "cache")


class _Parser(Parser):
    speaker = "perclip: "


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    parser = _Parser(
        prog="perclip",
        description="Carries the masks of a few annotated frames through a whole video.",
        epilog="`perclip COMMAND --help` explains a command with examples.",
    )
    parser.add_argument("--version", action="version", version=f"perclip {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name in _COMMANDS:
        command = import_module(f".{name}", __package__)
        sub = commands.add_parser(
            name,
            help=command.HELP,
            description=command.__doc__,
            epilog=command.EXAMPLES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.add_arguments(sub)
        sub.set_defaults(run=command.run)
    return run_program(parser, lambda arguments: arguments.run(arguments), argv)
