"""A frame that cannot be decoded does not end a run: its neighbours are done, it has their masks, and it is named."""

import json
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from model.errors import UndecodableFrameError
from model.object_masks import ObjectMasks
from model.result import FrameResult
from plugin.cli import main
from plugin.sources import ImageFolder, StandInFrames, VideoFile, fill_in
from tests.plugin.sources.test_video_file import write_video

COUNT = 12
SIZE = (48, 64)


def picture(index: int, *_: int) -> np.ndarray:
    """A bright disk that moves over a dark ground."""
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    frame = np.full((*SIZE, 3), 40, np.uint8) + (columns % 7 * 4).astype(np.uint8)[..., None]
    frame[(rows - 24) ** 2 + (columns - 16 - 2 * index) ** 2 < 100] = (220, 180, 60)
    return frame


def damaged(content: bytes, how: str) -> bytes:
    half = len(content) // 2
    return {
        "cut": content[:half],
        "empty": b"",
        "garbage": b"no picture" * 20,
        "hole": content[:half] + bytes(40) + content[half + 40 :],
        "head": bytes(16) + content[16:],
    }[how]


@pytest.fixture
def mask(tmp_path) -> Path:
    Image.fromarray((picture(0)[..., 0] > 200).astype(np.uint8)).save(tmp_path / "m.png")
    return tmp_path / "m.png"


def folder_with(tmp_path: Path, damages: dict[int, str], suffix: str = "png") -> Path:
    folder = tmp_path / "frames"
    folder.mkdir()
    for i in range(COUNT):
        file = folder / f"{i:03d}.{suffix}"
        Image.fromarray(picture(i)).save(file)
        if i in damages:
            file.write_bytes(damaged(file.read_bytes(), damages[i]))
    return folder


def video_with(path: Path, spoiled: range) -> Path:
    """A video of frames that need no others, some of whose packets are nothing but zeros."""
    write_video(path, COUNT, size=SIZE, options={"g": "1"}, container={"movflags": "faststart"}, frame_of=picture)
    content = path.read_bytes()
    for packet in packets(path)[spoiled.start : spoiled.stop]:
        assert content.count(packet) == 1
        content = content.replace(packet, bytes(len(packet)))
    path.write_bytes(content)
    return path


def packets(path: Path) -> list[bytes]:
    with av.open(str(path)) as file:
        return [bytes(p) for p in file.demux(video=0) if p.size]


def run(source: Path, mask: Path, out: Path, *more: str, keyframe: int = 0) -> int:
    arguments = ["propagate", str(source), "--keyframe", f"{keyframe}={mask}", "--out", str(out), "--short-side", "48"]
    return main([*arguments, "--dtype", "float32", "--format", "none", *more])


def masks(out: Path) -> dict[int, np.ndarray]:
    return {int(p.stem): np.array(Image.open(p)) for p in sorted((out / "masks").glob("*.png"))}


def confidences(out: Path) -> dict[int, float]:
    lines = [json.loads(line) for line in (out / "frames.jsonl").read_text().splitlines()]
    return {line["frame"]: line["confidence"]["1"] for line in lines}


def assert_stands_in(out: Path, stand_ins: dict[int, int], count: int = COUNT) -> None:
    found, sure = masks(out), confidences(out)
    assert sorted(found) == sorted(sure) == list(range(count))
    for index, number in stand_ins.items():
        np.testing.assert_array_equal(found[index], found[number])
        assert sure[index] == 0
    for index in set(range(count)) - set(stand_ins):
        disk = picture(index)[..., 0] > 200
        mask = found[index] == 1
        assert sure[index] > 0 and (mask & disk).sum() > 0.6 * (mask | disk).sum(), index


@pytest.mark.parametrize("how", ["cut", "empty", "garbage", "hole"])
def test_a_damaged_picture_has_the_mask_of_its_neighbour(tmp_path, mask, capsys, how):
    folder = folder_with(tmp_path, {6: how})
    assert run(folder, mask, tmp_path / "r", "--format", "coco,report") == 0
    assert_stands_in(tmp_path / "r", {6: 5})
    error = capsys.readouterr().err
    assert error.count("warning: ") == 1 and "006.png: frame 6 cannot be read" in error and "005.png" in error
    assert "006.png" in (tmp_path / "r" / "report.html").read_text()


def test_a_cut_jpeg_counts_too(tmp_path, mask):
    assert run(folder_with(tmp_path, {4: "cut"}, "jpg"), mask, tmp_path / "r") == 0
    assert_stands_in(tmp_path / "r", {4: 3})


def test_of_several_damaged_pictures_each_has_the_mask_of_the_nearest_good_one(tmp_path, mask):
    assert run(folder_with(tmp_path, {4: "cut", 5: "empty", 6: "cut"}), mask, tmp_path / "r") == 0
    assert_stands_in(tmp_path / "r", {4: 3, 5: 3, 6: 7})


def test_the_first_picture_may_be_damaged(tmp_path, mask):
    Image.fromarray((picture(3)[..., 0] > 200).astype(np.uint8)).save(mask)
    assert run(folder_with(tmp_path, {0: "head"}), mask, tmp_path / "r", keyframe=3) == 0
    assert_stands_in(tmp_path / "r", {0: 1})


def test_a_drawn_frame_keeps_its_mask_and_is_named(tmp_path, mask, capsys):
    assert run(folder_with(tmp_path, {0: "cut"}), mask, tmp_path / "r") == 0
    np.testing.assert_array_equal(masks(tmp_path / "r")[0], np.array(Image.open(mask)))
    assert confidences(tmp_path / "r")[0] == 1
    said = capsys.readouterr().err
    assert "000.png" in said and "followed from the picture of 001.png" in said and "confidence 0" not in said


@pytest.mark.parametrize("last", [(11,), (9, 10, 11)])
def test_where_nothing_behind_can_be_read_all_before_is_done(tmp_path, mask, capsys, last):
    folder = folder_with(tmp_path, dict.fromkeys(last, "cut"))
    assert run(folder, mask, tmp_path / "r", "--format", "coco") == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("perclip: error: ") and f"{last[0]:03d}.png" in error and f"--stop {last[0]}" in error
    assert_stands_in(tmp_path / "r", {}, last[0])
    assert len(json.loads((tmp_path / "r" / "instances.json").read_text())["images"]) == last[0]
    assert run(folder, mask, tmp_path / "r", "--resume", "--stop", str(last[0])) == 0


def test_a_keyframe_in_the_lost_end_is_refused(tmp_path, mask, capsys):
    folder = folder_with(tmp_path, {10: "cut", 11: "cut"})
    assert run(folder, mask, tmp_path / "r", "--keyframe", f"11={mask}") == 2
    assert "Leave out its keyframe" in capsys.readouterr().err.splitlines()[-1]


def test_a_folder_without_any_good_picture_is_refused(tmp_path, mask, capsys):
    assert run(folder_with(tmp_path, dict.fromkeys(range(COUNT), "cut")), mask, tmp_path / "r") == 2
    assert capsys.readouterr().err.count("\n") == 1 and not (tmp_path / "r").exists()


def test_a_resumed_run_takes_the_masks_of_what_was_done_before(tmp_path, mask):
    folder = folder_with(tmp_path, {5: "cut", 6: "cut"})
    assert run(folder, mask, tmp_path / "r") == 0
    lines = (tmp_path / "r" / "frames.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "r" / "frames.jsonl").write_text("".join(line for line in lines if '"frame": 5' not in line))
    assert run(folder, mask, tmp_path / "r", "--resume") == 0
    assert_stands_in(tmp_path / "r", {5: 4, 6: 7})


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
@pytest.mark.parametrize("spoiled", [range(6, 7), range(3, 8), range(0, 1)])
def test_spoiled_frames_of_a_video_have_the_masks_of_their_neighbours(tmp_path, mask, capsys, suffix, spoiled):
    video = video_with(tmp_path / f"v.{suffix}", spoiled)
    keyframe = 2 if spoiled.start == 0 else 0
    Image.fromarray((picture(keyframe)[..., 0] > 200).astype(np.uint8)).save(mask)
    assert run(video, mask, tmp_path / "r", keyframe=keyframe) == 0
    nearest = {i: min(set(range(COUNT)) - set(spoiled), key=lambda n, i=i: (abs(n - i), n)) for i in spoiled}
    assert_stands_in(tmp_path / "r", nearest)
    assert capsys.readouterr().err.count("warning: ") == len(spoiled)


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_a_frame_that_the_decoder_makes_up_is_a_damaged_one(tmp_path, mask, capsys, suffix):
    path = write_video(tmp_path / f"v.{suffix}", COUNT, size=SIZE, options={"g": "1"}, container={}, frame_of=picture)
    packet = packets(path)[6]
    rubbish = np.random.default_rng(0).integers(1, 256, len(packet) - 30, np.uint8).tobytes()
    path.write_bytes(path.read_bytes().replace(packet, packet[:30] + rubbish))
    assert run(path, mask, tmp_path / "r") == 0
    assert_stands_in(tmp_path / "r", {6: 5})
    assert "frame 6 cannot be decoded" in capsys.readouterr().err


def test_a_spoiled_end_of_a_video_ends_the_run_there(tmp_path, mask, capsys):
    assert run(video_with(tmp_path / "v.mp4", range(8, COUNT)), mask, tmp_path / "r") == 2
    assert "frame 8 cannot be decoded" in capsys.readouterr().err.splitlines()[-1]
    assert_stands_in(tmp_path / "r", {}, 8)


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "avi"])
def test_a_video_that_was_cut_off_is_done_up_to_there_and_says_so(tmp_path, mask, capsys, suffix):
    codec = {"codec": "mjpeg", "pixels": "yuvj420p"} if suffix == "avi" else {}
    path = write_video(
        tmp_path / f"v.{suffix}", COUNT, size=SIZE, container={"movflags": "faststart"}, frame_of=picture, **codec
    )
    content = path.read_bytes()
    path.write_bytes(content[: content.index(packets(path)[8]) + 20])
    with VideoFile(path) as video:
        count = len(video)
    assert 0 < count < COUNT
    assert run(path, mask, tmp_path / "r", "--format", "coco") == 2
    assert f"cut off behind frame {count - 1}" in capsys.readouterr().err.splitlines()[-1]
    assert sorted(masks(tmp_path / "r")) == list(range(count)) and (tmp_path / "r" / "instances.json").exists()
    assert run(path, mask, tmp_path / "s", "--stop", str(count)) == 0


def test_a_video_whose_end_is_lost_in_a_container_without_index_says_so_too(tmp_path, mask, capsys):
    path = write_video(tmp_path / "v.mkv", COUNT, size=SIZE, options={"g": "1"}, frame_of=picture)
    content = path.read_bytes()
    place = content.index(packets(path)[8])
    path.write_bytes(content[:place] + bytes(len(content) - place))
    assert run(path, mask, tmp_path / "r") == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert "cut off behind frame 7" in error or "frame 8 cannot be decoded" in error, error
    assert sorted(masks(tmp_path / "r")) == list(range(8))


def test_a_damaged_picture_whose_head_says_another_size_is_a_damaged_frame(tmp_path, mask):
    folder = folder_with(tmp_path, {}, "jpg")
    content = (folder / "005.jpg").read_bytes()
    size = content.index(b"\xff\xc0") + 5  # of the frame header: height, width
    (folder / "005.jpg").write_bytes(content[:size] + b"\x40\x00" + content[size + 2 : -200])
    assert run(folder, mask, tmp_path / "r") == 0
    assert_stands_in(tmp_path / "r", {5: 4})


def test_frames_that_vanish_from_a_container_without_index_are_told(tmp_path, mask, capsys):
    path = write_video(tmp_path / "v.mkv", 24, size=SIZE, options={"g": "1"}, frame_of=picture)
    content = path.read_bytes()
    place, end = (content.index(packets(path)[i]) for i in (8, 11))
    path.write_bytes(content[: place - 30] + bytes(end - place) + content[end - 30 :])
    assert run(path, mask, tmp_path / "r") == 0
    assert "missing behind frame 7:" in capsys.readouterr().err
    assert len(masks(tmp_path / "r")) < 24


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "avi", "webm", "ts"])
def test_a_whole_video_is_not_taken_for_a_cut_one(tmp_path, suffix):
    codec = {"webm": "libvpx-vp9", "avi": "mpeg4"}.get(suffix, "libx264")
    with VideoFile(write_video(tmp_path / f"v.{suffix}", COUNT, codec=codec)) as video:
        assert len(video) == COUNT and not video.cut_off and not video.gaps


def test_a_long_gap_is_tried_once(tmp_path, monkeypatch):
    """Each try decodes from several keyframes: thousands of spoiled frames would take hours."""
    with VideoFile(video_with(tmp_path / "v.mp4", range(2, COUNT))) as video:
        starts = []
        start = video._start
        monkeypatch.setattr(video, "_start", lambda keyframe: (starts.append(keyframe), start(keyframe)))
        for i in range(2, COUNT):
            with pytest.raises(UndecodableFrameError):
                video[i]
        assert len(starts) <= 5


def test_results_that_wait_for_a_later_frame_keep_their_order(tmp_path):
    frames = StandInFrames(ImageFolder(folder_with(tmp_path, {3: "cut", 4: "cut"})))
    list(frames)
    results = [FrameResult(i, np.full(SIZE, i, np.uint8), {1: 0.5}, False) for i in range(COUNT)]
    given = list(fill_in(iter(results), frames))
    assert [r.index for r in given] == list(range(COUNT))
    assert [int(r.label_map[0, 0]) for r in given] == [0, 1, 2, 2, 5, *range(5, COUNT)]
    assert [r.index for r in given if set(r.confidence.values()) == {0.0}] == [3, 4]
    backward = list(fill_in(reversed(results), frames))
    assert [int(r.label_map[0, 0]) for r in backward] == [*range(COUNT - 1, 4, -1), 5, 2, 2, 1, 0]
    missing = list(fill_in((r for r in results if r.index in (3, 4)), frames))  # nobody's mask to take
    assert [int(r.label_map[0, 0]) for r in missing] == [3, 4] and missing[0].confidence[1] == 0


def test_what_is_drawn_on_a_lost_frame_stays_under_what_lies_on_it(tmp_path):
    """As a person who is drawn anew there, but not the helmet."""
    frames = StandInFrames(ImageFolder(folder_with(tmp_path, {3: "cut"})))
    list(frames)
    person, helmet = np.ones(SIZE, bool), np.zeros(SIZE, bool)
    helmet[:9, :9] = True
    masks = ObjectMasks.of({1: person, 2: helmet}, order=(1, 2))
    results = [FrameResult(2, masks, {1: 0.5, 2: 0.5}, False), FrameResult(3, masks, {1: 1.0, 2: 0.5}, True)]
    _, lost = fill_in(iter(results), frames)
    assert lost.confidence == {1: 1.0, 2: 0.0} and lost.masks == masks


SMEARED = {  # codec, its options, container
    "h264": ("libx264", {"g": "12", "bf": "0"}, "mp4"),
    "h264 mkv": ("libx264", {"g": "12", "bf": "0"}, "mkv"),
    "h264 B": ("libx264", {"g": "12"}, "mp4"),
    "h264 open GOP": ("libx264", {"x264-params": "open-gop=1:keyint=12:min-keyint=12"}, "mp4"),
    "hevc": ("libx265", {"x265-params": "keyint=12:min-keyint=12:open-gop=1:log-level=none"}, "mp4"),
    "vp9": ("libvpx-vp9", {"g": "12", "lag-in-frames": "0"}, "webm"),
    "mpeg2": ("mpeg2video", {"g": "12"}, "mkv"),
}


def spoiled_at(path: Path, frame: int) -> Path:
    """The video with nothing but zeros in the packet that is shown as this frame."""
    with av.open(str(path)) as file:
        shown = sorted((p.pts, bytes(p)) for p in file.demux(video=0) if p.size)
    packet, content = shown[frame][1], path.read_bytes()
    assert content.count(packet) == 1
    path.write_bytes(content.replace(packet, bytes(len(packet))))
    return path


@pytest.mark.parametrize(("spoiled", "order"), [(15, "forward"), (16, "backward"), (17, "forward"), (18, "alone")])
@pytest.mark.parametrize(("codec", "options", "suffix"), SMEARED.values(), ids=SMEARED)
def test_frames_that_are_decoded_from_a_damaged_one_are_known(tmp_path, codec, options, suffix, spoiled, order):
    path = write_video(tmp_path / f"v.{suffix}", 30, codec=codec, size=SIZE, options=options, frame_of=picture)
    with VideoFile(path) as video:
        whole = list(video)
    wrong: list[int] = []
    with VideoFile(spoiled_at(path, spoiled)) as video:
        assert len(video) == 30
        for i in {"forward": range(30), "backward": reversed(range(30)), "alone": [20]}[order]:
            try:
                wrong += [] if np.array_equal(video[i], whole[i]) else [i]
            except UndecodableFrameError:
                assert 12 <= i < 24
        found = [i for i in range(30) if video.damage_in(i) is not None]
    assert set(wrong) <= set(found) and all(12 < i < 27 for i in found), (wrong, found)


def test_the_confidence_of_frames_from_damage_is_halved_and_the_stretch_is_named(tmp_path, mask, capsys):
    path = tmp_path / "v.mkv"
    options = {"g": "12", "bf": "0"}
    write_video(path, 18, size=SIZE, options=options, frame_of=picture)
    assert run(path, mask, tmp_path / "whole") == 0
    assert capsys.readouterr().err.count("warning: ") == 0
    spoiled_at(path, 6)
    assert run(path, mask, tmp_path / "r", "--format", "report") == 0
    error = capsys.readouterr().err
    assert error.count("warning: ") == 2, error
    assert "frame_000007 to frame_000011 are decoded from frame_000006, which is damaged" in error
    assert "frame_000007" in (tmp_path / "r" / "report.html").read_text()
    before, after = confidences(tmp_path / "whole"), confidences(tmp_path / "r")
    assert all(after[i] <= 0.5 for i in range(7, 12)) and after[6] == 0
    assert all(before[i] > 0.5 < after[i] for i in (*range(1, 6), *range(12, 18)))


OPEN_HEVC = {"x265-params": "keyint=12:min-keyint=12:open-gop=1:log-level=none"}
REFRESH = {"x264-params": "intra-refresh=1:keyint=12"}
INTACT = {  # codec, its options, container, variable rate, part that is cut off at the start
    "h264": ("libx264", {}, "mp4", False, 0),
    "h264 variable": ("libx264", {}, "mkv", True, 0),
    "h264 open GOP": ("libx264", {"x264-params": "open-gop=1:keyint=12:min-keyint=12"}, "mkv", False, 0),
    "h264 refresh": ("libx264", REFRESH, "mp4", False, 0),
    "h264 refresh, cut": ("libx264", REFRESH, "ts", False, 0.3),
    "h264 cut": ("libx264", {}, "ts", False, 0.3),
    "hevc open GOP": ("libx265", OPEN_HEVC, "mp4", False, 0),
    "hevc cut": ("libx265", OPEN_HEVC, "ts", False, 0.3),
    "vp9": ("libvpx-vp9", {}, "webm", True, 0),
    "mpeg2": ("mpeg2video", {}, "ts", False, 0),
    "mpeg2 cut": ("mpeg2video", {}, "ts", False, 0.3),
    "mpeg4": ("mpeg4", {}, "mp4", False, 0),
}


@pytest.mark.parametrize(("codec", "options", "suffix", "is_variable", "cut"), INTACT.values(), ids=INTACT)
def test_an_intact_video_raises_no_alarm(tmp_path, codec, options, suffix, is_variable, cut):
    times = [40 * i + (i % 5) * 7 for i in range(40)] if is_variable else None
    path = tmp_path / f"v.{suffix}"
    write_video(path, 40, codec=codec, size=SIZE, options=options, frame_of=picture, times=times)
    content = path.read_bytes()
    path.write_bytes(content[int(cut * len(content)) // 188 * 188 :])
    with VideoFile(path) as video:
        for i in (len(video) // 2, *range(len(video)), *reversed(range(len(video)))):
            try:
                video[i]
            except UndecodableFrameError:
                assert cut
        assert [i for i in range(len(video)) if video.damage_in(i) is not None] == []
