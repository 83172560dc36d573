"""Tasks that CVAT exported with their images, as annotated sequences to train on or to measure with.

Understood are "CVAT for video 1.1", "CVAT for images 1.1" (`annotations.xml`) and "COCO 1.0" (`instances*.json`), in a
zip archive as CVAT gives it or unpacked, each task one video. A task whose objects overlap is one
sequence for each layer (`model.propagation.layers`), in which its objects are whole.

What counts as annotation:

* A frame on which a person drew at least one shape is annotated; all its other pixels are background. Tracks that have
  no keyframe there are taken as CVAT interpolates them. All other frames are not annotated and never looked at.
* Shapes are one object as they are for keyframes (`plugin.keyframes`): a track, a group, or all of a label that has one
  shape per frame. Where that leaves a doubt the task is refused, as wrong identities teach wrong things.
* Frames whose image is not in the export (deleted ones) are left out.

"Segmentation mask 1.1" is refused: it numbers the objects of each frame anew.
"""

import re
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import overload

import numpy as np
from tqdm import tqdm

from model.data.annotated_sequences import PRELOAD_BUDGET, AnnotatedSequence
from model.data.dataset_files import DatasetFiles
from model.data.natural_order import natural_key
from model.data.picture_files import PICTURE_SUFFIXES
from model.errors import InputError
from model.propagation.layers import Layers
from plugin.keyframes import KeyframeSet, read_coco_data_set, read_cvat_task
from plugin.keyframes.cvat_xml import CvatTask

_WARNINGS = 10  # of useless shapes, which are told; more would be like these
_DECODERS = 4  # threads; decoding releases the interpreter


def read_exported_tasks(path: Path, *, preload: bool = False, progress: bool = True) -> list[AnnotatedSequence] | None:
    """The tasks of an export, in the order of their files; None where the path holds no export.

    A task whose objects overlap is several sequences, `NAME layer 1` and so on, of the same frames.

    Args:
        path: folder or zip archive.
        preload: decode the annotated frames now and keep them, where they are within the budget of data sets.
        progress: show a bar while preloading, and what is left out of the annotations.

    Raises:
        InputError: the path is neither; an export is broken, has no images, or has fewer than two annotated frames;
            its objects or frames cannot be told apart.
    """
    files = DatasetFiles(path)
    if any("/SegmentationObject/" in f"/{name}" or "/SegmentationClass/" in f"/{name}" for name in files.names):
        raise InputError(
            f"{path} is an export as segmentation masks, which does not say which object is which on other frames: "
            "export as CVAT for video 1.1"
        )
    images = _Images(files)
    is_davis = any("/JPEGImages/" in f"/{name}" for name in files.names)  # which may come with JSON files of its own
    tasks: list[AnnotatedSequence] = []
    left_out: list[str] = []
    for name in files.names:
        where = path / name
        if PurePosixPath(name).name == "annotations.xml":
            task = read_cvat_task(files.read(name), where)
            tasks += _sequences(where, files, task.keyframes, _frames_of_task(where, images, name, task))
            left_out += [f"{where}: {warning}" for warning in task.keyframes.warnings]
        elif not is_davis and re.fullmatch(r"(.*/)?instances[^/]*\.json", name):
            keyframes, names = read_coco_data_set(files.read(name), where)
            found = {place: images.find(image) for place, image in enumerate(names)}
            tasks += _sequences(where, files, keyframes, {i: image for i, image in found.items() if image})
            left_out += [f"{where}: {warning}" for warning in keyframes.warnings]
    for warning in left_out[:_WARNINGS] if progress else ():
        tqdm.write(f"warning: {warning}", file=sys.stderr)
    if preload and tasks:
        frames = dict.fromkeys(task.frames for task in tasks if isinstance(task.frames, _Frames))  # layers share them
        _preload(list(frames), path.name if progress else None)
    return tasks or None


class _Images:
    """The images of an export, by the ends of their paths, with and without the file's suffix."""

    def __init__(self, files: DatasetFiles):
        self._path = files.path
        self._names = [n for n in files.names if PurePosixPath(n).suffix.lower() in PICTURE_SUFFIXES]
        self._by_end: dict[str, set[str]] = {}
        for name in self._names:
            parts = name.split("/")
            for i in range(len(parts)):
                end = "/".join(parts[i:])
                for key in (end, end.rpartition(".")[0]):  # CVAT names a video's frames without suffix
                    self._by_end.setdefault(key, set()).add(name)

    def below(self, folder: str) -> list[str]:
        """All images of a folder and those inside it, sorted."""
        return [name for name in self._names if name.startswith(folder)]

    def find(self, name: str) -> str | None:
        """The image that an annotation file calls by this name, or None.

        Raises:
            InputError: there are several.
        """
        found = sorted(self._by_end.get(name, ()))
        if len(found) > 1:
            raise InputError(
                f"{self._path} has {found[0]} and {found[1]}, either may be {name}: train on one task each"
            )
        return found[0] if found else None


def _frames_of_task(where: Path, images: _Images, name: str, task: CvatTask) -> dict[int, str]:
    """The image file of each frame of an `annotations.xml` that has one."""
    if task.image_names:
        found = {frame: images.find(image) for frame, image in task.image_names.items()}
        return {frame: image for frame, image in found.items() if image is not None}
    below = images.below(name.removesuffix("annotations.xml"))
    if task.is_video is not False:
        numbers = [re.fullmatch(r"frame_(\d+)", PurePosixPath(image).stem) for image in below]
        if all(numbers):
            return {int(number[1]): image for number, image in zip(numbers, below) if number}
    # A task of images: nothing names their frames. The order is sure if none is missing and both ways to sort agree.
    if task.frames is None or len(task.frames) != len(below) or sorted(below, key=natural_key) != below:
        raise InputError(f"{where}: which image is which frame cannot be told: export as COCO 1.0")
    return dict(zip(task.frames, below))


def _sequences(
    where: Path, files: DatasetFiles, keyframes: KeyframeSet, images: dict[int, str]
) -> list[AnnotatedSequence]:
    """The sequences of one task, one per layer, from the image file of each of its frames."""
    if not images:
        raise InputError(f'{where} comes without its images: export the task with "Save images"')
    numbers = sorted(images)
    place = {number: i for i, number in enumerate(numbers)}
    drawn = [keyframe for keyframe in keyframes.keyframes if keyframe.index in place]
    if len(drawn) < 2:
        raise InputError(f"{where} has {len(drawn)} annotated frames with an image: annotate two frames or more")
    size = drawn[0].masks.shape
    for keyframe in drawn:
        if keyframe.masks.shape != size:
            raise InputError(f"{where} has images of several sizes: train on tasks that are one video each")
        _check_size(files, images[keyframe.index], size)
    annotated = [place[keyframe.index] for keyframe in drawn]
    in_order = [images[number] for number in numbers]
    frames = _Frames(files, in_order, size, annotated, files.common_depth_of(in_order))
    ids = np.zeros(256, np.uint8)
    ids[sorted(keyframes.object_names)] = np.arange(1, len(keyframes.object_names) + 1)
    layers: list[list[np.ndarray | None]] = []
    for objects in Layers.of(drawn, keyframes.object_names).groups(keyframes.object_names):
        label_maps: list[np.ndarray | None] = [None] * len(numbers)
        for keyframe in drawn:
            label_maps[place[keyframe.index]] = ids[keyframe.masks.flattened(objects)]
        layers.append(label_maps)
    if len(layers) > 1:
        # What nothing can be learned from must not hinder the rest; a video's last frame is not measured.
        layers = [of for of in layers if _follows(of[:-1])] or [of for of in layers if _follows(of)] or layers[:1]
    name = _name(files.path, where)
    if len(layers) == 1:
        return [AnnotatedSequence(name, frames, layers[0])]
    return [AnnotatedSequence(f"{name} layer {i}", frames, of) for i, of in enumerate(layers, 1)]


def _follows(label_maps: Sequence[np.ndarray | None]) -> bool:
    """Whether an annotated frame follows one that shows an object."""
    return any(label_map.any() for label_map in [m for m in label_maps if m is not None][:-1])


def _name(path: Path, where: Path) -> str:
    """The export's name, and the folder in it where there may be several tasks."""
    inner = where.relative_to(path).parent.as_posix()
    return path.stem if inner in (".", "annotations") else f"{path.stem}/{inner}"


def _check_size(files: DatasetFiles, image: str, size: tuple[int, int]) -> None:
    """An image may have one more row or column: CVAT serves frames of odd-sized videos so."""
    width, height = files.size(image)
    if height - size[0] not in (0, 1) or width - size[1] not in (0, 1):
        raise InputError(
            f"{files.path / image} is {width}x{height} but its annotation {size[1]}x{size[0]}: "
            "export the images at their original quality"
        )


class _Frames(Sequence[np.ndarray]):
    """The frames of a task, decoded on demand but for those that are kept.

    Attributes:
        wanted: numbers of the frames that are worth keeping.
        bytes: that these take when decoded.
    """

    def __init__(
        self,
        files: DatasetFiles,
        names: Sequence[str],
        size: tuple[int, int],
        wanted: Sequence[int],
        depth: int | None,
    ):
        self._files, self._names, self._size, self._depth = files, names, size, depth
        self._kept: dict[int, np.ndarray] = {}
        self.wanted, self.bytes = wanted, 3 * size[0] * size[1] * len(wanted)

    def __len__(self) -> int:
        return len(self._names)

    @overload
    def __getitem__(self, index: int) -> np.ndarray: ...

    @overload
    def __getitem__(self, index: slice) -> list[np.ndarray]: ...

    def __getitem__(self, index: int | slice) -> np.ndarray | list[np.ndarray]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        index = range(len(self))[index]
        if index in self._kept:
            return self._kept[index]
        return self._files.image(self._names[index], self._depth)[: self._size[0], : self._size[1]]

    def keep(self, index: int) -> None:
        """Decodes a frame for good."""
        self._kept[index] = self[index]


def _preload(tasks: list[_Frames], title: str | None) -> None:
    if sum(frames.bytes for frames in tasks) > PRELOAD_BUDGET:
        return
    wanted = [(frames, i) for frames in tasks for i in frames.wanted]
    with ThreadPoolExecutor(_DECODERS) as pool:
        decoded = pool.map(lambda place: place[0].keep(place[1]), wanted)
        for _ in tqdm(decoded, f"reading {title}", len(wanted), unit="image", disable=title is None):
            pass
