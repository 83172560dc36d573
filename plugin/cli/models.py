"""Lists the networks that Perclip knows."""

import argparse

from model.network.checkpoint_files import SHIPPED
from model.network.config import DEFAULT_NETWORK, NETWORKS

HELP = "list the networks"
EXAMPLES = ""

_ABOUT = {
    "perclip-lite": "compact network for CPUs and quick work",
    "perclip-lite-open": "the same, trained from data that may be used commercially",
    "pcvos": "the published per-clip network, J&F 86.1 by its paper; give its public checkpoint with --weights",
    "stcn": "PCVOS without intra-clip refinement, J&F 85.4 by its paper; give its public checkpoint with --weights",
    "stm": "space-time memory (ICCV 2019), J&F 81.8 as reported; give its public checkpoint with --weights",
    "swem": "memory of a fixed size (CVPR 2022), J&F 84.3 as reported; give its public checkpoint with --weights",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command has no options."""


def run(arguments: argparse.Namespace) -> None:
    """Print a line per network."""
    for name in sorted(NETWORKS):
        shipped = SHIPPED.get(name)
        state = "ready" if shipped is not None and shipped.path.is_file() else "needs --weights"
        default = " (default)" if name == DEFAULT_NETWORK else ""
        print(f"{name + default:28}{state:18}{_ABOUT[name]}{'' if shipped is None else f'; {shipped.terms}'}")
