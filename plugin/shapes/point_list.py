"""A shape's list of points as it comes from outside."""

from collections.abc import Sequence

import numpy as np

from model.errors import InputError


def as_numbers(points: Sequence[float] | np.ndarray, what: str) -> np.ndarray:
    """The list as a one-dimensional array of whole or floating numbers, not yet checked for nan and infinity.

    Args:
        points: numbers, a list or an array.
        what: begins the error, as "mask points".

    Raises:
        InputError: it is not a plain list, or something else than numbers is in it.
    """
    try:
        values = np.asarray(points)
    except ValueError:  # lists of different lengths inside
        values = np.empty(0, dtype=object)
    if values.ndim != 1 or (values.dtype.kind not in "iuf" and values.size):
        raise InputError(f"{what} must be a list of numbers")
    return values
