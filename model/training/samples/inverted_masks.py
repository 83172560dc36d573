"""Tells of training masks that seem to be inside out."""

import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from tqdm import tqdm

from model.data.inside_out import inside_out_warnings


def tell_inverted(path: Path, masks: Iterable[tuple[str, np.ndarray]]) -> None:
    """Writes a line to standard error where masks of a data set go around what they call background.

    Args:
        path: of the data set.
        masks: name inside of it, and label map as for `model.data.inside_out.inside_out`.
    """
    for warning in inside_out_warnings(masks):
        tqdm.write(f"warning: {path}: {warning}", file=sys.stderr)
