"""Reading ahead changes when frames are decoded, never what the caller gets."""

import threading
import time

import numpy as np
import pytest

from model.errors import InputError
from plugin.sinks.video_writer import video_writer
from plugin.sources import FrameReader, ReadAhead, VideoFile


class CountedFrames(FrameReader):
    """Frames that hold their own number; notes what is read, and by which thread; frame 13 is broken."""

    height, width, fps = 2, 3, 25.0

    def __init__(self, count=60, seconds=0.0):
        self.count, self.seconds = count, seconds
        self.read, self.threads, self.closed = [], set(), False

    def __len__(self):
        return self.count

    def name(self, index):
        return f"frame {index}"

    def _read(self, index):
        time.sleep(self.seconds)
        self.read.append(index)
        self.threads.add(threading.get_ident())
        if index == 13:
            raise InputError("frame 13 is broken")
        return np.full((2, 3, 3), index, np.uint8)

    def close(self):
        self.closed = True


def numbers(frames):
    return [int(frame[0, 0, 0]) for frame in frames]


def wait_until_idle(source, read=0):
    """Until so many frames are read, however busy the machine is, and none has been for a while."""
    deadline, before = time.monotonic() + 60, -1
    while before != len(source.read) or (len(source.read) < read and time.monotonic() < deadline):
        before = len(source.read)
        time.sleep(0.1)


@pytest.mark.parametrize(
    ("clips", "expected"),
    [
        ([(20, 25)], [25, 26, 27, 28, 29]),
        ([(20, 25), (25, 30)], [30, 31, 32, 33, 34]),
        ([(40, 45), (35, 40)], [30, 31, 32, 33, 34]),
        ([(20, 25), (35, 40)], []),
        ([(20, 25), (20, 25)], []),
        ([(10, 12), (5, 10), (0, 5)], []),
        ([(50, 55), (55, 60)], []),
    ],
)
def test_the_next_clip_is_decoded_before_it_is_asked_for(clips, expected):
    source = CountedFrames()
    with ReadAhead(source, 5) as frames:
        for start, stop in clips[:-1]:
            frames[start:stop]
            wait_until_idle(source)
        before = len(source.read)
        start, stop = clips[-1]
        assert numbers(frames[start:stop]) == list(range(start, stop))
        new = [i for i in range(start, stop) if i not in source.read[:before]]
        wait_until_idle(source, before + len(new) + len(expected))
        assert [i for i in source.read[before:] if not start <= i < stop] == expected


def test_a_guess_that_comes_true_is_decoded_once():
    source = CountedFrames(count=12)
    with ReadAhead(source, 8) as frames:
        got = [numbers(frames[start : start + 4]) for start in range(0, 12, 4)]
    assert got == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
    assert sorted(source.read) == list(range(12))


def test_no_more_than_the_depth_is_decoded_ahead():
    source = CountedFrames()
    with ReadAhead(source, 3) as frames:
        frames[20:30]
        wait_until_idle(source, 13)
        assert source.read == [*range(20, 30), 30, 31, 32]


def test_a_single_frame_does_not_disturb_the_guess():
    source = CountedFrames()
    with ReadAhead(source, 5) as frames:
        frames[20:25]
        frames[25:30]
        assert numbers([frames[2], frames[30], frames[-1]]) == [2, 30, 59]
        assert numbers(frames[30:35]) == [30, 31, 32, 33, 34]


def test_errors_come_where_the_source_has_them():
    source = CountedFrames()
    with ReadAhead(source, 5) as frames:
        assert numbers(frames[5:10]) == [5, 6, 7, 8, 9]
        wait_until_idle(source)  # frame 13 has failed by now
        assert numbers(frames[10:13]) == [10, 11, 12]
        for _ in range(2):
            with pytest.raises(InputError, match="frame 13 is broken"):
                frames[10:15]
        assert numbers(frames[14:18]) == [14, 15, 16, 17]
        with pytest.raises(IndexError):
            frames[60]


def test_the_source_is_read_by_one_thread_while_the_caller_works():
    source = CountedFrames()
    with ReadAhead(source, 5) as frames:
        frames[20:25]
        wait_until_idle(source, 10)
        assert source.read == list(range(20, 30))
        frames[25:30]
    assert len(source.threads) == 1
    assert source.threads != {threading.get_ident()}


def test_close_is_prompt_ends_the_thread_and_closes_the_source():
    source = CountedFrames(seconds=0.02)
    before = set(threading.enumerate())  # other tests' threads may still be ending
    frames = ReadAhead(source, 40)
    frames[0:2]
    frames.close()
    frames.close()
    assert source.closed and len(source.read) < 40  # it did not wait for all that was to be read
    assert set(threading.enumerate()) <= before
    with pytest.raises(ValueError, match="closed"):
        frames[0]


def test_a_video_reads_the_same_in_any_order(tmp_path):
    rng = np.random.default_rng(0)
    with video_writer(tmp_path / "a.mp4", 48, 64, 25.0) as append:
        for _ in range(40):
            append(rng.integers(0, 255, (48, 64, 3), np.uint8))
    clips = [(s, s + 5) for s in range(0, 40, 5)] + [(s, s + 5) for s in range(35, -5, -5)] + [(3, 4), (38, 40), (0, 9)]
    with VideoFile(tmp_path / "a.mp4") as plain, ReadAhead(VideoFile(tmp_path / "a.mp4"), 10) as ahead:
        assert (len(ahead), ahead.height, ahead.width, ahead.fps) == (40, 48, 64, 25.0)
        assert ahead.name(7) == "frame_000007"
        for start, stop in clips:
            for one, other in zip(plain[start:stop], ahead[start:stop], strict=True):
                np.testing.assert_array_equal(one, other)
