"""Writes RGB frames to an mp4 that browsers and players show in the right colours."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from av import VideoFrame
from av.video.reformatter import ColorRange, Colorspace
from av.video.stream import VideoStream

from model.errors import InputError
from model.program.atomic_write import atomic_write

_INDEX_FIRST = {"movflags": "faststart"}  # a browser can begin to play before it has the whole file
_BT709 = 1  # the code of BT.709 in a stream's matrix, primaries and transfer fields


@contextmanager
def video_writer(path: Path, height: int, width: int, fps: float) -> Iterator[Callable[[np.ndarray], None]]:
    """Give a function that appends one uint8 (H, W, 3) RGB frame to an mp4; the file appears when the block ends well.

    H.264 where the encoder is there, else MPEG-4; BT.709, limited range. Frames of odd height or width get their last
    row or column twice, as the encoders want even sizes.

    Args:
        path: the file to write.
        height: rows of the frames.
        width: columns of the frames.
        fps: frames per second, above 0.

    Raises:
        InputError: the file cannot be written.
    """
    odd_rows, odd_columns = height % 2, width % 2
    try:
        with atomic_write(path) as temporary, av.open(str(temporary), "w", options=_INDEX_FIRST) as container:
            stream = _add_stream(container, fps)
            stream.height, stream.width = height + odd_rows, width + odd_columns

            def append(frame: np.ndarray) -> None:
                if odd_rows or odd_columns:
                    frame = cv2.copyMakeBorder(frame, 0, odd_rows, 0, odd_columns, cv2.BORDER_REPLICATE)
                picture = VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24").reformat(
                    format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
                )
                container.mux(stream.encode(picture))

            yield append
            container.mux(stream.encode())
    except av.error.FFmpegError as error:
        raise InputError(f"cannot write {path}: {error.strerror}; choose another folder or format") from error


def _add_stream(container: av.container.OutputContainer, fps: float) -> VideoStream:
    rate = Fraction(fps).limit_denominator(1001)
    if "libx264" in av.codecs_available:
        stream = container.add_stream("libx264", rate=rate, options={"crf": "20", "preset": "veryfast"})
    else:
        stream = container.add_stream("mpeg4", rate=rate, options={"q:v": "3"})
    stream.pix_fmt = "yuv420p"
    stream.codec_context.colorspace = _BT709
    stream.codec_context.color_primaries = _BT709
    stream.codec_context.color_trc = _BT709
    stream.codec_context.color_range = ColorRange.MPEG
    return stream
