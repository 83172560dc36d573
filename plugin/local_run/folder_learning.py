"""Learning from the keyframes of a run, noted in its folder of results so that --resume goes on with the same."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from model.errors import InputError
from model.learning.learned_weights import LearnedWeights, learned_folder
from model.learning.learner import Learned, Learner, seconds_on
from model.learning.lesson import Lesson
from model.learning.record import LearningRecord
from model.program.atomic_write import atomic_write

if TYPE_CHECKING:
    from model.network.segmentation_network import SegmentationNetwork
    from model.options import PropagationOptions

_RECORD = "learning.json"


def learn_in(
    folder: Path,
    network: "SegmentationNetwork",
    options: "PropagationOptions",
    seconds: float,
    lesson: Lesson,
    begun: bool,
    left: bool = True,
) -> Learned:
    """The network that a folder's frames are made with, and what is to be said of it.

    Args:
        folder: of the results, locked.
        network: as it is.
        options: of the run.
        seconds: to learn for, or `USUAL_TIME`.
        lesson: the video and its keyframes.
        begun: whether the folder holds frames of an earlier run; these and the next must be made with the same.
        left: whether there are frames to be made; without any nothing is learned again, and the network is as it was.

    Raises:
        InputError: an earlier run learned something that is kept no more and comes out otherwise here; or the record
            cannot be written.
    """
    path = folder / _RECORD
    known = _read(path)
    if known is not None and known.over and not left:
        return Learned(network, known)

    def note(record: LearningRecord) -> None:
        if begun and (known is None or (known.over and record.over and record.weights != known.weights)):
            raise InputError(
                f"{folder} was made with weights that are kept no more and cannot be learned again here: choose "
                "another --out and start anew"
            )
        with atomic_write(path) as part:
            part.write_text(json.dumps(record.to_json(), indent=1), encoding="utf-8")

    learner = Learner(
        network, options, seconds_on(options.device, seconds), kept=LearnedWeights(learned_folder()), progress=True
    )
    return learner.learn([lesson], [] if known is None else [known], note)


def _read(path: Path) -> LearningRecord | None:
    try:
        return LearningRecord.from_json(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
