"""Rectangles of a frame's cells or pixels."""

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor


class Region(NamedTuple):
    """Rows top..bottom - 1 and columns left..right - 1."""

    top: int
    bottom: int
    left: int
    right: int

    @classmethod
    def around(cls, rows: Sequence[bool], columns: Sequence[bool]) -> "Region | None":
        """From the first to the last true row and column; None if none is true."""
        y, x = ([i for i, true in enumerate(side) if true] for side in (rows, columns))
        return cls(y[0], y[-1] + 1, x[0], x[-1] + 1) if y and x else None

    @property
    def cells(self) -> int:
        """How many cells, or pixels, it has."""
        return (self.bottom - self.top) * (self.right - self.left)

    def holds(self, other: "Region") -> bool:
        """True if the other lies inside."""
        return self.joined(other) == self

    def of(self, x: Tensor, scale: int = 1) -> Tensor:
        """The region in (..., h scale, w scale)."""
        return x[..., self.top * scale : self.bottom * scale, self.left * scale : self.right * scale]

    def joined(self, other: "Region") -> "Region":
        """The smallest region that holds both."""
        bottom, right = max(self.bottom, other.bottom), max(self.right, other.right)
        return Region(min(self.top, other.top), bottom, min(self.left, other.left), right)

    def common(self, other: "Region") -> "Region | None":
        """What lies in both; None if nothing does."""
        top, bottom = max(self.top, other.top), min(self.bottom, other.bottom)
        left, right = max(self.left, other.left), min(self.right, other.right)
        return Region(top, bottom, left, right) if top < bottom and left < right else None

    def inside(self, other: "Region") -> "Region":
        """The same region counted from the other's corner."""
        return Region(self.top - other.top, self.bottom - other.top, self.left - other.left, self.right - other.left)

    def grown(self, margin: int, height: int, width: int) -> "Region":
        """With so many more rows and columns on each side, as far as there are any."""
        bottom, right = min(self.bottom + margin, height), min(self.right + margin, width)
        return Region(max(self.top - margin, 0), bottom, max(self.left - margin, 0), right)

    def scaled(self, factor: int) -> "Region":
        """Where each cell is so many pixels high and wide, in pixels."""
        return Region(*(factor * side for side in self))
