"""Which frames a video stream holds: frame number -> presentation time and place to start decoding."""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import av
from av import Packet
from av.container import InputContainer
from av.video.stream import VideoStream

DEMUX_ERRORS = (av.error.FFmpegError, IndexError)
"""What reading packets raises; IndexError where damaged bytes look like a stream that was not there before."""

# Damage makes frames of these vanish without a trace.
_UNLISTED = frozenset({"matroska,webm", "mpegts"})
_GAP = 1.8  # times the usual distance
_RARE = 0.1  # of all frames; more of them are a video of variable rate

# A decoder may hand out a frame this many frames late: the largest picture buffer of H.264 and HEVC.
MAX_REORDER = 16

# VP8 stores hidden reference frames as packets of their own, so its packets are not its frames.
_CODECS_WITH_HIDDEN_PACKETS = frozenset({"vp8"})


@dataclass(frozen=True)
class FrameTable:
    """The frames of a stream in presentation order. Times are in the stream's time base.

    Attributes:
        times: presentation time of every frame, strictly ascending.
        keyframes: presentation times at which decoding can start, strictly ascending. The first one serves as the start
            of the file; it may lie before `times[0]` where an edit list hides the first frames.
        gaps: frames behind which others seem to be missing, as times are else even; of containers without a list.
        is_cut: the file ends before its own end: more frames were promised, or the last one is incomplete.
        decoding: place in the order of decoding of every frame, by its time.
        unneeded: times of frames that no other frame is decoded from, as far as the file tells.
    """

    times: Sequence[int]
    keyframes: Sequence[int]
    is_cut: bool = False
    gaps: Sequence[int] = ()
    decoding: Mapping[int, int] = field(default_factory=dict)
    unneeded: frozenset[int] = frozenset()

    def number_at(self, time: int | None) -> int | None:
        """The number of the frame shown at `time`, or None where the stream has no such frame."""
        if time is None:
            return None
        number = bisect_left(self.times, time)
        return number if number < len(self.times) and self.times[number] == time else None

    def keyframe_before(self, number: int) -> int:
        """Position in `keyframes` of the last keyframe that is not after frame `number`."""
        return max(0, bisect_right(self.keyframes, self.times[number]) - 1)

    def first_frame_of(self, keyframe: int) -> int:
        """Number of the first frame that is shown at or after the keyframe at position `keyframe`."""
        return bisect_left(self.times, self.keyframes[keyframe]) if keyframe > 0 else 0

    def decoded_from(self, number: int) -> list[int]:
        """Numbers of the frames that may be decoded from a frame, directly or through others.

        These come behind it in the order of decoding, and are shown before the next keyframe. From a frame that is
        decoded behind one shown later (a B-frame), only its neighbours up to that one are taken to be decoded.
        """
        time = self.times[number]
        if time in self.unneeded or time not in self.decoding:
            return []
        place = self.decoding[time]
        shown_later = range(number + 1, min(len(self.times), number + 1 + MAX_REORDER))
        before = [later for later in shown_later if self.decoding[self.times[later]] < place]
        following = bisect_right(self.keyframes, time)
        stop = self.first_frame_of(following) if following < len(self.keyframes) else len(self.times)
        if before:
            stop = min(stop, before[-1]) if following < len(self.keyframes) else before[-1]
        candidates = range(max(0, number - MAX_REORDER), stop)
        return [other for other in candidates if self.decoding[self.times[other]] > place]


def read_frame_table(container: InputContainer, stream: VideoStream, is_shorter: bool = False) -> FrameTable | None:
    """List the frames of a stream from its packets, without decoding; reads the whole file once.

    A file that was cut off ends before the first frame that is missing or incomplete.

    Args:
        container: the file, at its beginning.
        stream: of the file.
        is_shorter: the file is known to end before its own end.

    Returns:
        The table, or None where the packets do not tell the frames: they bear no, repeated or restarting presentation
        times (raw streams, AVI with B-frames, joined recordings), or some of them are never shown.
    """
    unneeded: set[int] = set()
    shown: list[tuple[int, int | None]] = []  # presentation and decoding time of every packet that becomes a frame
    keyframes: list[int] = []
    complete = True
    frame_time = 0  # of the last packet
    try:
        for packet in container.demux(stream):
            if packet.size == 0:  # the packet that asks the decoder for its last frames
                continue
            complete, frame_time = not packet.is_corrupt, packet.duration or 0
            if packet.pts is None:
                return None
            if packet.is_keyframe or (not keyframes and _is_damaged_keyframe(packet, stream)):
                keyframes.append(packet.pts)
            elif not keyframes:
                continue  # nothing can be decoded before the first keyframe
            if not packet.is_discard:
                shown.append((packet.pts, packet.dts))
                if packet.is_disposable:
                    unneeded.add(packet.pts)
    except DEMUX_ERRORS:
        complete = False
    else:
        if shown and not complete:
            shown.pop()
        complete = complete and not (
            is_shorter or _promises_more_bytes(container, stream) or _promises_more_time(shown, frame_time, stream)
        )
    times = [time for time, _ in shown]
    if shown and not complete:
        # What is missing would be decoded, and hence shown, after this time: up to here no frame lacks a neighbour.
        last = shown[-1][1]
        times = [time for time in times if last is None or time <= last]
    if (
        len(set(times)) < len(times)
        or keyframes != sorted(set(keyframes))
        or stream.codec_context.name in _CODECS_WITH_HIDDEN_PACKETS
    ):
        return None
    decoding = {time: place for place, time in enumerate(times)}
    times = sorted(times)
    gaps = _gaps(times) if container.format.name in _UNLISTED else ()
    return FrameTable(times, keyframes, not complete, gaps, decoding, frozenset(unneeded))


def _gaps(times: Sequence[int]) -> list[int]:
    """Numbers of frames that are shown much longer than nearly all others."""
    steps = [following - time for time, following in pairwise(times)]
    typical = sorted(steps)[len(steps) // 2] if steps else 0
    long = [number for number, step in enumerate(steps) if step > _GAP * typical]
    return long if len(long) <= _RARE * len(steps) else []


def _is_damaged_keyframe(packet: "Packet[VideoStream]", stream: VideoStream) -> bool:
    """Whether the file's index says that this packet is a keyframe, which the parser did not see in its bytes.

    A damaged first frame must count, or all others would be numbered too low.
    """
    first = next(iter(stream.index_entries), None)
    return first is not None and first.is_keyframe and first.timestamp in (packet.pts, packet.dts)


def _promises_more_time(shown: Sequence[tuple[int, int | None]], frame_time: int, stream: VideoStream) -> bool:
    """Whether the file's head gives the stream a length, as Matroska's do, and its frames end well before it."""
    match = re.fullmatch(r"(\d+):(\d+):(\d+(?:\.\d+)?)", stream.metadata.get("DURATION", ""))
    if match is None or not shown or frame_time <= 0 or stream.time_base is None:
        return False
    hours, minutes, seconds = map(float, match.groups())
    promised = (3600 * hours + 60 * minutes + seconds) / float(stream.time_base)
    return max(time for time, _ in shown) + 2.5 * frame_time < promised


def _promises_more_bytes(container: InputContainer, stream: VideoStream) -> bool:
    """Whether the file's index names packets behind the end of the file, as in an mp4 that was cut off."""
    size = container.size
    return size > 0 and any(entry.pos + entry.size > size for entry in stream.index_entries)
