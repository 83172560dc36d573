"""Which keyframes can be learned from where frames cannot be decoded."""

import numpy as np
import pytest

from model import Keyframe
from model.errors import UndecodableFrameError
from model.learning.lesson import Lesson
from plugin.sources import ReadAhead, StandInFrames
from plugin.sources.frame_source import FrameReader
from plugin.sources.own_pictures import with_own_pictures


class Damaged(FrameReader):
    """Ten frames; some cannot be decoded, and some are decoded from these, as is known once they are read."""

    height, width, fps = 4, 4, None

    def __init__(self, lost: set[int], wrong: dict[int, int]):
        self._lost, self._wrong, self._read_ones = lost, wrong, set()

    def __len__(self) -> int:
        return 10

    def name(self, index: int) -> str:
        return str(index)

    def damage_in(self, index: int) -> int | None:
        return self._wrong.get(index) if index in self._read_ones else None

    def close(self) -> None: ...

    def _read(self, index: int) -> np.ndarray:
        if index in self._lost:
            raise UndecodableFrameError(f"frame {index}")
        self._read_ones.add(index)
        return np.full((4, 4, 3), index, np.uint8)


def lesson(frames, *indices: int) -> Lesson:
    return Lesson(frames, [Keyframe(i, np.eye(4, dtype=np.uint8)) for i in indices], numbers=range(100, 110))


@pytest.mark.parametrize(
    ("lost", "own"),
    [
        (set(), (0, 4, 6, 9)),
        ({4}, (0, 6, 9)),
        ({0}, (4, 6, 9)),
        ({9}, (0, 4, 6)),  # nothing behind it
        ({0, 1, 4, 5, 6, 9}, ()),
        (set(range(10)), ()),
        ({5, 8}, (0, 4, 6, 9)),  # nobody drew on these
    ],
)
@pytest.mark.parametrize("needed", [False, True])
@pytest.mark.parametrize("ahead", [False, True])
def test_keyframes_on_lost_frames_are_left_out(lost, own, needed, ahead):
    frames = StandInFrames(Damaged(lost, {}))
    if needed:
        frames.needed = [0, 4, 6, 9]
    with ReadAhead(frames, 2) as reader:
        found = with_own_pictures(lesson(reader if ahead else frames, 0, 4, 6, 9), frames)
    assert tuple(k.index for k in found.keyframes) == own
    assert found.left_out == tuple(i for i in (0, 4, 6, 9) if i not in own)


def test_keyframes_on_pictures_that_may_be_wrong_are_left_out():
    frames = StandInFrames(Damaged({3}, {4: 3, 5: 3}))
    found = with_own_pictures(lesson(frames, 2, 5, 6), frames)
    assert [k.index for k in found.keyframes] == [2, 6] and found.left_out == (5,)
