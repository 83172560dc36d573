"""Animations and stacks of pages as videos."""

import numpy as np
import pytest
from PIL import Image

from model.errors import InputError
from plugin.sources import Animation, ReadAhead, VideoFile, open_source

COUNT = 12
KINDS = {
    "gif": {"duration": 40},
    "png": {"duration": 40},
    "webp": {"duration": 40, "lossless": True},
    "tif": {},
    "tiff": {"compression": "tiff_lzw"},
}


def pictures(count=COUNT, mode="RGB"):
    """A bright square that moves over a ground of its own; most of a picture is as in the one before."""
    made = []
    for i in range(count):
        pixels = np.full((24, 40, 3), 60, np.uint8)
        pixels[8:16, 2 * i : 2 * i + 8] = (240, 20 * i, 10)
        made.append(Image.fromarray(pixels).convert(mode))
    return made


def write(path, frames, **options):
    frames[0].save(path, save_all=True, append_images=frames[1:], **options)
    return path


def close(frame, picture):
    return np.abs(frame.astype(int) - np.asarray(picture.convert("RGB"))).max() < 12


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("alone", ["file", "in a folder"])
def test_every_picture_is_a_frame(tmp_path, kind, alone):
    (tmp_path / "folder").mkdir()
    path = write(tmp_path / "folder" / f"a.{kind}", pictures(), **KINDS[kind])
    with ReadAhead(open_source(path if alone == "file" else path.parent), 4) as source:
        assert (len(source), source.height, source.width) == (COUNT, 24, 40)
        assert source.name(3) == "frame_000003"
        assert source.fps == (25 if "duration" in KINDS[kind] else None)
        for frame, picture in zip(source, pictures(), strict=True):
            assert frame.dtype == np.uint8 and frame.shape == (24, 40, 3) and close(frame, picture)


@pytest.mark.parametrize("kind", KINDS)
def test_frames_come_in_any_order_with_little_memory(tmp_path, kind):
    path = write(tmp_path / f"a.{kind}", pictures(), **KINDS[kind])
    with Animation(path, cache_bytes=3 * 24 * 40 * 3) as source:
        order = [*range(COUNT)[::-1], 5, 5, 0, 11, 4]
        for i in order:
            frame = source[i]
            assert close(frame, pictures()[i])
            frame[:] = 0  # a caller's array is its own
        assert [close(f, pictures()[9 - k]) for k, f in enumerate(source[9:3:-1])] == [True] * 6


def test_a_wrong_suffix_does_not_hide_an_animation(tmp_path):
    path = write(tmp_path / "a.gif", pictures(), duration=40).rename(tmp_path / "a.mp4")
    assert len(open_source(path)) == COUNT


def test_16_bit_pages_have_one_scale(tmp_path):
    levels = [250, 4000, 2000, 3000]
    wide = [np.full((12, 16), level, np.uint16) for level in levels]
    for page in wide:
        page[3, 3] = 65535
    write(tmp_path / "a.tif", [Image.fromarray(page) for page in wide])
    assert [int(frame[8, 8, 0]) for frame in open_source(tmp_path / "a.tif")] == [level // 16 for level in levels]


def test_what_only_stands_in_for_an_animation_is_no_frame(tmp_path):
    write(tmp_path / "a.png", [Image.new("RGB", (40, 24), (0, 99, 0)), *pictures()], default_image=True, duration=40)
    source = open_source(tmp_path / "a.png")
    assert len(source) == COUNT and close(source[0], pictures()[0])


def test_pages_of_different_size_are_refused_by_number(tmp_path):
    write(tmp_path / "a.tif", [Image.new("RGB", (40, 24)), Image.new("RGB", (40, 25))])
    with pytest.raises(InputError, match=r"a\.tif: picture 1 is 40x25 but the first one 40x24"):
        list(open_source(tmp_path / "a.tif"))


def test_one_picture_is_no_video_and_a_video_is_no_picture(tmp_path):
    Image.new("RGB", (40, 24)).save(tmp_path / "a.gif")
    with pytest.raises(InputError, match="one image is no video"):
        open_source(tmp_path / "a.gif")
    (tmp_path / "b.gif").write_bytes(b"GIF89a")
    with pytest.raises(InputError, match=r"b\.gif"):
        open_source(tmp_path / "b.gif")
    assert VideoFile not in type(open_source(write(tmp_path / "c.webp", pictures()))).mro()


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_a_damaged_stack_of_pages_is_not_read_as_a_video_of_its_first_page(tmp_path):
    pages = [Image.fromarray(np.full((40, 60, 3), 30 * i, np.uint8)) for i in range(6)]
    path = tmp_path / "a.tif"
    pages[0].save(path, save_all=True, append_images=pages[1:])
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    with pytest.raises(InputError, match="the file is damaged"):
        open_source(path)
