"""What propagates masks: the network in this process, or a deployed function."""

import copy
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from model.keyframe import Keyframe
from model.learning.lesson import Lesson
from model.learning.recipe import refuse_unsuited
from model.learning.record import LearningRecord
from model.network.checkpoint_files import shipped_path, weights_in_words
from model.network.config import network_config
from model.network.fitted_options import fitted
from model.options import PropagationOptions
from model.propose_reduce.mask_identity import Propagates
from model.result import FrameResult
from plugin.digest import file_digest

if TYPE_CHECKING:
    from model import Propagator
    from model.network.segmentation_network import SegmentationNetwork


class Engine(Propagates, Protocol):
    """Propagates keyframes.

    Attributes:
        identity: of all that decides its results besides frames and keyframes.
        weights: which ones it runs, and under which terms, for people.
        clip_length: frames that it reads at once.
        parallel: how many runs it serves at a time.
        made_with: names the weights that it runs, as the journal keeps it.
    """

    identity: str
    weights: str
    made_with: str
    clip_length: int
    parallel: int

    def prepare(self) -> None:
        """Loads what `run` would load first."""
        ...

    def learned(
        self,
        lessons: Callable[[], Sequence[Lesson]],
        known: Sequence[LearningRecord],
        note: Callable[[LearningRecord], None],
    ) -> tuple["Engine", LearningRecord | None]:
        """What is to propagate these very videos, and what came of learning from their keyframes; as `Learner.learn`.

        Itself and None, and the lessons are not asked for, where it is not to learn.
        """
        ...


class LocalEngine:
    """The network in this process.

    Args:
        network: name.
        weights: checkpoint; None: the shipped one.
        options: of the engine.
        learn: seconds to learn from the keyframes of each task for, or `USUAL_TIME`; None: not at all.

    Attributes:
        options: as they fit the network.

    Raises:
        InputError: the weights cannot be read, or an option, or learning, is not for this network. Whatever else is
            wrong with them, or with the device, `prepare` raises.
    """

    parallel = 1

    def __init__(self, network: str, weights: Path | None, options: PropagationOptions, learn: float | None = None):
        if learn is not None:
            refuse_unsuited(network)
        options = fitted(options, network_config(network))
        file = weights or shipped_path(network)
        self.made_with = f"{network} {file_digest(file)[:16]}"
        # Not what is learned: stretches that are not computed again keep the weights that they were made with.
        self.identity = f"{self.made_with} {options.deciding}" + ("" if learn is None else f" learn {learn:g}")
        self.weights = weights_in_words(network, weights)
        self.clip_length = options.clip_frames
        self.options = options
        self._network, self._weights, self._learn = network, weights, learn

    def prepare(self) -> None:
        """Loads torch and the network; raises InputError and CheckpointError."""
        _ = self._propagator

    def run(
        self,
        frames: Sequence[np.ndarray],
        keyframes: Sequence[Keyframe],
        start: int = 0,
        stop: int | None = None,
        direction: str = "both",
        labels: Mapping[int, Hashable] | None = None,
    ) -> Iterator[FrameResult]:
        """As `Propagator.run`."""
        return self._propagator.run(frames, keyframes, start, stop, direction, labels=labels)

    def learned(
        self,
        lessons: Callable[[], Sequence[Lesson]],
        known: Sequence[LearningRecord],
        note: Callable[[LearningRecord], None],
    ) -> tuple[Engine, LearningRecord | None]:
        """As `Engine.learned`; what was learned is kept in the user's cache."""
        if self._learn is None:
            return self, None
        from model import Propagator
        from model.learning.learned_weights import LearnedWeights, learned_folder
        from model.learning.learner import Learner, seconds_on

        seconds = seconds_on(self.options.device, self._learn)
        kept = LearnedWeights(learned_folder())
        learner = Learner(self.loaded, self.options, seconds, kept=kept, progress=True)
        learned = learner.learn(lessons(), known, note)
        if not learned.record.used:
            return self, learned.record
        engine = copy.copy(self)
        engine._propagator = Propagator(learned.network, self.options)
        engine.made_with = f"{self.made_with} learned {learned.record.weights}"
        return engine, learned.record

    @cached_property
    def loaded(self) -> "SegmentationNetwork":
        """The network itself; raises InputError and CheckpointError."""
        from model import load_network

        return load_network(self._network, self._weights)

    @cached_property
    def _propagator(self) -> "Propagator":
        from model import Propagator  # loads torch, where there is something to do

        return Propagator(self.loaded, self.options)
