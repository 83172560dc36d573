"""The reduction of Propose-Reduce (ICCV 2021, 3.2): of sequences that overlap, the best one stays.

Sequences are masks over all frames of a video, propagated from different keyframes; two that overlap show one object.
`links` applies it where sequences reach from keyframe to keyframe only. Whoever wants the paper's own result, one mask
of every frame per object, calls it on whole sequences: `sequence_ious`, `sequence_score` and one of the reductions.
"""

import math
from collections.abc import Sequence

import numpy as np

LEAST_IOU = 0.5
"""Sequences with this IoU or more are one object (theta of the supplement's Alg. 1)."""

FLOOR = 0.05
"""Least score of the released YouTube-VIS configuration; Alg. 1 has none."""

_PIXELS = 2**20  # multiplied at once: sums of 0 and 1 that are exact in float32
_SOFT_DEVIATION = 0.5
_SOFT_LEAST = 0.001
_SOFT_MOST = 20


def sequence_ious(sequences: np.ndarray) -> np.ndarray:
    """The IoU of each two sequences over all frames together: sum of intersections / sum of unions.

    Args:
        sequences: bool (S, T, H, W).

    Returns:
        float64 (S, S); 0 where the union is empty, so that an empty sequence is like nothing, not even itself.
    """
    flat = sequences.reshape(len(sequences), -1)
    areas = flat.sum(1, dtype=np.float64)
    joint = np.zeros((len(flat), len(flat)))
    for start in range(0, flat.shape[1], _PIXELS):
        part = flat[:, start : start + _PIXELS].astype(np.float32)
        joint += part @ part.T
    return ious_of(joint, areas, areas)


def ious_of(joint: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Sequence IoUs from pixel counts over all frames: intersections (A, B), areas (A,) and (B,) -> float64 (A, B)."""
    union = first[:, None] + second[None] - joint
    ious: np.ndarray = np.divide(joint, union, out=np.zeros(union.shape), where=union > 0)
    return ious


def reduce_sequences(
    ious: np.ndarray, scores: Sequence[float], threshold: float = LEAST_IOU, floor: float | None = None
) -> list[int]:
    """Greedy reduction (Alg. 1 of the supplement): the best sequence is kept, those that overlap it are removed, anew.

    Args:
        ious: of each two sequences, (S, S).
        scores: of the sequences; of equal ones the earlier sequence comes first.
        threshold: an IoU of this or more removes.
        floor: ends at the first kept score below it, but never before one is kept; None: never.

    Returns:
        The kept sequences, best first.
    """
    kept: list[int] = []
    removed = np.zeros(len(scores), bool)
    for best in sorted(range(len(scores)), key=lambda i: -scores[i]):
        if removed[best]:
            continue
        if kept and floor is not None and scores[best] < floor:
            break
        kept.append(best)
        removed |= ious[best] >= threshold
    return kept


def reduce_softly(ious: np.ndarray, scores: Sequence[float]) -> list[tuple[int, float]]:
    """The soft variant that the paper takes for DAVIS: overlap lowers a score instead of removing the sequence.

    For ranked results, as an evaluation of video instance segmentation wants them. Perclip's own programs take the hard
    one: a proposal is a keyframe or it is none.

    A score is multiplied by exp(-IoU^2 / 0.5) for each better sequence; at most 20 are kept, down to 0.001.

    Args:
        ious: of each two sequences, (S, S).
        scores: of the sequences; of equal ones the earlier sequence comes first.

    Returns:
        The kept sequences and the scores that were left to them, best first.
    """
    left = {i: float(score) for i, score in enumerate(scores)}
    kept: list[tuple[int, float]] = []
    while left and len(kept) < _SOFT_MOST:
        best = max(left, key=lambda i: (left[i], -i))
        score = left.pop(best)
        if score < _SOFT_LEAST:
            break
        kept.append((best, score))
        for i, other in left.items():
            if other >= _SOFT_LEAST:
                left[i] = other * math.exp(-(ious[best, i] ** 2) / _SOFT_DEVIATION)
    return kept


def sequence_score(confidences: Sequence[float], areas: Sequence[int], detected: float = 1.0) -> float:
    """The score of a sequence: d / |V| * the sum of c_t over V, the frames where the object is there (3.2).

    The paper classifies the object again in every frame: its c_t are class scores, of which the mean of the best class
    counts, and d is 1. There is no class head here: c_t is the network's confidence in the mask, and d is what the
    detector said of the proposal.

    Args:
        confidences: of the object in each frame, 0..1.
        areas: its pixels in each frame.
        detected: the detector's score, 0..1; 1 where none is given.

    Returns:
        0..1; 0 for a sequence that is empty everywhere.
    """
    there = [confidence for confidence, area in zip(confidences, areas, strict=True) if area]
    return detected * sum(there) / len(there) if there else 0.0
