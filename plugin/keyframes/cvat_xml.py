"""CVAT's own annotation files as keyframes: "CVAT for video 1.1" and "CVAT for images 1.1".

Masks, polygons and boxes are read, other kinds of shapes are passed over. Only what a human said counts: in tracks the
entries with keyframe="1", and not what CVAT interpolates between them. Frame numbers are taken as the file has them.

* Shapes and tracks of one label with the same group_id are one object (the parts of an object that is cut in two by
  another, and the masks of an object on several frames).
* A track without group is an object. outside="1" in it says that the object is absent there.
* CVAT writes a single shape as a track of its own: the shape, and a closing outside="1" on the next frame. The closing
  entry says nothing about the object. Such shapes without group are one object per label as long as no frame has two of
  them; else every one is an object of its own.
* In "CVAT for images", shapes without group are one object per label as long as no image has two of them. More are
  understood only when all are on one image; else the shapes must be grouped.
* Higher z_order covers lower; among equals the later in the file covers.

A data set asks more than a run, `read_cvat_task`: a frame on which a person drew a shape is to show all objects, so the
tracks without a keyframe there are taken as CVAT interpolates them; and shapes that nothing links are refused, as an
object of its own on every frame would teach that objects vanish.
"""

import re
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from model.errors import InputError
from plugin.keyframes.annotation import Annotation, keyframes_of
from plugin.keyframes.keyframe_set import KeyframeSet, check_size
from plugin.shapes.box import box_to_mask
from plugin.shapes.polygon import polygons_to_mask
from plugin.shapes.rle import decode_mask

_KINDS = ("mask", "polygon", "box")


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


def read_cvat_xml(path: str | Path, frame_size: tuple[int, int] | None = None) -> KeyframeSet:
    """Read a CVAT annotation file.

    Args:
        path: the XML file (out of the zip that CVAT gives).
        frame_size: (H, W) that the video of the file must have; None allows any that the file itself states.

    Raises:
        InputError: the file is not CVAT's XML 1.1, has a broken shape, no shapes, shapes of several tasks, or does not
            say how large the video is; or shapes cannot be told apart.
    """
    with _named(path):
        return _keyframes(_parse(Path(path).read_bytes()), frame_size, as_data_set=False)


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
        mode, start, stop = (root.findtext(f"meta//{name}") for name in ("mode", "start_frame", "stop_frame"))
        return CvatTask(
            _keyframes(root, None, as_data_set=True),
            {_whole(image, "id"): _text(image, "name") for image in root.findall("image")},
            None if mode is None else mode == "interpolation",
            None if start is None or stop is None else range(int(start), int(stop) + 1, _frame_step(root)),
        )


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
    return root


def _keyframes(root: ElementTree.Element, frame_size: tuple[int, int] | None, as_data_set: bool) -> KeyframeSet:
    tasks = {element.get("task_id") for element in root if element.tag in ("track", "image")}
    if len(tasks) > 1:
        raise InputError("the file holds several tasks; export the task, not the project")
    annotations = [*_track_annotations(root, frame_size, as_data_set), *_image_annotations(root, frame_size)]
    return keyframes_of(annotations, "group the shapes of one object in CVAT")


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
                )


def _is_interpolated(element: ElementTree.Element) -> bool:
    return element.get("keyframe", "1") != "1"


def _is_outside(element: ElementTree.Element) -> bool:
    return element.get("outside", "0") == "1"


def _frame_step(root: ElementTree.Element) -> int:
    """Frames of the video from one of the task's frames to the next."""
    step = re.search(r"step\s*=\s*(\d+)", root.findtext("meta//frame_filter") or "")
    return int(step[1]) if step else 1


def _image_annotations(root: ElementTree.Element, frame_size: tuple[int, int] | None) -> Iterator[Annotation]:
    """The shapes of all images, in the order of the file."""
    for image in root.findall("image"):
        frame = _whole(image, "id")
        for element in image:
            if element.tag in _KINDS:
                size = (_whole(image, "height"), _whole(image, "width"))
                check_size(f"image {frame}", size, frame_size)
                yield Annotation(
                    where=f"image {frame}, {element.tag} of {_text(element, 'label')!r}",
                    frame=frame,
                    size=size,
                    label=_text(element, "label"),
                    paint=partial(_paint, element, size),
                    identity=_group(element),
                    z_order=_whole(element, "z_order", 0),
                )


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
    """A shape as bool (H, W)."""
    if element.tag == "mask":
        left, top, width, height = (_whole(element, name) for name in ("left", "top", "width", "height"))
        runs = [int(run) for run in _text(element, "rle").split(",")]
        return decode_mask([*runs, left, top, left + width - 1, top + height - 1], *size)
    if element.tag == "polygon":
        return polygons_to_mask([[float(v) for v in _text(element, "points").replace(";", ",").split(",")]], *size)
    corners = [float(_text(element, name)) for name in ("xtl", "ytl", "xbr", "ybr")]
    return box_to_mask(corners, *size, rotation=float(element.get("rotation", "0")))


def _text(element: ElementTree.Element, name: str) -> str:
    """An attribute that must be there."""
    value = element.get(name)
    if value is None:
        raise InputError(f"a <{element.tag}> has no {name}")
    return value


def _whole(element: ElementTree.Element, name: str, default: int | None = None) -> int:
    """An attribute that is a whole number; it must be there unless it has a default."""
    value = element.get(name) if default is not None else _text(element, name)
    if value is None:
        return default
    try:
        return int(value)
    except ValueError:
        raise InputError(f"a <{element.tag}> has {name}={value!r}, which is not a whole number") from None
