"""Accuracy during a training, on sequences that it does not learn from."""

from collections.abc import Sequence
from dataclasses import replace

from model.annotated_sequences import AnnotatedSequence
from model.evaluation import evaluate
from model.options import PropagationOptions
from model.pcvos import PCVOS
from model.propagator import Propagator
from model.scores import Measures


def validate(network: PCVOS, sequences: Sequence[AnnotatedSequence], frames: int | None) -> Measures:
    """J, F and J&F, means over sequences, with the engine's default options.

    Args:
        network: left as it is.
        sequences: with true masks.
        frames: only the first so many of each sequence; None for all.
    """
    if frames is not None:
        sequences = [
            replace(s, frames=s.frames[:frames], label_maps=s.label_maps[:frames], annotated=()) for s in sequences
        ]
    return evaluate(Propagator(network, PropagationOptions()), sequences).mean
