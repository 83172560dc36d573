"""Lists the networks that Perclip knows."""

import argparse

from model.checkpoint_files import SHIPPED
from model.config import NETWORKS

HELP = "list the networks"
EXAMPLES = ""

_ABOUT = {
    "perclip-lite": "compact network for CPUs and quick work; its weights ship with Perclip",
    "pcvos": "the published per-clip network; give its public checkpoint with --weights",
    "stcn": "PCVOS without intra-clip refinement; give its public checkpoint with --weights",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command has no options."""


def run(arguments: argparse.Namespace) -> None:
    """Print a line per network."""
    for name in sorted(NETWORKS):
        shipped = SHIPPED.get(name)
        state = "ready" if shipped is not None and shipped.is_file() else "needs --weights"
        print(f"{name:14}{state:18}{_ABOUT[name]}")
