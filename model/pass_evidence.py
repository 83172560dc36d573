"""What a pass finds out, frame by frame, about whether its masks can be trusted."""

from collections.abc import Mapping, Sequence
from itertools import repeat

import torch
from torch import Tensor

from model.cycle_consistency import MaskProbe, coverage
from model.findings import Evidence
from model.pcvos import aggregate

_SAMPLES = 128  # positions of a frame that are compared with the frame before


class Witness:
    """Watches one pass: knows the keyframe that each object comes from and the frame before.

    Costs per frame one read of at most 128 queries for each object and a comparison of 128 positions, together 2 %
    of the time of one object at 480p (perclip-lite, CPU, clips of 5).
    """

    def __init__(self, grid: tuple[int, int], top_k: int):
        self._grid, self._top_k = grid, top_k
        self._probes: dict[int, MaskProbe] = {}
        self._continuity: dict[int, float] = {}
        self._before = torch.empty(0)  # key of the frame before
        self._own: Tensor | None = None  # at which positions that is its own; None: everywhere

    def enter(self, key: Tensor, masks: Tensor, objects: Sequence[int]) -> None:
        """Objects start at a keyframe: its key (tokens, key_dim), their masks (K, H, W) and their ids."""
        for obj, covered in zip(objects, coverage(masks, self._grid)):
            self._probes[obj] = MaskProbe(key, covered, self._grid)
            self._continuity[obj] = 0.0
        self.pass_by(key)

    def pass_by(self, key: Tensor) -> None:
        """The pass has come to a frame that it does not segment, or has now left: its key (tokens, key_dim)."""
        self._before, self._own = key, None

    def resume(self, evidence: Mapping[int, Evidence]) -> None:
        """The pass has come, in an earlier run, to a frame with this evidence of its objects."""
        for obj, found in evidence.items():
            self._continuity[obj] = found.continuity

    def observe(self, keys: Tensor, own: Tensor, logits: Tensor, objects: Sequence[int]) -> list[list[Evidence]]:
        """Evidence about the segmented frames of a clip, in the order of the pass.

        Args:
            keys: (T, tokens, key_dim).
            own: positions where they are the frame's own, bool (T, tokens), or None: everywhere; others say nothing
                of how frames follow each other.
            logits: float32 (T, K, 4h, 4w).
            objects: their K ids.

        Returns:
            One list per frame with the evidence of each object.
        """
        read_back, similarities = [], []
        for key, known, frame in zip(keys, repeat(None) if own is None else own, logits):
            probabilities = aggregate(torch.sigmoid(frame))[1:]
            empty = probabilities.amax((1, 2)) <= 0.5
            for obj, covered, unseen in zip(objects, coverage(probabilities, self._grid), empty):
                answer = torch.stack(self._probes[obj].ask(key, covered, self._top_k))
                # An object that is not seen cannot be read back, and claims nothing.
                read_back.append(torch.where(unseen, 1.0, answer))
            compared = known if self._own is None else self._own if known is None else known & self._own
            similarities.append(likeness(key if compared is None else key[compared], self._before))
            self._before, self._own = key, known
        # One transfer from the device for the whole clip.
        answers = torch.stack(read_back).view(len(keys), len(objects), 2).tolist()
        evidence = []
        for similarity, answer in zip(torch.stack(similarities).tolist(), answers):
            for obj in objects:
                self._continuity[obj] = min(self._continuity[obj], similarity)
            evidence.append([Evidence(*a, self._continuity[obj]) for obj, a in zip(objects, answer)])
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
