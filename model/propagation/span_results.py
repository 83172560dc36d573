"""From what passes predict to the results of frames: label maps, probabilities, confidence."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from model.confidence.cues import Cues
from model.confidence.mask_quality import expected_overlap
from model.inference.label_map import most_likely
from model.keyframe import Keyframe
from model.network.soft_aggregation import aggregate
from model.propagation.fusion import Joined
from model.propagation.run import Run
from model.propagation.specks import remove_specks
from model.propagation.timeline import Span
from model.result import FrameResult

# Smaller pieces are specks unless the annotated object is that small itself.
_SPECK_AREA = 16  # network pixels
_LEAST_SPECK_AREA = 5  # frame pixels


class SpanResults:
    """Makes the results of the frames of one span."""

    def __init__(self, run: Run, span: Span):
        self._run = run
        self._least_area = _smallest_pieces(run, span)

    def of(self, index: int, joined: Mapping[int, Joined]) -> FrameResult:
        """The result of a frame of the span, from what its passes say of each object."""
        keyframe = self._run.timeline.keyframes.get(index)
        drawn = keyframe.objects if keyframe else ()
        predicted = tuple(sorted(set(joined) - set(drawn)))
        confidence = dict.fromkeys(drawn, 1.0)
        cues: dict[int, Cues] = {}
        stacked = None
        if predicted:
            stacked = torch.stack([joined[o].logits.to(self._run.network.device) for o in predicted])
            coarse = aggregate(torch.sigmoid(stacked))
            for i, obj in enumerate(predicted, 1):
                cues[obj] = Cues(expected_overlap(coarse[i]), joined[obj].passes, joined[obj].agreed)
                confidence[obj] = self._run.calibration.confidence(cues[obj])
        for obj in self._run.timeline.objects:
            if obj not in confidence and self._declared_absent(obj, index):
                confidence[obj] = 1.0
        label_map, probabilities = self._masks(predicted, stacked, keyframe)
        confidence = dict(sorted(confidence.items()))
        return FrameResult(index, label_map, confidence, keyframe is not None, probabilities, cues)

    def _declared_absent(self, obj: int, index: int) -> bool:
        """True if a keyframe that a pass of this run would come from says that the object is absent."""
        before = self._run.timeline.before(obj, index) if self._run.forward else None
        after = self._run.timeline.after(obj, index) if self._run.backward else None
        return any(k is not None and obj not in k.present for k in (before, after))

    def _masks(
        self, predicted: tuple[int, ...], logits: Tensor | None, keyframe: Keyframe | None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """The label map and, if asked for, all probabilities of a frame, at frame size."""
        framing, objects = self._run.framing, self._run.timeline.objects
        label_map = np.zeros((framing.height, framing.width), np.uint8)
        probabilities = None
        if logits is not None:
            label_map = most_likely(framing, logits, predicted)
        if keyframe is not None:
            # What is drawn is true: its pixels replace predicted ones, and its objects have no others.
            np.copyto(label_map, keyframe.label_map, where=keyframe.label_map > 0)
        remove_specks(label_map, {o: self._least_area[o] for o in predicted})
        if self._run.options.keep_probabilities:
            each = torch.zeros(len(objects), framing.height, framing.width)
            if logits is not None:
                each[[objects.index(obj) for obj in predicted]] = framing.probabilities(logits).cpu()
            if keyframe is not None:
                drawn = torch.from_numpy(keyframe.label_map)
                each *= drawn == 0
                for obj in keyframe.objects:
                    each[objects.index(obj)] = drawn == obj
                each = framing.settled(each)
            probabilities = torch.cat([1 - each.sum(0, keepdim=True), each]).numpy()
        return label_map, probabilities


def _smallest_pieces(run: Run, span: Span) -> dict[int, float]:
    """Least area of a piece of each object in a span, in frame pixels."""
    framing = run.framing
    scale = framing.height * framing.width / (framing.net_height * framing.net_width)
    least = dict.fromkeys(run.timeline.objects, max(_LEAST_SPECK_AREA, _SPECK_AREA * scale))
    for keyframe in span.keyframes:
        areas = np.bincount(keyframe.label_map.ravel(), minlength=256)
        for obj in keyframe.present:
            least[obj] = min(least[obj], areas[obj] / 4)
    return least
