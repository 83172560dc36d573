"""A video file as a source of frames."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import count, takewhile
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
from av import Packet, VideoFrame
from av.stream import Disposition
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter
from av.video.stream import VideoStream

from model.errors import InputError, UndecodableFrameError
from plugin.sources.frame_cache import FrameCache
from plugin.sources.frame_source import FrameReader
from plugin.sources.frame_table import DEMUX_ERRORS, MAX_REORDER, read_frame_table
from plugin.sources.promised_length import is_shorter_than_it_says

# Where a frame does not come: frame threads lose good frames beside a bad one, and where a refresh spread over many
# frames stands for keyframes, decoding must begin some of them earlier.
_KEYFRAMES_BACK = (0, 1, 3, 8)
_UNSPECIFIED = 2  # AVCOL_SPC_UNSPECIFIED, which PyAV does not name


class VideoFile(FrameReader):
    """The frames of a video file, counted in presentation order; variable frame rates are not resampled.

    Any container and codec that FFmpeg reads. Frames are upright (the file's rotation is applied), have the coded size
    even where it is odd, and are converted to RGB with the file's own colour matrix and range; where the file does not
    say, HD (wider than 1279 or higher than 576) counts as BT.709 and the rest as BT.601.

    Opening reads all packets once to know every frame; nothing is decoded but the first frame. Streams without usable
    timestamps (raw H.264, AVI with B-frames, VP8) are decoded once to count their frames, and cannot be read backwards
    quickly. A file that was cut off is as long as its complete frames, and says so.

    Args:
        path: the file.
        cache_bytes: memory for decoded frames, which is what makes reading backwards cheap: a group of pictures that
            fits (190 frames of 1280x720 in the default 256 MB) is decoded once.

    Raises:
        InputError: there is no such file, it is no video, or it has no frame that can be decoded.
    """

    def __init__(self, path: Path | str, *, cache_bytes: int = 256 << 20):
        self._path = Path(path)
        self._container: av.container.InputContainer | None = None
        self._cache = FrameCache(cache_bytes)
        self._to_rgb24 = VideoReformatter()
        self._unreadable: set[int] = set()
        self._decoded_once: set[int] = set()
        self._damage: dict[int, int] = {}  # damaged frame by frames that are decoded from it
        self._decoding: Iterator[tuple[int, VideoFrame]] = iter(())
        self._next = 0  # number of the frame that `_decoding` gives next
        try:
            self._open(frame_threads=True)
            is_shorter = is_shorter_than_it_says(self._path)
            self._table = read_frame_table(self._opened, self._stream, is_shorter)
            self.cut_off = is_shorter or (self._table is not None and self._table.is_cut)
            self.gaps = () if self._table is None else self._table.gaps
            if self._table is not None and self._table.times:
                self._drop_frames_cut_from_their_keyframe()
            self._length = self._count_frames() if self._table is None else len(self._table.times)
            if self._length == 0:
                raise InputError(f"{self._path}: the video has no complete frame; check the file, or export it again")
            self._start(0)
            first = self._first_readable()
        except BaseException:
            self.close()
            raise
        rate = self._stream.average_rate or self._stream.guessed_rate
        self.fps = float(rate) if rate else None
        self._coded_size = (first.width, first.height)
        self._transposed, self._flips = _orientation(first)
        self.width, self.height = self._coded_size[::-1] if self._transposed else self._coded_size

    def __len__(self) -> int:
        return self._length

    def name(self, index: int) -> str:
        """`frame_000012`, as CVAT calls the frames of a video."""
        return f"frame_{range(self._length)[index]:06d}"

    def damage_in(self, index: int) -> int | None:
        """The damaged frame that frame `index` was decoded from; None where there is none, as far as is known."""
        return self._damage.get(index)

    def close(self) -> None:
        """Close the file and drop the cached frames; may be called again."""
        self._decoding = iter(())
        self._cache.clear()
        if self._container is not None:
            self._container.close()
            self._container = None

    def _read(self, index: int) -> np.ndarray:
        if self._container is None:
            raise ValueError(f"{self._path} is closed")
        frame = self._frame(index)
        if (frame.width, frame.height) != self._coded_size:
            raise UndecodableFrameError(
                f"{self._path}: frame {index} is {frame.width}x{frame.height} but the video began with "
                f"{self._coded_size[0]}x{self._coded_size[1]}; re-encode it to one size"
            )
        rgb = self._convert(frame, index)
        if self._transposed:
            rgb = rgb.transpose(1, 0, 2)
        return np.ascontiguousarray(rgb[self._flips])

    def _convert(self, frame: VideoFrame, index: int) -> np.ndarray:
        """The frame as coded, as uint8 RGB."""
        matrix = None
        if frame.colorspace == _UNSPECIFIED:
            is_hd = frame.width >= 1280 or frame.height > 576
            matrix = Colorspace.ITU709 if is_hd else Colorspace.ITU601
        try:
            rgb = self._to_rgb24.reformat(
                frame, format="rgb24", src_colorspace=matrix, dst_color_range=ColorRange.JPEG, threads=1
            )
        except av.error.FFmpegError as error:
            raise InputError(
                f"{self._path}: frame {index} has {frame.format.name} pixels, which cannot be converted to RGB "
                f"({error.strerror}); re-encode the video"
            ) from None
        return rgb.to_ndarray()

    def _frame(self, index: int) -> VideoFrame:
        """Frame `index` from the cache or from the decoder."""
        frame = self._cache.get(index)
        if frame is not None:
            return frame
        if index not in self._unreadable:
            keyframe = first = 0
            if self._table is not None:
                keyframe = self._table.keyframe_before(index)
                first = self._table.first_frame_of(keyframe)
            if not first <= self._next <= index:
                self._start(keyframe)
            frame = self._decode_until(index)
            came: set[int] = set()
            for back in _KEYFRAMES_BACK:
                if frame is None:
                    self._open(frame_threads=False)
                    self._start(max(0, keyframe - back))
                    frame = self._decode_until(index, came)
            if frame is None:
                # What did not come behind it either will not come when it is asked for: a long gap is tried once.
                reached = max(came) - MAX_REORDER if came and max(came) > index else self._length
                lost = set(range(index, max(reached, index + 1))) - came
                self._unreadable |= lost
                self._spread_damage(lost)
            elif self._table is not None:
                self._look_into_gaps(first, index)
        if frame is None:
            raise UndecodableFrameError(
                f"{self._path}: frame {index} cannot be decoded, the file is damaged there; repair the file"
            )
        return frame

    def _look_into_gaps(self, first: int, index: int) -> None:
        """Find out whether frames before one that came, from its keyframe on, are damaged: it is decoded from them."""
        for number in range(first, index):
            if number not in self._decoded_once and number not in self._unreadable:
                with suppress(UndecodableFrameError):
                    self._frame(number)

    def _spread_damage(self, lost: set[int]) -> None:
        """Note which frames are decoded from frames that cannot be decoded.

        Where the stream begins with such frames it was probably cut from a longer one, and the decoder says itself from
        where on its pictures are right.
        """
        if self._table is None:
            return
        for number in sorted(lost):
            at_start = all(before in self._unreadable for before in range(number))
            if not at_start and number not in self._damage:
                for other in self._table.decoded_from(number):
                    self._damage.setdefault(other, number)

    def _decode_until(self, index: int, came: set[int] | None = None) -> VideoFrame | None:
        """Decode on to frame `index`, keeping all frames on the way; None where the decoder leaves it out.

        Args:
            index: of the frame.
            came: gets the numbers of all frames that come.
        """
        for number, frame in self._decoding:
            self._next = max(self._next, number + 1)
            if not frame.is_corrupt:  # else the decoder has made up what is damaged from other frames
                self._cache.put(number, frame)
                self._decoded_once.add(number)
                if came is not None:
                    came.add(number)
                if number == index:
                    return frame
            if number > index + MAX_REORDER:
                break
        return None

    def _first_readable(self) -> VideoFrame:
        """The first frame that can be decoded; it tells the size of all."""
        try:
            return self._frame(0)
        except UndecodableFrameError as error:
            for index in range(1, self._length):
                with suppress(UndecodableFrameError):
                    return self._frame(index)
            raise error

    def _start(self, keyframe: int) -> None:
        """Begin to decode at the keyframe with this position in the table."""
        self._decoding = self._decoded(keyframe)
        self._next = self._table.first_frame_of(keyframe) if self._table is not None else 0

    def _decoded(self, keyframe: int) -> Iterator[tuple[int, VideoFrame]]:
        """Yield frame numbers and frames as the decoder gives them, from a keyframe to the end of the file."""
        ordinal = count()
        for frame in self._decoded_packets(self._packets_from(keyframe)):
            if self._table is None:
                yield next(ordinal), frame
                continue
            number = self._table.number_at(frame.pts)
            # Frames shown before the keyframe may lack the frames they refer to.
            if number is not None and (
                keyframe == 0 or (frame.pts is not None and frame.pts >= self._table.keyframes[keyframe])
            ):
                yield number, frame

    def _decoded_packets(self, packets: Iterator["Packet[VideoStream]"]) -> Iterator[VideoFrame]:
        """Decode packets; those that cannot be decoded are left out."""
        for packet in packets:
            try:
                frames = packet.decode()
            except av.error.FFmpegError:
                continue
            yield from frames

    def _packets_from(self, keyframe: int) -> Iterator["Packet[VideoStream]"]:
        """Yield the packets of the stream in decoding order, from a keyframe on."""
        if keyframe > 0:
            assert self._table is not None  # which names the keyframes
            wanted = self._table.keyframes[keyframe]
            for target in (keyframe, keyframe - 1, keyframe - 8):  # seeking is not exact in every container
                packets = self._demuxed(self._table.keyframes[max(0, target)])
                first = next(
                    (
                        p
                        for p in packets
                        if p.pts is not None and (p.pts == wanted or (p.is_keyframe and p.pts > wanted))
                    ),
                    None,
                )
                if first is not None and first.pts == wanted:
                    yield first
                    yield from packets
                    return
        self._open(self._frame_threads)
        yield from self._demuxed()

    def _demuxed(self, time: int | None = None) -> Iterator["Packet[VideoStream]"]:
        """Yield packets in decoding order from where the file stands, or from a keyframe at about `time`."""
        try:
            if time is not None:
                self._opened.seek(time, stream=self._stream)
            yield from self._opened.demux(self._stream)
        except DEMUX_ERRORS:  # the file ends in rubbish: ask the decoder for what it still holds
            last = cast("Packet[VideoStream]", Packet())
            last.stream = self._stream
            yield last

    def _drop_frames_cut_from_their_keyframe(self) -> None:
        """Take the frames before the first keyframe out of the table if the decoder does not give them."""
        assert self._table is not None
        table, keyframe_time = self._table, self._table.keyframes[0]
        if table.times[0] < keyframe_time:
            self._start(0)
            decoded = (frame.pts for _, frame in self._decoding if frame.pts is not None)
            given = set(takewhile(lambda time: time < keyframe_time, decoded))
            kept = [time for time in table.times if time >= keyframe_time or time in given]
            self._table = replace(table, times=kept)

    @property
    def _opened(self) -> av.container.InputContainer:
        assert self._container is not None
        return self._container

    def _count_frames(self) -> int:
        self._start(0)
        return sum(1 for _ in self._decoding)

    def _open(self, frame_threads: bool) -> None:
        """Open the file at its beginning and choose its video stream."""
        if self._container is not None:
            self._container.close()
        try:
            self._container = av.open(str(self._path), metadata_errors="ignore")
            stream = self._container.streams.best("video")
        except (av.error.FFmpegError, OSError) as error:
            self._container = None
            raise InputError(f"{self._path}: {_why_it_does_not_open(self._path, error)}") from None
        if not isinstance(stream, VideoStream) or stream.disposition & Disposition.attached_pic:
            raise InputError(f"{self._path}: the file holds no video stream; give a video or a folder of images")
        if stream.codec_context is None:
            raise InputError(f"{self._path}: no decoder for this kind of video; re-encode it, for example to H.264")
        stream.thread_type = "AUTO" if frame_threads else "SLICE"
        self._stream = stream
        self._frame_threads = frame_threads


def _why_it_does_not_open(path: Path, error: Exception) -> str:
    if not path.exists():
        return "there is no such file; check the path"
    if path.stat().st_size == 0:
        return "the file is empty; copy or download it again"
    reason = getattr(error, "strerror", None) or error
    return f"the file cannot be opened as a video ({reason}); if a copy was cut short, copy it again, or re-encode it"


def _orientation(frame: VideoFrame) -> tuple[bool, tuple[slice, slice]]:
    """How a frame is turned upright: whether rows and columns are exchanged, then how both are run through."""
    try:
        matrix = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:  # PyAV does not know every kind that FFmpeg gives, as the EXIF of MJPEG
        turn = frame.rotation % 360
        down, across = (-1 if turn in (90, 180) else 1), (-1 if turn in (180, 270) else 1)
        return turn in (90, 270), (slice(None, None, down), slice(None, None, across))
    if matrix is None:
        return False, (slice(None), slice(None))
    x_from_x, y_from_x, _, x_from_y, y_from_y = np.frombuffer(bytes(cast(Any, matrix)), np.int32)[:5]
    transposed = abs(int(y_from_x)) > abs(int(x_from_x))
    across, down = (x_from_y, y_from_x) if transposed else (x_from_x, y_from_y)
    return bool(transposed), (slice(None, None, -1 if down < 0 else 1), slice(None, None, -1 if across < 0 else 1))
