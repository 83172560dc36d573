"""Where in a frame an object may be: the part that is worth refining and decoding."""

from collections.abc import Sequence
from functools import reduce

import torch
from torch import Tensor

from model.compact_value_encoder import MASK_CHANNELS
from model.decoder import DecoderFrame, DecoderInput
from model.pcvos import PCVOS
from model.refinement import WINDOW
from model.region import Region
from model.residual_block import SharedInput

# Of the mask that the memory read brought, anywhere in a cell. On the validation sequences no pixel of a decoded mask
# lies farther from such cells than the margin; with 0.2 some of small, moving objects do.
_LEAST = 0.1
_MARGIN = 2  # cells around them

# Regions begin and end at multiples of so many cells: oneDNN prepares and keeps something for every size that it meets.
_GRAIN = 4

NOTHING = -7.0
"""Logit where no object may be: about the mean of what perclip-lite decodes there (-6.5 to -7.7 by sequence)."""


def in_whole_windows(region: Region, height: int, width: int) -> Region:
    """Grown to windows of the refinement, as those lie in a frame of so many cells."""
    _, rows, columns = WINDOW
    top, bottom = _in_windows(region.top, region.bottom, rows, height)
    left, right = _in_windows(region.left, region.right, columns, width)
    return Region(top, bottom, left, right)


def _in_windows(low: int, high: int, window: int, size: int) -> tuple[int, int]:
    low, high = low // window * window, min(-(-high // window) * window, size)
    # A window that the frame's edge cuts must not be alone: it would shrink, and its positions mean others.
    return (low - window if high - low < window <= low else low), high


def segment_regions(
    network: PCVOS, local_keys: Tensor | None, images: Sequence[DecoderInput], readouts: Tensor, lead: int = 0
) -> Tensor:
    """Refines and decodes a clip where its objects may be, and is sure that they are nowhere else.

    perclip-lite at 480p, two cores, ellipses a sixth of the frame wide: 11 ms per frame instead of 25 with one object,
    38 instead of 67 with three. J&F on the validation sequences stays the same (0.846).

    Args:
        network: a compact one.
        local_keys: of T frames, (1, local_key_dim, T, h, w), for the refinement; or None.
        images: of N of these frames.
        readouts: of K objects, (K, value_dim, T, h, w).
        lead: frames in front of those N.

    Returns:
        Logits, float32 (N, K, 4h, 4w).
    """
    count, _, _, height, width = readouts.shape
    logits = readouts.new_full((len(images), count, 4 * height, 4 * width), NOTHING, dtype=torch.float32)
    seen = regions(readouts[:, -MASK_CHANNELS:].amax(1))
    refined: dict[int, tuple[Region, Tensor]] = {}
    for k, of_frames in enumerate(seen):
        if any(of_frames):
            whole = in_whole_windows(reduce(Region.joined, filter(None, of_frames)), height, width)
            keys = None if local_keys is None else whole.of(local_keys)
            refined[k] = whole, network.refine(keys, whole.of(readouts[None, k : k + 1]))
    for t, image in enumerate(images, lead):
        here = {k: region for k, of_frames in enumerate(seen) if (region := of_frames[t]) is not None}
        if not here:
            continue
        around = reduce(Region.joined, here.values())
        frame = network.prepare_decoding(DecoderInput(*(around.of(x, n) for x, n in zip(image, (1, 2, 4)))))
        for k, region in here.items():
            whole, values = refined[k]
            decoded = network.decode(
                _of_frame(region.inside(around), frame), region.inside(whole).of(values[:, :, :, t])
            )
            region.of(logits[t - lead, k], 4).copy_(decoded[0, 0])
    return logits


def _of_frame(region: Region, frame: DecoderFrame) -> DecoderFrame:
    shared = SharedInput(*map(region.of, frame.compress))
    return DecoderFrame(shared, region.of(frame.skip8, 2), region.of(frame.skip4, 4))


def regions(masks: Tensor) -> list[list[Region | None]]:
    """Where each object may be in each frame.

    Args:
        masks: that the memory read brought, the largest value of each cell, (K, T, h, w), about 0..1.

    Returns:
        For each object and frame a region, None where the object is not seen.
    """
    seen = masks > _LEAST
    height, width = seen.shape[2:]
    found: list[list[Region | None]] = []
    for rows, columns in zip(seen.any(3).tolist(), seen.any(2).tolist()):
        found.append([_region(*sides, height, width) for sides in zip(rows, columns)])
    return found


def _region(rows: Sequence[bool], columns: Sequence[bool], height: int, width: int) -> Region | None:
    """The region of the true rows and columns, with its margin."""
    if (region := Region.around(rows, columns)) is None:
        return None
    top, bottom, left, right = region.grown(_MARGIN, height, width)
    return Region(*_coarser(top, bottom, height), *_coarser(left, right, width))


def _coarser(low: int, high: int, size: int) -> tuple[int, int]:
    return low // _GRAIN * _GRAIN, min(size, -(-high // _GRAIN) * _GRAIN)
