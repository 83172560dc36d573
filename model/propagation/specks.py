"""Removes the specks that a network leaves where its object is not."""

import cv2
import numpy as np


def remove_specks(label_map: np.ndarray, least_area: dict[int, float]) -> None:
    """Turns to background, in place, every connected piece of an object that is smaller than its least area in pixels.

    Args:
        label_map: uint8 (H, W).
        least_area: pixels, per object; objects that are not named are left alone.
    """
    for obj, least in least_area.items():
        x, y, width, height = cv2.boundingRect((label_map == obj).view(np.uint8))
        if width == 0 or least <= 1:
            continue
        window = label_map[y : y + height, x : x + width]
        mask = (window == obj).view(np.uint8)
        count, pieces, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
        small = stats[:, cv2.CC_STAT_AREA] < least
        small[0] = False
        if count > 1 and small.any():
            window[small[pieces]] = 0
