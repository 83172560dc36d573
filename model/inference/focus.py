"""Where in a frame an object may be: the part that is worth refining and decoding."""

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from torch import Tensor

from model.inference.region import Region
from model.inference.region_cover import batches, cover, merged
from model.network.compact_value_encoder import MASK_CHANNELS
from model.network.decoder import DecoderFrame, DecoderInput
from model.network.refinement import WINDOW
from model.network.residual_block import SharedInput
from model.network.segmentation_network import SegmentationNetwork

# Of the mask that the memory read brought, anywhere in a cell. On the validation sequences no pixel of a decoded mask
# lies farther from such cells than the margin; with 0.2 some of small, moving objects do.
_LEAST = 0.1
# Patches where it is nowhere more than this are other things that look alike: without them a quarter less is decoded of
# a single object, and J&F is 0.8466 instead of 0.8463 (with 0.5 it would be 0.8441).
_SURE = 0.3
_MARGIN = 2  # cells around them

_OVERHEAD = 60  # cells: what one more region costs

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
    network: SegmentationNetwork,
    local_keys: Tensor | None,
    images: Sequence[DecoderInput],
    readouts: Tensor,
    lead: int = 0,
) -> Tensor:
    """Refines and decodes a clip where its objects may be, and is sure that they are nowhere else.

    A region is one and the same for all frames, so that several are decoded at a time: perclip-lite at 480p, two cores,
    12 x 16 cells, 5.5 ms per frame alone, 3.2 together with three others. J&F on the validation sequences stays the
    same (0.847, whole frames 0.846).

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
    seen = map(_seen, readouts[:, -MASK_CHANNELS:].amax((1, 2)))
    places = [(k, region) for k, cells in enumerate(seen) for region in cover(cells, _MARGIN, _OVERHEAD)]
    values = [_refined(network, local_keys, readouts[k : k + 1], region)[:, lead:] for k, region in places]
    for around in merged([region for _, region in places], _OVERHEAD):
        for frames in batches(range(len(images)), around.cells, height * width):
            parts = [[around.of(x, n) for x, n in zip(images[t], (1, 2, 4))] for t in frames]
            frame = network.prepare_decoding(DecoderInput(*map(torch.cat, zip(*parts))))
            for (k, region), value in zip(places, values):
                if around.holds(region):
                    readout = value[:, frames[0] : frames[-1] + 1].transpose(0, 1)[:, None]
                    decoded = network.decode(_of_frame(region.inside(around), frame), readout)
                    region.of(logits[frames[0] : frames[-1] + 1, k], 4).copy_(decoded[:, 0])
    return logits


def _seen(mask: Tensor) -> Tensor:
    """Where an object may be, bool (h, w), by the largest value of each cell, (h, w)."""
    cells = mask > _LEAST
    _, patches = cv2.connectedComponents(cells.numpy().astype(np.uint8), connectivity=8)
    patch = torch.from_numpy(patches)
    sure = torch.isin(patch, patch[mask > _SURE])
    return cells & sure if sure.any() else cells


def _refined(network: SegmentationNetwork, local_keys: Tensor | None, readouts: Tensor, region: Region) -> Tensor:
    """Of one object's readouts (1, value_dim, T, h, w) those in a region, refined: (value_dim, T, rows, columns)."""
    whole = in_whole_windows(region, *readouts.shape[3:])
    keys = None if local_keys is None else whole.of(local_keys)
    return region.inside(whole).of(network.refine(keys, whole.of(readouts[None])))[0, 0]


def _of_frame(region: Region, frame: DecoderFrame) -> DecoderFrame:
    shared = SharedInput(*map(region.of, frame.compress))
    return DecoderFrame(shared, region.of(frame.skip8, 2), region.of(frame.skip4, 4))
