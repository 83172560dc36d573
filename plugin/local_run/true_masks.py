"""True masks, which results are measured against: each object with its own."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from model.data.inside_out import first_of, inside_out
from model.data.mask_picture import VOID, ColourTable
from model.errors import InputError
from model.evaluation.metrics import region_similarity
from model.keyframe import Keyframe
from plugin.keyframes import FrameFinder, KeyframeSet, label_map_files, read_keyframes, read_masks
from plugin.keyframes.keyframe_set import check_size
from plugin.keyframes.one_object_masks import names_of, numbered_file
from plugin.sinks.mask_folder import MaskFolder

_Pair = tuple[np.ndarray, np.ndarray]
"""A true mask, and where it is void; both bool (H, W)."""


@dataclass(frozen=True)
class _Source:
    """What one value gives.

    Attributes:
        value: names it in errors.
        files: by frame, ascending; of annotations, the file that all are in.
        object_id: whose masks all pictures are; None where their ids say whose.
        annotated: what annotations say of the run's objects, by frame; None for pictures.
    """

    value: str
    files: dict[int, Path]
    object_id: int | None = None
    annotated: Mapping[int, Keyframe] | None = None

    @property
    def goes_by_id(self) -> bool:
        """Whether the ids in its pictures are those of the run's objects."""
        return self.object_id is None and self.annotated is None


class TrueMasks:
    """True masks of some frames.

    Masks of one object in a file or folder that is called like an object of the run, `helmet/` or `0=helmet.png`, are
    that object's, so that objects that overlap can be told; in other pictures a pixel's value is the object's id.
    Annotations are an object's by its name; where that is not the name of one object alone, by its id.

    Args:
        values: each a folder of mask pictures, `INDEX=mask.png`, a COCO `.json` or a CVAT `.xml`; they add up.
        frames: tells which frame the pictures of folders and files are.
        frame_count, frame_size: of the run's source; (H, W) in pixels.
        object_names: the run's objects by id.

    Raises:
        InputError: a value is none of these, a picture fits no frame, annotations have none of the objects, or two
            values speak for one object on a frame.
    """

    def __init__(
        self,
        values: Iterable[str],
        frames: FrameFinder,
        frame_count: int,
        frame_size: tuple[int, int],
        object_names: Mapping[int, str],
    ):
        self._names, self._size = object_names, frame_size
        self._sources = [self._source(value, frames, frame_count) for value in values]
        for a, b in combinations(self._sources, 2):
            if shared := a.files.keys() & b.files.keys():
                self._true_masks(min(shared), [{}] * len(self._sources), [])  # to find contradictions before the run
        files = {index: file for source in reversed(self._sources) for index, file in source.files.items()}
        self.files = dict(sorted(files.items()))
        """A file of each frame that has any, ascending."""

    def measured(self, results: MaskFolder, warn: Callable[[str], None]) -> str:
        """In words: the mean J of each object over the frames that have a true mask and are not keyframes.

        Args:
            results: of the run.
            warn: takes a line about masks that seem to be inside out.

        Raises:
            InputError: a mask cannot be used, or two are of one object.
        """
        scores: dict[int, list[float]] = {}
        measured: set[int] = set()
        by_id: ColourTable = {}  # a colour is one object in all masks, so that all must be read
        colours = [by_id if source.goes_by_id else {} for source in self._sources]
        doubts: list[str] = []
        finished = results.finished()
        for index in self.files:
            true = self._true_masks(index, colours, doubts)
            if index not in finished or (result := results.read(index)).is_keyframe:
                continue
            for obj, (mask, void) in true.items():
                measured.add(index)
                scores.setdefault(obj, []).append(region_similarity(result.masks.mask(obj) & ~void, mask))
        for warning in first_of(doubts):
            warn(warning)
        if not scores:
            return "nothing to measure: no result has a true mask"
        means = {obj: float(np.mean(scores[obj])) for obj in self._names if obj in scores}
        each = ", ".join(f"{self._names[obj]} {mean:.3f}" for obj, mean in means.items())
        return f"{np.mean(list(means.values())):.3f} ({each}) over {len(measured)} frames"

    def _source(self, value: str, frames: FrameFinder, frame_count: int) -> _Source:
        numbered = numbered_file(value)
        if numbered is None and Path(value).suffix.lower() in (".json", ".xml") and not Path(value).is_dir():
            found = self._annotated(value, read_keyframes([value], frames, self._size))
            return _Source(value, dict.fromkeys(sorted(found), Path(value)), annotated=found)
        if numbered is None:
            files = label_map_files(value, frames)
        else:
            index, file = numbered
            if index >= frame_count:
                raise InputError(f"--truth {value}: there is no such frame, the last one is {frame_count - 1}")
            files = {index: Path(file)}
        named = _unique(self._names)
        obj = next((named[name.casefold()] for name in names_of(value) if name.casefold() in named), None)
        if obj is not None:
            colours: ColourTable = {}
            ids = {o for file in files.values() for o in read_masks(file, colours, may_be_empty=True)[0].objects}
            obj = obj if len(ids) <= 1 else None  # several objects: the name is not that of one
        return _Source(value, files, obj)

    def _annotated(self, value: str, given: KeyframeSet) -> dict[int, Keyframe]:
        """The keyframes of a file, less what are no objects of the run, with the run's ids."""
        named, own = _unique(self._names), _unique(given.object_names)
        ids = {obj: named[name] for name, obj in own.items() if name in named}
        taken = set(ids.values())
        ids |= {o: o for o in given.object_names if o not in ids and o in self._names and o not in taken}
        if not ids:
            raise InputError(
                f"--truth {value} has {', '.join(given.object_names.values())}, none of which is an object of this run "
                f"({', '.join(self._names.values())}): name them alike"
            )
        kept = {k.index: (k, [o for o in k.objects if o in ids]) for k in given.keyframes}
        return {
            index: Keyframe(index, k.masks.only(objects).renamed(ids), [ids[o] for o in objects])
            for index, (k, objects) in kept.items()
            if objects
        }

    def _true_masks(self, index: int, colours: Sequence[ColourTable], doubts: list[str]) -> dict[int, _Pair]:
        """The true mask of each object that the sources speak for on a frame; adds what is doubtful in a picture."""
        found: dict[int, _Pair] = {}
        said_by: dict[int, str] = {}
        voids: list[np.ndarray] = []  # of pictures that go by ids
        for source, table in zip(self._sources, colours):
            if index not in source.files:
                continue
            if source.annotated is not None:
                keyframe = source.annotated[index]
                said = {obj: (keyframe.mask(obj), np.zeros(self._size, bool)) for obj in keyframe.objects}
            else:
                masks, void = read_masks(source.files[index], table, may_be_empty=True)
                check_size(source.files[index], masks.shape, self._size)
                if (doubt := inside_out(np.where(void, np.uint8(VOID), masks.label_map))) is not None:
                    doubts.append(f"{source.files[index]}: {doubt}")
                if source.object_id is None:
                    said = {obj: (mask, void) for obj, mask in masks.items()}
                    voids.append(void)
                else:
                    said = {source.object_id: (masks.flattened(masks.objects) > 0, void)}
            for obj in said:
                if obj in said_by:
                    raise InputError(
                        f"--truth: object {obj} is given twice on frame {index}, by {said_by[obj]} and by "
                        f"{source.value}: call files or folders of one object each like the objects "
                        f"({', '.join(self._names.values())})"
                    )
                said_by[obj] = source.value
            found |= {obj: pair for obj, pair in said.items() if obj in self._names}
        # Pictures of ids speak for all objects that nothing else speaks for: who is not in them is not to be seen.
        elsewhere = {source.object_id for source in self._sources}
        for obj in self._names.keys() - elsewhere - found.keys() if voids else ():
            found[obj] = np.zeros(self._size, bool), np.logical_or.reduce(voids)
        return found


def _unique(names: Mapping[int, str]) -> dict[str, int]:
    """The objects whose name no other has, by it in small letters."""
    counts = Counter(name.casefold() for name in names.values())
    return {name.casefold(): obj for obj, name in names.items() if counts[name.casefold()] == 1}
