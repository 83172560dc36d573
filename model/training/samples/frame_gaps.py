"""The frames of a sample: gaps between and inside clips, forward or backward in time."""

from collections.abc import Sequence

import numpy as np

from model.training.samples.sample_shape import SampleShape

LARGEST_INNER_GAP = 5
"""Frames between two neighbours of one clip at most (PCVOS 3.6)."""


def draw_times(rng: np.random.Generator, annotated: Sequence[int], shape: SampleShape, max_gap: int) -> np.ndarray:
    """Frame numbers of one sample, ascending or descending.

    Distances are bounded by `max_gap` in front of a clip and by `LARGEST_INNER_GAP` inside; with sparse annotation by
    one annotated frame at least. A sequence with fewer annotated frames than the sample repeats some.

    Args:
        rng: what is drawn from.
        annotated: numbers of the annotated frames, ascending, at least one.
        shape: of the sample.
        max_gap: in frames, 1 or more.

    Returns:
        int64 (T,).
    """
    stride = int(np.median(np.diff(annotated))) if len(annotated) > 1 else 1
    between, inside = max(1, max_gap // stride), max(1, LARGEST_INNER_GAP // stride)
    steps: list[int] = []
    for _ in range(shape.clips):
        steps.append(int(rng.integers(1, between + 1)))
        # Half of the clips are dense, as consecutive frames are at inference.
        widest = int(rng.integers(1, inside + 1)) if rng.random() < 0.5 else 1
        steps += rng.integers(1, widest + 1, shape.clip_frames - 1).tolist()
    while sum(steps) > len(annotated) - 1:
        steps[int(np.argmax(steps))] -= 1
    offsets = np.concatenate([[0], np.cumsum(steps, dtype=np.int64)])
    positions = offsets + rng.integers(0, len(annotated) - offsets[-1])
    if rng.random() < 0.5:
        # Still the first gap is the one before a clip.
        positions = positions[0] + positions[-1] - positions
    return np.asarray(annotated, np.int64)[positions]
