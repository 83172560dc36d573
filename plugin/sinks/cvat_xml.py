"""Results as CVAT annotation files: "CVAT for video 1.1" and "CVAT for images 1.1".

CVAT's importer sets the shape of the video file. A track whose first entry is a mask is read as one single mask, and
the rest of the track is dropped: so every mask has a track of its own. A polygon track runs on until an entry with
outside="1", and polygons between its entries are interpolated: so there is an entry on every frame, and one that closes
every stretch. What belongs to one object has its object id as group_id (the importer keeps the group of a polygon track
and of everything in the images file, but not that of masks in the video file). Masks that share pixels are each whole;
what lies on others has a higher z_order.
"""

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryFile
from typing import Literal, TextIO
from xml.sax.saxutils import escape, quoteattr

from model.errors import InputError
from model.object_masks import ObjectMasks
from model.program.atomic_write import atomic_write
from model.program.printable import printable
from plugin.keyframes.keyframe_set import default_name
from plugin.shapes.polygon import DEFAULT_TOLERANCE, mask_to_polygons
from plugin.shapes.rle import encode_label_map, encode_mask
from plugin.shapes.z_order import z_orders
from plugin.sinks.mask_folder import AnyResult

ShapeKind = Literal["polygon", "mask"]


def write_cvat_video_xml(
    results: Iterable[AnyResult],
    path: str | Path,
    *,
    shape: ShapeKind,
    object_names: Mapping[int, str],
    frame_count: int,
    frame_size: tuple[int, int],
    source_name: str = "",
    tolerance: float = DEFAULT_TOLERANCE,
    max_vertices: int | None = None,
) -> None:
    """Write "CVAT for video 1.1".

    Masks are written as they come. Of polygons, the text is held until all frames are there: the largest component of
    an object makes its first track, the next its second, and so on.

    Args:
        results: frames in ascending order; where frames are missing, the objects are outside.
        path: the file; an older one is replaced once the new one is complete.
        shape: "mask" keeps every pixel; "polygon" makes tracks.
        object_names: label of every object id; "object 3" for an id that is not there.
        frame_count: frames of the task; nothing is written at or beyond it.
        frame_size: (H, W) of all frames in pixels.
        source_name: the video's file name, for the reader's information.
        tolerance, max_vertices: see `mask_to_polygons`.

    Raises:
        InputError: the file cannot be written, a frame is out of order or of another size, or `shape` is unknown.
    """
    encode = _encoder(shape, tolerance, max_vertices)
    tracks: dict[tuple[int, int], _PolygonTrack] = {}
    written = 0
    with _document(Path(path), object_names, "interpolation", frame_count, frame_size, source_name) as (body, label):
        for result in _in_order(results, frame_count, frame_size):
            heights = z_orders(result.masks)
            for object_id, shapes in encode(result.masks).items():
                height = heights[object_id]
                for slot, shown in enumerate(shapes):
                    if shape == "polygon":
                        tracks.setdefault((object_id, slot), _PolygonTrack()).add(result.index, shown, height)
                        continue
                    entries = [_entry(shape, result.index, shown, height)]
                    if result.index + 1 < frame_count:
                        entries.append(_entry(shape, result.index + 1, shown, height, outside=True))
                    _write_track(body, written, label(object_id), _source(result, object_id), object_id, entries)
                    written += 1
        for track_id, ((object_id, _), track) in enumerate(sorted(tracks.items(), key=lambda item: item[0])):
            track.close(frame_count)
            _write_track(body, track_id, label(object_id), "auto", object_id, track.entries)


def write_cvat_images_xml(
    results: Iterable[AnyResult],
    path: str | Path,
    *,
    shape: ShapeKind,
    frame_names: Callable[[int], str],
    object_names: Mapping[int, str],
    frame_count: int,
    frame_size: tuple[int, int],
    source_name: str = "",
    tolerance: float = DEFAULT_TOLERANCE,
    max_vertices: int | None = None,
) -> None:
    """Write "CVAT for images 1.1" as the frames come: an image for every frame, with its shapes.

    Args:
        frame_names: the image's file name for a frame number; the importer finds a task's frame by it.
        results, path, shape, object_names, frame_count, frame_size, source_name, tolerance, max_vertices: as in
            `write_cvat_video_xml`.

    Raises:
        InputError: as `write_cvat_video_xml`.
    """
    encode = _encoder(shape, tolerance, max_vertices)
    height, width = frame_size
    with _document(Path(path), object_names, "annotation", frame_count, frame_size, source_name) as (body, label):
        for result in _in_order(results, frame_count, frame_size):
            image = {"id": result.index, "name": frame_names(result.index), "width": width, "height": height}
            body.write(f"  <image{_attributes(image)}>\n")
            heights = z_orders(result.masks)
            for object_id, shapes in encode(result.masks).items():
                common = {"label": label(object_id), "source": _source(result, object_id), "occluded": 0}
                for shown in shapes:
                    attributes = {**common, **shown, "z_order": heights[object_id], "group_id": object_id}
                    body.write(f"    <{shape}{_attributes(attributes)}></{shape}>\n")
            body.write("  </image>\n")


@dataclass
class _PolygonTrack:
    """The entries of one component of one object, in the text of the file."""

    entries: list[str] = field(default_factory=list)
    last_frame: int = -1
    last_shape: dict[str, str] = field(default_factory=dict)
    last_height: int = 0

    def add(self, frame: int, shape: dict[str, str], height: int) -> None:
        """Show a polygon on a frame later than all before."""
        if self.entries:
            self.close(frame)
        self.entries.append(_entry("polygon", frame, shape, height))
        self.last_frame, self.last_shape, self.last_height = frame, shape, height

    def close(self, end: int) -> None:
        """Hide the polygon after the last frame that shows it, unless that is the frame before `end`."""
        if self.last_frame + 1 < end:
            self.entries.append(_entry("polygon", self.last_frame + 1, self.last_shape, self.last_height, outside=True))


@contextmanager
def _document(
    path: Path, object_names: Mapping[int, str], mode: str, frame_count: int, frame_size: tuple[int, int], source: str
) -> Iterator[tuple[TextIO, Callable[[int], str]]]:
    """Give the place for tracks or images, and a function that names an object; complete the file at the end.

    The body waits in a file of its own, because the labels that head the document are known only at the end.
    """
    names = dict(object_names)

    def label(object_id: int) -> str:
        return names.setdefault(object_id, default_name(object_id))

    with atomic_write(path) as temporary, TemporaryFile("w+", encoding="utf-8", dir=path.parent) as body:
        yield body, label
        body.seek(0)
        labels = dict.fromkeys(names[object_id] for object_id in sorted(names))
        with temporary.open("w", encoding="utf-8") as file:
            file.write(_head(labels, mode, frame_count, frame_size, source))
            shutil.copyfileobj(body, file)
            file.write("</annotations>\n")


def _head(labels: Iterable[str], mode: str, frame_count: int, frame_size: tuple[int, int], source: str) -> str:
    """The document up to the first track or image."""
    height, width = frame_size
    label_list = "".join(
        f"        <label>\n          <name>{escape(printable(name))}</name>\n          <type>any</type>\n"
        "          <attributes>\n          </attributes>\n        </label>\n"
        for name in labels
    )
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n  <version>1.1</version>\n  <meta>\n    <task>\n'
        f"      <size>{frame_count}</size>\n      <mode>{mode}</mode>\n"
        f"      <start_frame>0</start_frame>\n      <stop_frame>{max(frame_count - 1, 0)}</stop_frame>\n"
        f"      <labels>\n{label_list}      </labels>\n"
        f"      <original_size>\n        <width>{width}</width>\n        <height>{height}</height>\n"
        f"      </original_size>\n      <source>{escape(printable(source))}</source>\n    </task>\n  </meta>\n"
    )


def _in_order(results: Iterable[AnyResult], frame_count: int, frame_size: tuple[int, int]) -> Iterator[AnyResult]:
    """The results, checked."""
    before = -1
    for result in results:
        if not before < result.index < frame_count:
            raise InputError(f"frame {result.index} is out of order: frames must ascend within 0..{frame_count - 1}")
        if result.masks.shape != tuple(frame_size):
            (height, width), (h, w) = frame_size, result.masks.shape
            raise InputError(f"frame {result.index} is {w}x{h}, the others are {width}x{height}: they must be equal")
        before = result.index
        yield result


def _encoder(
    shape: ShapeKind, tolerance: float, max_vertices: int | None
) -> Callable[[ObjectMasks], dict[int, list[dict[str, str]]]]:
    """A function from masks to the shapes of every object, each as the attributes that CVAT's file has.

    Where masks share pixels the objects come from bottom to top, else ascending.
    """

    def masks(of_frame: ObjectMasks) -> dict[int, list[dict[str, str]]]:
        if not of_frame.overlapping:
            return {i: [_mask_attributes(points)] for i, points in encode_label_map(of_frame.label_map).items()}
        return {i: [_mask_attributes(encode_mask(mask))] for i, mask in of_frame.items()}

    def polygons(of_frame: ObjectMasks) -> dict[int, list[dict[str, str]]]:
        return {
            i: [_polygon_attributes(p) for p in mask_to_polygons(of_frame.mask(i), tolerance, max_vertices)]
            for i in (of_frame.order if of_frame.overlapping else of_frame.objects)
        }

    if shape not in ("mask", "polygon"):
        raise InputError(f"there is no shape {shape!r}: choose 'mask' or 'polygon'")
    return masks if shape == "mask" else polygons


def _mask_attributes(points: list[int]) -> dict[str, str]:
    """Mask points as CVAT's file has them."""
    *runs, left, top, right, bottom = points
    box = {"left": left, "top": top, "width": right - left + 1, "height": bottom - top + 1}
    return {"rle": ", ".join(map(str, runs)), **{name: str(value) for name, value in box.items()}}


def _polygon_attributes(polygon: list[float]) -> dict[str, str]:
    """A flat polygon as CVAT's file has it."""
    return {"points": ";".join(f"{x:.2f},{y:.2f}" for x, y in zip(polygon[::2], polygon[1::2]))}


def _source(result: AnyResult, object_id: int) -> str:
    """Who made a mask: a confidence of exactly 1 on a keyframe says that the keyframe speaks for the object."""
    return "manual" if result.is_keyframe and result.confidence.get(object_id) == 1.0 else "auto"


def _entry(shape: ShapeKind, frame: int, shown: Mapping[str, str], height: int, outside: bool = False) -> str:
    """One entry of a track; `height` is its z_order."""
    state = {"frame": frame, "keyframe": 1, "outside": int(outside), "occluded": 0}
    return f"    <{shape}{_attributes({**state, **shown, 'z_order': height})}></{shape}>\n"


def _write_track(body: TextIO, track_id: int, label: str, source: str, group: int, entries: Iterable[str]) -> None:
    """One track with its entries."""
    track = {"id": track_id, "label": label, "source": source, "group_id": group}
    body.write(f"  <track{_attributes(track)}>\n{''.join(entries)}  </track>\n")


def _attributes(values: Mapping[str, object]) -> str:
    """XML attributes, each with a space before it."""
    return "".join(f" {name}={quoteattr(printable(str(value)))}" for name, value in values.items())
