"""Fixtures of the CVAT program's tests."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.cvat_server import CvatState, FakeCvat
from tests.plugin.cvat.program import Program


@pytest.fixture
def program_for(tmp_path: Path) -> Iterator[Callable[..., Program]]:
    """Starts a server with a state, and gives the program that talks to it."""
    with ExitStack() as stack:

        def start(state: CvatState, engine: object = None) -> Program:
            return Program(stack.enter_context(FakeCvat(state)), tmp_path, engine)

        yield start
