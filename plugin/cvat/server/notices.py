"""What a person is told while a run goes on."""

import sys
from contextlib import suppress

from tqdm import tqdm


def tell(line: str) -> None:
    """Shows a line on standard error, above the progress bars; where nothing can be shown it is dropped."""
    if sys.stderr is not None:
        with suppress(OSError, ValueError):  # closed, full, or without these letters
            tqdm.write(line, file=sys.stderr)


class PlanningProgress:
    """Shows how far the comparison of drawn shapes has come, once there is one; use as a context.

    Args:
        task: its id.
    """

    def __init__(self, task: int):
        self._task = task
        self._bar: tqdm | None = None

    def advanced(self, done: int, total: int) -> None:
        """So many frames of so many are done."""
        if self._bar is None or self._bar.total != total:
            self.close()
            what = f"task {self._task}: comparing drawn shapes"
            self._bar = tqdm(total=total, unit="frame", desc=what, dynamic_ncols=True, leave=False)
        self._bar.update(done - self._bar.n)

    def close(self) -> None:
        """Removes the bar."""
        if self._bar is not None:
            self._bar.close()

    def __enter__(self) -> "PlanningProgress":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
