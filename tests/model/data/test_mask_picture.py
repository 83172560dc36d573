"""What the pixels of mask pictures mean, in every form that people save them in."""

import struct
import zlib
from io import BytesIO

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFilter

from model.data.mask_picture import VOID, read_mask
from model.errors import InputError

HEIGHT, WIDTH = 64, 96
RED, GREEN, WHITE, BLACK = (255, 0, 0), (0, 255, 0), (255, 255, 255), (0, 0, 0)


def _disk(top, left, radius):
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    return (rows - top) ** 2 + (columns - left) ** 2 <= radius**2


ONE, TWO = _disk(32, 40, 11), _disk(20, 75, 8)  # TWO begins further up
RIM = _disk(32, 40, 13) & ~ONE
PLAIN = ONE.astype(np.uint8) * 255


def _opened(image, kind="PNG", **options):
    if not isinstance(image, Image.Image):
        image = Image.fromarray(image)
    file = BytesIO()
    image.save(file, kind, **options)
    return Image.open(file)


def _ids(one=0, two=0, rim=0, dtype=np.uint8):
    return np.select([ONE, TWO, RIM], [one, two, rim], 0).astype(dtype)


def _painted(one=BLACK, two=BLACK, ground=BLACK):
    return np.select([ONE[..., None], TWO[..., None]], [np.array(one), np.array(two)], np.array(ground)).astype(
        np.uint8
    )


def _palette(indices, *colours, **options):
    picture = Image.frombytes("P", (WIDTH, HEIGHT), indices.astype(np.uint8).tobytes())
    picture.putpalette([channel for colour in colours for channel in colour])
    return _opened(picture, **options)


def _soft(radius=11):
    """The disk ONE with an edge of many greys, uint8."""
    large = Image.new("L", (8 * WIDTH, 8 * HEIGHT))
    box = [8 * (40 - radius), 8 * (32 - radius), 8 * (41 + radius), 8 * (33 + radius)]
    ImageDraw.Draw(large).ellipse(box, fill=255)
    return np.asarray(large.resize((WIDTH, HEIGHT), Image.Resampling.BOX))


def _through_jpeg(pixels, quality):
    return np.asarray(_opened(pixels, "JPEG", quality=quality))


def _grey_png(samples, bits):
    """A PNG of 2 or 4 bits a sample, which Pillow does not write."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    apart = np.unpackbits(samples.astype(np.uint8)[..., None], axis=2)[..., 8 - bits :].reshape(HEIGHT, -1)
    rows = b"".join(b"\0" + row.tobytes() for row in np.packbits(apart, axis=1))
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, bits, 0, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return Image.open(BytesIO(b"\x89PNG\r\n\x1a\n" + parts))


def _with_alpha(colour, alpha):
    return np.dstack([np.broadcast_to(np.array(colour, np.uint8), (HEIGHT, WIDTH, 3)), alpha])


def _with_grey_alpha(grey, alpha):
    return np.dstack([grey, alpha]).astype(np.uint8)


ONE_OBJECT = {
    "grey, white": lambda: _opened(PLAIN),
    "grey of 16 bits, white": lambda: _opened(PLAIN.astype(np.uint16) * 257),
    "grey of 4 bits, white": lambda: _grey_png(_ids(15), 4),
    "one bit": lambda: _opened(ONE),
    "one bit, BMP": lambda: _opened(ONE, "BMP"),
    "one bit, fax": lambda: _opened(ONE, "TIFF", compression="group4"),
    "one bit, GIF": lambda: _opened(ONE, "GIF"),
    "floats": lambda: _opened(ONE.astype(np.float32), "TIFF"),
    "palette, black first": lambda: _palette(ONE, BLACK, WHITE),
    "palette, white first": lambda: _palette(~ONE, WHITE, BLACK),
    "palette of one bit, white first": lambda: _palette(~ONE, WHITE, BLACK, bits=1),
    "palette, white ground first": lambda: _palette(ONE, WHITE, BLACK),
    "palette, red first": lambda: _palette(~ONE, RED, BLACK),
    "palette, transparent second": lambda: _palette(~ONE, RED, (9, 9, 9), transparency=1),
    "palette, transparent first": lambda: _palette(ONE, WHITE, BLACK, transparency=0),
    "palette, black object on nothing": lambda: _palette(~ONE, BLACK, WHITE, transparency=1),
    "grey palette": lambda: _opened(Image.fromarray(PLAIN).convert("P")),
    "colour, white": lambda: _opened(_painted(WHITE)),
    "colour, red on white": lambda: _opened(_painted(RED, WHITE, WHITE)),
    "transparent around": lambda: _opened(_with_alpha(RED, PLAIN)),
    "faint, transparent around": lambda: _opened(_with_alpha(RED, PLAIN // 3)),
    "black, transparent around": lambda: _opened(_with_alpha(BLACK, PLAIN)),
    "grey and alpha": lambda: _opened(_with_grey_alpha(PLAIN, PLAIN * 0 + 255)),
    "white and alpha": lambda: _opened(_with_grey_alpha(PLAIN * 0 + 255, PLAIN)),
    "black and alpha": lambda: _opened(_with_grey_alpha(PLAIN * 0, PLAIN)),
    "white is transparent": lambda: _opened(Image.fromarray(255 - PLAIN), transparency=255),
}


@pytest.mark.parametrize("form", ONE_OBJECT)
def test_one_object_in_every_form(form):
    found = read_mask(ONE_OBJECT[form](), "m.png")
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, ONE)


SOFT = {
    "grey": lambda: _opened(_soft()),
    "16 bits": lambda: _opened(_soft().astype(np.uint16) * 257),
    "RGB": lambda: _opened(np.repeat(_soft()[..., None], 3, axis=2)),
    "red": lambda: _opened(_soft()[..., None] * np.array([1, 0, 0], np.uint8)),
    "palette": lambda: _opened(Image.fromarray(_soft()).convert("RGB").quantize(16)),
    "alpha": lambda: _opened(_with_alpha(WHITE, _soft())),
} | {f"JPEG {q}": lambda q=q: _opened(_through_jpeg(_soft(), q)) for q in (30, 50, 75, 90, 100)}


@pytest.mark.parametrize("form", SOFT)
def test_a_soft_edge_becomes_a_hard_one(form):
    found = read_mask(SOFT[form](), "m.png")
    assert set(np.unique(found)) == {0, 1}
    assert np.count_nonzero(found != (_soft() >= 128)) < 12  # of 66 on the outline


def test_an_edge_of_one_grey_is_soft():
    pixels = np.where(ONE, 255, np.where(_disk(32, 40, 11.8), 90, 0)).astype(np.uint8)
    np.testing.assert_array_equal(read_mask(_opened(pixels), "m.png"), ONE)


@pytest.mark.parametrize("quality", [30, 50, 75, 90, 95])
def test_what_jpeg_did_to_a_hard_edge_is_undone(quality):
    found = read_mask(_opened(_through_jpeg(PLAIN, quality)), "m.png")
    np.testing.assert_array_equal(found, ONE)


VOID_FORMS = {
    "palette": lambda: _palette(_ids(1, 2, VOID), BLACK, RED, GREEN, *[(7, 7, 7)] * 253),
    "grey": lambda: _opened(_ids(1, 2, VOID)),
    "16 bits": lambda: _opened(_ids(1, 2, VOID, np.uint16)),
    "grey RGB": lambda: _opened(np.repeat(_ids(1, 2, VOID)[..., None], 3, axis=2)),
    "grey and alpha": lambda: _opened(_with_grey_alpha(_ids(1, 2, VOID), PLAIN * 0 + 255)),
}


@pytest.mark.parametrize("form", VOID_FORMS)
def test_255_beside_ids_is_void(form):
    np.testing.assert_array_equal(read_mask(VOID_FORMS[form](), "m.png"), _ids(1, 2, VOID))


def test_the_void_colour_of_voc_is_void():
    pixels = np.where(RIM[..., None], np.array([224, 224, 192]), _painted((128, 0, 0), (0, 128, 0))).astype(np.uint8)
    np.testing.assert_array_equal(read_mask(_opened(pixels), "m.png"), _ids(2, 1, VOID))


def test_void_around_tiny_objects_is_no_soft_edge():
    ids = np.where(_disk(32, 40, 1), 3, np.where(_disk(32, 40, 4) | _disk(32, 60, 4), 255, 0)).astype(np.uint8)
    ids[_disk(32, 60, 1)] = 5
    np.testing.assert_array_equal(read_mask(_opened(ids), "m.png"), ids)


TWO_OBJECTS = {
    "4 bits": lambda: _grey_png(_ids(2, 1), 4),
    "2 bits": lambda: _grey_png(_ids(2, 1), 2),
    "PGM of few greys": lambda: Image.open(BytesIO(b"P5 96 64 3\n" + _ids(2, 1).tobytes())),
    "colours": lambda: _opened(_painted(RED, GREEN)),
    "colours on white": lambda: _opened(_painted(RED, GREEN, WHITE)),
    "colours on nothing": lambda: _opened(np.dstack([_painted(RED, GREEN), (ONE | TWO) * np.uint8(255)])),
    "palette by frequency": lambda: _opened(Image.fromarray(_painted(RED, GREEN, (0, 0, 0))).quantize(3)),
    "palette, white object first": lambda: _palette(_ids(1, 3) + 2 * ~(ONE | TWO), (1, 1, 1), WHITE, BLACK, RED),
    "palette, white ground": lambda: _palette(_ids(2, 1), WHITE, RED, GREEN),
}


@pytest.mark.parametrize("form", TWO_OBJECTS)
def test_two_objects_in_every_form(form):
    found = read_mask(TWO_OBJECTS[form](), "m.png")
    assert {frozenset(np.unique(found[where])) for where in (ONE, TWO)} == {frozenset({1}), frozenset({2})}
    assert not found[~(ONE | TWO)].any()


def test_an_empty_mask_with_white_first_is_empty():
    assert not read_mask(_palette(np.ones((HEIGHT, WIDTH)), WHITE, BLACK), "m.png").any()


def test_many_small_objects_are_no_soft_edge():
    ids = np.zeros((HEIGHT, WIDTH), np.uint8)
    for i in range(1, 41):
        ids[6 * (i // 8) : 6 * (i // 8) + 2, 10 * (i % 8) : 10 * (i % 8) + 2] = 5 * i
    np.testing.assert_array_equal(read_mask(_opened(ids), "m.png"), ids)


def test_many_tiny_objects_that_touch_are_no_soft_edge():
    """Nuclei that a program counted: clusters of single pixels and of some, in any order of their numbers."""
    rng = np.random.default_rng(0)
    ids = np.zeros((256, 256), np.uint8)
    values = iter(rng.permutation(np.arange(1, 255)))
    for _ in range(60):
        top, left = rng.integers(0, 244, 2)
        for _ in range(4):
            y, x = np.array([top, left]) + rng.integers(0, 5, 2)
            ids[y : y + rng.integers(1, 5), x : x + rng.integers(1, 5)] = next(values)
    np.testing.assert_array_equal(read_mask(_opened(ids), "m.png"), ids)


def test_objects_of_nearly_the_same_colour_stay_apart():
    """In a palette and in RGB: they have areas, which soft edges and noise have not."""
    ids = np.zeros((HEIGHT, WIDTH), np.uint8)
    for value in (1, 2, 3):
        ids[4:12, 8 * value : 8 * value + 8] = value
    picture = _palette(ids, BLACK, (1, 254, 77), (2, 253, 77), (3, 252, 77))
    np.testing.assert_array_equal(read_mask(picture, "m.png"), ids)
    np.testing.assert_array_equal(read_mask(_opened(picture.convert("RGB")), "m.png", {}), ids)


@given(st.lists(st.tuples(st.integers(1, 254), st.integers(0, 15), st.integers(0, 23)), min_size=1, max_size=40))
@settings(max_examples=80, deadline=None)
def test_ids_of_areas_come_back_bit_for_bit(areas):
    """As Perclip's own masks: palettes and greys of any objects, wherever they lie."""
    ids = np.zeros((HEIGHT, WIDTH), np.uint8)
    for value, row, column in areas:
        ids[4 * row : 4 * row + 4, 4 * column : 4 * column + 4] = value
    for form in (_opened(ids), _palette(ids, BLACK, *[(i, 255 - i, 77) for i in range(1, 256)])):
        np.testing.assert_array_equal(read_mask(form, "m.png"), ids)


def _soft_pair():
    small = Image.fromarray(_ids(100, 200)).resize((WIDTH // 2, HEIGHT // 2), Image.Resampling.BILINEAR)
    return small.resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR)


REFUSED = {
    "soft edges": lambda: _opened(_soft_pair()),
    "holds 3 pictures": lambda: _opened(
        Image.fromarray(PLAIN), "TIFF", save_all=True, append_images=[Image.fromarray(PLAIN)] * 2
    ),
    "entry 0 is inside": lambda: _palette(~ONE, RED, (90, 90, 90)),
    "goes all around": lambda: _opened(_painted(RED, GREEN, (77, 77, 77))),
    "black inside and white all around": lambda: _opened(_painted(RED, BLACK, WHITE)),
    "object id 26002": lambda: _opened(_ids(26001, 26002, 0, np.uint16)),
    "255 beside 127": lambda: _opened(_ids(127, 255)),
    "fractions": lambda: _opened(ONE.astype(np.float32) / 2, "TIFF"),
    "WEBP picture": lambda: _opened(PLAIN, "WEBP"),
    "background cannot be told": lambda: _palette(np.arange(WIDTH) // 48 + np.zeros((HEIGHT, 1)), WHITE, BLACK),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_what_can_be_read_in_two_ways_is_refused_in_a_line_that_says_what_to_save(reason):
    with pytest.raises(InputError, match=reason) as caught:
        read_mask(REFUSED[reason](), "m.png")
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("m.png")
    assert any(advice in str(caught.value) for advice in ("save", "paint", "number"))


def _halved_and_back(kind):
    return lambda image: image.resize((WIDTH // 2, HEIGHT // 2), Image.NEAREST).resize((WIDTH, HEIGHT), kind)


SOFTENED = {
    **{f"blur {r}": lambda image, r=r: image.filter(ImageFilter.GaussianBlur(r)) for r in (0.5, 1, 2, 3)},
    "bilinear": _halved_and_back(Image.BILINEAR),
    "bicubic": _halved_and_back(Image.BICUBIC),
    "lanczos": _halved_and_back(Image.LANCZOS),
}


@pytest.mark.parametrize("soften", SOFTENED.values(), ids=SOFTENED)
@pytest.mark.parametrize("values", [(255, 128), (100, 200), "colours"], ids=str)
@pytest.mark.parametrize("apart", [0, 20])
def test_two_objects_with_soft_edges_of_any_width_are_refused(soften, values, apart):
    """They were read as dozens of objects."""
    pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    one, other = ((255, 0, 0), (0, 255, 0)) if values == "colours" else ([values[0]] * 3, [values[1]] * 3)
    pixels[20:50, 8:32], pixels[14:46, 32 + apart : 60 + apart] = one, other
    image = Image.fromarray(pixels)
    with pytest.raises(InputError, match=r"soft|smooth"):
        read_mask(_opened(soften(image if values == "colours" else image.convert("L"))), "m.png")


def test_thin_objects_beside_large_ones_are_no_soft_edges():
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    belts = ((rows > 10) & (rows < 55) & (columns > 20) & (columns < 80)).astype(np.uint8)
    for k in range(6):
        belts[14 + 6 * k : 16 + 6 * k, 15:70] = 2 + k
    stripes = (rows // 2 % 250 + 1).astype(np.uint8)
    for label_map in (belts, stripes):
        np.testing.assert_array_equal(read_mask(_opened(label_map), "m.png"), label_map)


PAIRS = [(1, 3), (2, 3), (1, 250), (3, 250), (5, 6), (250, 254)]


@pytest.mark.parametrize("blur", [1, 2])
@pytest.mark.parametrize(("one", "two"), [*PAIRS, (1, 2)])
def test_soft_edges_between_any_two_ids_are_refused(one, two, blur):
    """None of the two vanishes, and no third one comes up around them; hard edges are read as they are."""
    ids = _ids(one, two)
    assert (read_mask(_opened(ids), "m.png") == ids).all()
    soft = cv2.GaussianBlur(ids.astype(np.float32), (0, 0), blur)
    with pytest.raises(InputError, match="soft edges"):
        read_mask(_opened(np.rint(soft).astype(np.uint8)), "m.png")


@pytest.mark.parametrize("blur", [0.6, 1])
def test_soft_edges_of_a_dark_and_a_bright_shade_of_one_colour_are_refused(blur):
    picture = cv2.GaussianBlur(_painted((100, 0, 0), RED), (0, 0), blur)
    with pytest.raises(InputError, match="soft edges"):
        read_mask(_opened(picture), "m.png")


def test_an_object_inside_another_is_no_soft_edge():
    nested = np.maximum(_disk(32, 40, 20) * 1, _disk(32, 40, 12) * 2).astype(np.uint8)
    assert (read_mask(_opened(nested), "m.png") == nested).all()


def test_a_ground_that_may_be_an_object_is_refused():
    with pytest.raises(InputError, match="255 inside may be void or the object"):
        read_mask(_opened(np.where(ONE, 255, 1).astype(np.uint8)), "m.png")
    with pytest.raises(InputError, match="white goes all around"):
        read_mask(_palette(np.where(ONE, 1, 2), BLACK, RED, WHITE), "m.png")
