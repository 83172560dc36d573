"""The command line: `perclip COMMAND ...`. Errors and exit codes are decided here and nowhere else."""

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

from model.errors import PerclipError

_COMMANDS = ("propagate", "train", "models", "sample")
EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, like all others."""

    def error(self, message: str) -> NoReturn:
        """Leave with exit code 2."""
        self.exit(EXIT_BAD_INPUT, f"perclip: error: {message} (see {self.prog} --help)\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        0 done, 2 bad input (one line on standard error says what to do), 130 interrupted.
    """
    # Torch's threads spin for long while they wait, which ruins a machine that has other work. On two cores,
    # perclip-lite alone: 12.4 fps with this and 12.0 without; beside one busy process 6.0 and 4.8 (and at worst 0.6).
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    parser = _Parser(
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
        sys.stdout.flush()
    except PerclipError as error:
        print(f"perclip: error: {error}", file=sys.stderr)
        return EXIT_BAD_INPUT
    except KeyboardInterrupt as interrupt:
        print(f"\nperclip: interrupted{f': {interrupt}' if str(interrupt) else ''}", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has gone; Python must not complain about it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0
