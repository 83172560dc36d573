"""From frames to network input and back: normalise, resize, pad; and the way back for masks."""

from collections.abc import Callable, Sequence
from functools import cached_property

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from model.device.upload import Upload
from model.errors import InputError
from model.inference.region import Region
from model.inference.resampling import AxisResampling
from model.network.input_constants import IMAGE_MEAN, IMAGE_STD
from model.network.segmentation_network import STRIDE
from model.network.soft_aggregation import aggregate_objects, object_probabilities
from model.object_masks import ObjectMasks

_LARGEST_ASPECT = 6  # of frames that get their whole short side; thinner ones get its square times this as area
_LONGEST_SIDE = 16384  # of the network's input


def tensor_of(array: np.ndarray) -> Tensor:
    """An array as a CPU tensor; they share memory where the array is contiguous and may be written to.

    Of one that may not, as `np.asarray` makes of pictures, torch would warn.
    """
    return torch.from_numpy(np.require(array, requirements=("C", "W")))


class Framing:
    """The geometry of one run: frame size (H, W), network size (h, w), padded size (multiples of 16).

    Args:
        height: H.
        width: W.
        short_side: shorter side of the network size; None: that of the frames.
        device: of what is made.
        any_frame_size: frames may come in other sizes.
        pads_first: the border is black and belongs to no object, as in STM, which pads before it normalises; else it is
            of the mean colour, and what is seen there is remembered.
    """

    def __init__(
        self,
        height: int,
        width: int,
        short_side: int | None,
        device: torch.device,
        any_frame_size: bool = False,
        pads_first: bool = False,
    ):
        self.height, self.width, self._any_frame_size = height, width, any_frame_size
        self._pads_first = pads_first
        self.net_height, self.net_width = height, width
        if short_side is not None:
            # The long side is rounded down, as in the public code.
            self.net_height = short_side * height // min(height, width)
            self.net_width = short_side * width // min(height, width)
            # Of frames like threads, a few kilobytes would become gigabytes.
            excess = self.net_height * self.net_width / (_LARGEST_ASPECT * short_side**2)
            if excess > 1:
                self.net_height = min(_LONGEST_SIDE, max(1, int(self.net_height / excess**0.5)))
                self.net_width = min(_LONGEST_SIDE, max(1, int(self.net_width / excess**0.5)))
        self.padded_height = -(-self.net_height // STRIDE) * STRIDE
        self.padded_width = -(-self.net_width // STRIDE) * STRIDE
        self._top = (self.padded_height - self.net_height) // 2
        self._left = (self.padded_width - self.net_width) // 2
        self._scale = 1 / (255 * torch.tensor(IMAGE_STD, device=device))
        self._offset = -255 * torch.tensor(IMAGE_MEAN, device=device) * self._scale
        self._device, self._upload = device, Upload(device)

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of a frame's memory positions."""
        return self.padded_height // STRIDE, self.padded_width // STRIDE

    @property
    def tokens(self) -> int:
        """Memory positions of one frame."""
        return self.grid[0] * self.grid[1]

    @property
    def _resized(self) -> bool:
        return (self.net_height, self.net_width) != (self.height, self.width)

    def _pad(self, x: Tensor) -> Tensor:
        rows, columns = self.padded_height - self.net_height, self.padded_width - self.net_width
        return F.pad(x, (self._left, columns - self._left, self._top, rows - self._top))

    def image(self, frame: np.ndarray, index: int) -> Tensor:
        """Network input float32 (3, padded H, padded W) of frame `index`, uint8 (H, W, 3) RGB.

        Raises:
            InputError: the frame is no RGB image, or not of the run's size where that is asked for.
        """
        pixels = self._upload(tensor_of(self.at_network_size(self._checked(frame, index))))
        # Channels last, as the network wants them: in this order it takes 1 ms instead of 4 at 480p.
        image = self._scale.new_zeros(self.padded_height, self.padded_width, 3)
        if self._pads_first:
            image += self._offset
        image = image.permute(2, 0, 1)
        torch.addcmul(self._offset, pixels.float(), self._scale, out=self.crop(image).permute(1, 2, 0))
        return image

    def _checked(self, frame: np.ndarray, index: int) -> np.ndarray:
        frame = np.asarray(frame)
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
            raise InputError(f"frame {index} is {frame.dtype} {frame.shape}; give uint8 RGB of shape (H, W, 3)")
        if frame.shape[:2] != (self.height, self.width) and not self._any_frame_size:
            raise InputError(
                f"frame {index} is {frame.shape[1]}x{frame.shape[0]} pixels, the first one {self.width}x{self.height}; "
                "all frames of a run must have one size"
            )
        return frame

    def at_network_size(self, frame: np.ndarray) -> np.ndarray:
        """A frame, uint8 (h, w, 3), at the network's size, without padding."""
        if frame.shape[:2] == (self.net_height, self.net_width):
            return frame
        # Area averaging shrinks without aliasing, in a tenth of the time of a bicubic float resize.
        shrinks = self.net_height < frame.shape[0]
        size = (self.net_width, self.net_height)
        return cv2.resize(frame, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)

    def masks(
        self, drawn: ObjectMasks | np.ndarray, objects: Sequence[int], layers: Sequence[int] | None = None
    ) -> Tensor:
        """Float32 0/1 masks (K, padded H, padded W) of the named objects; of a layer each pixel has at most one.

        Args:
            drawn: masks or a label map, (H, W).
            objects: K ids.
            layers: of these objects; None: all lie in one.

        Raises:
            InputError: the masks are not of the frames' size.
        """
        self._check(drawn)
        return self._by_layer(drawn, objects, layers, self._masks)

    def _masks(self, label_map: np.ndarray, objects: Sequence[int]) -> Tensor:
        if self._resized:
            label_map = cv2.resize(label_map, (self.net_width, self.net_height), interpolation=cv2.INTER_NEAREST_EXACT)
        return self._pad(self._one_hot(label_map, objects))

    def _check(self, drawn: ObjectMasks | np.ndarray) -> None:
        if drawn.shape != (self.height, self.width):
            raise InputError(
                f"a label map is {drawn.shape[1]}x{drawn.shape[0]} pixels, the frames are "
                f"{self.width}x{self.height}; give it at the frames' size"
            )

    def _by_layer(
        self,
        drawn: ObjectMasks | np.ndarray,
        objects: Sequence[int],
        layers: Sequence[int] | None,
        masks_of: Callable[[np.ndarray, Sequence[int]], Tensor],
    ) -> Tensor:
        """What `masks_of` makes of label maps and the objects in them, layer by layer where masks overlap."""
        if not (isinstance(drawn, ObjectMasks) and drawn.overlapping):
            return masks_of(drawn.label_map if isinstance(drawn, ObjectMasks) else drawn, objects)
        layers = [0] * len(objects) if layers is None else layers
        order: list[int] = []
        masks = []
        for layer in dict.fromkeys(layers):
            places = [k for k, other in enumerate(layers) if other == layer]
            mates = [objects[k] for k in places]
            masks.append(masks_of(drawn.flattened(mates), mates))
            order += places
        return torch.cat(masks)[np.argsort(order)]

    def _one_hot(self, label_map: np.ndarray, objects: Sequence[int]) -> Tensor:
        labels = tensor_of(label_map).to(self._device)
        ids = torch.tensor(objects, dtype=torch.uint8, device=self._device)
        return (labels == ids[:, None, None]).float()

    def drawn_masks(
        self, drawn: ObjectMasks | np.ndarray, objects: Sequence[int], layers: Sequence[int] | None = None
    ) -> Tensor:
        """As `masks`, but as the network memorises them: float32 (K, rows, columns)."""
        return aggregate_objects(self.masks(drawn, objects, layers), layers)

    def memory_masks(self, logits: Tensor, layers: Sequence[int] | None = None) -> Tensor:
        """Predicted logits (K, padded H / 4, padded W / 4) as the network memorises them, in the same format.

        Soft aggregated: 0..1, those of a layer at most 1 together.
        """
        masks = aggregate_objects(object_probabilities(logits[None])[0], layers)
        if not self._pads_first:
            return masks
        bordered = torch.zeros_like(masks)
        self.crop(bordered).copy_(self.crop(masks))
        return bordered

    def settled(self, masks: Tensor, layers: Sequence[int] | None = None) -> Tensor:
        """Masks (K, rows, columns), 0..1, of which some are predicted and others drawn over them, as they compete."""
        return aggregate_objects(masks, layers)

    def probabilities(self, logits: Tensor, layers: Sequence[int] | None = None) -> Tensor:
        """Soft aggregated probabilities of the objects at the frame's size, float32 (K, H, W), by their logits."""
        return self.restore(aggregate_objects(self.crop(object_probabilities(logits[None])[0]), layers))[0]

    @property
    def content(self) -> Region:
        """Where a padded image is not padding."""
        return Region(self._top, self._top + self.net_height, self._left, self._left + self.net_width)

    def crop(self, x: Tensor) -> Tensor:
        """(..., padded H, padded W) -> (..., h, w): takes the padding off."""
        return self.content.of(x)

    def restore(self, x: Tensor, region: Region | None = None) -> tuple[Tensor, Region]:
        """From network size to frame size, bilinear.

        Args:
            x: float, a region of (..., h, w).
            region: which one; None: all.

        Returns:
            All pixels at frame size that need no others, and which region of (..., H, W) they are.
        """
        region = region or Region(0, self.net_height, 0, self.net_width)
        if not self._resized:
            return x, region
        left, x = self._columns(x, -1, region.left, region.right)
        top, x = self._rows(x, -2, region.top, region.bottom)
        return x, Region(top, top + x.shape[-2], left, left + x.shape[-1])

    @cached_property
    def _rows(self) -> AxisResampling:
        return AxisResampling(self.net_height, self.height, self._device)

    @cached_property
    def _columns(self) -> AxisResampling:
        return AxisResampling(self.net_width, self.width, self._device)
