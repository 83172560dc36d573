"""The sample under construction: frames and the object that each pixel shows, with layers laid over or under."""

from dataclasses import dataclass

import cv2
import numpy as np

from model.training.samples.motion import Deformation, Motion
from model.training.samples.nesting import whole_masks
from model.training.samples.sample_shape import LEAST_AREA, Sample, SampleShape
from model.training.samples.warp import warp_patch


@dataclass(frozen=True, eq=False)
class Cutout:
    """An object cut out of a frame.

    Attributes:
        patch: uint8 (h, w, 4), RGB and opacity 0..255; opacity is a little inside the mask, as contours carry colour of
            what was behind.
        area: pixels of its mask.
    """

    patch: np.ndarray
    area: int

    @property
    def centre(self) -> tuple[float, float]:
        """Middle of the patch, x and y."""
        return (self.patch.shape[1] - 1) / 2, (self.patch.shape[0] - 1) / 2


def cut_out(frame: np.ndarray, mask: np.ndarray) -> Cutout | None:
    """Cuts the object out.

    Args:
        frame: uint8 (H, W, 3).
        mask: uint8 (H, W), not 0 where the object is.

    Returns:
        the object, or None where the mask is empty.
    """
    left, top, width, height = cv2.boundingRect(mask)
    if width < 3 or height < 3:
        return None
    rows, columns = slice(top, top + height), slice(left, left + width)
    inside = (mask[rows, columns] > 0).astype(np.uint8)
    # Padded, so that what touches the border of its patch is softened too.
    opacity = cv2.copyMakeBorder(inside * 255, 2, 2, 2, 2, cv2.BORDER_CONSTANT)
    opacity = cv2.GaussianBlur(cv2.erode(opacity, np.ones((3, 3), np.uint8)), (3, 3), 0)
    image = cv2.copyMakeBorder(frame[rows, columns], 2, 2, 2, 2, cv2.BORDER_REPLICATE)
    return Cutout(np.dstack([image, opacity]), int(cv2.countNonZero(inside)))


def opaque(image: np.ndarray) -> Cutout | None:
    """An object that comes with its opacity, uint8 (H, W, 4); None where nothing of it is opaque."""
    mask = (image[..., 3] > 127).astype(np.uint8)
    left, top, width, height = cv2.boundingRect(mask)
    if width < 3 or height < 3:
        return None
    patch = image[top : top + height, left : left + width]
    patch = cv2.copyMakeBorder(patch, 2, 2, 2, 2, cv2.BORDER_CONSTANT)
    return Cutout(patch, int(cv2.countNonZero(mask)))


class Canvas:
    """Frames of a sample and what they show.

    Attributes:
        frames: uint8 (T, S, S, 3).
        slots: uint8 (T, S, S); 0 is background, k is the sample's k-th object.
        decoys: bool (T, S, S); background that shows an object which was pasted and is not asked for.
        void: bool (T, S, S); nobody knows what it shows.
        inside: what each nested object is a part of.
    """

    def __init__(self, frames: np.ndarray, slots: np.ndarray, void: np.ndarray | None = None):
        self.frames, self.slots = frames, slots
        self.decoys = np.zeros(slots.shape, bool)
        self.void = np.zeros(slots.shape, bool) if void is None else void
        self.inside: dict[int, int] = {}

    def paste(
        self,
        cutouts: list[Cutout | None],
        motion: Motion,
        slot: int,
        *,
        behind: bool = False,
        deformation: Deformation | None = None,
        colour: np.ndarray | None = None,
    ) -> None:
        """Lays an object into all frames.

        Args:
            cutouts: the object in each frame; None where it is not there.
            motion: where it lies.
            slot: 0 for a distractor, which stays background and hides what it covers; else the object's number.
            behind: whether the objects that are there already hide it.
            deformation: bends it.
            colour: recolours it, (3, 4) for RGB.
        """
        size = self.frames.shape[1]
        for t, cutout in enumerate(cutouts):
            if cutout is None:
                continue
            bent = None if deformation is None else (deformation, t)
            placed = warp_patch(cutout.patch, motion.matrix(t, cutout.centre), size, bent)
            if placed is None:
                continue
            rows, columns, layer = placed
            image, opacity = layer[..., :3], layer[..., 3]
            slots = self.slots[t, rows, columns]
            if behind:
                hidden = cv2.GaussianBlur((slots > 0).astype(np.uint8) * 255, (3, 3), 0)
                opacity = np.minimum(opacity, 255 - hidden)
            if colour is not None:
                image = cv2.transform(image, colour.astype(np.float32))
            ground = self.frames[t, rows, columns]
            share = opacity.astype(np.uint16)[..., None]
            blended = image * share + ground * (255 - share) + 127
            self.frames[t, rows, columns] = (blended // 255).astype(np.uint8)
            shown = opacity > 127
            slots[shown] = slot
            self.decoys[t, rows, columns][shown] = slot == 0
            self.void[t, rows, columns][shown] = False

    def sample(self, shape: SampleShape, source: str) -> Sample | None:
        """The sample with the objects that the first frame shows well, these first; None without any."""
        first, _ = whole_masks(self.slots[:1], objects := list(range(1, shape.objects + 1)), self.inside)
        counts = np.count_nonzero(first[0], (1, 2))
        shown = [k for k, count in zip(objects, counts) if count >= LEAST_AREA * shape.crop**2]
        if not shown:
            return None
        masks = np.zeros((len(self.slots), shape.objects, shape.crop, shape.crop), np.uint8)
        masks[:, : len(shown)], layers = whole_masks(self.slots, shown, self.inside)
        nothing = [0] * (shape.objects - len(shown))
        # Objects that the first frame does not show well are not asked for either.
        decoys = self.decoys | ((self.slots > 0) & ~masks.any(1))
        void = self.void & ~masks.any(1)  # a part of an object is known to show the whole, whatever else
        return Sample(self.frames, masks, source, np.array([*layers, *nothing], np.int64), decoys, void)
