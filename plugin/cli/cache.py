"""Shows what Perclip keeps for the next time, and empties it.

What networks have learned from keyframes (--learn), and the images of CVAT tasks (but for those of --cache DIR). All of
it can be had again, at the cost of time: nothing is lost when it is emptied, and what is least recently used gives way
by itself.
"""

import argparse

HELP = "show or empty what is kept for the next time"
EXAMPLES = """\
examples:
  perclip cache
  perclip cache --empty learned
"""

_KINDS = ("learned", "images", "all")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("--empty", choices=_KINDS, nargs="?", const="all", help="what to remove (default all)")


def run(arguments: argparse.Namespace) -> None:
    """Empty what is asked for and print what is there."""
    # Torch loads only here.
    from model.learning.learned_weights import LearnedWeights, learned_folder
    from plugin.cvat.task.chunk_store import cache_folder, chunks_in, prune

    learned = LearnedWeights(learned_folder())
    images = cache_folder()
    if arguments.empty in ("learned", "all"):
        learned.empty()
    if arguments.empty in ("images", "all"):
        prune(images, 0)
    kept = learned.kept()
    networks = "network" if kept.networks == 1 else "networks"
    print(f"learned  {kept.networks} {networks}, {_size(kept.size)} of {_size(learned.budget)} in {learned.folder}")
    print(f"images   {_size(sum(size for _, size, _ in chunks_in(images)))} in {images}")


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"
