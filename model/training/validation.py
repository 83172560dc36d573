"""Accuracy during a training, on sequences that it does not learn from."""

from collections.abc import Sequence

from model.data.annotated_sequences import AnnotatedSequence
from model.evaluation.scores import Measures
from model.evaluation.semi_supervised import Task, evaluate
from model.network.pcvos import PCVOS
from model.options import PropagationOptions
from model.propagation.propagator import Propagator


def leading_frames(sequences: Sequence[AnnotatedSequence], frames: int | None) -> list[AnnotatedSequence]:
    """The sequences cut to their first frames, or whole for None; checked now rather than after hours of training.

    Raises:
        InputError: nothing can be scored in one of them; names it.
    """
    cut = [sequence.leading(frames) for sequence in sequences]
    for sequence in cut:
        Task(sequence)
    return cut


def validate(network: PCVOS, sequences: Sequence[AnnotatedSequence]) -> Measures:
    """J, F and J&F, means over sequences, with the engine's default options.

    Args:
        network: left as it is; runs where it lies.
        sequences: with true masks.
    """
    options = PropagationOptions(device=str(next(network.parameters()).device))
    return evaluate(Propagator(network, options), sequences).mean
