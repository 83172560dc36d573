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
from model.object_masks import ObjectMasks
from model.program.atomic_write import PART, atomic_write, write_error
from model.result import FrameResult
from plugin.keyframes.mask_origin import MaskOrigin, mask_file_name
from plugin.keyframes.whole_masks import read_whole_masks
from plugin.sinks.palette import save_masks

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
    def masks(self) -> ObjectMasks:
        """Of the objects, each whole. Raises InputError where the file is gone or damaged."""
        return self.folder.masks(self.index)

    @property
    def label_map(self) -> np.ndarray:
        """The masks flattened, uint8 (H, W): where objects share a pixel the uppermost has it; errors as there."""
        return self.masks.label_map


AnyResult = FrameResult | StoredResult
"""A finished frame, in memory or on disk."""


class MaskFolder:
    """Results on disk: `masks/000123.png` (palette PNG, pixel value = object id) and a line of `frames.jsonl` for each.

    Where objects share a pixel the picture shows the uppermost, the file has the whole masks beside its pixels
    (`plugin.keyframes.whole_masks`), and the line says `"overlap": true`.

    A frame is finished once its mask is in place and its line is written; both happen in `add`, in this order. Results
    come in any order, and again: the latest wins. Opening a folder that a killed run left drops its unfinished last
    line and its temporary files. One process writes at a time.

    Iterating gives the finished frames in ascending order, as often as wanted; it reads a mask when the record's
    masks are asked for, so that a pass over the confidences alone costs nothing.

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
            self._records: dict[int, StoredResult] = {}
            self._overlapping: set[int] = set()
            self._read_journal()
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
            **({"overlap": True} if result.masks.overlapping else {}),
        }
        with atomic_write(path, make_folder=False) as temporary:
            picture = None if self._picture_names is None else self._picture_names[result.index]
            save_masks(result.masks, temporary, MaskOrigin(result.index, picture))
        try:
            _append(self._journal, json.dumps(entry).encode() + b"\n")
        except OSError as error:
            raise write_error(self._journal, error) from error
        self._remember(entry)
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

    def masks(self, index: int) -> ObjectMasks:
        """The stored masks of a finished frame.

        Raises:
            KeyError: the frame is not finished.
            InputError: its file has been removed or damaged since the folder was opened, or has lost what was beside
                its pixels.
        """
        if index not in self._finished:
            raise KeyError(index)
        path = self.mask_path(index)
        try:
            with Image.open(path) as picture:
                if picture.mode not in ("P", "L"):
                    raise ValueError(f"its pixels are {picture.mode}, not object ids")
                masks = read_whole_masks(picture, np.array(picture))
            if index in self._overlapping and not masks.overlapping:
                raise ValueError("another program has changed it, and what objects share is lost")
            return masks
        except (OSError, ValueError, SyntaxError) as error:
            raise InputError(f"{path}: the mask cannot be read ({error}); remove it and run with --resume") from None

    def finished_masks(self) -> Mapping[int, ObjectMasks]:
        """The finished frames' masks by frame number, ascending; they are read when asked for."""
        return _FinishedMasks(self)

    def mask_path(self, index: int) -> Path:
        """Where the mask of frame `index` is or will be."""
        return self._masks / mask_file_name(index)

    def __iter__(self) -> Iterator[StoredResult]:
        for index in sorted(self._finished):
            yield self.read(index)

    def _read_journal(self) -> None:
        """Takes the latest record of every frame; cuts off a last line that was not written to its end."""
        if not self._journal.exists():
            return
        content = self._journal.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            os.truncate(self._journal, whole)
        for line in content[:whole].splitlines():
            try:
                self._remember(json.loads(line))
            except (ValueError, KeyError, TypeError, AttributeError):
                continue  # its frame counts as not finished

    def _remember(self, entry: dict[str, Any]) -> None:
        """Takes the record that a line of the journal has."""
        confidence = {int(object_id): float(c) for object_id, c in entry["confidence"].items()}
        record = StoredResult(int(entry["frame"]), confidence, bool(entry["keyframe"]), self)
        self._records[record.index] = record
        (self._overlapping.add if entry.get("overlap") else self._overlapping.discard)(record.index)


class _FinishedMasks(Mapping[int, ObjectMasks]):
    """The finished masks of a `MaskFolder`, read on demand."""

    def __init__(self, folder: MaskFolder):
        self._folder = folder

    def __getitem__(self, index: int) -> ObjectMasks:
        return self._folder.masks(index)

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
