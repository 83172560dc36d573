"""Annotated video sequences on disk, in the layouts of DAVIS and YouTube-VOS, in folders or zip archives."""

import re
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from model.data.dataset_files import DatasetFiles
from model.data.mask_picture import VOID, ColourTable
from model.data.natural_order import natural_key
from model.data.picture_files import PICTURE_SUFFIXES
from model.errors import InputError
from model.program.printable import printable

__all__ = ["PRELOAD_BUDGET", "VOID", "AnnotatedSequence", "read_sequences"]

PRELOAD_BUDGET = 6 * 2**30
"""Bytes of decoded frames and label maps up to which `preload` keeps a data set in memory."""

_LAYOUT = re.compile(
    r"(?P<root>(?:.*/)?)(?P<kind>JPEGImages|Annotations)/(?:(?P<resolution>\d+p|Full-Resolution)/)?"
    r"(?P<sequence>[^/]+)/(?P<frame>[^/]+)(?P<suffix>\.[^./]+)",
    re.IGNORECASE,
)
_DECODERS = 4  # threads; decoding releases the interpreter


@dataclass(frozen=True, eq=False)
class AnnotatedSequence:
    """One annotated sequence. Frames are decoded when they are asked for, unless the sequence was preloaded.

    Attributes:
        name: of the sequence, unique in its data set; printable.
        frames: uint8 (H, W, 3) RGB each.
        label_maps: one per frame, uint8 (H, W): 0 is background, 1..254 are object ids, 255 is void; None where a
            frame has no annotation.
        annotated: numbers of the frames that have a label map, ascending.
    """

    name: str
    frames: Sequence[np.ndarray]
    label_maps: Sequence[np.ndarray | None]
    annotated: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not self.annotated:
            numbers = tuple(i for i, label_map in enumerate(self.label_maps) if label_map is not None)
            object.__setattr__(self, "annotated", numbers)

    def leading(self, frames: int | None) -> "AnnotatedSequence":
        """The sequence cut to its first frames; as it is for None."""
        if frames is None:
            return self
        return replace(self, frames=self.frames[:frames], label_maps=self.label_maps[:frames], annotated=())


class _DecodedOnDemand(Sequence[Any]):
    """Images that are decoded each time they are asked for; None stays None."""

    def __init__(self, names: Sequence[str | None], decode: Callable[[str], np.ndarray]):
        self._names, self._decode = names, decode

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return _DecodedOnDemand(self._names[index], self._decode)
        name = self._names[index]
        return None if name is None else self._decode(name)


def read_sequences(
    path: Path, *, preload: bool = False, budget: int = PRELOAD_BUDGET, progress: bool = True
) -> list[AnnotatedSequence]:
    """All sequences of a data set that have annotations, by name.

    Understood are, in a folder or a zip archive, at any depth:
    `JPEGImages/[480p|Full-Resolution/]<sequence>/<frame>.jpg` (or another picture) with
    `Annotations/[480p|Full-Resolution/]<sequence>/<frame>.png` (or another lossless picture, see
    `model.data.mask_picture`).
    Annotations may be sparse (YouTube-VOS). Where there are several resolutions, the one nearest to 480p is taken.
    Links to folders and files are followed.

    Args:
        path: folder or zip archive.
        preload: decode everything now and keep it, where the decoded total is within the budget.
        budget: bytes.
        progress: show a bar while preloading.

    Raises:
        InputError: nothing of that layout is there, a file is damaged, an annotation has no frame of its name, or
            frames and annotations differ in size. With frames decoded on demand, damage shows when the frame is asked
            for.
    """
    files = DatasetFiles(path)
    if any(name.rsplit("/", 1)[-1] == "annotations.xml" for name in files.names):
        raise InputError(f"{path} is an export of CVAT: train on it with `perclip train`")
    sequences, total = [], 0
    for name, (images, annotations) in _find(path, files.names).items():
        order = sorted(images, key=natural_key)
        labelled = tuple(i for i, stem in enumerate(order) if stem in annotations)
        if lost := sorted(annotations.keys() - images.keys(), key=natural_key):
            raise InputError(
                f"{path / annotations[lost[0]]} has no frame of its name in {name} ({images[order[0]]} ... "
                f"{images[order[-1]]}), so that masks and frames may be counted differently: give it the name of its "
                "frame, or take it out"
            )
        names = [annotations.get(stem) for stem in order]
        width, height = _common_size(files, images[order[labelled[0]]], annotations[order[labelled[0]]])
        total += width * height * (3 * len(order) + len(labelled))
        in_order = [images[stem] for stem in order]
        decode = partial(files.image, depth=files.common_depth_of(in_order))
        colours = _colours(files, [annotations[order[i]] for i in labelled])
        label_maps = _DecodedOnDemand(names, partial(files.label_map, colours=colours))
        sequences.append(AnnotatedSequence(printable(name), _DecodedOnDemand(in_order, decode), label_maps, labelled))
    if not sequences:
        raise InputError(
            f"{path} has no JPEGImages/<sequence>/ with Annotations/<sequence>/: give a data set in the layout of DAVIS"
        )
    if preload and total <= budget:
        return _preload(sequences, path.name if progress else None)
    return sequences


def _find(path: Path, names: Iterable[str]) -> dict[str, tuple[dict[str, str], dict[str, str]]]:
    """Sequence name -> (frame -> image file, frame -> annotation file), of sequences that have both."""
    found: dict[tuple[str, str], dict[int, tuple[dict[str, str], dict[str, str]]]] = {}
    for name in names:
        match = _LAYOUT.fullmatch(name)
        if match is None or match["suffix"].lower() not in PICTURE_SUFFIXES:
            continue
        lines = match["resolution"] or "480p"
        # Full resolution is 1080 lines and more.
        far = abs((int(lines[:-1]) if lines[0].isdigit() else 1080) - 480)
        resolutions = found.setdefault((match["root"], match["sequence"]), {})
        both = resolutions.setdefault(far, ({}, {}))
        of_kind = both[match["kind"].lower() == "annotations"]
        if match["frame"] in of_kind:
            raise InputError(f"{path / of_kind[match['frame']]} and {name} are for one frame: remove one")
        of_kind[match["frame"]] = name
    chosen = {}
    for key, resolutions in sorted(found.items()):
        complete = [far for far, both in resolutions.items() if all(both)]
        if complete:
            chosen[key] = resolutions[min(complete)]
    names_alone = [sequence for _, sequence in chosen]
    return {(s if names_alone.count(s) == 1 else root + s): both for (root, s), both in chosen.items()}


def _colours(files: DatasetFiles, annotations: Sequence[str]) -> ColourTable:
    """The objects of a sequence that is annotated in colours; empty for others.

    All masks are read for it, so that they may be read in any order afterwards, and by several processes.
    """
    colours: ColourTable = {}
    if files.may_count_by_colour(annotations[0]):
        for name in annotations:
            files.label_map(name, colours)
    return colours


def _common_size(files: DatasetFiles, image: str, annotation: str) -> tuple[int, int]:
    size, other = files.size(image), files.size(annotation)
    if size != other:
        raise InputError(
            f"{files.path / annotation} is {other[0]}x{other[1]} but its frame is {size[0]}x{size[1]}: "
            "bring frames and annotations to one size"
        )
    return size


def _preload(sequences: list[AnnotatedSequence], title: str | None) -> list[AnnotatedSequence]:
    wanted = [(images, i) for s in sequences for images in (s.frames, s.label_maps) for i in range(len(images))]
    with ThreadPoolExecutor(_DECODERS) as pool:
        decoded = pool.map(lambda place: place[0][place[1]], wanted)
        images = iter(list(tqdm(decoded, f"reading {title}", len(wanted), unit="image", disable=title is None)))
    return [
        replace(s, frames=list(islice(images, len(s.frames))), label_maps=list(islice(images, len(s.label_maps))))
        for s in sequences
    ]
