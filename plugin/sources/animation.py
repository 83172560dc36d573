"""One picture file with many pictures, an animation or a stack of pages, as a source of frames."""

from collections import OrderedDict
from contextlib import suppress
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from model.data.picture_files import PICTURE_FORMATS, picture_numbers
from model.data.pixel_formats import Pixels, common_depth, looked_at, upright
from model.errors import InputError, UndecodableFrameError
from plugin.sources.frame_source import FrameReader

_RANDOM_ACCESS = frozenset({"TIFF"})  # formats of which a picture can be had without those before it
_NAMELESS = frozenset({"TGA", "PCX"})  # nothing in these tells them from other files


class Animation(FrameReader):
    """The pictures of a GIF, APNG, WebP, AVIF or TIFF with several, in their order and as they are shown: composed.

    What does not belong to them is left out: previews inside a TIFF, the still of an APNG for programs that know no
    animations. Alpha is dropped. 16-bit grays have one scale, see `model.data.pixel_formats`.

    Args:
        path: the file.
        cache_bytes: memory for decoded frames. Formats that build a picture upon the one before are read backwards by
            decoding them from the start again, once for every run of frames that fits.

    Raises:
        InputError: the file cannot be read, or its pictures differ in size.
    """

    def __init__(self, path: Path | str, *, cache_bytes: int = 128 << 20):
        self._path = Path(path)
        self._open()
        try:
            self._numbers = picture_numbers(self._image)
            self._decoded: OrderedDict[int, np.ndarray] = OrderedDict()
            first = self._pixels(0)
            self.height, self.width = first.values.shape[:2]
            self._kept = max(1, cache_bytes // (3 * self.height * self.width))
            duration = self._image.info.get("duration") or 0  # ms; Pillow knows it once a picture is decoded
            self.fps = 1000 / duration if duration > 0 else None
        except BaseException:
            self.close()
            raise

    @property
    def files(self) -> tuple[Path, ...]:
        """The file."""
        return (self._path,)

    def __len__(self) -> int:
        return len(self._numbers)

    def name(self, index: int) -> str:
        """`frame_000012`, as in a video."""
        return f"frame_{range(len(self))[index]:06d}"

    def close(self) -> None:
        """Close the file and drop the decoded frames; may be called again."""
        self._image.close()
        self._decoded = OrderedDict()

    def _read(self, index: int) -> np.ndarray:
        if index not in self._decoded:
            depth = self._depth
            backward = self._decoded and index < min(self._decoded) and self._image.format not in _RANDOM_ACCESS
            for i in range(max(0, index - self._kept + 1) if backward else index, index + 1):
                frame = self._pixels(i).rgb(depth)
                if frame.shape[:2] != (self.height, self.width):
                    raise UndecodableFrameError(
                        f"{self._path}: picture {i} is {frame.shape[1]}x{frame.shape[0]} but the first one "
                        f"{self.width}x{self.height}; all frames of a video must have one size"
                    )
                self._decoded[i] = frame
                self._decoded.move_to_end(i)
                if len(self._decoded) > self._kept:
                    self._decoded.popitem(last=False)
        return self._decoded[index].copy()

    @cached_property
    def _depth(self) -> int | None:
        if not self._pixels(0).is_wide:
            return None
        brightest = []
        for i in looked_at(len(self)):
            with suppress(UndecodableFrameError):  # reported when it is read
                brightest.append(self._pixels(i).brightest)
        return common_depth(brightest)

    def _open(self) -> None:
        try:
            self._image = Image.open(self._path)
        except Exception as error:
            raise InputError(f"{self._path}: the file cannot be read ({_reason(error)}); check the path") from None

    def _pixels(self, index: int) -> Pixels:
        try:
            if self._numbers[index] < self._image.tell() and self._image.format not in _RANDOM_ACCESS:
                # Pillow winds back as well, but then takes some APNG files for damaged.
                self._image.close()
                self._open()
            self._image.seek(self._numbers[index])
            return upright(self._image)
        except Exception as error:  # Pillow's readers raise whatever damaged bytes lead to
            raise UndecodableFrameError(
                f"{self._path}: frame {index} cannot be read ({_reason(error)}); repair or replace the file"
            ) from None


def pictures_in(path: Path) -> int | None:
    """How many pictures a file has, see `model.data.picture_files.picture_numbers`; None where it is no picture."""
    Image.init()
    formats = [f for f in PICTURE_FORMATS if f not in _NAMELESS or path.suffix.lower() == f".{f.lower()}"]
    try:
        with Image.open(path, formats=[f for f in formats if f in Image.OPEN]) as image:
            return len(picture_numbers(image))
    except Exception:
        return None


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
