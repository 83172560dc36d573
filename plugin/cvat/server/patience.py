"""Waiting for what may come back: longer from try to try, and not for ever."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

MOST_ASKED = 1800.0
"""Seconds for which a server is waited for at its wish, without an answer in between."""


class AskedWaits:
    """What is left of the waiting at another side's wish; shared by all its requests, in all threads.

    So many requests that are each put off for ever wait no longer than one.

    Args:
        most: seconds of waiting between two answers.
    """

    def __init__(self, most: float = MOST_ASKED):
        self._most, self._spent, self._waiting = most, 0.0, 0
        self._lock = threading.Lock()

    @contextmanager
    def waiting(self, seconds: float, counted: float, error: Exception) -> Iterator[None]:
        """While it is waited; raises the error where too little is left.

        Args:
            seconds: that are asked for.
            counted: seconds that count, no less than `seconds`. Those who wait at the same time share them.
            error: of the request.
        """
        with self._lock:
            share = counted / (self._waiting + 1)
            if seconds > self._most or self._spent + share > self._most:
                raise error
            self._spent += share
            self._waiting += 1
        try:
            yield
        finally:
            with self._lock:
                self._waiting -= 1

    def refill(self) -> None:
        """The other side has answered a request."""
        with self._lock:
            self._spent = 0.0


class Patience:
    """The tries of one request.

    It lasts from the last sign of life: however long a request has run before it failed, it is tried again; and whoever
    asks to be waited for is waited for.

    Args:
        seconds: without a sign of life after which it is given up.
        pause: what waits.
        first: seconds before the second try; doubled at each further one.
        longest: seconds between two tries at most, unless the other side asks for more.
        asked_waits: what bounds the waiting at its wish, beside half an hour for one request.

    Attributes:
        asked: seconds that were waited at the other side's wish so far.
    """

    def __init__(
        self,
        seconds: float,
        pause: Callable[[float], None],
        first: float = 1.0,
        longest: float = 30.0,
        asked_waits: Sequence[AskedWaits] = (),
    ):
        self._seconds, self._pause, self._asked_waits = seconds, pause, asked_waits
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
        if self.asked + seconds > MOST_ASKED:
            raise error
        counted = max(seconds, self._first)  # asked for nothing again and again it ends as well
        with ExitStack() as stack:
            for waits in self._asked_waits:
                stack.enter_context(waits.waiting(seconds, counted, error))
            self._pause(seconds)
        self.asked += counted

    def revive(self) -> None:
        """The other side is there."""
        self._deadline, self._wait = None, self._first
