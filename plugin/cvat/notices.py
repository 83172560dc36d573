"""What a person is told while a run goes on."""

import sys
from contextlib import suppress

from tqdm import tqdm


def tell(line: str) -> None:
    """Shows a line on standard error, above the progress bars; where nothing can be shown it is dropped."""
    if sys.stderr is not None:
        with suppress(OSError, ValueError):  # closed, full, or without these letters
            tqdm.write(line, file=sys.stderr)
