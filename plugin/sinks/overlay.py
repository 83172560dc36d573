"""Draws label maps over frames."""

import cv2
import numpy as np

from model.errors import InputError
from plugin.sinks.palette import PALETTE


def draw_overlay(frame: np.ndarray, label_map: np.ndarray, opacity: float = 0.45) -> np.ndarray:
    """A frame with every object filled in its palette colour and outlined.

    Args:
        frame: uint8 (H, W, 3) RGB; it is not changed.
        label_map: uint8 (H, W), 0 is background.
        opacity: of the fill, 0 (outlines only) .. 1.

    Returns:
        uint8 (H, W, 3) RGB.

    Raises:
        InputError: the sizes differ.
    """
    if frame.shape[:2] != label_map.shape:
        raise InputError(
            f"the masks are {label_map.shape[1]}x{label_map.shape[0]} but the frames are "
            f"{frame.shape[1]}x{frame.shape[0]}; give the video that the masks were made for"
        )
    picture = frame.copy()
    inside = label_map > 0
    mixed = (1 - opacity) * frame[inside].astype(np.float32) + opacity * PALETTE[label_map[inside]]
    picture[inside] = np.rint(mixed).astype(np.uint8)
    thickness = max(1, round(min(label_map.shape) / 320))
    for object_id in np.flatnonzero(np.bincount(label_map.ravel(), minlength=256)[1:]) + 1:
        outlines, _ = cv2.findContours((label_map == object_id).astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        # Palette colours are dark; half-way to white they stand out from their own fill and from the frame.
        light = [int(channel) // 2 + 127 for channel in PALETTE[object_id]]
        cv2.drawContours(picture, outlines, -1, light, thickness, cv2.LINE_AA)
    return picture
