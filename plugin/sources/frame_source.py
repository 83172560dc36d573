"""What every source of frames promises, and the part of it that all sources share."""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Protocol, overload

import numpy as np


class FrameSource(Protocol):
    """The frames of one video as a `collections.abc.Sequence` of uint8 (H, W, 3) RGB arrays, read on demand.

    A single index gives one array, a slice gives the list of its arrays. A source holds a bounded number of frames,
    however long the video is, and reads well in both directions: `source[0:5], source[5:10], ...` as well as
    `source[95:100], source[90:95], ...`. It serves one thread at a time.

    Attributes:
        height: rows of every frame, in pixels.
        width: columns of every frame, in pixels.
        fps: frames per second, or None where the source does not say (a folder of images).
        cut_off: whether the source is known to end before its own end, as a file whose copy was interrupted.
        gaps: frames behind which others seem to be missing, so that numbers behind them may be too low.

    Reading raises `UndecodableFrameError` where a frame cannot be decoded; it names the file and the frame number.
    """

    height: int
    width: int
    fps: float | None
    cut_off: bool
    gaps: Sequence[int]

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[np.ndarray]: ...

    @overload
    def __getitem__(self, index: int) -> np.ndarray: ...

    @overload
    def __getitem__(self, index: slice) -> list[np.ndarray]: ...

    def name(self, index: int) -> str:
        """What people call frame `index`: the file name of an image, `frame_000012` in a video; `printable` text."""
        ...

    def own_names(self) -> Sequence[str] | None:
        """The names of all frames where each is a file of its own; None where frames have numbers alone (a video)."""
        ...

    def damage_in(self, index: int) -> int | None:
        """The damaged frame that frame `index` was decoded from, or None, see `FrameReader.damage_in`."""
        ...

    def close(self) -> None:
        """Let go of files, threads and cached frames; may be called again."""
        ...

    def __enter__(self) -> "FrameSource": ...

    def __exit__(self, *exception: object) -> None: ...


class FrameReader(Sequence[np.ndarray]):
    """A `FrameSource` but for the reading itself: a subclass gives `__len__`, `name` and `_read`."""

    height: int
    width: int
    fps: float | None
    cut_off: bool = False
    gaps: Sequence[int] = ()

    def damage_in(self, index: int) -> int | None:
        """The damaged frame that frame `index` was decoded from, so that its picture may be wrong too.

        None where there is none, as far as is known from reading. May be called from any thread.
        """
        return None

    @abstractmethod
    def _read(self, index: int) -> np.ndarray:
        """Read frame `index`, 0 <= index < len, as a fresh uint8 (H, W, 3) array."""

    @abstractmethod
    def name(self, index: int) -> str:
        """What people call frame `index`: the file name of an image, `frame_000012` in a video."""

    def own_names(self) -> Sequence[str] | None:
        """The names of all frames where each is a file of its own; None where frames have numbers alone (a video)."""
        return None

    def _read_clip(self, indices: range) -> list[np.ndarray]:
        """Read the frames of an ascending range."""
        return [self._read(index) for index in indices]

    @overload
    def __getitem__(self, index: int) -> np.ndarray: ...

    @overload
    def __getitem__(self, index: slice) -> list[np.ndarray]: ...

    def __getitem__(self, index: int | slice) -> np.ndarray | list[np.ndarray]:
        """Frame `index`, or the list of frames of a slice; negative indices count from the end."""
        indices = range(len(self))[index]
        if not isinstance(indices, range):
            return self._read(indices)
        if indices.step < 0:  # sources read forward, whatever order is asked for
            return self._read_clip(indices[::-1])[::-1]
        return self._read_clip(indices)

    def close(self) -> None:
        """Let go of files, threads and cached frames; may be called again."""

    def __enter__(self) -> "FrameReader":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
