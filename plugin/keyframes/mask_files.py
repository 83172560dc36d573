"""Folders of mask pictures, and single ones, as keyframes."""

from pathlib import Path

from model.data.inside_out import inside_out_warnings
from model.data.mask_picture import ColourTable
from model.data.picture_files import PICTURE_SUFFIXES
from model.errors import InputError
from model.keyframe import Keyframe
from plugin.keyframes.frame_finder import FrameFinder, Mention
from plugin.keyframes.keyframe_set import KeyframeSet, check_size, default_name
from plugin.keyframes.label_map import read_masks
from plugin.keyframes.mask_origin import read_origin


def read_label_map_folder(
    path: str | Path,
    frames: FrameFinder,
    frame_size: tuple[int, int] | None = None,
    colours: ColourTable | None = None,
) -> KeyframeSet:
    """Read a folder of mask pictures.

    Args:
        path: the folder; files that are no pictures, hidden files and sub-folders are passed over.
        frames: tells which frame each mask is for, by its name.
        frame_size: (H, W) that every mask must have; None allows any.
        colours: see `read_masks`.

    A mask without any object says nothing, and is left out with a warning.

    Raises:
        InputError: no picture is there, a name matches no frame or two, two match the same, a mask cannot be used, or
            all are empty.
    """
    files = label_map_files(path, frames)
    colours = {} if colours is None else colours
    keyframes, warnings = [], []
    for index, file in files.items():
        masks, _ = read_masks(file, colours, may_be_empty=True)
        check_size(file, masks.shape, frame_size)
        if masks.objects:
            keyframes.append(Keyframe(index, masks))
        else:
            warnings.append(f"{file} is empty, no pixel belongs to an object: it is left out")
    if not keyframes:
        raise InputError(f"{path}: all masks are empty: draw an object")
    ids = sorted({object_id for keyframe in keyframes for object_id in keyframe.objects})
    origins = {keyframe.index: files[keyframe.index].name for keyframe in keyframes}
    names = {object_id: default_name(object_id) for object_id in ids}
    warnings += inside_out_warnings((str(files[keyframe.index]), keyframe.label_map) for keyframe in keyframes)
    return KeyframeSet(tuple(keyframes), names, origins, tuple(warnings), is_pictures=True)


def read_label_map_file(
    path: str | Path, index: int, frame_size: tuple[int, int] | None = None, colours: ColourTable | None = None
) -> KeyframeSet:
    """Read one mask picture, with an object, as the keyframe of frame `index`; as `read_label_map_folder` otherwise."""
    masks, _ = read_masks(path, colours)
    check_size(path, masks.shape, frame_size)
    keyframe = Keyframe(index, masks)
    names = {object_id: default_name(object_id) for object_id in keyframe.objects}
    warnings = inside_out_warnings([(str(path), masks.label_map)])
    return KeyframeSet((keyframe,), names, {index: Path(path).name}, tuple(warnings), is_pictures=True)


def label_map_files(path: str | Path, frames: FrameFinder) -> dict[int, Path]:
    """The mask pictures of a folder by frame, ascending; arguments and errors as in `read_label_map_folder`."""
    path = Path(path)
    try:
        inside = sorted(f for f in path.iterdir() if f.name[0] != ".")
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): give a folder of mask pictures") from None
    files = [f for f in inside if f.suffix.lower() in PICTURE_SUFFIXES]
    if not files and (folders := [f.name for f in inside if f.is_dir()]):
        raise InputError(
            f"{path} has folders and no mask pictures: give each folder by itself, as {path / folders[0]}; masks of "
            "one object each are an object each"
        )
    if not files:
        raise InputError(f"{path} has no mask pictures: give a folder of PNG files named like the frames")
    found = frames.find([_mention(file) for file in files])
    return dict(sorted((index, file) for index, file in zip(found, files) if index is not None))


def _mention(file: Path) -> Mention:
    origin = read_origin(file)
    if origin is None:
        return Mention(str(file), match=file.stem)
    return Mention(str(file), match=origin.picture, place=origin.frame)
