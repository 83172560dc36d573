"""A run in a process of its own, to be killed: `python -m tests.plugin.cvat.run.slow_run URL FOLDER OUTPUT SECONDS`.

The network is a stand-in that takes some time for each frame; everything else is the program.
"""

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from model.result import FrameResult
from plugin.cvat.open_task import Workplace
from plugin.cvat.run import task_writer
from plugin.cvat.run.bulk import BulkRun, Target, TargetFilter
from plugin.cvat.server.client import Server
from plugin.cvat.server.login import Login
from plugin.cvat.settings import BulkSettings
from tests.cvat_server.server import TOKEN
from tests.plugin.cvat.program import TASK, NearestKeyframe


class Slow(NearestKeyframe):
    def __init__(self, seconds: float):
        super().__init__()
        self._seconds = seconds

    def run(self, *args: Any, **options: Any) -> Iterator[FrameResult]:
        for result in super().run(*args, **options):
            time.sleep(self._seconds)
            yield result


def main() -> None:
    url, folder, output, seconds = sys.argv[1:]
    task_writer._LEAST_SECONDS = task_writer._PATIENCE = 0.0  # a request for every few frames
    settings = BulkSettings(output=output)
    place = Path(folder)
    with Server(Login(url, TOKEN)) as server:
        there = Workplace(server, place / "cache", place / "journal")
        bulk = BulkRun(there, Slow(float(seconds)), settings, TargetFilter())
        outcome = bulk.run([Target(TASK)])[0]
    assert outcome.error is None, outcome.error


if __name__ == "__main__":
    main()
