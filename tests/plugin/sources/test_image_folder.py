"""A folder of images as a source of frames."""

import cv2
import numpy as np
import pytest
from PIL import Image

from model.errors import InputError
from plugin.sources import ImageFolder, open_source


def write_gray_levels(folder, names, size=(16, 12)):
    """One flat image per name; image i has the level 10 * i."""
    for i, name in enumerate(names):
        Image.new("RGB", size, (10 * i,) * 3).save(folder / name)


def test_frames_come_in_natural_order(tmp_path):
    write_gray_levels(tmp_path, ["img1.png", "img2.png", "img10.png", "Img11.png", "img011b.png"])
    frames = ImageFolder(tmp_path)
    assert [frames.name(i) for i in range(4)] == ["img1.png", "img2.png", "img10.png", "Img11.png"]
    assert [int(frame[0, 0, 0]) for frame in frames] == [0, 10, 20, 30, 40]
    assert (len(frames), frames.height, frames.width, frames.fps) == (5, 12, 16, None)


def test_slices_run_both_ways_and_indices_count_from_the_end(tmp_path):
    write_gray_levels(tmp_path, [f"{i}.png" for i in range(6)])
    with open_source(tmp_path) as frames:
        assert [frame[0, 0, 0] for frame in frames[1:4]] == [10, 20, 30]
        assert [frame[0, 0, 0] for frame in frames[4:1:-1]] == [40, 30, 20]
        assert frames[4:100][-1][0, 0, 0] == 50
        assert frames[-1][0, 0, 0] == 50
        with pytest.raises(IndexError):
            frames[6]


def test_hidden_files_and_other_files_are_ignored(tmp_path):
    write_gray_levels(tmp_path, ["a.jpg", "b.jpg"])
    (tmp_path / "._a.jpg").write_bytes(b"resource fork")
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "folder.png").mkdir()
    assert len(ImageFolder(tmp_path)) == 2


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.bmp", "a.tiff"])
def test_every_format_gives_rgb(tmp_path, name):
    Image.new("RGB", (16, 12), (200, 40, 90)).save(tmp_path / name)
    frame = ImageFolder(tmp_path)[0]
    assert frame.dtype == np.uint8
    assert frame.shape == (12, 16, 3)
    assert np.abs(frame.astype(int) - [200, 40, 90]).max() <= 8


def test_every_png_kind_gives_rgb(tmp_path):
    rgb = Image.new("RGB", (8, 8), (255, 0, 0))
    rgb.convert("P").save(tmp_path / "0_palette.png")
    rgb.convert("RGBA").save(tmp_path / "1_rgba.png")
    Image.new("L", (8, 8), 77).save(tmp_path / "2_gray.png")
    Image.new("1", (8, 8), 1).save(tmp_path / "3_bits.png")
    frames = ImageFolder(tmp_path)
    assert [frame[3, 3].tolist() for frame in frames] == [[255, 0, 0], [255, 0, 0], [77] * 3, [255] * 3]


@pytest.mark.parametrize(("brightest", "expected"), [(65535, [255, 127]), (4095, [255, 127]), (255, [255, 127])])
def test_16_bit_images_use_one_scale_for_the_whole_folder(tmp_path, brightest, expected):
    for i, level in enumerate((brightest, brightest // 2)):
        Image.fromarray(np.full((8, 8), level, np.uint16)).save(tmp_path / f"{i}.png")
    frames = ImageFolder(tmp_path)
    assert [int(frames[i][0, 0, 0]) for i in (1, 0)][::-1] == expected


@pytest.mark.parametrize("kind", ["png", "tiff"])
@pytest.mark.parametrize("dark", [0, 3, 5])
def test_neither_a_dark_frame_nor_hot_pixels_nor_a_flash_decide_the_scale(tmp_path, kind, dark):
    for i in range(7):
        wide = np.full((40, 60), 4000 if i != dark else 250, np.uint16)
        wide[20:30] //= 2
        wide[3 + i, 4:6] = wide[35, 50] = 65535  # hot
        wide[:, 7] = 60000  # a hot column
        if i == 6:
            wide[:] = 65535  # a flash
        Image.fromarray(wide).save(tmp_path / f"{i}.{kind}")
    frames = ImageFolder(tmp_path)
    for i in (5, 1, 0, 3):
        expected = [250 // 16, 250 // 32] if i == dark else [250, 125]
        assert [int(frames[i][top, 30, 0]) for top in (10, 25)] == expected
    assert frames[6].min() == 255


@pytest.mark.parametrize("suffix", ["png", "tiff"])
@pytest.mark.parametrize("channels", [3, 4])
def test_colour_of_16_bits_has_one_scale_too(tmp_path, suffix, channels):
    for i, level in enumerate((250, 4000, 2000)):
        wide = np.zeros((12, 16, channels), np.uint16)
        wide[..., 2], wide[..., 1], wide[..., 3:] = level, level // 2, 65535
        wide[3, 3] = 65535
        cv2.imwrite(str(tmp_path / f"{i}.{suffix}"), wide)  # BGR
    assert [f[8, 8].tolist() for f in ImageFolder(tmp_path)] == [[15, 7, 0], [250, 125, 0], [125, 62, 0]]


def test_the_scale_of_many_images_is_that_of_some_from_all_over(tmp_path):
    for i in range(40):
        Image.fromarray(np.full((8, 8), 300 if i < 30 else 4000, np.uint16)).save(tmp_path / f"{i}.png")
    frames = ImageFolder(tmp_path)
    assert [int(frames[i][0, 0, 0]) for i in (0, 39)] == [300 // 16, 250]


@pytest.mark.parametrize("suffixes", [["jpg", "png", "gif", "ppm", "webp", "bmp", "tif", "tga", "jp2"]])
def test_every_picture_is_a_frame_whatever_its_suffix(tmp_path, suffixes):
    for i, suffix in enumerate(suffixes):
        Image.new("RGB", (16, 12), (20 * i,) * 3).save(tmp_path / f"{i}.{suffix}")
    frames = open_source(tmp_path)
    assert [round(int(frame[3, 3, 0]) / 20) for frame in frames] == list(range(len(suffixes)))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("1.heic", "kind that cannot be read"),
        ("1.psd", "kind"),
        ("1", "not by its name"),
        ("1.jpg_", "not by its name"),
    ],
)
def test_a_picture_that_would_be_left_out_is_named(tmp_path, name, words):
    write_gray_levels(tmp_path, ["0.jpg", "2.jpg"])
    (tmp_path / name).write_bytes((tmp_path / "0.jpg").read_bytes())
    with pytest.raises(InputError, match=words) as caught:
        open_source(tmp_path)
    assert str(tmp_path / name) in str(caught.value)


def test_links_count_and_a_link_that_leads_nowhere_is_named(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    write_gray_levels(tmp_path / "a", ["0.png", "1.png"])
    for name in ("0.png", "1.png"):
        (tmp_path / "b" / name).symlink_to(tmp_path / "a" / name)
    (tmp_path / "c").symlink_to(tmp_path / "b")
    assert len(open_source(tmp_path / "c")) == 2
    (tmp_path / "a" / "1.png").unlink()
    with pytest.raises(InputError, match=r"1\.png is a link to .*which is not there"):
        open_source(tmp_path / "c")


def test_an_animation_among_images_is_named(tmp_path):
    write_gray_levels(tmp_path, ["0.png", "2.png"])
    still = Image.new("RGB", (16, 12))
    still.save(tmp_path / "1.gif", save_all=True, append_images=[Image.new("RGB", (16, 12), (9, 9, 200))])
    with pytest.raises(InputError, match=r"1\.gif holds 2 pictures: give this file alone"):
        open_source(tmp_path)


def test_exif_rotation_is_applied(tmp_path):
    picture = np.zeros((12, 20, 3), np.uint8)
    picture[:, :10] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: show it rotated clockwise by 90 degrees
    Image.fromarray(picture).save(tmp_path / "a.jpg", exif=exif)
    frames = ImageFolder(tmp_path)
    assert (frames.height, frames.width) == (20, 12)
    assert frames[0].shape == (20, 12, 3)
    assert frames[0][3].min() > 200
    assert frames[0][-3].max() < 50


def test_another_size_is_refused_by_name(tmp_path):
    write_gray_levels(tmp_path, ["1.png", "2.png"])
    write_gray_levels(tmp_path, ["3.png", "4.png"], size=(16, 13))
    with pytest.raises(InputError, match=r"3\.png: the image is 16x13 but 1\.png is 16x12"):
        ImageFolder(tmp_path)


@pytest.mark.parametrize("damage", [b"not an image", "cut"])
def test_a_broken_image_is_reported_when_it_is_read(tmp_path, damage):
    noise = np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8)
    for i in range(3):
        Image.fromarray(noise).save(tmp_path / f"{i}.jpg")
    broken = tmp_path / "1.jpg"
    broken.write_bytes(broken.read_bytes()[:2000] if damage == "cut" else damage)
    frames = ImageFolder(tmp_path)
    assert frames[0].shape == frames[2].shape == (60, 80, 3)
    with pytest.raises(InputError, match=r"1\.jpg: frame 1 cannot be read") as caught:
        frames[0:3]
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("prepare", ["empty", "missing", "one image"])
def test_what_is_no_folder_of_images_is_refused(tmp_path, prepare):
    path = tmp_path / {"empty": "e", "missing": "m", "one image": "a.png"}[prepare]
    if prepare == "empty":
        path.mkdir()
    if prepare == "one image":
        Image.new("RGB", (4, 4)).save(path)
    with pytest.raises(InputError, match=str(path)):
        open_source(path)
