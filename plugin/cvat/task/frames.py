"""The frames of a CVAT task, image or video, as a source of frames."""

import struct
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image

from model.data.natural_order import natural_key
from model.data.picture_files import PICTURE_SUFFIXES
from model.data.pixel_formats import Pixels, common_depth, looked_at
from model.errors import InputError
from plugin.cvat.server.errors import CvatError, DamagedFrameError
from plugin.cvat.task.chunk_store import ChunkStore
from plugin.cvat.task.layout import Media, TaskLayout
from plugin.sources.frame_source import FrameReader
from plugin.sources.video_file import VideoFile

_OPEN_CHUNKS = 3
# What Pillow and zipfile raise for damaged files.
_BROKEN = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    NotImplementedError,
    RuntimeError,
    struct.error,
    zlib.error,
    zipfile.BadZipFile,
    Image.DecompressionBombError,
)
_VIDEO_CACHE = 96 << 20  # bytes of decoded frames of a chunk; 36 frames of 1080p in the decoder's format


class TaskFrames(FrameReader):
    """Some frames of a task, all of one size, in original quality.

    16-bit gray images have one scale for all frames of the task, see `model.data.pixel_formats`: where there are
    such, some from all over the task are looked at first, whichever frames are wanted.

    Args:
        layout: of the task.
        frames: task-relative numbers, ascending; the place in this list is the index here.
        stores: of the layout's media, by path; they are not closed here.

    Raises:
        InputError: the frames are not of one size.
    """

    fps: float | None = None

    def __init__(self, layout: TaskLayout, frames: Sequence[int], stores: Mapping[str, ChunkStore]):
        sizes = {layout.sizes[frame] for frame in frames}
        if len(sizes) != 1:
            raise InputError(f"task {layout.id}: frames {frames[0]} to {frames[-1]} are not of one size")
        self.height, self.width = sizes.pop()
        self.numbers = tuple(frames)
        self._task = layout.id
        self._media = layout.media
        self._stores = stores
        self._open: OrderedDict[tuple[str, int], _Chunk] = OrderedDict()
        self._damaged: dict[tuple[str, int], str] = {}  # chunks that could not be opened, and why
        self._suspects: set[tuple[str, int]] = set()  # chunks with a damaged frame

    def __len__(self) -> int:
        return len(self.numbers)

    def name(self, index: int) -> str:
        """`frame 12`, as people find it in CVAT."""
        return f"frame {self.numbers[index]}"

    def close(self) -> None:
        """Closes the files; damaged ones are downloaded anew by whoever reads them next."""
        for chunk in self._open.values():
            chunk.close()
        self._open.clear()
        for path, number in self._suspects:
            self._stores[path].forget(number)
        self._suspects.clear()

    def _read(self, index: int) -> np.ndarray:
        frame = self.numbers[index]
        media = next(m for m in self._media if frame in m.frames)
        number = media.chunk_of(frame)
        try:
            pixels = self._from_chunk(media, number, frame)
        except _DamagedError as error:
            raise DamagedFrameError(
                f"task {self._task}, frame {frame}: the server's image cannot be read ({error}); open the frame in CVAT"
            ) from None
        picture = pixels.rgb(self._depth if pixels.is_wide else None)
        height, width = picture.shape[:2]
        # Video of odd sizes is served a pixel larger; smaller or much larger is another quality than asked for.
        if not (self.height <= height <= self.height + 1 and self.width <= width <= self.width + 1):
            raise CvatError(
                f"task {self._task}, frame {frame}: the server gives {width}x{height} pixels but says "
                f"{self.width}x{self.height}; upload the images again"
            )
        return np.ascontiguousarray(picture[: self.height, : self.width])

    @cached_property
    def _depth(self) -> int:
        """Bits of the grays of all images that have more than 8."""
        frames = [(media, frame) for media in self._media for frame in media.frames]
        brightest = []
        for i in looked_at(len(frames)):
            media, frame = frames[i]
            with suppress(_DamagedError, CvatError):  # reported when it is read
                brightest.append(self._from_chunk(media, media.chunk_of(frame), frame).brightest)
        return common_depth(brightest)

    def _from_chunk(self, media: Media, number: int, frame: int) -> Pixels:
        key = media.path, number
        if key in self._damaged:
            raise _DamagedError(self._damaged[key])
        try:
            return self._read_chunk(media, number, frame)
        except _DamagedError:
            if key in self._suspects:
                raise
        # The copy here may be at fault: once more from the server, and no more than once.
        self._drop(media, number)
        self._suspects.add(key)
        try:
            return self._read_chunk(media, number, frame)
        except _DamagedError as error:
            if key not in self._open:
                self._damaged[key] = str(error)
            raise

    def _read_chunk(self, media: Media, number: int, frame: int) -> Pixels:
        key = media.path, number
        if key not in self._open:
            self._open[key] = _open_chunk(self._stores[media.path].path(number), media, number)
            if len(self._open) > _OPEN_CHUNKS:
                self._open.popitem(last=False)[1].close()
        self._open.move_to_end(key)
        return self._open[key].read(media.chunk_frames(number).index(frame))

    def _drop(self, media: Media, number: int) -> None:
        chunk = self._open.pop((media.path, number), None)
        if chunk is not None:
            chunk.close()
        self._stores[media.path].forget(number)


class _DamagedError(Exception):
    """A chunk is not what it should be."""


class _Chunk(Protocol):
    """The frames of one chunk, by their place in it."""

    def read(self, place: int) -> Pixels: ...

    def close(self) -> None: ...


class _ZippedImages:
    def __init__(self, path: Path, count: int):
        try:
            self._file = zipfile.ZipFile(path)
        except _BROKEN as error:
            raise _DamagedError(str(error) or type(error).__name__) from None
        names = [name for name in self._file.namelist() if Path(name).suffix.lower() in PICTURE_SUFFIXES]
        self._names = sorted(names, key=natural_key)
        if len(self._names) < count:
            self.close()
            raise _DamagedError(f"{len(names)} of {count} images came")

    def read(self, place: int) -> Pixels:
        try:
            with Image.open(BytesIO(self._file.read(self._names[place]))) as image:
                return Pixels.of(image)
        except _BROKEN as error:
            raise _DamagedError(str(error) or type(error).__name__) from None

    def close(self) -> None:
        self._file.close()


class _Video:
    def __init__(self, path: Path, count: int):
        try:
            self._video = VideoFile(path, cache_bytes=_VIDEO_CACHE)
        except InputError as error:
            raise _DamagedError(str(error).removeprefix(f"{path}: ")) from None
        self._path, self._count = path, count
        if len(self._video) < count and not self._video.cut_off:  # which ones are missing is not known
            self.close()
            raise _DamagedError(f"{len(self._video)} of {count} frames came")

    def read(self, place: int) -> Pixels:
        if place >= len(self._video):
            raise _DamagedError(f"{len(self._video)} of {self._count} frames came")
        try:
            return Pixels(self._video[place])
        except InputError as error:
            raise _DamagedError(str(error).removeprefix(f"{self._path}: ")) from None

    def close(self) -> None:
        self._video.close()


def _open_chunk(path: Path, media: Media, number: int) -> _Chunk:
    try:
        with path.open("rb") as file:
            is_zip = file.read(2) == b"PK"
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): check --cache") from None
    return (_ZippedImages if is_zip else _Video)(path, len(media.chunk_frames(number)))
