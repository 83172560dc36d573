"""The options of a training on a command line. Loads no torch, so that `--help` is quick."""

import argparse
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model.errors import InputError
from model.training.recipe import Recipe

if TYPE_CHECKING:
    from model.training.program import Run


def add_arguments(parser: argparse.ArgumentParser, **defaults: Any) -> None:
    """The options of a training, for `python -m model.training` and for programs that read data of their own.

    Args:
        parser: gets them.
        defaults: by name, where they are not those of `Recipe` or the program's.
    """
    defaults = {"every": 500, "save_every": 100, "validation_frames": 20} | defaults

    def number(flag: str, about: str, metavar: str = "N") -> None:
        default = defaults.get(flag.removeprefix("--").replace("-", "_"))
        about += "" if default is None else f" (default {default})"
        parser.add_argument(flag, type=int, default=default, metavar=metavar, help=about)

    parser.add_argument(
        "--data", type=Path, nargs="+", required=True, metavar="PATH", help="folders or zip archives: videos, stills"
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder for checkpoint, state, log and curves"
    )
    parser.add_argument("--resume", action="store_true", help="go on exactly where the training in --out stopped")
    parser.add_argument("--weights", type=Path, metavar="FILE", help="checkpoint to fine-tune")
    parser.add_argument("--trunk", type=Path, metavar="FILE", help="folded weights of a trunk for a new perclip-lite")
    parser.add_argument("--validation", type=Path, metavar="PATH", help="annotated videos to measure accuracy on")
    number("--validation-frames", "of each of them")
    number("--every", "steps between validations and curves")
    number("--save-every", "steps between saved states")
    number("--stop-after", "leave at this step; --resume goes on")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:1 (default auto)")
    number("--threads", "of the CPU")
    settings = parser.add_argument_group("recipe", "what the result depends on; explained in model/training/recipe.py")
    for field in fields(Recipe):
        flag, default = "--" + field.name.replace("_", "-"), defaults.get(field.name, field.default)
        settings.add_argument(
            flag, type=type(field.default), default=default, metavar=field.name.upper(), help=f"default {default}"
        )


def run_and_recipe(args: argparse.Namespace, **changes: Any) -> "tuple[Run, Recipe]":
    """What the parsed options ask for; `changes` are fields of the run.

    Raises:
        InputError: a value is out of its range.
    """
    recipe = Recipe(**{field.name: getattr(args, field.name) for field in fields(Recipe)})
    if args.threads is not None and args.threads < 1:
        raise InputError(f"--threads {args.threads}: give 1 or more")

    import torch

    from model.training.program import Run

    if args.threads is not None:
        torch.set_num_threads(args.threads)
    names = {field.name for field in fields(Run)} & set(vars(args))
    return Run(**{name: getattr(args, name) for name in names} | changes), recipe
