"""Video files as sources of frames: every index gives the right frame, in any container and any order."""

import random
from fractions import Fraction

import av
import numpy as np
import pytest
from av.video.reformatter import ColorRange, Colorspace
from PIL import Image, ImageOps

from model.errors import InputError
from plugin.sources import VideoFile, open_source

BITS = 10
COUNT = 50


def barcode(number, height=96, width=160):
    """A frame that says its own number: bright and dark bars in its lower half."""
    frame = np.full((height, width, 3), 120, np.uint8)
    frame[:, :, 0] = np.arange(width) * 200 // width
    bar = width // BITS
    for bit in range(BITS):
        frame[height // 2 :, bit * bar : (bit + 1) * bar] = 235 if number >> bit & 1 else 20
    return frame


def number_of(frame):
    height, width = frame.shape[:2]
    bar = width // BITS
    return sum(int(frame[height * 3 // 4, bit * bar + bar // 2, 1] > 127) << bit for bit in range(BITS))


def write_video(
    path, count=COUNT, *, codec="libx264", pixels="yuv420p", size=(96, 160), options=None, container=None, times=None,
    rotation=None, frame_of=barcode,
):  # fmt: skip
    """Encode `count` frames, with B-frames and a keyframe every 12 frames where the codec has them."""
    with av.open(str(path), "w", options=container or {}) as file:
        stream = file.add_stream(codec, rate=25, options=options or {})
        stream.height, stream.width = size
        stream.pix_fmt = pixels
        stream.gop_size = 12
        if codec in ("libx264", "mpeg4", "mpeg2video"):
            stream.codec_context.max_b_frames = 2
        if times:
            stream.codec_context.time_base = Fraction(1, 1000)
        if rotation:
            stream.set_display_rotation(*rotation)
        for i in range(count):
            frame = av.VideoFrame.from_ndarray(frame_of(i, *size), "rgb24")
            frame.pts, frame.time_base = (times[i], Fraction(1, 1000)) if times else (i, Fraction(1, 25))
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return path


def read_everywhere(video):
    """(index, number in the picture) for ascending, descending and random reads, singly and in clips."""
    n = len(video)
    seen = [(i, number_of(frame)) for i, frame in enumerate(video)]
    for stop in range(n, 0, -5):
        start = max(0, stop - 5)
        seen += zip(range(start, stop), map(number_of, video[start:stop]))
    seen += [(i, number_of(video[i])) for i in random.Random(0).choices(range(n), k=25)]
    return seen


def assert_frames_are_right(path, first=0, count=COUNT):
    for cache_bytes in (256 << 20, 10_000):  # with and without the help of the cache
        with VideoFile(path, cache_bytes=cache_bytes) as video:
            assert len(video) == count
            wrong = [(i, number) for i, number in read_everywhere(video) if number != i + first]
            assert not wrong


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("b_frames.mp4", {}),
        ("open_gop.mp4", {"options": {"x264-params": "open-gop=1:bframes=3:b-adapt=0"}}),
        ("intra_refresh.mp4", {"options": {"x264-params": "intra-refresh=1:keyint=20"}}),
        ("b_frames.mkv", {}),
        ("b_frames.ts", {}),
        ("b_frames.avi", {"codec": "mpeg4"}),
        ("mpeg2.mpg", {"codec": "mpeg2video"}),
        ("no_times.h264", {}),
        ("motion_jpeg.avi", {"codec": "mjpeg", "pixels": "yuvj420p"}),
        ("starts_late.mp4", {"times": [7000 + 40 * i for i in range(COUNT)]}),
    ],
)
def test_every_index_gives_its_frame(tmp_path, name, how):
    assert_frames_are_right(write_video(tmp_path / name, **how))


def test_frames_of_a_variable_rate_are_counted_not_resampled(tmp_path):
    steps = random.Random(0).choices((7, 40, 100, 900), k=COUNT)
    times = [sum(steps[:i]) for i in range(COUNT)]
    assert_frames_are_right(write_video(tmp_path / "vfr.mp4", times=times))


def test_frames_hidden_by_an_edit_list_do_not_count(tmp_path):
    write_video(tmp_path / "whole.mp4")
    with av.open(str(tmp_path / "whole.mp4")) as whole, av.open(
        str(tmp_path / "edited.mp4"), "w", options={"avoid_negative_ts": "disabled", "use_editlist": "1"}
    ) as edited:  # fmt: skip
        stream = edited.add_stream_from_template(whole.streams.video[0])
        frame_time = int(1 / (25 * whole.streams.video[0].time_base))
        for packet in whole.demux(video=0):
            if packet.size:
                packet.pts -= 5 * frame_time
                packet.dts -= 5 * frame_time
                packet.stream = stream
                edited.mux(packet)
    assert_frames_are_right(tmp_path / "edited.mp4", first=5, count=COUNT - 5)


def test_packets_that_are_never_shown_do_not_count(tmp_path):
    """VP8 keeps some pictures for reference only; here the third is made one by clearing the bit that shows it."""
    write_video(tmp_path / "shown.webm", 8, codec="libvpx", options={"deadline": "realtime", "cpu-used": "8"})
    with av.open(str(tmp_path / "shown.webm")) as shown, av.open(str(tmp_path / "hidden.webm"), "w") as hidden:
        stream = hidden.add_stream_from_template(shown.streams.video[0])
        for i, packet in enumerate(packet for packet in shown.demux(video=0) if packet.size):
            content = bytearray(bytes(packet))
            if i == 2:
                content[0] &= ~0x10
            copy = av.Packet(bytes(content))
            copy.pts, copy.dts, copy.time_base = packet.pts, packet.dts, packet.time_base
            copy.is_keyframe, copy.stream = packet.is_keyframe, stream
            hidden.mux(copy)
    with VideoFile(tmp_path / "hidden.webm") as video:
        assert [number_of(frame) for frame in video] == [0, 1, 3, 4, 5, 6, 7]
        assert number_of(video[2]) == 3


def test_reading_on_does_not_seek(tmp_path, monkeypatch):
    path = write_video(tmp_path / "a.mp4")
    with VideoFile(path, cache_bytes=1) as video:
        starts = []
        start = video._start
        monkeypatch.setattr(video, "_start", lambda keyframe: (starts.append(keyframe), start(keyframe)))
        for i in range(1, COUNT, 5):
            video[i : i + 5]
        assert starts == []


def test_reading_backwards_decodes_each_group_of_pictures_once(tmp_path, monkeypatch):
    path = write_video(tmp_path / "a.mp4", 48)
    with VideoFile(path) as video:
        decoded = []
        put = video._cache.put
        monkeypatch.setattr(video._cache, "put", lambda number, frame: (decoded.append(number), put(number, frame)))
        for stop in range(48, 0, -6):
            video[stop - 6 : stop]
        assert len(decoded) <= 48 + 4


def test_a_jump_ahead_does_not_decode_all_between(tmp_path, monkeypatch):
    path = write_video(tmp_path / "a.mp4")
    with VideoFile(path) as video:
        decoded = []
        monkeypatch.setattr(video._cache, "put", lambda number, frame: decoded.append(number))
        assert number_of(video[40]) == 40
        assert len(decoded) <= 12


def test_frames_before_an_open_group_of_pictures_are_whole(tmp_path):
    texture = np.random.default_rng(0).integers(0, 255, (12, 40, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    path = write_video(
        tmp_path / "open_gop.mp4",
        options={"x264-params": "open-gop=1:bframes=3:b-adapt=0:scenecut=0"},
        frame_of=lambda i, height, width: np.roll(texture, 3 * i, axis=1)[:height, :width],
    )
    with VideoFile(path) as forward, VideoFile(path) as backward:
        ascending = forward[:]
        for index in reversed(range(COUNT)):
            np.testing.assert_array_equal(backward[index], ascending[index])


def test_the_cache_stays_within_its_budget(tmp_path):
    one = 96 * 160 * 3 // 2
    with VideoFile(write_video(tmp_path / "a.mp4"), cache_bytes=10 * one) as video:
        list(video)
        held = sum(sum(plane.buffer_size for plane in frame.planes) for frame in video._cache._frames.values())
        assert 0 < held <= 10 * one


def test_odd_sizes_are_exact(tmp_path):
    path = write_video(tmp_path / "odd.mkv", 3, codec="ffv1", pixels="yuv420p", size=(241, 321))
    with VideoFile(path) as video:
        assert (video.height, video.width) == (241, 321)
        assert [frame.shape for frame in video] == [(241, 321, 3)] * 3
        assert [number_of(frame) for frame in video] == [0, 1, 2]
        assert np.abs(video[0][-1].astype(int) - barcode(0, 241, 321)[-1])[:-3].max() < 6


@pytest.mark.parametrize("flips", [(False, False), (True, False), (False, True)])
@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_rotation_and_flips_are_applied(tmp_path, degrees, flips):
    quadrants = np.zeros((96, 160, 3), np.uint8)
    quadrants[:48, :80], quadrants[:48, 80:], quadrants[48:, :80], quadrants[48:, 80:] = 30, 90, 160, 230
    path = write_video(
        tmp_path / "turned.mp4", 2, rotation=(degrees, *flips), frame_of=lambda i, height, width: quadrants
    )
    upright = np.rot90(quadrants, degrees // 90)
    if flips[0]:
        upright = upright[:, ::-1]
    if flips[1]:
        upright = upright[::-1]
    with VideoFile(path) as video:
        assert (video.height, video.width) == upright.shape[:2]
        for y in (0.25, 0.75):
            for x in (0.25, 0.75):
                at = int(y * video.height), int(x * video.width)
                assert abs(int(video[1][at][0]) - int(upright[at][0])) < 8


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_jpegs_with_exif_in_a_video_are_read_and_turned(tmp_path, orientation):
    quadrants = np.zeros((96, 160, 3), np.uint8)
    quadrants[:48, :80], quadrants[:48, 80:], quadrants[48:, :80], quadrants[48:, 80:] = 30, 90, 160, 230
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(quadrants).save(tmp_path / "one.jpg", exif=exif, quality=95)
    path = tmp_path / "camera.mjpeg"
    path.write_bytes((tmp_path / "one.jpg").read_bytes() * 3)
    with Image.open(tmp_path / "one.jpg") as picture:
        upright = np.asarray(ImageOps.exif_transpose(picture))
    with VideoFile(path) as video:
        assert len(video) == 3 and video[1].shape == upright.shape
        assert np.abs(video[1].astype(int) - upright).mean() < 8


@pytest.mark.parametrize(
    ("pixels", "matrix", "full", "size", "tagged"),
    [
        ("yuv420p", Colorspace.ITU601, False, (96, 160), True),
        ("yuv420p", Colorspace.ITU709, False, (96, 160), True),
        ("yuv420p", Colorspace.ITU709, True, (96, 160), True),
        ("yuv444p", Colorspace.ITU601, False, (96, 160), False),
        ("yuv420p", Colorspace.ITU601, False, (96, 160), False),
        ("yuv420p", Colorspace.ITU709, False, (720, 1280), False),
        ("yuv420p10le", Colorspace.ITU601, False, (96, 160), False),
    ],
)
def test_colours_follow_the_files_matrix_and_range(tmp_path, pixels, matrix, full, size, tagged):
    colour = (20, 200, 60)
    spread = ColorRange.JPEG if full else ColorRange.MPEG
    with av.open(str(tmp_path / "a.mp4"), "w") as file:
        stream = file.add_stream("libx264", rate=25, options={"crf": "4", "preset": "ultrafast"})
        stream.height, stream.width = size
        stream.pix_fmt = pixels
        if tagged:
            stream.codec_context.colorspace = {Colorspace.ITU709: 1, Colorspace.ITU601: 6}[matrix]
            stream.codec_context.color_range = spread
        for _ in range(2):
            rgb = av.VideoFrame.from_ndarray(np.full((*size, 3), colour, np.uint8), "rgb24")
            frame = rgb.reformat(format=pixels, dst_colorspace=matrix, dst_color_range=spread)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    with VideoFile(tmp_path / "a.mp4") as video:
        assert np.abs(video[1][size[0] // 2, size[1] // 2].astype(int) - colour).max() <= 4


def test_gray_video_is_gray(tmp_path):
    path = write_video(tmp_path / "gray.mkv", 2, codec="ffv1", pixels="gray")
    with VideoFile(path) as video:
        assert np.ptp(video[0].astype(int), axis=2).max() == 0
        assert number_of(video[1]) == 1


def test_a_file_that_was_cut_off_has_its_complete_frames(tmp_path):
    whole = write_video(tmp_path / "whole.mp4", container={"movflags": "faststart"}).read_bytes()
    for size in range(int(0.7 * len(whole)), len(whole), 211):
        path = tmp_path / "cut.mp4"
        path.write_bytes(whole[:size])
        with VideoFile(path) as video:
            assert 0 < len(video) < COUNT
            assert [number_of(frame) for frame in video] == list(range(len(video)))


def test_a_bad_tail_is_reported_when_it_is_read(tmp_path):
    path = write_video(tmp_path / "bad.mp4", container={"movflags": "faststart"})
    content = bytearray(path.read_bytes())
    content[int(len(content) * 0.8) :] = bytes(len(content) - int(len(content) * 0.8))
    path.write_bytes(content)
    with VideoFile(path) as video:
        assert len(video) == COUNT
        good = 0
        with pytest.raises(InputError) as caught:
            for i in range(COUNT):
                assert number_of(video[i]) == i
                good += 1
        assert good > COUNT // 2
        assert f"bad.mp4: frame {good} cannot be decoded" in str(caught.value)
        assert number_of(video[good - 1]) == good - 1  # what is before it can still be read


def test_a_file_that_ends_in_a_read_error_gives_its_frames(tmp_path, monkeypatch):
    path = write_video(tmp_path / "a.mp4")

    def demux_with_error(container, stream):
        for packet in container.demux(stream):
            if packet.size == 0:
                raise av.error.InvalidDataError(0, "rubbish")
            yield packet

    class Failing:
        def __init__(self, container):
            self.container = container

        def demux(self, stream):
            return demux_with_error(self.container, stream)

        def __getattr__(self, name):
            return getattr(self.container, name)

    opened = av.open
    monkeypatch.setattr(av, "open", lambda name, **options: Failing(opened(name, **options)))
    with VideoFile(path) as video:
        assert len(video) >= COUNT - 3
        assert [number_of(frame) for frame in video] == list(range(len(video)))


def test_frame_rate_and_names(tmp_path):
    with open_source(write_video(tmp_path / "a.mp4", 12)) as video:
        assert video.fps == 25
        assert video.name(3) == "frame_000003"


def write_audio(path):
    with av.open(str(path), "w") as file:
        stream = file.add_stream("aac", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", layout="mono")
        sound.sample_rate = 8000
        file.mux(stream.encode(sound))
        file.mux(stream.encode())


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("missing.mp4", lambda path: None),
        ("empty.mp4", lambda path: path.write_bytes(b"")),
        ("noise.mp4", lambda path: path.write_bytes(bytes(range(256)) * 50)),
        ("no_index.mp4", lambda path: path.write_bytes(write_video(path).read_bytes()[:3000])),
        ("sound.m4a", write_audio),
        ("no_frames.mp4", lambda path: write_video(path, 0)),
    ],
)
def test_what_is_no_video_is_refused_in_one_line(tmp_path, name, make):
    path = tmp_path / name
    make(path)
    with pytest.raises(InputError, match=name) as caught:
        open_source(path)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(str(path))


def test_a_closed_video_does_not_read(tmp_path):
    video = VideoFile(write_video(tmp_path / "a.mp4", 3))
    video.close()
    video.close()
    with pytest.raises(ValueError, match="closed"):
        video[0]
