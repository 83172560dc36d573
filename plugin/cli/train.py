"""Fine-tunes the network on videos of your own: tasks exported from CVAT, or data sets in the layout of DAVIS.

Exports must come with their images ("Save images") as "CVAT for video 1.1", "CVAT for images 1.1" or "COCO 1.0", each
task one video. Frames on which a person drew count as annotated, and must show all objects; frames without any shape
are not looked at. Give shapes of one object on several frames the same group (or draw tracks) where a label has more
than one object. Data of several kinds may be mixed.

It starts from the shipped weights unless --weights or --trunk says otherwise. The options are those of the program that
trains a network from nothing, with other defaults.
"""

import argparse

from model.network.checkpoint_files import shipped_path
from model.network.config import DEFAULT_NETWORK, network_config
from model.training.arguments import add_arguments as add_training_arguments
from model.training.arguments import run_and_recipe

HELP = "fine-tune the network on your own annotated videos"
EXAMPLES = """\
examples:
  perclip train --data task.zip --out tuned
  perclip train --data task1.zip task2.zip DAVIS/ --validation held-out.zip --out tuned
  perclip train --data task.zip --out tuned --resume       # after an interruption
  perclip propagate clip.mp4 --keyframe 0=first.png --weights tuned/perclip-lite.safetensors --out result

exit codes: 0 done, 2 bad input, 130 interrupted
"""

# A network that is trained already: a third of the rate, a tenth of the steps.
_FINE_TUNING = {"rate": 1e-4, "iterations": 400, "every": 100, "save_every": 50}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    add_training_arguments(parser, **_FINE_TUNING)


def run(arguments: argparse.Namespace) -> None:
    """Train and say how to use the result."""
    if arguments.weights is None and arguments.trunk is None and not arguments.resume:
        network_config(arguments.network)
        arguments.weights = shipped_path(arguments.network)

    # Torch and OpenCV load only when there is something to do.
    from plugin.training.training_data import read_training_data, read_validation_data

    asked, recipe = run_and_recipe(arguments, read=read_training_data, read_validation=read_validation_data)

    from model.training.program import train

    try:
        checkpoint = train(asked, recipe)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("the same command with --resume goes on from the last saved state") from None
    network = "" if arguments.network == DEFAULT_NETWORK else f" --model {arguments.network}"
    print(f"{checkpoint} is ready; to use it:")
    print(f"  perclip propagate VIDEO --keyframe 0=MASK.png{network} --weights {checkpoint} --out DIR")
