"""`python -m model.training --data ARCHIVE... --out DIR [--resume]`: trains a network per clip (PCVOS 3.6)."""

import argparse
import sys
from collections.abc import Sequence

from model.program.command_line import Parser, run_program
from model.training.arguments import add_arguments, run_and_recipe


def main(argv: Sequence[str] | None = None) -> int:
    """Trains and prints the checkpoint's path; returns the exit code."""
    parser = Parser(prog=f"python -m {__package__}", description="Trains a network per clip (PCVOS 3.6).")
    add_arguments(parser)
    return run_program(parser, _train, argv)


def _train(arguments: argparse.Namespace) -> None:
    settings = run_and_recipe(arguments)
    from model.training.program import train  # loads torch

    print(train(*settings))


if __name__ == "__main__":
    sys.exit(main())
