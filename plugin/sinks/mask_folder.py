"""A folder of mask pictures: the durable store of results, which survives a kill and lets a run resume."""

import errno
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from model.errors import InputError
from model.program.atomic_write import PART, atomic_write, write_error
from model.result import FrameResult
from plugin.keyframes.mask_origin import MaskOrigin, mask_file_name
from plugin.sinks.palette import save_label_map

_JOURNAL = "frames.jsonl"


@dataclass(frozen=True, eq=False)
class StoredResult:
    """One finished frame of a `MaskFolder`; has the fields of a `FrameResult`, but reads its mask only when asked.

    Attributes:
        index: frame number in the sequence, 0-based.
        confidence: number in 0..1 for every object of the run, to six decimals.
        is_keyframe: True where a keyframe was given for this frame.
        folder: where the mask is.
    """

    index: int
    confidence: dict[int, float]
    is_keyframe: bool
    folder: "MaskFolder"
    probabilities: None = None

    @cached_property
    def label_map(self) -> np.ndarray:
        """uint8 (H, W), the value of a pixel is its object id. Raises InputError where the file is gone or damaged."""
        return self.folder.label_map(self.index)


AnyResult = FrameResult | StoredResult
"""A finished frame, in memory or on disk."""


class MaskFolder:
    """Results on disk: `masks/000123.png` (palette PNG, pixel value = object id) and a line of `frames.jsonl` for each.

    A frame is finished once its mask is in place and its line is written; both happen in `add`, in this order. Results
    come in any order, and again: the latest wins. Opening a folder that a killed run left drops its unfinished last
    line and its temporary files. One process writes at a time.

    Iterating gives the finished frames in ascending order, as often as wanted; it reads a mask when the record's
    `label_map` is asked for, so that a pass over the confidences alone costs nothing.

    Args:
        folder: where to keep the results; made if missing.
        picture_names: the frames' own names, noted in the masks, so that they find their picture when they are read
            back; None where frames have numbers alone.

    Raises:
        InputError: the folder cannot be made, read or written.
    """

    def __init__(self, folder: Path | str, picture_names: Sequence[str] | None = None):
        self.folder = Path(folder)
        self._picture_names = picture_names
        self._masks = self.folder / "masks"
        self._journal = self.folder / _JOURNAL
        try:
            self._masks.mkdir(parents=True, exist_ok=True)
            for leftover in self._masks.glob(f"*{PART}.png"):
                leftover.unlink()
            self._records = self._read_journal()
        except OSError as error:
            raise write_error(self.folder, error) from error
        self._finished = {index for index in self._records if _is_whole_png(self.mask_path(index))}

    def add(self, result: FrameResult) -> None:
        """Store one result durably.

        Raises:
            InputError: it cannot be written (no space, no permission); the store stays as it was.
        """
        path = self.mask_path(result.index)
        entry = {
            "frame": result.index,
            "confidence": {str(object_id): _rounded(c) for object_id, c in sorted(result.confidence.items())},
            "keyframe": bool(result.is_keyframe),
        }
        with atomic_write(path, make_folder=False) as temporary:
            picture = None if self._picture_names is None else self._picture_names[result.index]
            save_label_map(result.label_map, temporary, MaskOrigin(result.index, picture))
        try:
            _append(self._journal, json.dumps(entry).encode() + b"\n")
        except OSError as error:
            raise write_error(self._journal, error) from error
        self._records[result.index] = self._record(entry)
        self._finished.add(result.index)

    def check_complete(self) -> None:
        """Raises InputError where masks that were finished have been removed since."""
        try:
            there = {file.name for file in self._masks.iterdir()}
        except OSError:
            there = set()
        gone = [index for index in sorted(self._finished) if self.mask_path(index).name not in there]
        if gone:
            raise InputError(
                f"{self._masks}: {len(gone)} masks were removed during the run, the first is that of frame {gone[0]}; "
                "run again with --resume"
            )

    def finished(self) -> set[int]:
        """The numbers of the frames that need not be computed again."""
        return set(self._finished)

    def read(self, index: int) -> StoredResult:
        """The record of a finished frame; raises KeyError if the frame is not finished."""
        if index not in self._finished:
            raise KeyError(index)
        return replace(self._records[index])  # a fresh record: the mask it reads is let go with it

    def label_map(self, index: int) -> np.ndarray:
        """The stored label map, uint8 (H, W), of a finished frame.

        Raises:
            KeyError: the frame is not finished.
            InputError: its mask has been removed or damaged since the folder was opened.
        """
        if index not in self._finished:
            raise KeyError(index)
        path = self.mask_path(index)
        try:
            with Image.open(path) as picture:
                if picture.mode not in ("P", "L"):
                    raise ValueError(f"its pixels are {picture.mode}, not object ids")
                return np.array(picture)
        except (OSError, ValueError, SyntaxError) as error:
            raise InputError(f"{path}: the mask cannot be read ({error}); remove it and run with --resume") from None

    def finished_label_maps(self) -> Mapping[int, np.ndarray]:
        """The finished frames as a mapping frame number -> uint8 (H, W), ascending; a mask is read when asked for."""
        return _LabelMaps(self)

    def mask_path(self, index: int) -> Path:
        """Where the mask of frame `index` is or will be."""
        return self._masks / mask_file_name(index)

    def __iter__(self) -> Iterator[StoredResult]:
        for index in sorted(self._finished):
            yield self.read(index)

    def _read_journal(self) -> dict[int, StoredResult]:
        """The latest record of every frame; cuts off a last line that was not written to its end."""
        if not self._journal.exists():
            return {}
        content = self._journal.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            os.truncate(self._journal, whole)
        records = {}
        for line in content[:whole].splitlines():
            try:
                record = self._record(json.loads(line))
            except (ValueError, KeyError, TypeError, AttributeError):
                continue  # its frame counts as not finished
            records[record.index] = record
        return records

    def _record(self, entry: dict[str, Any]) -> StoredResult:
        confidence = {int(object_id): float(c) for object_id, c in entry["confidence"].items()}
        return StoredResult(int(entry["frame"]), confidence, bool(entry["keyframe"]), self)


class _LabelMaps(Mapping[int, np.ndarray]):
    """The finished label maps of a `MaskFolder`, read on demand."""

    def __init__(self, folder: MaskFolder):
        self._folder = folder

    def __getitem__(self, index: int) -> np.ndarray:
        return self._folder.label_map(index)

    def __contains__(self, index: object) -> bool:
        return index in self._folder._finished

    def __iter__(self) -> Iterator[int]:
        return iter(sorted(self._folder._finished))

    def __len__(self) -> int:
        return len(self._folder._finished)


def _rounded(confidence: float) -> float:
    """To six decimals, downwards: exactly 1 stays with what people said, keyframes and declared absences."""
    return math.floor(confidence * 1e6) / 1e6


def _is_whole_png(path: Path) -> bool:
    """Whether the file is a PNG without missing or damaged parts; checks its checksums, decodes nothing."""
    try:
        with Image.open(path) as picture:
            picture.verify()
    except (OSError, ValueError, SyntaxError):
        return False
    return True


def _append(path: Path, line: bytes) -> None:
    """Append a line, or nothing at all."""
    with path.open("ab", buffering=0) as file:
        size = file.tell()
        try:
            written = file.write(line)
            if written < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            file.truncate(size)
            raise
