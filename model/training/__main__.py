"""`python -m model.training --data ARCHIVE... --out DIR [--resume]`: trains a network per clip (PCVOS 3.6)."""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from model.errors import PerclipError
from model.training.arguments import add_arguments, run_and_recipe

EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, like all others."""

    def error(self, message: str) -> NoReturn:
        """Leave with exit code 2."""
        self.exit(EXIT_BAD_INPUT, f"error: {message} (see {self.prog} --help)\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Trains and prints the checkpoint's path.

    Returns:
        0 done, 2 bad input (one line on standard error says what to do), 130 interrupted.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # as the command line of the plugin sets it, and why
    parser = _Parser(prog="python -m model.training", description=__doc__)
    add_arguments(parser)
    arguments = parser.parse_args(argv)
    try:
        run, recipe = run_and_recipe(arguments)
        from model.training.program import train

        print(train(run, recipe))
    except PerclipError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_BAD_INPUT
    except KeyboardInterrupt:
        print("\ninterrupted: go on with --resume", file=sys.stderr)
        return EXIT_INTERRUPTED
    return 0


if __name__ == "__main__":
    sys.exit(main())
