"""Fixtures that several test files share."""

import os

os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # as the command line sets it, before torch is loaded

import numpy as np
import pytest

from model import Keyframe, PropagationOptions, Propagator, load_network


class MovingSquares:
    """A small clip: two textured squares over a textured ground, crossing it in opposite directions.

    Attributes:
        frames: uint8 (T, 96, 128, 3).
        labels: uint8 (T, 96, 128), 1 and 2 are the squares.
    """

    def __init__(self, length: int = 24):
        random = np.random.default_rng(3)
        ground = self._texture(random, (96, 128), (90, 110, 90))
        squares = [self._texture(random, (28, 28), c) for c in ((210, 60, 40), (50, 70, 210))]
        self.frames = np.empty((length, 96, 128, 3), np.uint8)
        self.labels = np.zeros((length, 96, 128), np.uint8)
        for t in range(length):
            self.frames[t] = ground
            for i, (texture, top) in enumerate(zip(squares, (12, 56))):
                step = round(70 * t / (length - 1))
                left = 12 + step if i == 0 else 88 - step
                self.frames[t, top : top + 28, left : left + 28] = texture
                self.labels[t, top : top + 28, left : left + 28] = i + 1

    @staticmethod
    def _texture(random: np.random.Generator, size: tuple[int, int], colour: tuple[int, int, int]) -> np.ndarray:
        coarse = random.normal(0, 30, (size[0] // 4, size[1] // 4, 1)).repeat(4, 0).repeat(4, 1)
        return np.clip(np.array(colour) + coarse + random.normal(0, 6, (*size, 1)), 0, 255).astype(np.uint8)

    def keyframe(self, index: int, *objects: int) -> Keyframe:
        """The true masks at a frame, of some objects or all."""
        label_map = self.labels[index]
        return Keyframe(index, np.where(np.isin(label_map, objects), label_map, 0) if objects else label_map)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest test begins first, so that no process waits for it in the end."""
    items.sort(key=lambda item: item.name != "test_in_a_browser")


@pytest.fixture(scope="session")
def squares() -> MovingSquares:
    return MovingSquares()


@pytest.fixture(scope="session")
def few() -> MovingSquares:
    """The squares in twelve frames, for tests of many runs."""
    return MovingSquares(12)


@pytest.fixture(scope="session")
def lite() -> Propagator:
    """The shipped network, in float32 and at the frames' own size."""
    return Propagator(load_network("perclip-lite"), PropagationOptions(short_side=None, dtype="float32", device="cpu"))


@pytest.fixture(scope="session")
def meadow() -> tuple[np.ndarray, np.ndarray]:
    """Twelve frames of 256 x 448 with a moving, textured square of 40 pixels: most of a frame is without it."""
    random = np.random.default_rng(5)
    ground = random.normal(110, 25, (64, 112, 3)).repeat(4, 0).repeat(4, 1)
    square = random.normal(180, 40, (10, 10, 3)).repeat(4, 0).repeat(4, 1)
    frames, labels = np.empty((12, 256, 448, 3), np.uint8), np.zeros((12, 256, 448), np.uint8)
    for t in range(12):
        frame = ground.copy()
        frame[60:100, 40 + 6 * t : 80 + 6 * t] = square
        frames[t] = np.clip(frame, 0, 255)
        labels[t, 60:100, 40 + 6 * t : 80 + 6 * t] = 1
    return frames, labels
