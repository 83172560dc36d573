"""The pictures that people look at: overlay video, contact sheet, confidence plot, report."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from model.errors import InputError
from model.object_masks import ObjectMasks
from model.result import FrameResult
from plugin.sinks.confidence_plot import write_confidence_plot
from plugin.sinks.contact_sheet import write_contact_sheet
from plugin.sinks.doubt import most_doubtful
from plugin.sinks.html_report import write_html_report
from plugin.sinks.overlay import draw_overlay
from plugin.sinks.overlay_video import draw_result, write_overlay_video
from plugin.sinks.palette import colour
from plugin.sinks.video_writer import video_writer
from plugin.sources import FrameReader, VideoFile

HEIGHT, WIDTH, COUNT = 121, 161, 30


class GrayFrames(FrameReader):
    """Gray frames of odd size; the upper right corner is brighter from frame to frame."""

    height, width, fps = HEIGHT, WIDTH, 12.5

    def __len__(self):
        return COUNT

    def name(self, index):
        return f"{index}.png"

    def _read(self, index):
        frame = np.full((HEIGHT, WIDTH, 3), 120, np.uint8)
        frame[:35, 120:] = 80 + 3 * index
        return frame


def records(indices=range(COUNT), low=(17,)):
    """Object 1 moves to the right, object 2 stands still and is doubtful on the frames in `low`; 0 is a keyframe."""
    made = []
    for i in indices:
        label_map = np.zeros((HEIGHT, WIDTH), np.uint8)
        label_map[40:80, 10 + 2 * i : 50 + 2 * i] = 1
        label_map[90:110, 120:150] = 2
        sure = 1.0 if i == 0 else 0.9
        made.append(FrameResult(i, label_map, {1: sure, 2: 0.2 if i in low else sure}, i == 0))
    return made


def pixels_of(picture, rgb, tolerance=12):
    """How many pixels of an (H, W, 3) picture have a colour."""
    return int((np.abs(picture.astype(int) - rgb).max(axis=2) <= tolerance).sum())


def test_overlay_fills_objects_and_leaves_the_rest(tmp_path):
    frame = np.full((40, 40, 3), 100, np.uint8)
    label_map = np.zeros((40, 40), np.uint8)
    label_map[10:30, 10:30] = 1
    picture = draw_overlay(frame, label_map, opacity=0.5)
    assert picture[20, 20].tolist() == [114, 50, 50]
    assert (picture[:8] == 100).all()
    assert picture[10, 20].min() > 100  # the outline is light
    assert (frame == 100).all()
    with pytest.raises(InputError, match="40x40"):
        draw_overlay(frame[:30], label_map)


def test_what_lies_under_another_object_shines_through_with_its_whole_outline(tmp_path):
    """In the overlay, on the sheet, in the video and in the report, which all draw alike."""
    frame = np.full((60, 60, 3), 100, np.uint8)
    below, above = np.zeros((60, 60), bool), np.zeros((60, 60), bool)
    below[10:50, 10:50], above[5:30, 20:40] = True, True
    masks = ObjectMasks.of({1: below, 2: above}, order=(1, 2))
    picture = draw_overlay(frame, masks, opacity=0.5)
    alone = {i: draw_overlay(frame, masks.only([i]), opacity=0.5) for i in (1, 2)}
    assert picture[40, 30].tolist() == alone[1][40, 30].tolist() and picture[7, 30].tolist() == alone[2][7, 30].tolist()
    both = picture[20, 30].tolist()
    assert both not in (alone[1][20, 30].tolist(), alone[2][20, 30].tolist()) and both[1] > both[0]
    assert np.abs(picture[10, 30].astype(int) - alone[1][10, 30]).max() < 15, "its outline goes on below the other"
    assert np.abs(picture[10, 30].astype(int) - both).max() > 25
    drawn = FrameResult(0, masks, {1: 0.9, 2: 0.9}, False)
    assert draw_result(frame, drawn, opacity=0.5)[20, 30].tolist() == both


def test_overlay_video_has_every_frame_with_its_objects_tinted(tmp_path):
    write_overlay_video(GrayFrames(), records(), tmp_path / "overlay.mp4")
    with VideoFile(tmp_path / "overlay.mp4") as video:
        assert (len(video), video.height, video.width, video.fps) == (COUNT, HEIGHT + 1, WIDTH + 1, 12.5)
        for index in (0, 12, 29):
            frame = video[index].astype(int)
            red, green, blue = frame[60, 30 + 2 * index]
            assert red > green + 25
            assert red > blue + 25
            red, green, blue = frame[100, 135]
            assert green > red + 25
            assert np.abs(frame[25, 140] - (80 + 3 * index)).max() < 6  # background
        keyframe, doubtful, plain = (video[i].astype(int) for i in (0, 17, 16))
        assert pixels_of(keyframe[:25], (255, 200, 40), 40) > 100 > pixels_of(plain[:25], (255, 200, 40), 40)
        edge = np.concatenate([doubtful[1], doubtful[-4], doubtful[:, 1], doubtful[:, -4]])
        assert pixels_of(edge[:, None], (224, 96, 0), 40) > 0.9 * len(edge)
        assert pixels_of(plain[1:2], (224, 96, 0), 40) == 0


def test_videos_keep_their_colours(tmp_path):
    with video_writer(tmp_path / "a.mp4", 64, 64, 25) as append:
        for _ in range(3):
            append(np.full((64, 64, 3), (20, 200, 60), np.uint8))
    with VideoFile(tmp_path / "a.mp4") as video:
        assert np.abs(video[1].astype(int) - (20, 200, 60)).max() <= 4


def test_overlay_video_shows_the_frames_that_have_results(tmp_path):
    write_overlay_video(GrayFrames(), records(range(10, 20)), tmp_path / "overlay.mp4", fps=30)
    with VideoFile(tmp_path / "overlay.mp4") as video:
        assert (len(video), video.fps) == (10, 30)
        assert video[0][60, 50, 0] > video[0][60, 50, 1] + 25  # object 1 where it is on frame 10


@pytest.mark.parametrize(
    "write", [write_overlay_video, write_contact_sheet, lambda s, r, p: write_confidence_plot(r, p)]
)
def test_without_results_nothing_is_written(tmp_path, write):
    with pytest.raises(InputError, match="no results"):
        write(GrayFrames(), [], tmp_path / "a.mp4")
    assert not list(tmp_path.iterdir())


def test_an_error_on_the_way_leaves_the_old_file(tmp_path):
    (tmp_path / "overlay.mp4").write_bytes(b"old")
    bad = [*records(range(3)), FrameResult(3, np.zeros((5, 5), np.uint8), {1: 1.0}, False)]
    with pytest.raises(InputError, match="5x5"):
        write_overlay_video(GrayFrames(), bad, tmp_path / "overlay.mp4")
    assert [(f.name, f.read_bytes()) for f in tmp_path.iterdir()] == [("overlay.mp4", b"old")]


def test_the_most_doubtful_frames_come_first_and_apart():
    made = records(low=(16, 17, 18, 25))
    assert [d.index for d in most_doubtful(made, 3)] == [16, 17, 18]
    assert [d.index for d in most_doubtful(made, 3, apart=5)] == [16, 25, 1]
    assert (most_doubtful(made, 1)[0].confidence, most_doubtful(made, 1)[0].object_id) == (0.2, 2)
    assert all(d.index for d in most_doubtful(made, 100))  # not the keyframe


def test_contact_sheet_shows_even_and_doubtful_frames(tmp_path):
    read = []

    class Noted(GrayFrames):
        def _read(self, index):
            read.append(index)
            return super()._read(index)

    write_contact_sheet(Noted(), records(), tmp_path / "sheet.png", columns=4, evenly=8, doubtful=2, thumbnail=160)
    assert {0, 29, 17} <= set(read)
    assert 9 <= len(read) <= 10
    sheet = np.asarray(Image.open(tmp_path / "sheet.png"))
    assert sheet.shape[1] >= 4 * 160
    assert sheet.shape[0] >= 3 * 120
    tinted = np.rint(0.55 * 120 + 0.45 * np.array(colour(1)))
    assert pixels_of(sheet, tinted) > 8 * 1000  # object 1 in every thumbnail
    assert pixels_of(sheet, (224, 96, 0)) > 400  # the border of the doubtful frame
    assert pixels_of(sheet, (255, 200, 40)) > 100  # the badge of the keyframe


def test_confidence_plot_has_a_line_per_object_where_its_confidence_is(tmp_path):
    write_confidence_plot(records(low=range(10, 20)), tmp_path / "plot.png", {1: "cat", 2: "dog"})
    plot = np.asarray(Image.open(tmp_path / "plot.png").convert("RGB"))
    assert plot.shape[1] == 1800
    middle = plot[:, 600:1000]  # frames 10 to 19 are in here
    rows_1, rows_2 = (
        np.flatnonzero((np.abs(middle.astype(int) - colour(i)).max(axis=2) < 12).sum(axis=1) > 100) for i in (1, 2)
    )
    assert rows_1.size
    assert rows_2.size
    height = (rows_2.mean() - rows_1.mean()) / 0.7  # pixels from confidence 0 to 1
    assert 0.5 * plot.shape[0] < height < 0.85 * plot.shape[0]


def test_confidence_plot_copes_with_gaps_one_frame_and_many_objects(tmp_path):
    write_confidence_plot(records([3]), tmp_path / "one.png")
    write_confidence_plot([*records(range(5)), *records(range(20000, 20005))], tmp_path / "gap.png")
    many = [FrameResult(i, np.zeros((2, 2), np.uint8), {k: 0.5 for k in range(1, 60)}, False) for i in range(3)]
    write_confidence_plot(many, tmp_path / "many.png", {k: "a long name " * 3 for k in range(60)})
    sizes = {name: Image.open(tmp_path / f"{name}.png").height for name in ("one", "gap", "many")}
    assert sizes["many"] > sizes["one"] == sizes["gap"]


class Page(HTMLParser):
    """Collects what a browser would load, and the text that it would show."""

    def __init__(self, text):
        super().__init__()
        self.loads, self.links, self.tags, self.text = [], [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        for name, value in attributes:
            if name in ("src", "srcset", "data") or (name == "href" and tag == "link"):
                self.loads.append(value)
            elif name == "href":
                self.links.append(value)

    def handle_data(self, data):
        self.text += data


def test_report_is_one_page_that_loads_nothing_and_escapes_everything(tmp_path):
    write_contact_sheet(GrayFrames(), records(), tmp_path / "sheet.png")
    nasty = "<script>alert('x')</script> & \"co\""
    write_html_report(
        tmp_path / "report.html",
        title=nasty,
        records=records(),
        object_names={1: nasty, 2: "<b>dog</b>"},
        pictures={nasty: tmp_path / "sheet.png"},
        facts={nasty: nasty, "Frames": "30"},
        source=GrayFrames(),
        files=[tmp_path / "my masks" / "a&b.json"],
    )
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    assert "script" not in page.tags
    assert "b" not in page.tags
    assert page.loads
    assert all(load.startswith("data:") for load in page.loads)
    assert not re.search(r"https?://|@import|url\(", text)
    assert nasty in page.text
    assert "<b>dog</b>" in page.text
    assert page.links == ["my%20masks/a%26b.json"]
    assert page.tags.count("img") == 1 + 20
    assert re.search(r">17</td><td class=\"number\">0\.20<", text)
    assert text.index(">17</td>") < text.index(">1</td>")  # most doubtful first


def test_report_without_doubts_frames_or_pictures(tmp_path):
    write_html_report(
        tmp_path / "new" / "report.html", title="t", records=records([0]), object_names={}, pictures={}, facts={}
    )
    assert "<h1>t</h1>" in (tmp_path / "new" / "report.html").read_text()
    with pytest.raises(InputError, match=r"no\.png"):
        write_html_report(
            tmp_path / "b.html", title="t", records=[], object_names={}, pictures={"p": tmp_path / "no.png"}, facts={}
        )
    assert not (tmp_path / "b.html").exists()
