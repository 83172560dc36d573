"""Waiting for what may come back: longer from try to try, and not for ever."""

import time
from collections.abc import Callable

_MOST_ASKED = 1800.0  # seconds


class Patience:
    """The tries of one request.

    It lasts from the last sign of life: however long a request has run before it failed, it is tried again; and whoever
    asks to be waited for is waited for.

    Args:
        seconds: without a sign of life after which it is given up.
        pause: what waits.
        first: seconds before the second try; doubled at each further one.
        longest: seconds between two tries at most, unless the other side asks for more.
        most_asked: seconds of waiting at its wish, in all, after which it is given up as well.

    Attributes:
        asked: seconds that were waited at the other side's wish so far.
    """

    def __init__(
        self,
        seconds: float,
        pause: Callable[[float], None],
        first: float = 1.0,
        longest: float = 30.0,
        most_asked: float = _MOST_ASKED,
    ):
        self._seconds, self._pause, self._most_asked = seconds, pause, most_asked
        self._first = self._wait = first
        self._longest = longest
        self._deadline: float | None = None  # None: no failure since the last sign of life
        self.asked = 0.0

    def wait_or_raise(self, error: Exception) -> None:
        """Waits before the next try, or raises the error of the last one."""
        if self._deadline is None:
            self._deadline = time.monotonic() + self._seconds
        if time.monotonic() + self._wait > self._deadline:
            raise error
        self._pause(self._wait)
        self._wait = min(2 * self._wait, self._longest)

    def wait_as_asked(self, seconds: float, error: Exception) -> None:
        """Waits as long as the other side asks, which is a sign of life; raises the error where that leads nowhere."""
        self.revive()
        if self.asked + seconds > self._most_asked:
            raise error
        self._pause(seconds)
        self.asked += max(seconds, self._first)  # asked for nothing again and again it ends as well

    def revive(self) -> None:
        """The other side is there."""
        self._deadline, self._wait = None, self._first
