"""What propagates masks: the network in this process, or a deployed function."""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from model.keyframe import Keyframe
from model.network.checkpoint_files import shipped_path, weights_in_words
from model.network.config import network_config
from model.network.fitted_options import fitted
from model.options import PropagationOptions
from model.propose_reduce.mask_identity import Propagates
from model.result import FrameResult
from plugin.digest import file_digest

if TYPE_CHECKING:
    from model import Propagator


class Engine(Propagates, Protocol):
    """Propagates keyframes.

    Attributes:
        identity: of all that decides its results besides frames and keyframes.
        weights: which ones it runs, and under which terms, for people.
        clip_length: frames that it reads at once.
        parallel: how many runs it serves at a time.
    """

    identity: str
    weights: str
    clip_length: int
    parallel: int

    def prepare(self) -> None:
        """Loads what `run` would load first."""
        ...


class LocalEngine:
    """The network in this process.

    Args:
        network: name.
        weights: checkpoint; None: the shipped one.
        options: of the engine.

    Raises:
        InputError: the weights cannot be read, or an option is not for this network. Whatever else is wrong with them,
            or with the device, `prepare` raises.
    """

    parallel = 1

    def __init__(self, network: str, weights: Path | None, options: PropagationOptions):
        options = fitted(options, network_config(network))
        file = weights or shipped_path(network)
        self.identity = f"{network} {file_digest(file)[:16]} {options.deciding}"
        self.weights = weights_in_words(network, weights)
        self.clip_length = options.clip_frames
        self._network, self._weights, self._options = network, weights, options

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

    @cached_property
    def _propagator(self) -> "Propagator":
        from model import Propagator, load_network  # loads torch, where there is something to do

        return Propagator(load_network(self._network, self._weights), self._options)
