"""Keyframes from files: mask pictures, COCO, CVAT's XML.

Door: the package itself, `cvat_xml`, `keyframe_set`, `mask_origin`, `one_object_masks`, `whole_masks`.
Imports: `model`, `model.data`, `model.program`, `plugin.shapes`.
"""

from collections.abc import Sequence
from pathlib import Path

from model.data.mask_picture import ColourTable
from model.errors import InputError
from plugin.keyframes.coco import read_coco, read_coco_data_set
from plugin.keyframes.cvat_xml import read_cvat_task, read_cvat_xml
from plugin.keyframes.frame_finder import FrameFinder
from plugin.keyframes.keyframe_set import KeyframeSet, merge_keyframe_sets
from plugin.keyframes.label_map import read_label_map, read_masks
from plugin.keyframes.mask_files import label_map_files, read_label_map_file, read_label_map_folder
from plugin.keyframes.one_object_masks import numbered_file, told_apart

__all__ = [
    "FrameFinder",
    "KeyframeSet",
    "label_map_files",
    "read_coco",
    "read_coco_data_set",
    "read_cvat_task",
    "read_cvat_xml",
    "read_keyframes",
    "read_label_map",
    "read_label_map_folder",
    "read_masks",
]


def read_keyframes(values: Sequence[str], frames: FrameFinder, frame_size: tuple[int, int]) -> KeyframeSet:
    """Read all keyframes of a run.

    Args:
        values: each `INDEX=mask.png` (a mask picture for that frame, counted from 0), a folder of mask pictures, a COCO
            `.json` or a CVAT `.xml`. Values add up; an object id is the same object in all of them, and so is a colour
            in mask pictures; but several masks of one object each for the same frame are an object each
            (`one_object_masks`). Where masks overlap, those of the later value lie on top, and each stays whole.
        frames: tells which frame the pictures of folders and files are.
        frame_size: (H, W) of the video in pixels.

    Raises:
        InputError: nothing is given, a value is none of these, a file cannot be used or is not as large as the video,
            or one object is given twice on a frame.
    """
    if not values:
        raise InputError("no keyframes are given: give INDEX=mask.png, a folder of masks, a COCO .json or a CVAT .xml")
    colours: ColourTable = {}
    sources = [(value, _read_value(value, frames, frame_size, colours)) for value in values]
    return merge_keyframe_sets(told_apart(sources))


def _read_value(value: str, frames: FrameFinder, frame_size: tuple[int, int], colours: ColourTable) -> KeyframeSet:
    """The keyframes of one value."""
    if (numbered := numbered_file(value)) is not None:
        index, file = numbered
        return read_label_map_file(file, index, frame_size, colours)
    path = Path(value)
    if path.is_dir():
        return read_label_map_folder(path, frames, frame_size, colours)
    if path.suffix.lower() == ".json":
        return read_coco(path, frames, frame_size)
    if path.suffix.lower() == ".xml":
        return read_cvat_xml(path, frames, frame_size)
    if path.exists():
        raise InputError(
            f"{value}: which frame is it for? Give 0={value} for the first frame, a COCO .json or a CVAT .xml"
        )
    raise InputError(f"{value} is no keyframe: give INDEX=mask.png, a folder of masks, a COCO .json or a CVAT .xml")
