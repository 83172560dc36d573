"""The propagation engine: keyframe masks in, a mask for every frame out, clip by clip."""

import dataclasses
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from model.errors import InputError
from model.inference.prepared_network import InferenceNetwork
from model.keyframe import Keyframe
from model.memory.kept_frames import check_budget
from model.network.fitted_options import fitted, flat_policy
from model.network.segmentation_network import SegmentationNetwork
from model.object_masks import ObjectMasks
from model.options import DIRECTIONS, PropagationOptions
from model.propagation.bidirectional import BidirectionalPropagation
from model.propagation.run import Run
from model.propagation.run_record import RunRecord
from model.propagation.timeline import Timeline
from model.result import FrameResult

# Options that the prepared network depends on.
_PREPARED = {"device", "dtype", "refinement", "fold_batchnorm", "channels_last", "fuse_activations"}
_PREPARED |= {"focus", "compile", "device_memory"}


class Propagator:
    """Carries keyframe masks through a sequence of frames.

    The network is copied and prepared once; a propagator can run many sequences, one after the other. Runs on the CPU
    are reproducible bit for bit on one machine.

    Raises:
        InputError: the options name a device that does not exist, or one that this network has no use for.
    """

    def __init__(self, network: SegmentationNetwork, options: PropagationOptions | None = None):
        self.options = fitted(options or PropagationOptions(), network.config)
        self._network = InferenceNetwork(network, self.options)
        self._calibration = network.calibration

    @property
    def network(self) -> InferenceNetwork:
        """The prepared network, to be shared."""
        return self._network

    @property
    def device(self) -> torch.device:
        """Where the network runs."""
        return self._network.device

    @property
    def number_format(self) -> str:
        """Of the network's convolutions: "int8" (most of the trunk), "bfloat16", "float16" or "float32"."""
        return self._network.number_format

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of memory positions of frames of a size in pixels; logits have four times as many."""
        return self._network.framing(height, width, self.options.short_side).grid

    @property
    def flat_policy(self) -> str:
        """The `memory` of runs of any length that can be recorded: "spread", or "auto" of networks that need none."""
        return flat_policy(self._network.config)

    def with_options(self, **changes: Any) -> "Propagator":
        """A propagator with other run options that shares this one's prepared network.

        Raises:
            InputError: an option that the prepared network depends on, as device and dtype, or has no use for.
        """
        fixed = _PREPARED & set(changes)
        if fixed:
            raise InputError(f"{sorted(fixed)[0]} is fixed when the network is prepared: make a new Propagator")
        other = object.__new__(Propagator)
        other.options = fitted(dataclasses.replace(self.options, **changes), self._network.config)
        other._network, other._calibration = self._network, self._calibration
        return other

    def run(
        self,
        frames: Sequence[np.ndarray],
        keyframes: Iterable[Keyframe],
        start: int = 0,
        stop: int | None = None,
        direction: str = "both",
        finished: Mapping[int, ObjectMasks | np.ndarray] | None = None,
        record: RunRecord | None = None,
        admit: Callable[[range], bool] | None = None,
        size: tuple[int, int] | None = None,
        labels: Mapping[int, Hashable] | None = None,
    ) -> Iterator[FrameResult]:
        """Segments the frames start..stop-1; the results are the same as those of a run over all frames.

        Forward propagation reaches from an object's first keyframe to the end, backward from its last keyframe to the
        beginning; "both" does both and fuses them between two keyframes. Frames that the direction does not reach give
        no result. Results come as soon as they are final: stretch after stretch, ascending inside a stretch, but
        descending where only a backward pass speaks.

        Two keyframes that cover all objects enclose a stretch that depends on nothing outside it, bit for bit.

        Args:
            frames: sequence of uint8 (H, W, 3) RGB arrays with len, index and slice; read clip by clip.
            keyframes: on any frames, each for any subset of the objects. Their pixels come back exactly as given.
            start: first frame to give a result for.
            stop: frame behind the last one; None: the end.
            direction: "forward", "backward" or "both".
            finished: masks of frames whose results are known from an earlier, interrupted run, or label maps. They give
                no result again, and whole clips of them are not segmented again but memorised from their masks.
            record: how far an earlier run of the same arguments came; this one goes on from there and keeps it up to
                date. The results are the same as if there had been one run with an empty record (on a GPU up to
                rounding). Memory frames are memorised as a record holds them, so that results differ a little from a
                run without one. Not for the policy "bounded", whose memory depends on every read.
            admit: asked before a clip is segmented, with the numbers of its frames; where it says no, the run ends, and
                `record` has what it takes to go on.
            size: height and width of masks, of keyframes and results alike, where the frames come in other sizes
                (smaller ones, as somebody sends them); None: all have the frames' size.
            labels: names of what the objects are, of any kind and for any of them. Objects that overlap on a keyframe
                do not exclude each other; those of one label, which look alike, do wherever that is possible
                (`model.propagation.layers`). Without overlaps it makes no difference.

        Raises:
            InputError: frames or keyframes do not fit together, at once; a bad frame, when it is reached.
            DeviceMemoryError: a GPU's memory ran out.
        """
        if record is not None and self.options.memory == "bounded":
            raise InputError('a run of memory="bounded" cannot be recorded: use "spread"')
        if direction not in DIRECTIONS:
            raise InputError(f"direction must be one of {', '.join(DIRECTIONS)}, not {direction!r}")
        if len(frames) == 0:
            raise InputError("the sequence has no frame")
        timeline = Timeline(list(keyframes), len(frames))
        stop = len(frames) if stop is None else stop
        if not 0 <= start <= stop <= len(frames):
            raise InputError(f"start {start} and stop {stop} must lie in 0..{len(frames)}, in this order")
        height, width = size or np.asarray(frames[next(iter(timeline.keyframes))]).shape[:2]
        for k in timeline.keyframes.values():
            if k.masks.shape != (height, width):
                raise InputError(
                    f"keyframe {k.index}: the mask is {k.masks.shape[1]}x{k.masks.shape[0]} pixels, the frames "
                    f"are {width}x{height}; draw it at the frames' size"
                )
        framing = self._network.framing(height, width, self.options.short_side, any_frame_size=size is not None)
        check_budget(self.options.memory_tokens, framing.tokens)
        run = Run(
            self._network,
            self._calibration,
            self.options,
            framing,
            frames,
            timeline,
            direction,
            labels or {},
            finished or {},
            RunRecord(resumable=False) if record is None else record,
            admit or (lambda indices: True),
        )
        return BidirectionalPropagation(run).results(range(start, stop))
