"""The frames of a clip call: some sent as images, all others only named."""

import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import overload

import numpy as np

from model.data.pixel_formats import Pixels, common_depth, looked_at
from model.errors import InputError
from serverless.call_error import CallError
from serverless.images import decode_base64_image

_DECODED = 32  # images kept; a clip and the memory that is read again
_MAX_PIXELS = 4096 * 4096


class ClipFrames(Sequence[np.ndarray]):
    """A sequence of frames whose images are decoded when they are asked for.

    16-bit grays have one scale for all images of a call.

    Attributes:
        numbers: CVAT's frame numbers, ascending; the place in the sequence is the engine's frame number.
        decoding: seconds spent on decoding so far.
    """

    def __init__(self, numbers: Sequence[int], images: Mapping[int, str]):
        """Takes images in base64, by place."""
        self.numbers = numbers
        self.decoding = 0.0
        self._images = images
        self._decoded: OrderedDict[int, np.ndarray] = OrderedDict()

    def __len__(self) -> int:
        return len(self.numbers)

    @overload
    def __getitem__(self, index: int) -> np.ndarray: ...

    @overload
    def __getitem__(self, index: slice) -> list[np.ndarray]: ...

    def __getitem__(self, index: int | slice) -> np.ndarray | list[np.ndarray]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if index not in self._decoded:
            self._decoded[index] = self._decode(index)
            if len(self._decoded) > _DECODED:
                self._decoded.popitem(last=False)
        return self._decoded[index]

    def sent(self, indices: Sequence[int]) -> bool:
        """Whether the images of all these frames came with the call."""
        return all(i in self._images for i in indices)

    def _decode(self, index: int) -> np.ndarray:
        pixels = self._pixels(index)
        return pixels.rgb(self._depth if pixels.is_wide else None)

    @cached_property
    def _depth(self) -> int:
        """Bits of the grays of all images that have more than 8."""
        sent = sorted(self._images)
        return common_depth(self._pixels(sent[i]).brightest for i in looked_at(len(sent)))

    def _pixels(self, index: int) -> Pixels:
        if index not in self._images:
            raise CallError(
                f"frame {self.numbers[index]} is needed: send its image, as that of every keyframe and all of `needed`",
                "image_missing",
            )
        began = time.perf_counter()
        try:
            return decode_base64_image(self._images[index], max_pixels=_MAX_PIXELS)
        except InputError as error:
            raise CallError(f"frame {self.numbers[index]}: {error}", "bad_image") from None
        finally:
            self.decoding += time.perf_counter() - began
