"""The simulated annotator's sequence where the network learns from what is drawn, round after round."""

from collections.abc import Sequence
from dataclasses import replace

from benchmarks.annotator import CorrectedSequence, Scores
from model.errors import InputError
from model.evaluation.semi_supervised import Task
from model.learning.learned_weights import LearnedWeights
from model.learning.learner import Learned, Learner
from model.learning.lesson import Lesson
from model.learning.recipe import LearningRecipe
from model.learning.record import LearningRecord
from model.network.segmentation_network import SegmentationNetwork
from model.options import PropagationOptions
from model.propagation.propagator import Propagator

_LONG = 1e5  # seconds: the number of steps decides


def fixed_steps(recipe: LearningRecipe, steps: int) -> LearningRecipe:
    """A recipe by which so many steps are made, however slow the machine; raises InputError."""
    return replace(recipe, most_steps=steps, least_steps=1)


def learned_from(
    lesson: Lesson,
    network: SegmentationNetwork,
    options: PropagationOptions,
    recipe: LearningRecipe,
    known: Sequence[LearningRecord] = (),
    kept: LearnedWeights | None = None,
    progress: bool = False,
) -> Learned:
    """What comes of learning from a video by a recipe of `fixed_steps`, see `Learner`.

    Raises:
        InputError: learning failed: a user's run would go on without, a measurement must not.
        KeyboardInterrupt: likewise.
    """
    learned = Learner(network, options, _LONG, recipe, kept, progress).learn([lesson], known)
    if learned.record.outcome == "stopped":
        raise KeyboardInterrupt
    if learned.record.outcome == "failed":
        raise InputError(learned.record.words)
    return learned


class LearningSequence(CorrectedSequence):
    """A session with `--learn`: before each round the network learns from all that is drawn by then.

    As for a user it learns on from what was learned last, the check decides what runs, and only the stretches beside
    the correction are propagated again: the others keep the weights that they were made with. So the scores depend on
    the order of the corrections, and one annotator has one sequence for itself.

    Args:
        network: as it is.
        options: of propagation.
        task: what is given in round 1, and what is scored.
        recipe: by `fixed_steps`.
        kept: where what is learned is kept; the same annotator finds it there again.
        progress: show a bar on standard error.

    Attributes:
        records: what came of learning, by round.
    """

    def __init__(
        self,
        network: SegmentationNetwork,
        options: PropagationOptions,
        task: Task,
        recipe: LearningRecipe,
        kept: LearnedWeights,
        progress: bool = False,
    ):
        super().__init__(Propagator(network, options), task)
        self.records: list[LearningRecord] = []
        self._network, self._options, self._recipe = network, options, recipe
        self._kept, self._progress = kept, progress

    def scores(self, corrected: Sequence[int], mode: str) -> Scores:
        """As of any sequence, once it is learned from the masks of round 1 and the corrected frames."""
        lesson = Lesson(self.task.sequence.frames, self.drawn(corrected))
        learned = learned_from(
            lesson, self._network, self._options, self._recipe, self.records, self._kept, self._progress
        )
        self.records.append(learned.record)
        self._propagator = Propagator(learned.network, self._options)
        return super().scores(corrected, mode)
