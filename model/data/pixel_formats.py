"""The pixel formats of image files, brought to 8-bit RGB."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageFile, ImageOps

_WIDE_INTEGER_MODES = frozenset({"I", "I;16", "I;16L", "I;16B", "I;16N"})
_STRIP = 1 << 17  # pixels that are copied at a time
_EXIF_ORIENTATION = 0x0112
_TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    2: lambda x: x[:, ::-1],
    3: lambda x: x[::-1, ::-1],
    4: lambda x: x[::-1],
    5: lambda x: x.transpose(1, 0, 2),
    6: lambda x: np.rot90(x, -1),
    7: lambda x: x.transpose(1, 0, 2)[::-1, ::-1],
    8: np.rot90,
}
_LOOKED_AT = 16  # pictures of a sequence that decide its scale
_FLASH = 16  # times brighter than all others: with its scale these would have less than 16 shades


@dataclass(frozen=True, eq=False)
class Pixels:
    """The pixels of an image of any mode.

    Attributes:
        values: uint8 (H, W, 3) RGB, contiguous, writable; or whole numbers of more than 8 bits, gray (H, W) or RGB
            (H, W, 3).
    """

    values: np.ndarray

    @classmethod
    def of(cls, image: Image.Image) -> "Pixels":
        """Takes an image as it is, whatever its EXIF says.

        Alpha is dropped, not blended. Colour of 16 bits, which Pillow cuts to 8, is only had from an image whose file
        is not loaded yet, PNG or TIFF.

        Raises:
            ValueError: the pixels are floating-point numbers. Pillow raises its own errors where the file is damaged.
        """
        if image.mode == "F":
            raise ValueError("floating-point images have no known range; save them with 8 or 16 bits")
        if image.mode in _WIDE_INTEGER_MODES:
            return cls(np.asarray(image))
        if has_wide_pixels(image) and (colour := _wide_colour(image)) is not None:
            return cls(colour)
        width, height = image.size
        rgb = np.empty((height, width, 3), np.uint8)
        # Strips stay in the processor's cache: a 1080p JPEG takes 7 ms instead of 16.
        rows = max(1, _STRIP // max(1, width))
        for top in range(0, height, rows):
            bottom = min(top + rows, height)
            rgb[top:bottom] = _strip_to_rgb(image.crop((0, top, width, bottom)))
        return cls(rgb)

    @property
    def is_wide(self) -> bool:
        """Whether these are of more than 8 bits, which need a scale."""
        return self.values.dtype != np.uint8

    @cached_property
    def brightest(self) -> int:
        """The brightest value that is no hot pixel, line or speck: of medians of 5 x 5 pixels. 0 where none is wide."""
        if not self.is_wide:
            return 0
        wide = self.values.dtype.itemsize > 2
        return max(0, int(cv2.medianBlur(self.values.astype(np.float32 if wide else np.uint16), 5).max()))

    @property
    def depth(self) -> int | None:
        """Bits that hold the brightest value, 8..32, see `common_depth`; None where none is wide."""
        return common_depth([self.brightest]) if self.is_wide else None

    def rgb(self, depth: int | None = None) -> np.ndarray:
        """As uint8 (H, W, 3) RGB, contiguous.

        Args:
            depth: bits of the brightest possible value, 8..32, of which the upper 8 are kept; None takes this image's
                own. Brighter pixels become white.
        """
        if not self.is_wide:
            return self.values
        upper = np.clip(self.values >> ((depth or common_depth([self.brightest])) - 8), 0, 255).astype(np.uint8)
        return upper if upper.ndim == 3 else np.repeat(upper[:, :, None], 3, axis=2)


def common_depth(brightest: Iterable[int]) -> int:
    """Bits of one scale for a sequence, 8..32, from the brightest grays of some of its pictures.

    Cameras of 10, 12 and 14 bits store their values unscaled in 16: with the depth of the file they would be black. A
    picture that is darker than the others decides nothing, nor does a single one that outshines them all.
    """
    *others, top = sorted(brightest) or [0]
    if len(others) > 2 and top > _FLASH * others[-1] > 0:
        top = others[-1]
    return max(8, top.bit_length())


def looked_at(count: int) -> Sequence[int]:
    """The numbers of those of `count` pictures that decide the scale of their sequence, evenly spread, ascending."""
    if count <= _LOOKED_AT:
        return range(count)
    return [round(i * (count - 1) / (_LOOKED_AT - 1)) for i in range(_LOOKED_AT)]


def to_rgb(image: Image.Image, depth: int | None = None) -> np.ndarray:
    """The pixels of an image of any mode as uint8 (H, W, 3) RGB; see `Pixels` for arguments and errors."""
    return Pixels.of(image).rgb(depth)


def upright(image: Image.Image) -> Pixels:
    """The pixels of an image that is not loaded yet, its EXIF rotation applied; a damaged tag is none.

    Raises as `Pixels.of`.
    """
    colour = _wide_colour(image) if image.mode not in _WIDE_INTEGER_MODES and has_wide_pixels(image) else None
    image.load()
    with suppress(Exception):
        if colour is not None:
            turn = _TURNS.get(image.getexif().get(_EXIF_ORIENTATION, 1))
            return Pixels(colour if turn is None else np.ascontiguousarray(turn(colour)))
        ImageOps.exif_transpose(image, in_place=True)
    return Pixels.of(image)


def upright_size(image: Image.Image) -> tuple[int, int]:
    """Width and height of what `upright` gives, from the header alone; a damaged tag is none."""
    with suppress(Exception):
        if image.getexif().get(_EXIF_ORIENTATION, 1) in (5, 6, 7, 8):
            return image.size[::-1]
    return image.size


def has_wide_pixels(image: Image.Image) -> bool:
    """Whether the file of an image that is not loaded yet has more than 8 bits a value."""
    tiles: Sequence[Any] = getattr(image, "tile", ())  # none of an image that was made here
    return image.mode in _WIDE_INTEGER_MODES or (bool(tiles) and ";16" in str(tiles[0][3]))


def _wide_colour(image: Image.Image) -> np.ndarray | None:
    """uint16 (H, W, 3) RGB of a file that is not loaded yet; None where it cannot be had."""
    if not isinstance(image, ImageFile.ImageFile) or image.fp is None:
        return None
    if image.format not in ("PNG", "TIFF") or getattr(image, "n_frames", 1) > 1:
        return None
    place = image.fp.tell()
    image.fp.seek(0)
    data = image.fp.read()
    image.fp.seek(place)
    image.load()  # raises for damage, of which OpenCV would only print
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if decoded is None or decoded.dtype != np.uint16 or decoded.shape[:2] != image.size[::-1] or decoded.ndim != 3:
        return None
    return np.ascontiguousarray(decoded[:, :, 2::-1])


def _strip_to_rgb(strip: Image.Image) -> np.ndarray:
    strip.info.pop("transparency", None)  # Pillow warns about transparent palettes
    return np.asarray(strip if strip.mode == "RGB" else strip.convert("RGB"))
