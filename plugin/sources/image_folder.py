"""A folder of images as a source of frames."""

from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from model.errors import InputError
from model.natural_order import natural_key
from model.pixel_formats import bit_depth, to_rgb
from plugin.sources.frame_source import FrameReader

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff"})

_EXIF_ORIENTATION = 0x0112


class ImageFolder(FrameReader):
    """The images of one folder in natural order (img2 before img10), all of one size.

    Reads JPEG, PNG, WEBP, BMP and TIFF of any 8-bit or 16-bit kind; alpha is dropped, EXIF rotation is applied. 16-bit
    gray images are scaled to 8 bits by one factor for the whole folder, which the brightest pixel of the first image
    decides, so that 10-, 12- and 14-bit cameras do not come out black. Hidden files and other files are ignored.

    Opening reads the headers only; an image that turns out to be broken is reported when its frame is read.

    Args:
        path: the folder.

    Raises:
        InputError: the folder is missing or holds no image, its first image is broken, or the sizes differ.
    """

    fps = None

    def __init__(self, path: Path | str):
        self._folder = Path(path)
        self._files = _image_files(self._folder)
        size = None
        for index, file in enumerate(self._files):
            found = _size_in_header(file)
            if found is None and index == 0:
                raise InputError(f"{file}: the first image cannot be read; repair or remove it")
            size = size or found
            if found is not None and found != size:
                raise InputError(
                    f"{file}: the image is {found[0]}x{found[1]} but {self._files[0].name} is {size[0]}x{size[1]}; "
                    "all frames of a video must have one size"
                )
        self.width, self.height = size

    def __len__(self) -> int:
        return len(self._files)

    def name(self, index: int) -> str:
        """The file name of frame `index`."""
        return self._files[index].name

    def own_names(self) -> list[str]:
        """The file names of all frames."""
        return [file.name for file in self._files]

    def _read(self, index: int) -> np.ndarray:
        file = self._files[index]
        try:
            with Image.open(file) as image:
                frame = to_rgb(ImageOps.exif_transpose(image), self._bit_depth)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise InputError(f"{file}: frame {index} cannot be read ({error}); repair or replace the image") from None
        if frame.shape[:2] != (self.height, self.width):
            raise InputError(
                f"{file}: frame {index} is {frame.shape[1]}x{frame.shape[0]}, not {self.width}x{self.height}; "
                "all frames of a video must have one size"
            )
        return frame

    @cached_property
    def _bit_depth(self) -> int:
        with Image.open(self._files[0]) as image:
            return bit_depth(image)


def _image_files(folder: Path) -> list[Path]:
    """The image files of a folder in natural order."""
    try:
        files = [
            file
            for file in folder.iterdir()
            if file.suffix.lower() in IMAGE_SUFFIXES and not file.name.startswith(".") and file.is_file()
        ]
    except OSError as error:
        raise InputError(f"{folder}: the folder cannot be read ({error.strerror}); check the path") from None
    if not files:
        raise InputError(f"{folder}: the folder holds no images; give one with JPEG, PNG, WEBP, BMP or TIFF files")
    return sorted(files, key=lambda file: (natural_key(file.name), file.name))


def _size_in_header(file: Path) -> tuple[int, int] | None:
    """Width and height after EXIF rotation, or None where the header cannot be read."""
    try:
        with Image.open(file) as image:
            width, height = image.size
            quarter_turned = image.getexif().get(_EXIF_ORIENTATION, 1) in (5, 6, 7, 8)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    return (height, width) if quarter_turned else (width, height)
