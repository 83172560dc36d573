"""Measures of segmentation quality."""

import numpy as np


def region_similarity(mask: np.ndarray, truth: np.ndarray) -> float:
    """J, the intersection over union of two boolean masks (H, W), 0..1; 1 where both are empty (DAVIS 2016, 4.1)."""
    union = np.count_nonzero(mask | truth)
    return np.count_nonzero(mask & truth) / union if union else 1.0
