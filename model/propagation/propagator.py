"""The propagation engine: keyframe masks in, a mask for every frame out, clip by clip."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain

import numpy as np
import torch
from torch import Tensor

from model.confidence.calibration import Calibration
from model.confidence.cues import Findings
from model.confidence.mask_quality import expected_overlap
from model.errors import DeviceMemoryError, InputError
from model.inference.framing import Framing
from model.inference.label_map import most_likely
from model.inference.prepared_network import InferenceNetwork
from model.keyframe import Keyframe
from model.memory.memory_bank import check_budget
from model.network.pcvos import PCVOS, aggregate, object_probabilities
from model.options import DIRECTIONS, PropagationOptions
from model.propagation.fusion import Joined, join
from model.propagation.per_clip_pass import KeyframeMemory, Paused, Sweep
from model.propagation.prediction import Predictions, pack, unpack
from model.propagation.run_record import RunRecord
from model.propagation.specks import remove_specks
from model.propagation.timeline import Span, Timeline
from model.result import FrameResult

# Smaller pieces are specks unless the annotated object is that small itself.
_SPECK_AREA = 16  # network pixels
_LEAST_SPECK_AREA = 5  # frame pixels


# Options that the prepared network depends on.
_PREPARED = {"device", "dtype", "refinement", "fold_batchnorm", "channels_last", "fuse_activations"}
_PREPARED |= {"focus", "compile", "device_memory"}


class Propagator:
    """Carries keyframe masks through a sequence of frames.

    The network is copied and prepared once; a propagator can run many sequences, one after the other. Runs on the CPU
    are reproducible bit for bit on one machine.

    Raises:
        InputError: the options name a device that does not exist.
    """

    def __init__(self, network: PCVOS, options: PropagationOptions | None = None):
        self.options = options or PropagationOptions()
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
        return Framing(height, width, self.options.short_side, self.device).grid

    def with_options(self, **changes) -> "Propagator":
        """A propagator with other run options that shares this one's prepared network.

        Raises:
            InputError: an option that the prepared network depends on, as device and dtype.
        """
        fixed = _PREPARED & set(changes)
        if fixed:
            raise InputError(f"{sorted(fixed)[0]} is fixed when the network is prepared: make a new Propagator")
        other = object.__new__(Propagator)
        other.options = dataclasses.replace(self.options, **changes)
        other._network, other._calibration = self._network, self._calibration
        return other

    def run(
        self,
        frames: Sequence[np.ndarray],
        keyframes: Iterable[Keyframe],
        start: int = 0,
        stop: int | None = None,
        direction: str = "both",
        finished: Mapping[int, np.ndarray] | None = None,
        record: RunRecord | None = None,
        admit: Callable[[range], bool] | None = None,
        size: tuple[int, int] | None = None,
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
            finished: label maps of frames whose results are known from an earlier, interrupted run. They give no result
                again, and whole clips of them are not segmented again but memorised from their label maps.
            record: how far an earlier run of the same arguments came; this one goes on from there and keeps it up to
                date. The results are the same as if there had been one run with an empty record (on a GPU up to
                rounding). Memory frames are memorised as a record holds them, so that results differ a little from a
                run without one. Not for the policy "bounded", whose memory depends on every read.
            admit: asked before a clip is segmented, with the numbers of its frames; where it says no, the run ends, and
                `record` has what it takes to go on.
            size: height and width of label maps, of keyframes and results alike, where the frames come in other sizes
                (smaller ones, as somebody sends them); None: all have the frames' size.

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
            if k.label_map.shape != (height, width):
                raise InputError(
                    f"keyframe {k.index}: the mask is {k.label_map.shape[1]}x{k.label_map.shape[0]} pixels, the frames "
                    f"are {width}x{height}; draw it at the frames' size"
                )
        framing = Framing(height, width, self.options.short_side, self.device, any_frame_size=size is not None)
        check_budget(self.options.memory_tokens, framing.tokens)
        run = _Run(
            self._network,
            self._calibration,
            self.options,
            framing,
            frames,
            timeline,
            direction,
            finished or {},
            RunRecord(resumable=False) if record is None else record,
            admit or (lambda indices: True),
        )
        return run.results(range(start, stop))


class _Run:
    """One run: plans the passes over each span, fuses them and turns logits into results."""

    def __init__(
        self,
        network: InferenceNetwork,
        calibration: Calibration,
        options: PropagationOptions,
        framing: Framing,
        frames: Sequence[np.ndarray],
        timeline: Timeline,
        direction: str,
        finished: Mapping[int, np.ndarray],
        record: RunRecord,
        admit: Callable[[range], bool],
    ):
        self._record, self._admit = record, admit
        self._network, self._options, self._framing, self._frames = network, options, framing, frames
        self._timeline, self._finished, self._calibration = timeline, finished, calibration
        self._forward = direction in ("forward", "both")
        self._backward = direction in ("backward", "both")
        self._keyframe_memory = KeyframeMemory(network, framing, frames)
        self._least_area: dict[int, float] = {}  # of a piece of each object, in frame pixels

    @torch.inference_mode()
    def results(self, wanted: range) -> Iterator[FrameResult]:
        """Results of the wanted frames, span by span."""
        spans = [(span, missing) for span in self._timeline.spans() if (missing := self._missing(span, wanted))]
        for number, (span, missing) in enumerate(spans):
            self._keyframe_memory.forget_before(span.first)
            try:
                for result in self._span(span, missing):
                    self._record.done.add(result.index)
                    yield result
            except Paused as paused:
                rest = chain(
                    self._order(span, missing, paused.indices), *(self._order(*later) for later in spans[number + 1 :])
                )
                self._record.ahead = list(dict.fromkeys(rest))
                return
            except torch.OutOfMemoryError:
                raise DeviceMemoryError(
                    "the GPU's memory does not suffice: take a smaller short side, a bounded memory, shorter clips, "
                    "fewer objects at a time, or the CPU"
                ) from None
            self._record.complete(span.first)
        self._record.ahead = []

    def _missing(self, span: Span, wanted: range) -> set[int]:
        """Frames of a span whose results are still to be given."""
        inside = range(max(span.emits.start, wanted.start), min(span.emits.stop, wanted.stop))
        return {i for i in inside if i not in self._finished and i not in self._record.done}

    def _order(self, span: Span, missing: set[int], paused: range | None = None) -> Iterator[int]:
        """The frames of a span in the order in which its passes look at them; from where they paused, if they did."""
        if not span.keyframes:
            return
        further = self._options.clip_length - 1  # clips are segmented whole
        if self._backward and (paused is None or paused.step < 0):
            start = span.keyframes[-1].index if paused is None else paused[0]
            yield from range(start, max(span.first, min(missing) - further) - 1, -1)
        if self._forward:
            start = span.keyframes[0].index if paused is None or paused.step < 0 else paused[0]
            yield from range(start, min(span.last, max(missing) + further) + 1)

    def _span(self, span: Span, missing: set[int]) -> Iterator[FrameResult]:
        self._least_area = self._smallest_pieces(span)
        present = [k.index for k in span.keyframes]
        # Forward passes speak for the frames from the first keyframe on; only backward ones for those before it.
        meets = present[0] if self._forward and present else span.last + 1
        backward = self._record.of(span.first, -1)
        if self._backward and present and min(missing) <= present[-1] and not backward.complete:
            for clip in self._sweep(span, -1).clips():
                for index, predictions in clip:
                    if index >= meets:
                        if predictions:  # none come of clips that were recorded before
                            backward.waiting[index] = pack(predictions)
                    elif index in missing:
                        yield self._fused(index, {}, predictions)
                if clip[-1][0] <= min(missing):
                    break
            backward.complete, backward.ends, backward.memory = True, {}, {}
        ahead = {i for i in missing if i >= meets}
        if not ahead:
            return
        for clip in self._sweep(span, 1).clips():
            for index, predictions in clip:
                if index in ahead:
                    yield self._fused(index, predictions, unpack(backward.waiting.pop(index, {})))
            if clip[-1][0] >= max(ahead):
                break

    def _sweep(self, span: Span, step: int) -> Sweep:
        return Sweep(
            self._network,
            self._framing,
            self._options,
            self._frames,
            self._keyframe_memory,
            span,
            step,
            self._finished,
            self._record.of(span.first, step),
            self._admit,
        )

    def _fused(self, index: int, forward: Predictions, backward: Predictions) -> FrameResult:
        """Joins the passes where both speak for an object."""
        joined: dict[int, Joined] = {}
        for obj in forward.keys() | backward.keys():
            if obj in forward and obj in backward:
                since = index - self._timeline.before(obj, index).index
                until = self._timeline.after(obj, index).index - index
                joined[obj] = join(forward[obj], backward[obj], since, until, self._calibration)
            else:
                logits, evidence = forward[obj] if obj in forward else backward[obj]
                joined[obj] = Joined(logits, (evidence,))
        return self._result(index, joined)

    def _result(self, index: int, joined: Mapping[int, Joined]) -> FrameResult:
        keyframe = self._timeline.keyframes.get(index)
        drawn = keyframe.objects if keyframe else ()
        predicted = tuple(sorted(set(joined) - set(drawn)))
        confidence = dict.fromkeys(drawn, 1.0)
        findings: dict[int, Findings] = {}
        stacked = None
        if predicted:
            stacked = torch.stack([joined[o].logits.to(self._network.device) for o in predicted])
            coarse = aggregate(torch.sigmoid(stacked))
            for i, obj in enumerate(predicted, 1):
                findings[obj] = Findings(expected_overlap(coarse[i]), joined[obj].passes, joined[obj].agreed)
                confidence[obj] = self._calibration.confidence(findings[obj])
        for obj in self._timeline.objects:
            if obj not in confidence and self._declared_absent(obj, index):
                confidence[obj] = 1.0
        label_map, probabilities = self._masks(predicted, stacked, keyframe)
        confidence = dict(sorted(confidence.items()))
        return FrameResult(index, label_map, confidence, keyframe is not None, probabilities, findings)

    def _declared_absent(self, obj: int, index: int) -> bool:
        """True if a keyframe that a pass of this run would come from says that the object is absent."""
        before = self._timeline.before(obj, index) if self._forward else None
        after = self._timeline.after(obj, index) if self._backward else None
        return any(k is not None and obj not in k.present for k in (before, after))

    def _masks(
        self, predicted: tuple[int, ...], logits: Tensor | None, keyframe: Keyframe | None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """The label map and, if asked for, all probabilities of a frame, at frame size."""
        framing, objects = self._framing, self._timeline.objects
        label_map = np.zeros((framing.height, framing.width), np.uint8)
        probabilities = None
        if predicted:
            label_map = most_likely(framing, logits, predicted)
        if keyframe is not None:
            # What is drawn is true: its pixels replace predicted ones, and its objects have no others.
            np.copyto(label_map, keyframe.label_map, where=keyframe.label_map > 0)
        remove_specks(label_map, {o: self._least_area[o] for o in predicted})
        if self._options.keep_probabilities:
            each = torch.zeros(len(objects), framing.height, framing.width)
            if predicted:
                p = aggregate(framing.crop(object_probabilities(logits[None])[0]))[1:]
                each[[objects.index(obj) for obj in predicted]] = framing.restore(p)[0].cpu()
            if keyframe is not None:
                drawn = torch.from_numpy(keyframe.label_map)
                each *= drawn == 0
                for obj in keyframe.objects:
                    each[objects.index(obj)] = drawn == obj
                each = aggregate(each)[1:]
            probabilities = torch.cat([1 - each.sum(0, keepdim=True), each]).numpy()
        return label_map, probabilities

    def _smallest_pieces(self, span: Span) -> dict[int, float]:
        """Least area of a piece of each object in a span, in frame pixels."""
        framing = self._framing
        scale = framing.height * framing.width / (framing.net_height * framing.net_width)
        least = dict.fromkeys(self._timeline.objects, max(_LEAST_SPECK_AREA, _SPECK_AREA * scale))
        for keyframe in span.keyframes:
            areas = np.bincount(keyframe.label_map.ravel(), minlength=256)
            for obj in keyframe.present:
                least[obj] = min(least[obj], areas[obj] / 4)
        return least
