"""Fixtures of the function's tests."""

import pytest

from tests.serverless.calls import Worker, image_text


@pytest.fixture(scope="module")
def worker() -> Worker:
    """A worker with a small network."""
    return Worker()


@pytest.fixture(scope="module")
def images(squares) -> list[str]:
    """The squares' frames as CVAT sends them."""
    return [image_text(frame) for frame in squares.frames]
