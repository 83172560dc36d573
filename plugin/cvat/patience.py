"""Waiting for what may come back: longer from try to try, and not for ever."""

import time
from collections.abc import Callable


class Patience:
    """The tries of one request.

    Args:
        seconds: after which it is given up.
        pause: what waits.
        first: seconds before the second try; doubled at each further one.
        longest: seconds between two tries at most.
    """

    def __init__(self, seconds: float, pause: Callable[[float], None], first: float = 1.0, longest: float = 30.0):
        self._deadline, self._pause = time.monotonic() + seconds, pause
        self._wait, self._longest = first, longest

    def wait_or_raise(self, error: Exception, at_least: float = 0.0) -> None:
        """Waits before the next try, or raises the error of the last one.

        Args:
            error: of the last try.
            at_least: seconds that the other side has asked for.
        """
        seconds = max(self._wait, at_least)
        if time.monotonic() + seconds > self._deadline:
            raise error
        self._pause(seconds)
        self._wait = min(2 * self._wait, self._longest)
