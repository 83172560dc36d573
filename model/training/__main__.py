"""`python -m model.training --data ARCHIVE... --out DIR [--resume]`: trains a network per clip (PCVOS 3.6)."""

import argparse
import sys
from dataclasses import fields
from pathlib import Path

import torch

from model.errors import PerclipError
from model.training.program import Run, train
from model.training.recipe import Recipe


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of a training, for this program and for others that read data of their own."""
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="folders or zip archives: videos, stills")
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoint, state, log and curves")
    parser.add_argument("--resume", action="store_true", help="go on exactly where the training in --out stopped")
    parser.add_argument("--weights", type=Path, help="checkpoint to fine-tune")
    parser.add_argument("--trunk", type=Path, help="folded MobileNetV2 that a new perclip-lite starts from")
    parser.add_argument("--validation", type=Path, help="annotated videos to measure accuracy on")
    parser.add_argument("--validation-frames", type=int, default=20, help="of each of them (20)")
    parser.add_argument("--every", type=int, default=500, help="steps between validations (500)")
    parser.add_argument("--save-every", type=int, default=100, help="steps between saved states (100)")
    parser.add_argument("--stop-after", type=int, help="leave at this step; --resume goes on")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:1")
    parser.add_argument("--threads", type=int, help="of the CPU")
    for field in fields(Recipe):
        flag = "--" + field.name.replace("_", "-")
        parser.add_argument(flag, type=type(field.default), default=field.default, help=f"({field.default})")


def run_and_recipe(args: argparse.Namespace, **changes) -> tuple[Run, Recipe]:
    """What the parsed options ask for; `changes` are fields of the run."""
    if args.threads:
        torch.set_num_threads(args.threads)
    recipe = Recipe(**{field.name: getattr(args, field.name) for field in fields(Recipe)})
    names = {field.name for field in fields(Run)} & set(vars(args))
    return Run(**{name: getattr(args, name) for name in names} | changes), recipe


def main(argv: list[str] | None = None) -> int:
    """Runs the program; gives the exit code."""
    parser = argparse.ArgumentParser(prog="python -m model.training", description=__doc__)
    add_arguments(parser)
    try:
        print(train(*run_and_recipe(parser.parse_args(argv))))
    except PerclipError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted: go on with --resume", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
