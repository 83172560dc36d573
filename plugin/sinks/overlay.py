"""Draws masks over frames."""

import cv2
import numpy as np

from model.errors import InputError
from model.object_masks import MaskInput, ObjectMasks
from plugin.sinks.palette import PALETTE


def draw_overlay(frame: np.ndarray, masks: MaskInput, opacity: float = 0.45) -> np.ndarray:
    """A frame with every object filled in its palette colour and outlined.

    What lies under another object shines through it, and its whole outline is drawn.

    Args:
        frame: uint8 (H, W, 3) RGB; it is not changed.
        masks: of (H, W), or a label map.
        opacity: of the fill, 0 (outlines only) .. 1.

    Returns:
        uint8 (H, W, 3) RGB.

    Raises:
        InputError: the sizes differ.
    """
    masks = ObjectMasks.given(masks)
    if frame.shape[:2] != masks.shape:
        raise InputError(
            f"the masks are {masks.shape[1]}x{masks.shape[0]} but the frames are "
            f"{frame.shape[1]}x{frame.shape[0]}; give the video that the masks were made for"
        )
    picture = frame.copy()
    fills = (mask * np.uint8(i) for i, mask in masks.items()) if masks.overlapping else [masks.label_map]
    for fill in fills:
        inside = fill > 0
        mixed = (1 - opacity) * picture[inside].astype(np.float32) + opacity * PALETTE[fill[inside]]
        picture[inside] = np.rint(mixed).astype(np.uint8)
    thickness = max(1, round(min(masks.shape) / 320))
    for object_id in masks.order if masks.overlapping else masks.objects:
        mask = masks.mask(object_id).view(np.uint8)
        outlines, _ = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        # Palette colours are dark; half-way to white they stand out from their own fill and from the frame.
        light = [int(channel) // 2 + 127 for channel in PALETTE[object_id]]
        cv2.drawContours(picture, outlines, -1, light, thickness, cv2.LINE_AA)
    return picture
