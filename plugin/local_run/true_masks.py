"""True masks, which results are measured against: each object with its own."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from model.data.mask_picture import ColourTable
from model.errors import InputError
from model.evaluation.metrics import region_similarity
from model.object_masks import ObjectMasks
from plugin.keyframes import FrameFinder, label_map_files, read_masks
from plugin.keyframes.keyframe_set import check_size
from plugin.keyframes.one_object_masks import names_of, numbered_file
from plugin.sinks.mask_folder import MaskFolder


@dataclass(frozen=True)
class _Source:
    """What one value gives.

    Attributes:
        value: names it in errors.
        files: by frame, ascending.
        object_id: whose masks all of them are; None where the pictures' ids say whose.
    """

    value: str
    files: dict[int, Path]
    object_id: int | None


class TrueMasks:
    """True masks of some frames.

    Masks of one object in a file or folder that is called like an object of the run, `helmet/` or `0=helmet.png`, are
    that object's, so that objects that overlap can be told; in others a pixel's value is the object's id.

    Args:
        values: each a folder of mask pictures or `INDEX=mask.png`; they add up.
        frames: tells which frame the pictures of folders are.
        frame_count: of the run's source.
        object_names: the run's objects by id.

    Raises:
        InputError: a value is neither, a picture fits no frame, or two values speak for one object on a frame.
    """

    def __init__(self, values: Iterable[str], frames: FrameFinder, frame_count: int, object_names: Mapping[int, str]):
        self._names = object_names
        self._sources = [self._source(value, frames, frame_count) for value in values]
        for a, b in combinations(self._sources, 2):
            if shared := a.files.keys() & b.files.keys():
                self._true_masks(min(shared), [{}] * len(self._sources))  # to find contradictions before the run
        self.files = {index: file for source in reversed(self._sources) for index, file in source.files.items()}
        """A picture of each frame that has any, ascending."""
        self.files = dict(sorted(self.files.items()))

    def measured(self, results: MaskFolder) -> str:
        """In words: the mean J of each object over the frames that have a true mask and are not keyframes.

        Raises:
            InputError: a mask cannot be used, or is of another size than the results.
        """
        scores: dict[int, list[float]] = {}
        measured: set[int] = set()
        by_id: ColourTable = {}  # a colour is one object in all masks, so that all must be read
        finished = results.finished()
        colours = [by_id if source.object_id is None else {} for source in self._sources]
        for index in self.files:
            true = self._true_masks(index, colours)
            if index not in finished or (result := results.read(index)).is_keyframe:
                continue
            check_size(self.files[index], next(iter(true.values()))[0].shape, result.masks.shape)
            for obj, (mask, void) in true.items():
                measured.add(index)
                scores.setdefault(obj, []).append(region_similarity(result.masks.mask(obj) & ~void, mask))
        if not scores:
            return "nothing to measure: no result has a true mask"
        means = {obj: float(np.mean(scores[obj])) for obj in self._names if obj in scores}
        each = ", ".join(f"{self._names[obj]} {mean:.3f}" for obj, mean in means.items())
        return f"{np.mean(list(means.values())):.3f} ({each}) over {len(measured)} frames"

    def _source(self, value: str, frames: FrameFinder, frame_count: int) -> _Source:
        numbered = numbered_file(value)
        if numbered is None:
            files = label_map_files(value, frames)
        else:
            index, file = numbered
            if index >= frame_count:
                raise InputError(f"--truth {value}: there is no such frame, the last one is {frame_count - 1}")
            files = {index: Path(file)}
        named: dict[str, int] = {}
        for obj, name in self._names.items():
            named.setdefault(name.casefold(), obj)
        found = next((named[name.casefold()] for name in names_of(value) if name.casefold() in named), None)
        if found is not None:
            colours: ColourTable = {}
            ids = {o for file in files.values() for o in read_masks(file, colours, may_be_empty=True)[0].objects}
            found = found if len(ids) == 1 else None  # several objects: the name is not that of one
        return _Source(value, files, found)

    def _true_masks(self, index: int, colours: Sequence[ColourTable]) -> dict[int, tuple[np.ndarray, np.ndarray]]:
        """The true mask of each object that a frame's pictures speak for, and where it is void, both bool (H, W)."""
        found: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        said_by: dict[int, str] = {}
        unnamed: list[tuple[ObjectMasks, np.ndarray]] = []
        named = {source.object_id for source in self._sources}
        for source, table in zip(self._sources, colours):
            if index not in source.files:
                continue
            masks, void = read_masks(source.files[index], table, may_be_empty=True)
            for obj in masks.objects if source.object_id is None else (source.object_id,):
                if obj in said_by:
                    raise InputError(
                        f"--truth: object {obj} is given twice on frame {index}, by {said_by[obj]} and by "
                        f"{source.value}: call files or folders of one object each like the objects "
                        f"({', '.join(self._names.values())})"
                    )
                said_by[obj] = source.value
            if source.object_id is None:
                unnamed.append((masks, void))
            else:
                found[source.object_id] = (masks.flattened(masks.objects) > 0, void)
        for obj in self._names.keys() - named if unnamed else ():
            mask = np.logical_or.reduce([masks.mask(obj) for masks, _ in unnamed])
            found[obj] = mask, np.logical_or.reduce([void for _, void in unnamed])
        return found
