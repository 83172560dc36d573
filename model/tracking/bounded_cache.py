"""What a worker keeps to save time; losing it changes no answer."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar, cast

T = TypeVar("T")


class BoundedCache:
    """Keeps what was used last within a budget.

    Args:
        budget: bytes.
    """

    def __init__(self, budget: int):
        self._budget, self._held = budget, 0
        self._entries: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], T], size: Callable[[T], int]) -> T:
        """What is kept under a key; made where it is not there, and kept if it fits.

        Args:
            key: names it; the same key must always mean the same thing.
            make: makes it.
            size: its bytes.
        """
        if key in self._entries:
            self._entries.move_to_end(key)
            return cast(T, self._entries[key][0])
        made = make()
        needed = size(made)
        if needed <= self._budget:
            self._entries[key] = made, needed
            self._held += needed
        while self._held > self._budget:
            self._held -= self._entries.popitem(last=False)[1][1]
        return made
