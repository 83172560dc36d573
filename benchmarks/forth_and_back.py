"""A clip played to its end, back to its start, and so on: a long video of which everything is known."""

from collections.abc import Sequence
from typing import TypeVar, overload

Item = TypeVar("Item")


class ForthAndBack(Sequence[Item]):
    """The items of a sequence of at least two, forth and back until `length` are given."""

    def __init__(self, items: Sequence[Item], length: int):
        self._items, self._length = items, length

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, index: int) -> Item: ...

    @overload
    def __getitem__(self, index: slice) -> list[Item]: ...

    def __getitem__(self, index: int | slice) -> Item | list[Item]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(self._length))]
        if index < 0:
            index += self._length
        if not 0 <= index < self._length:
            raise IndexError(index)  # which ends an iteration
        period = 2 * (len(self._items) - 1)
        place = index % period
        return self._items[min(place, period - place)]
