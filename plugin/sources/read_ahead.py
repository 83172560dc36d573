"""Decodes the clip that will probably be asked for next, while the caller works on this one."""

import threading
from collections import deque
from collections.abc import Sequence
from functools import partial

import numpy as np

from plugin.sources.frame_source import FrameReader, FrameSource


class ReadAhead(FrameReader):
    """A frame source that reads another one ahead in a background thread; gives the same frames and the same errors.

    Slices are taken for clips: the next clip is guessed by repeating the step between the last two, forward or backward
    (forward after the first one). Single frames do not change the guess. All reading of the wrapped source happens in
    the background thread, so that it still serves one thread only; the wrapper itself serves one consumer.

    Args:
        source: the source to wrap; `close` closes it too.
        depth_frames: how many frames are decoded ahead at most, which is also what they cost in memory.
    """

    def __init__(self, source: FrameSource, depth_frames: int):
        self.height, self.width, self.fps = source.height, source.width, source.fps
        self._source = source
        self._length = len(source)
        self._depth = max(0, depth_frames)
        self._last_clip: range | None = None
        # Shared with the thread, guarded by `_changed`:
        self._changed = threading.Condition()
        self._asked: deque[int] = deque()
        self._guessed: deque[int] = deque()
        self._ready: dict[int, np.ndarray | Exception] = {}
        self._in_work: int | None = None
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="read-ahead", daemon=True)
        self._thread.start()

    def __len__(self) -> int:
        return self._length

    def name(self, index: int) -> str:
        """The wrapped source's name of frame `index`."""
        return self._source.name(index)

    def own_names(self) -> Sequence[str] | None:
        """The wrapped source's own names of its frames."""
        return self._source.own_names()

    def close(self) -> None:
        """Stop the thread after the frame it is decoding, and close the wrapped source; may be called again."""
        with self._changed:
            self._closed = True
            self._ready.clear()
            self._changed.notify_all()
        self._thread.join()
        self._source.close()

    def _read(self, index: int) -> np.ndarray:
        with self._changed:
            return self._fetch(range(index, index + 1))[0]

    def _read_clip(self, indices: range) -> list[np.ndarray]:
        with self._changed:
            guessed = self._guess_after(indices)
            wanted = {*indices, *guessed}
            self._guessed = deque(guessed)
            self._ready = {index: frame for index, frame in self._ready.items() if index in wanted}
            return self._fetch(indices)

    def _guess_after(self, clip: range) -> list[int]:
        """The frames that will probably be asked for after `clip`, in the order to decode them."""
        step = len(clip) if self._last_clip is None else clip.start - self._last_clip.start
        self._last_clip = clip
        if not 0 < abs(step) <= 2 * len(clip):  # a jump or a repetition tells no direction
            return []
        guessed: list[int] = []
        start = clip.start + step
        while len(guessed) < self._depth and -len(clip) < start < self._length:
            guessed += range(max(0, start), min(self._length, start + len(clip)))
            start += step
        return guessed[: self._depth]

    def _fetch(self, indices: range) -> list[np.ndarray]:
        """Have the frames decoded that are not here yet, and wait for all of them; the lock is held by the caller."""
        self._asked = deque(index for index in indices if index not in self._ready and index != self._in_work)
        self._changed.notify_all()
        frames = []
        for index in indices:
            self._changed.wait_for(partial(self._is_settled, index))
            if self._closed:
                raise ValueError("the frame source is closed")
            frame = self._ready.pop(index)
            if isinstance(frame, Exception):
                self._asked.clear()
                raise frame
            frames.append(frame)
        return frames

    def _is_settled(self, index: int) -> bool:
        return self._closed or index in self._ready

    def _work(self) -> None:
        """Decode what is asked for, then what is guessed, until the source is closed."""
        while True:
            with self._changed:
                self._changed.wait_for(self._choose)
                if self._closed:
                    return
                index = self._in_work
                assert index is not None
            frame: np.ndarray | Exception
            try:
                frame = self._source[index]
            except Exception as error:  # delivered to whoever asks for the frame
                frame = error
            with self._changed:
                self._ready[index] = frame
                self._in_work = None
                self._changed.notify_all()

    def _choose(self) -> bool:
        """Choose the next frame to decode into `_in_work`; False while there is nothing to do."""
        if self._asked:
            self._in_work = self._asked.popleft()
        while self._in_work is None and self._guessed:
            index = self._guessed.popleft()
            if index not in self._ready:
                self._in_work = index
        return self._closed or self._in_work is not None
