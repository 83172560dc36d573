"""Forward and backward passes over each span of a run, joined where both speak for an object."""

from collections.abc import Iterator
from itertools import chain

import torch

from model.errors import DeviceMemoryError
from model.propagation.fusion import Joined, join
from model.propagation.layers import Layers
from model.propagation.per_clip_pass import Paused, PerClipPass
from model.propagation.prediction import Predictions, pack, unpack
from model.propagation.run import Run
from model.propagation.span_results import SpanResults
from model.propagation.timeline import Span
from model.result import FrameResult


class BidirectionalPropagation:
    """Propagates the keyframes of a run in its directions, span by span."""

    def __init__(self, run: Run):
        self._run = run

    @torch.inference_mode()
    def results(self, wanted: range) -> Iterator[FrameResult]:
        """Results of the wanted frames, span by span."""
        spans = [(span, missing) for span in self._run.timeline.spans() if (missing := self._missing(span, wanted))]
        for number, (span, missing) in enumerate(spans):
            self._run.keyframe_memory.forget_before(span.first)
            try:
                for result in self._span(span, missing):
                    self._run.record.done.add(result.index)
                    yield result
            except Paused as paused:
                rest = chain(
                    self._order(span, missing, paused.indices), *(self._order(*later) for later in spans[number + 1 :])
                )
                self._run.record.ahead = list(dict.fromkeys(rest))
                return
            except torch.OutOfMemoryError:
                raise DeviceMemoryError(
                    "the GPU's memory does not suffice: take a smaller short side, a bounded memory, shorter clips, "
                    "fewer objects at a time, or the CPU"
                ) from None
            self._run.record.complete(span.first)
        self._run.record.ahead = []

    def _missing(self, span: Span, wanted: range) -> set[int]:
        """Frames of a span whose results are still to be given."""
        inside = range(max(span.emits.start, wanted.start), min(span.emits.stop, wanted.stop))
        return {i for i in inside if i not in self._run.finished and i not in self._run.record.done}

    def _order(self, span: Span, missing: set[int], paused: range | None = None) -> Iterator[int]:
        """The frames of a span in the order in which its passes look at them; from where they paused, if they did."""
        if not span.keyframes:
            return
        further = self._run.options.clip_frames - 1  # clips are segmented whole
        if self._run.backward and (paused is None or paused.step < 0):
            start = span.keyframes[-1].index if paused is None else paused[0]
            yield from range(start, max(span.first, min(missing) - further) - 1, -1)
        if self._run.forward:
            start = span.keyframes[0].index if paused is None or paused.step < 0 else paused[0]
            yield from range(start, min(span.last, max(missing) + further) + 1)

    def _span(self, span: Span, missing: set[int]) -> Iterator[FrameResult]:
        layers = Layers.of(span.keyframes, self._run.labels)
        results = SpanResults(self._run, span, layers)
        present = [k.index for k in span.keyframes]
        # Forward passes speak for the frames from the first keyframe on; only backward ones for those before it.
        meets = present[0] if self._run.forward and present else span.last + 1
        backward = self._run.record.of(span.first, -1)
        if self._run.backward and present and min(missing) <= present[-1] and not backward.complete:
            for clip in PerClipPass(self._run, span, layers, -1).clips():
                for index, predictions in clip:
                    if index >= meets:
                        if predictions:  # none come of clips that were recorded before
                            backward.waiting[index] = pack(predictions)
                    elif index in missing:
                        yield results.of(index, self._fused(index, {}, predictions))
                if clip[-1][0] <= min(missing):
                    break
            backward.complete, backward.ends, backward.memory, backward.states = True, {}, {}, {}
        ahead = {i for i in missing if i >= meets}
        if not ahead:
            return
        for clip in PerClipPass(self._run, span, layers, 1).clips():
            for index, predictions in clip:
                if index in ahead:
                    waiting = unpack(backward.waiting.pop(index, {}))
                    yield results.of(index, self._fused(index, predictions, waiting))
            if clip[-1][0] >= max(ahead):
                break

    def _fused(self, index: int, forward: Predictions, backward: Predictions) -> dict[int, Joined]:
        """What the passes together say of each object; joined where both speak for it (`fusion`)."""
        joined: dict[int, Joined] = {}
        for obj in forward.keys() | backward.keys():
            if obj in forward and obj in backward:
                before, after = self._run.timeline.before(obj, index), self._run.timeline.after(obj, index)
                assert before is not None and after is not None  # where the passes come from
                since, until = index - before.index, after.index - index
                joined[obj] = join(forward[obj], backward[obj], since, until, self._run.calibration)
            else:
                logits, evidence = forward[obj] if obj in forward else backward[obj]
                joined[obj] = Joined(logits, (evidence,))
        return joined
