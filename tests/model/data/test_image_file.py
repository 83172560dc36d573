"""Images that CVAT stores, and bytes that are none."""

import logging
import multiprocessing
import struct
import sys
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from threading import Event

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from model.data.image_file import MAX_PIXELS, decode_image, encode_jpeg
from model.data.pixel_formats import to_rgb
from model.errors import InputError

SIZES = [(1, 1), (1, 7), (13, 1), (17, 9), (40, 31)]
LOSSLESS = [("PNG", {}), ("BMP", {}), ("WEBP", {"lossless": True, "exact": True}), ("TIFF", {})]
LOSSLESS += [("TIFF", {"compression": f"tiff_{name}"}) for name in ("lzw", "adobe_deflate", "deflate")]
LOSSLESS += [("TIFF", {"compression": "packbits"})]
DAMAGED = [*LOSSLESS, ("JPEG", {}), ("JPEG", {"progressive": True}), ("WEBP", {}), ("GIF", {})]
DAMAGED += [("TIFF", {"compression": "jpeg"})]


def blocks(height=40, width=31, channels=3, seed=0):
    """uint8 (H, W, C) in blocks of one colour, which compression keeps nearly as they are."""
    colours = np.random.default_rng(seed).integers(0, 256, (-(-height // 8), -(-width // 8), channels), np.uint8)
    return np.kron(colours, np.ones((8, 8, 1), np.uint8))[:height, :width]


def file_of(image, kind="PNG", **options):
    if not isinstance(image, Image.Image):
        image = Image.fromarray(np.squeeze(image, axis=2) if image.ndim == 3 and image.shape[2] == 1 else image)
    file = BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def assert_refused(data, match="image", **options):
    """The one allowed error, in one line that says what to do."""
    with pytest.raises(InputError, match=match) as caught:
        decode_image(data, **options)
    assert "\n" not in str(caught.value)
    assert "; s" in str(caught.value)  # send, save


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png_claiming(width, height):
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def webp_claiming(width, height):
    sides = struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
    return b"RIFF" + struct.pack("<I", 22) + b"WEBPVP8X" + struct.pack("<I", 10) + bytes(4) + sides


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("kind", "options"), LOSSLESS)
def test_rgb_comes_back_exactly(kind, options, size):
    image = blocks(*size)
    decoded = decode_image(file_of(image, kind, **options))
    assert decoded.dtype == np.uint8
    assert decoded.flags.writeable
    assert np.array_equal(decoded, image)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("kind", "options"), LOSSLESS)
def test_gray_comes_back_in_three_channels(kind, options, size):
    image = blocks(*size, channels=1)
    assert np.array_equal(decode_image(file_of(image, kind, **options)), np.repeat(image, 3, axis=2))


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_alpha_is_dropped_and_not_blended(kind):
    image = blocks(channels=4)
    image[:8] |= 1
    image[:, :9, 3] = 0
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    assert np.array_equal(decode_image(file_of(image, kind, **options)), image[:, :, :3])


def test_gray_with_alpha():
    image = blocks(channels=2)
    assert np.array_equal(decode_image(file_of(Image.fromarray(image, "LA"))), np.repeat(image[:, :, :1], 3, axis=2))


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
def test_one_bit(kind):
    image = blocks(channels=1) > 127
    expected = np.repeat(image, 3, axis=2) * np.uint8(255)
    assert np.array_equal(decode_image(file_of(Image.fromarray(image[:, :, 0]), kind)), expected)


@pytest.mark.parametrize("transparency", [None, 3, bytes(range(0, 250, 10))])
@pytest.mark.parametrize("kind", ["PNG", "GIF", "BMP", "TIFF"])
def test_palettes_with_and_without_transparency(kind, transparency):
    image = Image.fromarray(blocks()).quantize(25)
    options = {} if transparency is None or kind in ("BMP", "TIFF") else {"transparency": transparency}
    if kind == "GIF" and isinstance(transparency, bytes):
        options = {"transparency": 0}
    expected = np.array(image.convert("RGB"))
    assert np.array_equal(decode_image(file_of(image, kind, **options)), expected)


@pytest.mark.parametrize(("bits", "kind"), [(16, "PNG"), (14, "PNG"), (12, "TIFF"), (10, "PNG"), (8, "TIFF")])
def test_16_bit_gray_keeps_the_upper_8_of_the_bits_in_use(bits, kind):
    wide = np.random.default_rng(1).integers(0, 2**bits, (30, 21)).astype(np.uint16)
    wide[0, 0] = 2**bits - 1
    expected = np.repeat((wide >> (bits - 8)).astype(np.uint8)[:, :, None], 3, axis=2)
    assert np.array_equal(decode_image(file_of(wide, kind)), expected)


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_16_bit_colour_keeps_its_upper_8_bits(suffix):
    wide = np.random.default_rng(2).integers(0, 2**16, (30, 21, 3)).astype(np.uint16)
    written, file = cv2.imencode(suffix, wide[:, :, ::-1])
    assert written
    assert np.array_equal(decode_image(file.tobytes()), (wide >> 8).astype(np.uint8))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_16_bit_colour_is_turned_like_any_other(orientation):
    image = blocks(40, 31)
    image[:8, :8] = 255  # the scale is that of 16 bits
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = file_of(image, exif=exif)
    wide = cv2.imencode(".png", image[:, :, ::-1].astype(np.uint16) * 257)[1].tobytes()
    start, end = data.index(b"eXIf") - 4, data.index(b"eXIf")
    end += 8 + struct.unpack(">I", data[start:end])[0]
    place = wide.index(b"IDAT") - 4
    assert np.array_equal(decode_image(wide[:place] + data[start:end] + wide[place:]), decode_image(data))


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}, {"restart_marker_rows": 1}])
@pytest.mark.parametrize("size", SIZES)
def test_jpeg_comes_back_nearly(options, size):
    image = cv2.GaussianBlur(blocks(*size), (0, 0), 6)
    decoded = decode_image(file_of(image, "JPEG", quality=95, **options))
    assert decoded.shape == image.shape
    assert np.abs(decoded.astype(int) - image).max() <= 12


def test_gray_jpeg():
    image = blocks(channels=1)
    decoded = decode_image(file_of(image, "JPEG", quality=100))
    assert np.abs(decoded.astype(int) - image).max() <= 6


def test_cmyk_jpeg():
    image = Image.new("CMYK", (16, 8), (0, 200, 255, 10))
    assert np.abs(decode_image(file_of(image, "JPEG", quality=100))[4, 4].astype(int) - [245, 53, 0]).max() <= 4


def test_jpeg_gives_the_pixels_that_cv2_gives():
    data = file_of(blocks(101, 67), "JPEG", quality=80)
    other = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]
    assert np.abs(decode_image(data).astype(int) - other).max() <= 2


@pytest.mark.parametrize("height", [1, 3000])
def test_wide_and_high_images_are_put_together_rightly(height):
    image = np.random.default_rng(3).integers(0, 256, (height, 150, 3), np.uint8)
    image = image.reshape(-1, 150 * height if height == 1 else 150, 3)
    assert np.array_equal(decode_image(file_of(image, compress_level=1)), image)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_rotation_is_applied(kind):
    picture = np.zeros((16, 24, 3), np.uint8)
    picture[:, :12] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # show it rotated clockwise by 90 degrees
    decoded = decode_image(file_of(picture, kind, exif=exif))
    assert decoded.shape == (24, 16, 3)
    assert decoded[3].min() > 200
    assert decoded[-3].max() < 50


def test_damaged_exif_does_not_cost_the_image():
    image = blocks()
    assert np.array_equal(decode_image(file_of(image, exif=b"Exif\0\0nonsense")), image)


def test_the_first_picture_of_several_is_taken():
    first, second = Image.fromarray(blocks(seed=1)), Image.fromarray(blocks(seed=2))
    for kind in ("PNG", "TIFF"):
        data = file_of(first, kind, save_all=True, append_images=[second])
        assert np.array_equal(decode_image(data), np.array(first))


@pytest.mark.parametrize(
    "data", [b"", b"\0", b"not an image", b"\xff\xd8\xff", b"RIFF", b"GIF89a", b"<svg/>", b"P6 1 1 255 abc"]
)
def test_what_is_no_image_is_refused(data):
    assert_refused(data, "image")


def test_an_empty_image_is_called_so():
    assert_refused(b"", "empty")


def test_a_transparent_palette_gives_no_warning():
    image = Image.fromarray(blocks()).quantize(25)
    image.info["transparency"] = bytes(range(25))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert to_rgb(image).shape == (40, 31, 3)


def test_floating_point_pixels_are_refused():
    assert_refused(file_of(Image.fromarray(np.ones((4, 4), np.float32)), "TIFF"), "floating-point")


@pytest.mark.parametrize(("kind", "options"), DAMAGED)
def test_a_file_that_is_cut_off_anywhere_is_refused_or_whole(kind, options, capfd):
    data = file_of(blocks(), kind, **options)
    whole = decode_image(data)
    for end in range(0, len(data), max(1, len(data) // 60)):
        try:
            decoded = decode_image(data[:end])
        except InputError:
            continue
        assert end >= len(data) - 20  # only a checksum and the end mark are missing
        assert np.array_equal(decoded, whole)
    if kind != "TIFF":  # libtiff prints what is wrong, and no option stops it
        assert capfd.readouterr().err == ""


def survives(data):
    """An array or InputError, nothing else, and not a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            decoded = decode_image(data, max_pixels=10**6)
        except InputError as error:
            assert "\n" not in str(error)
            return
    assert decoded.dtype == np.uint8
    assert decoded.ndim == 3
    assert decoded.shape[2] == 3
    assert 0 < decoded.size <= 3 * 10**6


@given(
    st.binary(max_size=300), st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"BM", b"II*\0", b"GIF89a"])
)
@settings(max_examples=150, deadline=None)
def test_arbitrary_bytes_do_no_harm(data, magic):
    survives(magic + data)


WHOLE = [file_of(blocks(), kind, **options) for kind, options in DAMAGED]


@given(
    st.sampled_from(WHOLE), st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=4), st.data()
)
@settings(max_examples=300, deadline=None)
def test_damaged_files_do_no_harm(whole, damage, data):
    broken = bytearray(whole)
    head = data.draw(st.sampled_from([60, len(broken)]))  # headers are where the harm is
    for place, value in damage:
        broken[int(place * (min(head, len(broken)) - 1))] = value
    survives(bytes(broken[: data.draw(st.sampled_from([len(broken), len(broken) - 7]))]))


def test_nothing_is_printed_or_logged_for_a_damaged_header(capfd, caplog):
    data = bytearray(file_of(blocks(), "TIFF"))
    place = bytes(data).index(struct.pack("<HHI", 277, 3, 1))  # samples per pixel
    data[place + 8] = 200
    with caplog.at_level(logging.DEBUG), warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        assert_refused(bytes(data))
        assert_refused(png_claiming(9000, 7000))  # Pillow warns from half of the limit
    assert not warned
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("data", [png_claiming(60000, 60000), png_claiming(8193, 8192), webp_claiming(9000, 9000)])
def test_a_picture_that_claims_too_many_pixels_is_refused_by_its_header(data, monkeypatch):
    monkeypatch.setattr(Image.core, "new", None)
    monkeypatch.setattr(Image.core, "fill", None)
    assert_refused(data, f"more than {MAX_PIXELS} pixels")


@pytest.mark.parametrize(("kind", "options"), DAMAGED)
def test_the_limit_counts_pixels(kind, options):
    data = file_of(blocks(40, 31), kind, **options)
    assert decode_image(data, max_pixels=40 * 31).shape == (40, 31, 3)
    assert_refused(data, f"more than {40 * 31 - 1} pixels", max_pixels=40 * 31 - 1)


@pytest.mark.parametrize("side", [16, 20000])
def test_a_tiff_tile_that_is_larger_than_the_limit_is_refused(side):
    fields = {256: 10, 257: 10, 258: 8, 259: 1, 262: 1, 277: 1, 322: side, 323: side, 324: 200, 325: 256}
    directory = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in fields.items())
    data = b"II*\0" + struct.pack("<IH", 8, len(fields)) + directory + bytes(4)
    data = data.ljust(200, b"\0") + bytes([7]) * 256
    if side == 16:
        assert decode_image(data).tolist() == np.full((10, 10, 3), 7).tolist()
    else:
        assert_refused(data, f"more than {MAX_PIXELS} pixels")


def test_settings_of_pillow_are_put_back(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 12345)
    before = Image.MAX_IMAGE_PIXELS, logging.getLogger("PIL").level, list(warnings.filters)
    decode_image(file_of(blocks()))
    assert_refused(b"none")
    assert (Image.MAX_IMAGE_PIXELS, logging.getLogger("PIL").level, list(warnings.filters)) == before


@pytest.mark.parametrize("size", SIZES)
def test_encoded_jpegs_decode_to_nearly_the_same(size):
    image = cv2.GaussianBlur(blocks(*size), (0, 0), 6)
    data = encode_jpeg(image, 95)
    assert data.startswith(b"\xff\xd8\xff")
    assert np.abs(decode_image(data).astype(int) - image).max() <= 12


def test_more_quality_makes_more_bytes_and_views_are_fine():
    image = blocks(64, 64)[::-1, ::2]
    assert len(encode_jpeg(image, 20)) < len(encode_jpeg(image, 95))
    assert encode_jpeg(image, 80) == encode_jpeg(np.ascontiguousarray(image), 80)


@pytest.mark.parametrize("shape", [(0, 4, 3), (4, 0, 3), (4, 4), (4, 4, 4), (1, 65501, 3)])
def test_what_is_no_image_is_not_encoded(shape):
    with pytest.raises(InputError):
        encode_jpeg(np.zeros(shape, np.uint8), 90)


def test_other_types_and_qualities_are_not_encoded():
    with pytest.raises(InputError, match="uint8"):
        encode_jpeg(np.zeros((4, 4, 3)), 90)
    for quality in (0, 101, -1):
        with pytest.raises(InputError, match=r"1\.\.100"):
            encode_jpeg(np.zeros((4, 4, 3), np.uint8), quality)


@pytest.mark.skipif(sys.platform != "linux", reason="workers are forked on Linux only")
def test_a_process_forked_while_another_thread_decodes_can_decode():
    data, end = file_of(blocks(400, 300)), Event()

    def decode_all_the_time():
        while not end.is_set():
            decode_image(data)

    with ThreadPoolExecutor(3) as pool:
        busy = [pool.submit(decode_all_the_time) for _ in range(3)]
        children = [multiprocessing.get_context("fork").Process(target=decode_image, args=(data,)) for _ in range(5)]
        try:
            for child in children:
                child.start()
            for child in children:
                child.join(timeout=30)
            assert [child.exitcode for child in children] == [0] * 5
        finally:
            end.set()
            for child in children:
                child.kill()
    for thread in busy:
        thread.result()
