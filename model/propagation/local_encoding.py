"""Encodes most frames only around the objects, and takes the rest of them from a frame nearby."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from model.inference.object_cells import anywhere, grown
from model.inference.prepared_network import EncodedClip, InferenceNetwork
from model.inference.region import Region
from model.inference.region_cover import cover
from model.memory.focused_read import FocusedRead
from model.memory.memory import Memory
from model.network.decoder import DecoderInput

_SEEN = 0.3  # of an object's mask, anywhere in a cell; fainter are many things that look alike
# Cells around objects. With 2, 3 or 4 J&F on the validation sequences is the same; with 2 three times as many frames
# come again.
_MARGIN = 3
_RIM = 2  # cells, of which a sparse look sees one: an object so near to what was not encoded may have been there
_OVERHEAD = 60  # cells: what encoding one more region costs
_WORTH = 0.85  # of a frame; more than that is better encoded as a whole


def encode_around_objects(
    network: InferenceNetwork,
    banks: Sequence[Memory],
    image: Callable[[int], Tensor],
    part: range,
    grid: tuple[int, int],
    before: Mapping[int, Tensor],
    room: list[DecoderInput],
) -> tuple[EncodedClip, list[FocusedRead]]:
    """Encodes some successive frames, and looks where objects are.

    The last frame, which others will read, is encoded as a whole, those before it where objects are on their way to
    what is seen of them there; the rest of a frame is taken to be like the last one. A frame in which an object comes
    near to that rest, or is not seen, is encoded again as a whole; so are all if an object is not seen at one of the
    two ends, or is far away at the other. What this misses: a part that juts out of an object by more than three cells
    (48 pixels), and only inside the clip, may end where the region does.

    perclip-lite at 480p, two cores, one object, clips of 5, 38 ms per frame instead of 60 (side by side).
    J&F on the validation sequences stays the same (0.847).

    Args:
        network: that carries masks.
        banks: of all active objects.
        image: gives the image of a frame by its place in the clip.
        part: places of the frames, at least one.
        grid: rows and columns of cells.
        before: where each object was in the frame before, bool (h, w).
        room: see `InferenceNetwork.encode_clip`.

    Returns:
        The T encoded frames, and for each bank the read that has looked at them.
    """
    end, earlier = network.encode_clip([image(part[-1])], room), range(len(part) - 1)
    reads = [FocusedRead(bank, end.keys[0], grid, len(part)) for bank in banks]
    clip = network.repeated(end, len(earlier), room)
    if not earlier:
        return clip, reads

    def encode(frames: Sequence[int], regions: Sequence[Region]) -> None:
        network.encode_regions(clip, frames, lambda t: image(part[t]), regions)
        for read in reads:
            read.look(clip.keys, frames, regions)

    whole = Region(0, grid[0], 0, grid[1])
    after = {o: seen[-1] for read in reads for o, seen in read.seen(_SEEN).items()}
    regions = _between(before, after)
    if regions is None:
        encode(earlier, [whole])
        return clip, reads
    encode(earlier, regions)
    seen = torch.stack([seen[:-1] for read in reads for seen in read.seen(_SEEN).values()])
    if again := _doubtful(seen, regions):
        encode(again, [whole])
    return clip, reads


def _between(before: Mapping[int, Tensor], after: Mapping[int, Tensor]) -> list[Region] | None:
    """Where objects may be between two frames in which they are seen in these cells, bool (h, w).

    None where that may be anywhere, as an object is not seen in one of the two or is far from where it was, or where it
    is not worth it.
    """
    if not all(o in before and _near(before[o], cells) for o, cells in after.items()):
        return None
    cells = anywhere(before[o] | cells for o, cells in after.items())
    regions = cover(cells, _MARGIN, _OVERHEAD)
    return regions if sum(region.cells + _OVERHEAD for region in regions) < _WORTH * cells.numel() else None


def _near(before: Tensor, after: Tensor) -> bool:
    """True if an object is seen in cells, bool (h, w), and again in others that are not far from all of these."""
    around = grown(torch.stack([before, after]), _MARGIN)
    return bool((around[0] & around[1]).any())


def _doubtful(seen: Tensor, regions: Sequence[Region]) -> list[int]:
    """The frames in which an object may be outside of all regions.

    Those in which it is not seen, or comes near to what lies outside; `seen` is where objects are seen, bool
    (K, T, h, w).
    """
    outside = torch.ones(1, *seen.shape[2:], dtype=torch.bool)
    for region in regions:
        region.of(outside)[:] = False
    near = (seen & grown(outside, _RIM)).any(3).any(2)
    return torch.nonzero((near | ~seen.any(3).any(2)).any(0))[:, 0].tolist()
