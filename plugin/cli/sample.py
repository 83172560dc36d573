"""Renders a sample clip with true masks: two textured objects that move and hide one another."""

import argparse
from pathlib import Path

HELP = "render a sample clip with true masks"
EXAMPLES = "example:\n  perclip sample --out out/sample"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for sample.mp4 and masks/")
    parser.add_argument("--frames", type=int, default=60, metavar="N", help="length of the clip (default 60)")


def run(arguments: argparse.Namespace) -> None:
    """Render and say where it is."""
    from model.errors import InputError
    from plugin.local_run.sample import render_sample

    if arguments.frames < 1:
        raise InputError(f"--frames must be at least 1, not {arguments.frames}")
    clip = render_sample(arguments.out, frames=arguments.frames)
    print(f"{clip.video} with {len(clip.masks)} true masks in {clip.masks[0].parent}")
