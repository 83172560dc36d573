"""The command line: `perclip COMMAND ...`. Errors and exit codes are decided here and nowhere else."""

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

from model.errors import PerclipError

_COMMANDS = ("propagate", "models", "sample")
EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        0 done, 2 bad input (one line on standard error says what to do), 130 interrupted.
    """
    parser = argparse.ArgumentParser(
        prog="perclip",
        description="Carries the masks of a few annotated frames through a whole video.",
        epilog="`perclip COMMAND --help` explains a command with examples.",
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name in _COMMANDS:
        command = import_module(f"plugin.cli.{name}")
        sub = commands.add_parser(
            name,
            help=command.HELP,
            description=command.__doc__,
            epilog=command.EXAMPLES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.add_arguments(sub)
        sub.set_defaults(run=command.run)
    arguments = parser.parse_args(argv)
    try:
        arguments.run(arguments)
    except PerclipError as error:
        print(f"perclip: error: {error}", file=sys.stderr)
        return EXIT_BAD_INPUT
    except KeyboardInterrupt as interrupt:
        print(f"\nperclip: interrupted{f': {interrupt}' if str(interrupt) else ''}", file=sys.stderr)
        return EXIT_INTERRUPTED
    return 0
