"""Black objects on white are told from objects that fill the frame."""

import numpy as np
import pytest
from PIL import Image

from model.data.inside_out import inside_out
from model.data.mask_picture import VOID

SIZE = (48, 64)
ROWS, COLUMNS = np.mgrid[: SIZE[0], : SIZE[1]]
DISK = (ROWS - 24) ** 2 + (COLUMNS - 30) ** 2 < 144
OBJECTS = {
    "inside": DISK,
    "tiny": (abs(ROWS - 24) < 2) & (abs(COLUMNS - 30) < 2),
    "cut by the lower edge": (abs(COLUMNS - 30) < 10) & (ROWS > 10),
    "cut by two edges": (ROWS > 20) & (ROWS < 30),
    "large": (abs(ROWS - 24) < 18) & (abs(COLUMNS - 32) < 20),
    "two": DISK | ((ROWS < 5) & (COLUMNS > 50) & (COLUMNS < 60)),
}


@pytest.mark.parametrize("black", OBJECTS.values(), ids=OBJECTS)
@pytest.mark.parametrize("white", [1, 7])
def test_a_black_object_on_white_is_told_with_what_to_do(black, white):
    said = inside_out(np.where(black, 0, white).astype(np.uint8))
    assert f"object {white} covers" in said and "invert the mask" in said and "\n" not in said
    assert inside_out(np.where(black, white, 0).astype(np.uint8)) is None


@pytest.mark.parametrize(
    "label_map",
    [
        np.ones(SIZE),
        np.zeros(SIZE),
        np.where((ROWS < 10) & (COLUMNS < 10), 0, 1),  # the ground is seen in a corner
        np.where(ROWS < 4, 0, 1),  # or above
        np.where(DISK, 2, 1),  # everything is an object
        np.where(DISK, 2, 1) * (ROWS > 2),
        np.where(DISK, VOID, 1),
        np.where(DISK, 1, VOID),
        np.where(DISK, 0, np.where(ROWS > 20, 2, 1)),  # two objects meet
    ],
    ids=range(9),
)
def test_objects_that_fill_the_frame_are_in_order(label_map):
    assert inside_out(label_map.astype(np.uint8)) is None


@pytest.mark.parametrize("kind", ["1 bit", "grey", "palette", "soft"])
def test_keyframes_in_black_on_white_are_read_with_one_warning(tmp_path, kind):
    from plugin.keyframes import FrameFinder, read_keyframes

    mask = Image.fromarray(np.where(DISK, 0, 255).astype(np.uint8))
    if kind == "1 bit":
        mask = mask.convert("1")
    if kind == "palette":
        mask = Image.fromarray((~DISK).astype(np.uint8), "P")
        mask.putpalette([0, 0, 0, 255, 255, 255])
    if kind == "soft":
        mask = mask.resize((SIZE[1] // 2, SIZE[0] // 2)).resize(SIZE[::-1], Image.BILINEAR)
    folder = tmp_path / "masks"
    folder.mkdir()
    for name in ("0.png", "1.png"):
        mask.save(folder / name)
    finder = FrameFinder(3, None, "clip.mp4")
    one = read_keyframes([f"2={folder / '0.png'}"], finder, SIZE)
    (said,) = one.warnings
    assert said.startswith(f"{folder / '0.png'}: object ") and "invert" in said
    (said,) = read_keyframes([str(folder)], finder, SIZE).warnings
    assert "0.png" in said and "2 such masks" in said
