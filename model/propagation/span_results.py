"""From what passes predict to the results of frames: masks, probabilities, confidence."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from model.confidence.cues import Cues
from model.confidence.mask_quality import expected_overlap
from model.inference.label_map import most_likely
from model.keyframe import Keyframe
from model.network.soft_aggregation import aggregate_objects, layer_sums
from model.object_masks import ObjectMasks
from model.propagation.fusion import Joined
from model.propagation.layers import Layers
from model.propagation.run import Run
from model.propagation.specks import remove_specks
from model.propagation.timeline import Span
from model.result import FrameResult

# Smaller pieces are specks unless the annotated object is that small itself.
_SPECK_AREA = 16  # network pixels
_LEAST_SPECK_AREA = 5  # frame pixels


class SpanResults:
    """Makes the results of the frames of one span."""

    def __init__(self, run: Run, span: Span, layers: Layers):
        self._run, self._layers = run, layers
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
            coarse = aggregate_objects(torch.sigmoid(stacked), self._layers.places(predicted))
            for i, obj in enumerate(predicted):
                cues[obj] = Cues(expected_overlap(coarse[i]), joined[obj].passes, joined[obj].agreed)
                confidence[obj] = self._run.calibration.confidence(cues[obj])
        for obj in self._run.timeline.objects:
            if obj not in confidence and self._declared_absent(obj, index):
                confidence[obj] = 1.0
        masks = self._masks(index, predicted, stacked, keyframe)
        keep = self._run.options.keep_probabilities
        probabilities = self._probabilities(predicted, stacked, keyframe) if keep else None
        confidence = dict(sorted(confidence.items()))
        return FrameResult(index, masks, confidence, keyframe is not None, probabilities, cues)

    def _declared_absent(self, obj: int, index: int) -> bool:
        """True if a keyframe that a pass of this run would come from says that the object is absent."""
        before = self._run.timeline.before(obj, index) if self._run.forward else None
        after = self._run.timeline.after(obj, index) if self._run.backward else None
        return any(k is not None and obj not in k.present for k in (before, after))

    def _masks(
        self, index: int, predicted: tuple[int, ...], logits: Tensor | None, keyframe: Keyframe | None
    ) -> ObjectMasks:
        """The masks of a frame, at frame size: of each layer's objects the likeliest, and what is drawn as it is."""
        framing = self._run.framing
        sheets = []
        for group in self._layers.groups(predicted):
            assert logits is not None
            own = logits if group == predicted else logits[[predicted.index(o) for o in group]]
            label_map = most_likely(framing, own, group)
            if keyframe is not None:
                # What is drawn is true: its pixels are not those of others of its layer.
                label_map[keyframe.masks.flattened(self._layers.mates(group[0], keyframe.objects)) > 0] = 0
            remove_specks(label_map, {o: self._least_area[o] for o in group})
            sheets.append(label_map)
        order = self._layers.order(index) if self._layers.count > 1 else None
        below = ObjectMasks.from_sheets(sheets or [np.zeros((framing.height, framing.width), np.uint8)], order)
        return below if keyframe is None else keyframe.masks.above(below, order)

    def _probabilities(
        self, predicted: tuple[int, ...], logits: Tensor | None, keyframe: Keyframe | None
    ) -> np.ndarray:
        """All probabilities of a frame, at frame size, as `FrameResult` has them."""
        framing, objects = self._run.framing, self._run.timeline.objects
        layers = self._layers.places(objects)
        each = torch.zeros(len(objects), framing.height, framing.width)
        if logits is not None:
            p = framing.probabilities(logits, self._layers.places(predicted))
            each[[objects.index(obj) for obj in predicted]] = p.cpu()
        if keyframe is not None:
            for group in self._layers.groups(keyframe.objects):
                drawn = torch.from_numpy(keyframe.masks.flattened(group))
                each[[objects.index(obj) for obj in self._layers.mates(group[0], objects)]] *= drawn == 0
                for obj in group:
                    each[objects.index(obj)] = drawn == obj
            each = framing.settled(each, layers)
        nothing = 1 - layer_sums(each, layers, sorted(set(layers)))
        return torch.cat([nothing.prod(0, keepdim=True), each]).numpy()


def _smallest_pieces(run: Run, span: Span) -> dict[int, float]:
    """Least area of a piece of each object in a span, in frame pixels."""
    framing = run.framing
    scale = framing.height * framing.width / (framing.net_height * framing.net_width)
    least = dict.fromkeys(run.timeline.objects, max(_LEAST_SPECK_AREA, _SPECK_AREA * scale))
    for keyframe in span.keyframes:
        for obj, area in keyframe.masks.areas.items():
            least[obj] = min(least[obj], area / 4)
    return least
