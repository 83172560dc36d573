"""What all command lines share: errors of one line, exit codes, threads that leave the machine alone."""

import argparse
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import NoReturn

from model.errors import PerclipError
from model.program.standard_streams import lost_output, settle_streams

EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, like all others.

    Attributes:
        speaker: what error lines begin with.
    """

    speaker = ""

    def error(self, message: str) -> NoReturn:
        """Leave with exit code 2."""
        self.exit(EXIT_BAD_INPUT, f"{self.speaker}error: {message} (see {self.prog} --help)\n")


def calm_threads() -> None:
    """Lets torch's threads sleep while they wait; to be called before torch is loaded.

    They spin for long otherwise, which ruins a machine that has other work. On two cores, perclip-lite alone: 12.4 fps
    with this and 12.0 without; beside one busy process 6.0 and 4.8 (and at worst 0.6).
    """
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")


def run_program(parser: Parser, run: Callable[[argparse.Namespace], object], argv: Sequence[str] | None = None) -> int:
    """Parses the arguments and calls `run` with them.

    Whatever becomes of standard output and error (see `model.program.standard_streams`), the program does its work.

    Returns:
        0 done, 2 bad input (one line on standard error says what to do), 130 interrupted.
    """
    settle_streams()
    warnings.filterwarnings("ignore", module="PIL")  # about damaged tags; damaged pixels are errors
    calm_threads()
    try:
        arguments = parser.parse_args(argv)
        code = _run(parser, run, arguments)
    finally:
        sys.stdout.flush()
    lost = lost_output()
    if lost:
        print(f"{parser.speaker}warning: what was printed is not whole ({lost})", file=sys.stderr)
    return code


def _run(parser: Parser, run: Callable[[argparse.Namespace], object], arguments: argparse.Namespace) -> int:
    try:
        run(arguments)
    except PerclipError as error:
        print(f"{parser.speaker}error: {error}", file=sys.stderr)
        return EXIT_BAD_INPUT
    except KeyboardInterrupt as interrupt:
        hint = str(interrupt) or ("go on with --resume" if hasattr(arguments, "resume") else "")
        print(f"\n{parser.speaker}interrupted{hint and f': {hint}'}", file=sys.stderr)
        return EXIT_INTERRUPTED
    return 0
