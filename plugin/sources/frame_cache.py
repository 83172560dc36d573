"""The frames that were decoded last, within a byte budget."""

from collections import OrderedDict

from av import VideoFrame


class FrameCache:
    """Decoded frames by number, in the decoder's own pixel format; the least recently used go first.

    Args:
        max_bytes: the budget. The latest frame is always kept, even if it alone is larger.
    """

    def __init__(self, max_bytes: int):
        self._max_bytes = max_bytes
        self._frames: OrderedDict[int, VideoFrame] = OrderedDict()
        self._bytes = 0

    def get(self, number: int) -> VideoFrame | None:
        """The frame with this number if it is still here."""
        if number in self._frames:
            self._frames.move_to_end(number)
        return self._frames.get(number)

    def put(self, number: int, frame: VideoFrame) -> None:
        """Keep a frame; drops old ones as the budget asks."""
        self._bytes += _size(frame)
        if number in self._frames:
            self._bytes -= _size(self._frames.pop(number))
        self._frames[number] = frame
        while self._bytes > self._max_bytes and len(self._frames) > 1:
            _, dropped = self._frames.popitem(last=False)
            self._bytes -= _size(dropped)

    def clear(self) -> None:
        """Forget all frames."""
        self._frames.clear()
        self._bytes = 0


def _size(frame: VideoFrame) -> int:
    return sum(plane.buffer_size for plane in frame.planes)
