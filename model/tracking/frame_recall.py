"""Turns remembered frames back into what the network reads, and saves time where it can."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from model.data.image_file import decode_image, encode_jpeg
from model.inference.framing import Framing
from model.keyframe import Keyframe
from model.memory.packed_bases import pack_bases, unpack_bases
from model.propagation.layers import Layers
from model.propagation.prediction import LOGIT_LIMIT
from model.tracking.bounded_cache import BoundedCache
from model.tracking.frame_tracker import EncodedFrame, FrameMemory, FrameTracker, ObjectMemory
from model.tracking.remembered_frames import Remembered, RememberedFrame, remember

_QUALITIES = (85, 75, 60, 40, 20)  # of JPEG
_LARGEST_IMAGE = 42_000  # bytes; five of them in base64, with their masks, are a state of a tracker call


class FrameRecall:
    """Remembered frames as a frame tracker reads them. The cache changes no answer, only its time."""

    def __init__(self, tracker: FrameTracker, cache: BoundedCache):
        """Takes a tracker and a cache that nobody else uses."""
        self._tracker, self._cache = tracker, cache

    def small_image(self, framing: Framing, image: np.ndarray) -> bytes:
        """A frame, uint8 (H, W, 3), as it is remembered: JPEG at the network's size, of few bytes."""
        small = framing.at_network_size(image)
        for quality in _QUALITIES:
            data = encode_jpeg(small, quality)
            if len(data) <= _LARGEST_IMAGE:
                break
        return data

    def darkened(self, framing: Framing, memory: Remembered, bits: int) -> Remembered:
        """Remembered 16-bit grays at the scale of a brighter picture: each gray divided by two to the `bits`.

        Bases cannot be darkened: they begin again from the drawn frame.

        Raises:
            InputError: a frame's bytes are no image of at most the network's size.
        """

        def darken(image: bytes) -> bytes:
            pixels = decode_image(image, max_pixels=framing.net_height * framing.net_width)
            return encode_jpeg(pixels >> min(bits, 8), _QUALITIES[0])

        def dark(image: bytes) -> bytes:
            return self._cache.get(("dark", image, bits), lambda: darken(image), len)

        return Remembered(tuple(replace(f, image=dark(f.image)) for f in memory.frames))

    def encoded(self, framing: Framing, image: bytes) -> EncodedFrame:
        """A remembered or present frame; what is seen now is encoded as it will be remembered.

        Raises:
            InputError: the bytes are no image.
            ValueError: it is not of the network's size.
        """

        def encode() -> EncodedFrame:
            pixels = decode_image(image, max_pixels=framing.net_height * framing.net_width)
            if pixels.shape[:2] != (framing.net_height, framing.net_width):
                raise ValueError("an image is not of the network's size")
            return self._tracker.encode(framing, pixels)

        return self._cache.get(("frame", image), encode, lambda _: 250 * framing.tokens * 16)

    def memory(self, framing: Framing, remembered: Remembered) -> ObjectMemory:
        """What is remembered of one object.

        Raises:
            InputError: a frame's bytes are no image.
            ValueError: an image, logits or bases are damaged or of another size or network.
        """
        if len(remembered.frames) > 1 if self._tracker.keeps_bases else remembered.bases:
            raise ValueError("what is remembered is of another network")
        frames = [self._memory(framing, frame) for frame in remembered.frames]
        if not remembered.bases:
            return ObjectMemory(frames)
        key, value = frames[0].key, frames[0].value
        # Behind the value lies what belongs to which group.
        return ObjectMemory(frames, unpack_bases(remembered.bases, key.shape[1], value.shape[1] - 2))

    def remember(
        self,
        framing: Framing,
        remembered: Remembered,
        memory: ObjectMemory,
        seen: RememberedFrame,
        frame: EncodedFrame,
    ) -> Remembered:
        """What to remember of one object after a frame in which it was seen.

        Bases are rounded after every frame, the first included: what is used is what travels, so that it does not
        matter where a chain of calls is split.

        Args:
            framing: of the frames.
            remembered: before the frame; not empty.
            memory: the same, as `self.memory` gave it.
            seen: the frame, as it is remembered.
            frame: its encoding.
        """
        if not self._tracker.keeps_bases:
            return replace(remembered, frames=remember(remembered.frames, seen))
        bases = self._tracker.absorbed(framing, memory, self._memorised(framing, seen, frame))
        return replace(remembered, bases=pack_bases(bases, seen.number))

    def layers(self, framing: Framing, drawn: Sequence[RememberedFrame]) -> list[int]:
        """The layer of each of some objects, by `model.propagation.layers`: those that overlap are no rivals.

        Objects overlap where they were drawn on one image. Nothing but what was drawn counts, so that it needs no place
        in what is remembered and is the same in every call.

        Args:
            framing: of the frames.
            drawn: of each object, at most 255, the frame that it was drawn on.

        Raises:
            ValueError: logits are damaged or of another size.
        """

        def find() -> list[int]:
            together: dict[bytes, dict[int, np.ndarray]] = {}
            for number, frame in enumerate(drawn, 1):
                together.setdefault(frame.image, {})[number] = self._drawn_mask(framing, frame)
            keyframes = [Keyframe(i, masks, masks) for i, masks in enumerate(together.values())]
            return Layers.of(keyframes).places(range(1, len(drawn) + 1))

        if len({frame.image for frame in drawn}) == len(drawn):
            return [0] * len(drawn)
        digests = [hashlib.sha256(data).digest() for frame in drawn for data in (frame.image, frame.mask)]
        key = hashlib.sha256(b"".join(digests)).digest()
        return self._cache.get(("layers", key), find, lambda found: 256 + 8 * len(found))

    def _drawn_mask(self, framing: Framing, frame: RememberedFrame) -> np.ndarray:
        """What was drawn, bool (padded H, padded W), as the network saw it; of what is smaller than a cell the cell."""
        logits = frame.prediction(4 * framing.grid[0], 4 * framing.grid[1]).unpack().logits
        whole = torch.nn.functional.interpolate(logits[None, None], scale_factor=4, mode="bilinear")[0, 0]
        mask: np.ndarray = (whole > min(0.0, float(whole.max()) - 1)).numpy()
        return mask

    def _memory(self, framing: Framing, remembered: RememberedFrame) -> FrameMemory:
        def memorise() -> FrameMemory:
            return self._memorised(framing, remembered, self.encoded(framing, remembered.image))

        key = "memory", remembered.image, remembered.mask, remembered.others
        return self._cache.get(key, memorise, lambda memory: memory.key.nbytes + memory.value.nbytes)

    def _memorised(self, framing: Framing, remembered: RememberedFrame, frame: EncodedFrame) -> FrameMemory:
        rows, columns = 4 * framing.grid[0], 4 * framing.grid[1]
        own = remembered.prediction(rows, columns).unpack().logits
        others = torch.full_like(own, -LOGIT_LIMIT)
        if remembered.others:
            others = remembered.prediction(rows, columns, others=True).unpack().logits
        masks = framing.memory_masks(torch.stack([own, others]))
        return self._tracker.memorise(remembered.name, frame, masks[0], masks[1])


def drawn_logits(framing: Framing, mask: np.ndarray) -> Tensor:
    """Logits (padded H / 4, padded W / 4) that say what was drawn, bool (H, W)."""
    covered = torch.nn.functional.avg_pool2d(framing.masks(mask.astype(np.uint8), (1,)), 4)[0]
    return torch.logit(covered, eps=1e-4).clamp(-LOGIT_LIMIT, LOGIT_LIMIT)
