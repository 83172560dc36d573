"""What a pass finds out, frame by frame, about whether its masks can be trusted."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import repeat

import numpy as np
import torch
from torch import Tensor

from model.confidence.cues import Evidence
from model.consistency.absence import AbsenceJudge
from model.consistency.cycle_consistency import MaskProbe, coverage
from model.inference.framing import Framing
from model.network.soft_aggregation import aggregate_objects

_SAMPLES = 128  # positions of a frame that are compared with the frame before


class PassObserver:
    """Watches one pass: knows the keyframe that each object comes from and the frame before.

    Costs per frame one read of at most 128 queries for each object and a comparison of 128 positions, together 2 %
    of the time of one object at 480p (perclip-lite, CPU, clips of 5).
    """

    def __init__(self, framing: Framing):
        self._grid = framing.grid
        self._whereabouts = AbsenceJudge(framing)
        self._probes: dict[int, MaskProbe] = {}
        self._continuity: dict[int, float] = {}
        self._before = torch.empty(0)  # key of the frame before
        self._own: Tensor | None = None  # at which positions that is its own; None: everywhere

    def enter(self, key: Tensor, picture: np.ndarray, masks: Tensor, objects: Sequence[int]) -> None:
        """Objects start at a keyframe.

        Args:
            key: (tokens, key_dim).
            picture: the frame, uint8 (h, w, 3), at the network's size.
            masks: (K, H, W).
            objects: their K ids.
        """
        for obj, covered in zip(objects, coverage(masks, self._grid)):
            self._probes[obj] = MaskProbe(key, covered, self._grid)
            self._continuity[obj] = 0.0
        self._whereabouts.enter(picture, masks, objects)
        self.pass_by(key)

    def pass_by(self, key: Tensor) -> None:
        """The pass has come to a frame that it does not segment, or has now left: its key (tokens, key_dim)."""
        self._before, self._own = key, None

    def resume(self, evidence: Mapping[int, Evidence]) -> None:
        """The pass has come, in an earlier run, to a frame with this evidence of its objects."""
        for obj, found in evidence.items():
            self._continuity[obj] = found.continuity
        self._whereabouts.resume({obj: 1 - found.accounted for obj, found in evidence.items()})

    def observe(
        self,
        keys: Tensor,
        own: Tensor | None,
        logits: Tensor,
        objects: Sequence[int],
        picture: Callable[[int], np.ndarray],
        layers: Sequence[int] | None = None,
    ) -> list[list[Evidence]]:
        """Evidence about the segmented frames of a clip, in the order of the pass.

        Args:
            keys: (T, tokens, key_dim).
            own: positions where they are the frame's own, bool (T, tokens), or None: everywhere; others say nothing
                of how frames follow each other.
            logits: float32 (T, K, 4h, 4w).
            objects: their K ids.
            picture: makes the t-th frame, uint8 (h, w, 3), at the network's size.
            layers: of the objects, of which those in one compete for pixels; None: all lie in one.

        Returns:
            One list per frame with the evidence of each object.
        """
        read_back, similarities, masks = [], [], []
        for key, known, frame in zip(keys, repeat(None) if own is None else own, logits):
            probabilities = aggregate_objects(torch.sigmoid(frame), layers)
            masks.append(probabilities > 0.5)
            empty = ~masks[-1].any(2).any(1)
            for obj, covered, unseen in zip(objects, coverage(probabilities, self._grid), empty):
                answer = torch.stack(self._probes[obj].ask(key, covered))
                # An object that is not seen cannot be read back, and claims nothing.
                read_back.append(torch.where(unseen, 1.0, answer))
            compared = known if self._own is None else self._own if known is None else known & self._own
            similarities.append(likeness(key if compared is None else key[compared], self._before))
            self._before, self._own = key, known
        # Two transfers from the device for the whole clip.
        answers = torch.stack(read_back).view(len(keys), len(objects), 2).tolist()
        seen = torch.stack(masks).cpu().numpy()
        evidence = []
        for t, (similarity, answer) in enumerate(zip(torch.stack(similarities).tolist(), answers)):
            missed = self._whereabouts.observe(partial(picture, t), seen[t], objects)
            for obj in objects:
                self._continuity[obj] = min(self._continuity[obj], similarity)
            evidence.append(
                [
                    Evidence(recovered, contained, self._continuity[obj], 1 - m)
                    for obj, (recovered, contained), m in zip(objects, answer, missed)
                ]
            )
        return evidence


def likeness(key: Tensor, before: Tensor) -> Tensor:
    """Mean over some positions of the negative squared key distance to the nearest one of the frame before, <= 0.

    Keys are (positions, key_dim); the distance is in the affinity's units, |a - b|^2 / sqrt(key_dim).
    """
    step = max(1, len(key) // _SAMPLES)
    query, keys = key[::step].float(), before.float()  # the difference of large squares: needs all digits
    scale = key.shape[1] ** -0.5
    similarity = torch.addmm(keys.square().sum(1) * -scale, query, keys.T, alpha=2 * scale)
    return (similarity.amax(1) - query.square().sum(1) * scale).mean().clamp(max=0)
