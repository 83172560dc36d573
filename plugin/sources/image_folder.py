"""A folder of images as a source of frames."""

from contextlib import suppress
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from model.data.natural_order import natural_key
from model.data.picture_files import PICTURE_SUFFIXES, picture_count
from model.data.pixel_formats import common_depth, looked_at, upright, upright_size
from model.errors import InputError, UndecodableFrameError
from model.program.printable import printable
from plugin.sources.animation import pictures_in
from plugin.sources.frame_source import FrameReader

# Pictures that nothing here reads: they are refused, as a frame that is left out moves all behind it.
_UNREAD_SUFFIXES = frozenset(
    {".heic", ".heif", ".hif", ".jxl", ".jpx", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf", ".pef"}
    | {".raw", ".exr", ".hdr", ".psd", ".dcm", ".fits", ".fit", ".ras", ".sgi", ".rgb", ".pfm", ".svg", ".dds"}
)


class ImageFolder(FrameReader):
    """The images of one folder in natural order (img2 before img10), all of one size.

    Reads JPEG, PNG, WEBP, GIF, BMP, TIFF, PPM and the like, of any 8-bit or 16-bit kind; alpha is dropped, EXIF
    rotation is applied. 16-bit images are scaled to 8 bits by one factor for the whole folder, which images from
    all over it decide, so that 10-, 12- and 14-bit cameras do not come out black: see `model.data.pixel_formats`.
    Hidden files and files that are no pictures are ignored.

    Opening reads the headers only; a broken image is a frame that cannot be decoded, reported when it is read.

    Args:
        path: the folder.

    Raises:
        InputError: the folder is missing or holds no image that can be read, or the sizes differ; or it holds a picture
            that would be left out: of a kind that cannot be read, without a suffix, behind a broken link, or one of
            several in a file.
    """

    fps: float | None = None

    def __init__(self, path: Path | str):
        self._folder = Path(path)
        self._files = image_files(self._folder)
        size = None
        for file in self._files:
            found = _size_in_header(file)
            if found is None:
                continue
            if size is None:
                size, first = found, file
            if found != size and _is_whole(file):
                raise InputError(
                    f"{file}: the image is {found[0]}x{found[1]} but {first.name} is {size[0]}x{size[1]}; "
                    "all frames of a video must have one size"
                )
        if size is None:
            raise InputError(f"{self._files[0]}: no image of this folder can be read; repair them")
        self.width, self.height = size

    def __len__(self) -> int:
        return len(self._files)

    def name(self, index: int) -> str:
        """The file name of frame `index`, printable."""
        return printable(self._files[index].name)

    @property
    def files(self) -> tuple[Path, ...]:
        """The images, by frame number."""
        return tuple(self._files)

    def own_names(self) -> list[str]:
        """The file names of all frames."""
        return [file.name for file in self._files]

    def _read(self, index: int) -> np.ndarray:
        file = self._files[index]
        try:
            with Image.open(file) as image:
                pixels = upright(image)
        except Exception as error:  # Pillow's readers raise whatever damaged bytes lead to
            reason = " ".join(str(error).split()) or type(error).__name__
            raise UndecodableFrameError(
                f"{file}: frame {index} cannot be read ({reason}); repair or replace the image"
            ) from None
        frame = pixels.rgb(self._depth if pixels.is_wide else None)
        if frame.shape[:2] != (self.height, self.width):
            raise UndecodableFrameError(
                f"{file}: frame {index} is {frame.shape[1]}x{frame.shape[0]}, not {self.width}x{self.height}; "
                "all frames of a video must have one size"
            )
        return frame

    @cached_property
    def _depth(self) -> int:
        """Bits of the scale of all images that have more than 8."""
        brightest = []
        for i in looked_at(len(self._files)):
            with suppress(Exception), Image.open(self._files[i]) as image:  # a broken one is reported when it is read
                if (pixels := upright(image)).is_wide:
                    brightest.append(pixels.brightest)
        return common_depth(brightest)


def image_files(folder: Path) -> list[Path]:
    """The image files of a folder in natural order.

    Raises:
        InputError: it cannot be read, holds none, or a picture that cannot be taken.
    """
    try:
        entries = [file for file in folder.iterdir() if not file.name.startswith(".")]
    except OSError as error:
        raise InputError(f"{folder}: the folder cannot be read ({error.strerror}); check the path") from None
    entries = sorted((file for file in entries if not file.is_dir()), key=lambda f: (natural_key(f.name), f.name))
    files = [file for file in entries if _is_image(file)]
    if not files:
        raise InputError(f"{folder}: the folder holds no images; give one with JPEG, PNG, WEBP, GIF, BMP or TIFF files")
    return files


def _is_whole(file: Path) -> bool:
    """Whether all pixels can be decoded: the header of a damaged image may say any size."""
    try:
        with Image.open(file) as image:
            image.load()
    except Exception:  # Pillow's readers raise whatever damaged bytes lead to
        return False
    return True


def _size_in_header(file: Path) -> tuple[int, int] | None:
    """Width and height after EXIF rotation, or None where the header cannot be read.

    Raises:
        InputError: the file holds several pictures.
    """
    try:
        with Image.open(file) as image:
            size = upright_size(image)
            count = picture_count(image)
    except Exception:  # Pillow's readers raise whatever damaged bytes lead to
        return None
    if count > 1:
        raise InputError(
            f"{file} holds {count} pictures: give this file alone as the video, or save each as a file of its own"
        )
    return size


def _is_image(file: Path) -> bool:
    """Whether a file is a frame; raises InputError for a picture that cannot be one."""
    suffix = file.suffix.lower()
    if suffix in PICTURE_SUFFIXES | _UNREAD_SUFFIXES | {""} and file.is_symlink() and not file.exists():
        raise InputError(f"{file} is a link to {file.readlink()}, which is not there: mend or remove it")
    if not file.is_file():
        return False
    if suffix in _UNREAD_SUFFIXES:
        raise InputError(f"{file} is a picture of a kind that cannot be read here: save it as PNG, or take it out")
    if suffix not in PICTURE_SUFFIXES and pictures_in(file):
        raise InputError(f"{file} is a picture by its content but not by its name: rename it, or take it out")
    return suffix in PICTURE_SUFFIXES
