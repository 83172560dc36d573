"""One run: what all of its passes share."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from model.confidence.calibration import Calibration
from model.inference.framing import Framing
from model.inference.prepared_network import InferenceNetwork
from model.object_masks import ObjectMasks
from model.options import PropagationOptions
from model.propagation.keyframe_memory import KeyframeMemory
from model.propagation.run_record import RunRecord
from model.propagation.timeline import Timeline


@dataclass(frozen=True)
class Run:
    """A sequence, what was drawn in it, and how it is to be propagated.

    Attributes:
        network: prepared.
        calibration: of the confidence.
        options: of the run.
        framing: from frames to network input and back.
        frames: all of the sequence, uint8 (H, W, 3).
        timeline: the keyframes on the time axis.
        direction: "forward", "backward" or "both".
        labels: of objects, as far as they have any; see `layers`.
        finished: masks of frames whose results are known, or label maps, uint8 (H, W).
        record: how far the run came before; is kept up to date.
        admit: asked before each clip is segmented, with the numbers of its frames; False pauses the run.
    """

    network: InferenceNetwork
    calibration: Calibration
    options: PropagationOptions
    framing: Framing
    frames: Sequence[np.ndarray]
    timeline: Timeline
    direction: str
    labels: Mapping[int, Hashable]
    finished: Mapping[int, ObjectMasks | np.ndarray]
    record: RunRecord
    admit: Callable[[range], bool]

    @cached_property
    def keyframe_memory(self) -> KeyframeMemory:
        """Keys and values of the keyframes, encoded once for all passes."""
        return KeyframeMemory(self.network, self.framing, self.frames)

    @property
    def forward(self) -> bool:
        """Whether there are forward passes."""
        return self.direction in ("forward", "both")

    @property
    def backward(self) -> bool:
        """Whether there are backward passes."""
        return self.direction in ("backward", "both")
