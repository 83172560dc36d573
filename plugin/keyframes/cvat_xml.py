"""CVAT's own annotation files as keyframes: "CVAT for video 1.1" and "CVAT for images 1.1".

Masks, polygons and boxes are read, other kinds of shapes are passed over. Only what a human said counts: in tracks the
entries with keyframe="1", and not what CVAT interpolates between them. Which frame is meant is told by the name of an
image (see `frame_finder.py`); tracks have frame numbers alone.

* Shapes and tracks of one label with the same group_id are one object (the parts of an object that is cut in two by
  another, and the masks of an object on several frames).
* A track without group is an object. outside="1" in it says that the object is absent there.
* CVAT writes a single shape as a track of its own: the shape, and a closing outside="1" on the next frame. The closing
  entry says nothing about the object. Such shapes without group are one object per label as long as no frame has two of
  them; else every one is an object of its own.
* In "CVAT for images", shapes without group are one object per label as long as no image has two of them. More are
  understood only when all are on one image; else the shapes must be grouped.
* Higher z_order lies on lower; among equals the later in the file lies on top. Each shape stays whole.
* A shape that cannot be used, as a polygon of two points, is left out with a warning.

A data set asks more than a run, `read_cvat_task`: a frame on which a person drew a shape is to show all objects, so the
tracks without a keyframe there are taken as CVAT interpolates them; and shapes that nothing links are refused, as an
object of its own on every frame would teach that objects vanish.
"""

import re
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar
from xml.etree import ElementTree

import numpy as np

from model.errors import InputError
from plugin.keyframes.annotation import Annotation, check_polygon, flaw_of_parts, keyframes_of
from plugin.keyframes.frame_finder import FrameFinder, Mention
from plugin.keyframes.keyframe_set import KeyframeSet, check_size, with_origins
from plugin.shapes.box import box_to_mask
from plugin.shapes.polygon import polygons_to_mask
from plugin.shapes.rle import checked_mask_points, decode_mask

_Number = TypeVar("_Number", int, float)
_KINDS = ("mask", "polygon", "box")
_OTHER_AREAS = ("ellipse", "cuboid")
_HOW_TO_LINK = "group the shapes of one object in CVAT"


class _PlainTreeBuilder(ElementTree.TreeBuilder):
    """Refuses a document type, and with it all entities: CVAT writes none, and they can blow up a small file."""

    def doctype(self, *_: object) -> None:
        """Called by the parser before any entity is used."""
        raise InputError("the file declares a document type, which CVAT does not write; export it again")


@dataclass(frozen=True)
class CvatTask:
    """What an annotation file says about the task that it was exported from.

    Attributes:
        keyframes: of the frames on which a person drew, with all objects.
        image_names: of "CVAT for images": the name of each frame's image; empty for "CVAT for video".
        is_video: whether the task was made from a video rather than from images; None where the file does not say.
        frames: the numbers of the task's frames; None where the file does not say.
    """

    keyframes: KeyframeSet
    image_names: dict[int, str]
    is_video: bool | None
    frames: range | None


def read_cvat_xml(path: str | Path, frames: FrameFinder, frame_size: tuple[int, int] | None = None) -> KeyframeSet:
    """Read a CVAT annotation file.

    Args:
        path: the XML file (out of the zip that CVAT gives).
        frames: tells which frame each image or frame number is. Images of other videos, by their folder, are left out.
        frame_size: (H, W) that the video of the file must have; None allows any that the file itself states.

    Raises:
        InputError: the file is not CVAT's XML 1.1, has no shape that can be used, shapes of several tasks, or does not
            say how large the video is; an image with shapes matches no frame or two; or shapes cannot be told apart.
    """
    path = Path(path)
    with _named(path):
        root = _parse(path.read_bytes())
        mentions = [
            Mention(_text(image, "name"), number=_whole(image, "id"), is_wanted=any(e.tag in _KINDS for e in image))
            for image in root.findall("image")
        ]
        found = frames.find(mentions)
        from_tracks = list(_track_annotations(root, frame_size, as_data_set=False))
        is_video, task = _task_frames(root)
        in_task = frames.find_in_task(sorted({annotation.frame for annotation in from_tracks}), task, is_video)
        annotations = [replace(annotation, frame=in_task[annotation.frame]) for annotation in from_tracks]
        annotations += _image_annotations(root, found, frame_size)
        _refuse_interpolated_alone(root, annotations)
        origins = {frame: f"{path.name}: frame {number}" for number, frame in in_task.items()}
        origins.update((frame, f"{path.name}: {m.name}") for m, frame in zip(mentions, found) if frame is not None)
        elsewhere = [m.name for m, frame in zip(mentions, found) if m.is_wanted and frame is None]
        keyframes = keyframes_of(annotations, _HOW_TO_LINK)
        keyframes = replace(keyframes, warnings=(*keyframes.warnings, *_passed_over(root)))
        return with_origins(keyframes, origins, path, elsewhere)


def read_cvat_task(content: bytes, where: str | Path) -> CvatTask:
    """Read a CVAT annotation file as a data set, see the head of this file.

    Args:
        content: of the XML file.
        where: names the file in errors.

    Raises:
        InputError: as `read_cvat_xml`; and shapes of one label on several frames cannot be told apart.
    """
    with _named(where):
        root = _parse(content)
        names = {_whole(image, "id"): _text(image, "name") for image in root.findall("image")}
        annotations = [
            *_track_annotations(root, None, as_data_set=True),
            *_image_annotations(root, [_whole(image, "id") for image in root.findall("image")], None),
        ]
        return CvatTask(keyframes_of(annotations, _HOW_TO_LINK), names, *_task_frames(root))


@contextmanager
def _named(path: str | Path) -> Iterator[None]:
    """Names the file in all errors."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    except (ElementTree.ParseError, LookupError, ValueError) as error:
        raise InputError(f"{path} is not valid XML ({error}): export it again") from error


def _parse(content: bytes) -> ElementTree.Element:
    root = ElementTree.fromstring(content, ElementTree.XMLParser(target=_PlainTreeBuilder()))
    if root.tag != "annotations":
        raise InputError(f"the file holds <{root.tag}>, not CVAT's <annotations>; export as CVAT 1.1")
    if len({element.get("task_id") for element in root if element.tag in ("track", "image")}) > 1:
        raise InputError("the file holds several tasks; export the task, not the project")
    return root


def _task_frames(root: ElementTree.Element) -> tuple[bool | None, range | None]:
    """Whether the task was made from a video, and the numbers of its frames; None where the file does not say."""
    mode, start, stop = (root.findtext(f"meta//{name}") for name in ("mode", "start_frame", "stop_frame"))
    return (
        None if mode is None else mode == "interpolation",
        None if start is None or stop is None else range(int(start), int(stop) + 1, _frame_step(root)),
    )


def _refuse_interpolated_alone(root: ElementTree.Element, annotations: Sequence[Annotation]) -> None:
    if not annotations and any(e.tag in _KINDS and _is_interpolated(e) for e in root.iterfind("track/*")):
        raise InputError("all shapes are interpolated, none is a keyframe: export the frames that were drawn")


def _passed_over(root: ElementTree.Element) -> list[str]:
    """A warning for each kind of shape that has an area and is not read."""
    counts = {kind: len(root.findall(f".//{kind}")) for kind in _OTHER_AREAS}
    return [
        f"shapes of the kind {kind} left out ({n}): draw them as masks or polygons" for kind, n in counts.items() if n
    ]


def _track_annotations(
    root: ElementTree.Element, frame_size: tuple[int, int] | None, as_data_set: bool
) -> Iterator[Annotation]:
    """The keyframes of all tracks, in the order of the file; for a data set also what lies between them."""
    tracks = root.findall("track")
    if not tracks:
        return
    size = _video_size(root, frame_size)
    step = _frame_step(root)
    for position, track in enumerate(tracks):
        entries = [e for e in track if e.tag in _KINDS]
        drawn = [e for e in entries if not _is_interpolated(e)]
        frames = [_whole(e, "frame") for e in drawn]
        outside = [_is_outside(e) for e in drawn]
        is_closed_shape = outside == [False, True] and frames[1] == frames[0] + step
        is_mask = any(e.tag == "mask" for e in drawn)
        is_single_shape = is_closed_shape or (is_mask and outside.count(False) == 1)
        identity: Hashable = _group(track)
        if identity is None and not is_single_shape:
            identity = ("track", position)
        for element in entries if as_data_set else drawn:
            frame, is_absent = _whole(element, "frame"), _is_outside(element)
            if not (is_absent and (is_mask or is_closed_shape)):
                flaw = None if is_absent else _flaw(element, size)
                yield Annotation(
                    where=f"track {track.get('id', position)}, frame {frame}",
                    frame=frame,
                    size=size,
                    label=_text(track, "label"),
                    paint=None if is_absent else partial(_paint, element, size),
                    identity=identity,
                    fallback=None if as_data_set else ("track", position),
                    z_order=_whole(element, "z_order", 0),
                    is_interpolated=_is_interpolated(element),
                    flaw=flaw,
                    is_useless=flaw is not None,
                )


def _is_interpolated(element: ElementTree.Element) -> bool:
    return element.get("keyframe", "1").lower() not in ("1", "true")


def _is_outside(element: ElementTree.Element) -> bool:
    return element.get("outside", "0").lower() in ("1", "true")


def _frame_step(root: ElementTree.Element) -> int:
    """Frames of the video from one of the task's frames to the next."""
    step = re.search(r"step\s*=\s*(\d+)", root.findtext("meta//frame_filter") or "")
    return int(step[1]) if step else 1


def _image_annotations(
    root: ElementTree.Element, frames: Sequence[int | None], frame_size: tuple[int, int] | None
) -> Iterator[Annotation]:
    """The shapes of all images that are frames, in the order of the file; `frames` has the frame of every image."""
    for image, frame in zip(root.findall("image"), frames):
        if frame is None:
            continue
        name = f"image {_text(image, 'name')}"
        for element in image:
            if element.tag in _KINDS:
                size = (_whole(image, "height"), _whole(image, "width"))
                check_size(name, size, frame_size)
                flaw = _flaw(element, size)
                yield Annotation(
                    where=f"{name}, {element.tag} of {_text(element, 'label')!r}",
                    frame=frame,
                    size=size,
                    label=_text(element, "label"),
                    paint=partial(_paint, element, size),
                    identity=_group(element),
                    z_order=_whole(element, "z_order", 0),
                    flaw=flaw,
                    is_useless=flaw is not None,
                )


def _flaw(element: ElementTree.Element, size: tuple[int, int]) -> str | None:
    """What makes a shape useless; None where nothing does."""
    return flaw_of_parts([element], partial(_check, size=size))[1]


def _check(element: ElementTree.Element, size: tuple[int, int]) -> None:
    """Raises what is wrong with a shape."""
    if element.tag == "mask":
        checked_mask_points(_numbers(element), *size)
    elif element.tag == "polygon":
        check_polygon(_numbers(element))
    else:
        box_to_mask(_numbers(element), 1, 1, rotation=_rotation(element))


def _video_size(root: ElementTree.Element, frame_size: tuple[int, int] | None) -> tuple[int, int]:
    """(H, W) of the video that the tracks belong to."""
    original = root.find("meta//original_size")
    if original is None:
        if frame_size is None:
            raise InputError("the file does not say how large the video is (meta, original_size)")
        return frame_size
    size = (int(original.findtext("height", "0")), int(original.findtext("width", "0")))
    check_size("the video of this file", size, frame_size)
    return size


def _group(element: ElementTree.Element) -> int | None:
    """The group of a shape or track; CVAT's 0 means none."""
    return _whole(element, "group_id", 0) or None


def _paint(element: ElementTree.Element, size: tuple[int, int]) -> np.ndarray:
    """A checked shape as bool (H, W)."""
    if element.tag == "mask":
        return decode_mask(_numbers(element), *size)
    if element.tag == "polygon":
        return polygons_to_mask([_numbers(element)], *size)
    return box_to_mask(_numbers(element), *size, rotation=_rotation(element))


def _numbers(element: ElementTree.Element) -> list[float]:
    """The points of a shape as CVAT's API has them, not yet checked."""
    if element.tag == "mask":
        left, top, width, height = (_whole(element, name) for name in ("left", "top", "width", "height"))
        runs = [_number(element, "rle", run, int) for run in _text(element, "rle").split(",")]
        return [*runs, left, top, left + width - 1, top + height - 1]
    if element.tag == "polygon":
        points = [point.split(",") for point in _text(element, "points").strip("; ").split(";")]
        if any(len(point) != 2 for point in points):
            raise InputError("a polygon must be x,y;x,y;...")
        return [_number(element, "points", value, float) for point in points for value in point]
    return [_number(element, name, _text(element, name), float) for name in ("xtl", "ytl", "xbr", "ybr")]


def _rotation(element: ElementTree.Element) -> float:
    """The turn of a box in degrees."""
    return _number(element, "rotation", element.get("rotation", "0"), float)


def _number(element: ElementTree.Element, name: str, text: str, kind: type[_Number]) -> _Number:
    """A number in an attribute."""
    try:
        return kind(text)
    except ValueError:
        what = "whole number" if kind is int else "number"
        raise InputError(f"a <{element.tag}> has {text[:20]!r} in its {name}, which is no {what}") from None


def _text(element: ElementTree.Element, name: str) -> str:
    """An attribute that must be there."""
    value = element.get(name)
    if value is None:
        raise InputError(f"a <{element.tag}> has no {name}")
    return value


def _whole(element: ElementTree.Element, name: str, default: int | None = None) -> int:
    """An attribute that is a whole number; it must be there unless it has a default."""
    if default is not None and element.get(name) is None:
        return default
    value = _text(element, name)
    try:
        return int(value)
    except ValueError:
        raise InputError(f"a <{element.tag}> has {name}={value!r}, which is not a whole number") from None
