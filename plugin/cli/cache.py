"""Shows what Perclip keeps for the next time, and empties it.

What networks have learned from keyframes (--learn), and the images of CVAT tasks (but for those of --cache DIR). All of
it can be had again, at the cost of time: nothing is lost when it is emptied, and what is least recently used gives way
by itself. What `perclip cvat learn` has made of projects is told too, but not emptied: `perclip models` lists it.
"""

import argparse

from plugin.cli.sizes import in_words

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
    from plugin.cvat.run.learned_project import LearnedFiles
    from plugin.cvat.task.chunk_store import cache_folder, chunks_in, prune

    learned = LearnedWeights(learned_folder())
    images = cache_folder()
    if arguments.empty in ("learned", "all"):
        learned.empty()
    if arguments.empty in ("images", "all"):
        prune(images, 0)
    kept = learned.kept()
    networks = "network" if kept.networks == 1 else "networks"
    print(
        f"learned  {kept.networks} {networks}, {in_words(kept.size)} of {in_words(learned.budget)} in {learned.folder}"
    )
    print(f"images   {in_words(sum(size for _, size, _ in chunks_in(images)))} in {images}")
    projects = LearnedFiles.every().values()
    if projects:
        size = in_words(sum(files.size for files in projects))
        print(f"projects {len(projects)}, {size}: not emptied here, `perclip models` lists and removes them")
