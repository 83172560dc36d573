"""Work in several threads that nobody has to wait for when the run is to end."""

import threading
from collections.abc import Callable, Iterable
from queue import Empty, SimpleQueue

_TURN = 0.2  # seconds, so that Ctrl-C is heard
_GRACE = 3.0  # seconds that others get to end by themselves


def run_concurrently(jobs: Iterable[Callable[[], None]], parallel: int, stop: Callable[[], None]) -> None:
    """Does all jobs, several at a time.

    Args:
        jobs: in the order in which they are begun.
        parallel: how many at a time.
        stop: tells running jobs to end.

    Raises:
        BaseException: what a job raises, or KeyboardInterrupt; the others are told to stop, and left behind where they
            do not: their threads end with the process, and journals are fit for that.
    """
    waiting: SimpleQueue[Callable[[], None]] = SimpleQueue()
    for job in jobs:
        waiting.put(job)
    errors: list[BaseException] = []

    def work() -> None:
        while not errors:
            try:
                job = waiting.get_nowait()
            except Empty:
                return
            try:
                job()
            except BaseException as error:  # raised by the thread that waits
                errors.append(error)

    threads = [threading.Thread(target=work, name=f"concurrent-{i}", daemon=True) for i in range(parallel)]
    for thread in threads:
        thread.start()
    try:
        for thread in threads:
            while thread.is_alive() and not errors:
                thread.join(_TURN)
        if errors:
            raise errors[0]
    except BaseException:
        errors.append(KeyboardInterrupt())  # no thread begins anything more
        stop()
        for thread in threads:
            thread.join(_GRACE / len(threads))
        raise
