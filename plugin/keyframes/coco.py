"""COCO instances files as keyframes.

The frame of an image is found by its file name (see `frame_finder.py`). The object of an annotation is told by
`track_id`, `attributes.track_id` or `instance_id`; without one, by its category (see `annotation.py`). Segmentations
may be polygons, RLE counts or compressed RLE; parts that are none of these are left out with a warning. Where
annotations overlap, the later one lies on top, and each stays whole. Images without annotations say nothing.
Annotations that say `keyframe: false` in their attributes are CVAT's interpolation, which nobody drew: for a run they
are no keyframes, for a data set they complete the images on which somebody drew.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from model.data.natural_order import natural_key
from model.errors import InputError
from plugin.keyframes.annotation import Annotation, check_polygon, flaw_of_parts, keyframes_of
from plugin.keyframes.frame_finder import FrameFinder, Mention
from plugin.keyframes.keyframe_set import KeyframeSet, check_size, with_origins
from plugin.shapes.coco_rle import checked_counts, counts_to_mask, decompress_counts
from plugin.shapes.polygon import polygons_to_mask

_HOW_TO_LINK = "give each annotation a track_id"


def read_coco(path: str | Path, frames: FrameFinder, frame_size: tuple[int, int] | None = None) -> KeyframeSet:
    """Read a COCO instances file.

    Args:
        path: the JSON file.
        frames: tells which frame each image is. Images of other videos, by their folder, are left out.
        frame_size: (H, W) that every annotated image must have; None allows any.

    Raises:
        InputError: the file is not a COCO instances file, no segmentation can be used, an annotated image matches no
            frame or two, or nothing says which annotations are one object.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    with _named(path):
        parsed = json.loads(content)
        images = {image["id"]: image for image in parsed["images"]}
        drawn = [entry for entry in parsed["annotations"] if not _is_interpolated(entry)]
        if parsed["annotations"] and not drawn:
            raise InputError("all annotations are interpolated, none is a keyframe: export the frames that were drawn")
        wanted = {entry["image_id"] for entry in drawn}
        names = {key: str(image["file_name"]) for key, image in images.items()}
        found = frames.find([Mention(name, is_wanted=key in wanted) for key, name in names.items()])
        frame_of = dict(zip(names, found))
        elsewhere = [names[key] for key in names if key in wanted and frame_of[key] is None]
        keyframes = keyframes_of(_annotations(parsed, drawn, frame_of, frame_size), _HOW_TO_LINK)
        origins: dict[int, str] = {}
        for key, frame in frame_of.items():
            if frame is not None:
                origins.setdefault(frame, f"{path.name}: {names[key]}")
        return with_origins(keyframes, origins, path, elsewhere)


def read_coco_data_set(content: bytes, where: str | Path) -> tuple[KeyframeSet, list[str]]:
    """Read a COCO instances file of one video as a data set.

    Args:
        content: of the JSON file.
        where: names the file in errors.

    Returns:
        keyframes, and the file names of all images in natural order; a keyframe's index is the place of its image.

    Raises:
        InputError: as `read_coco`.
    """
    with _named(where):
        parsed = json.loads(content)
        names = sorted((str(image["file_name"]) for image in parsed["images"]), key=natural_key)
        places = {name: place for place, name in enumerate(names)}
        frame_of = {image["id"]: places[str(image["file_name"])] for image in parsed["images"]}
        return keyframes_of(_annotations(parsed, parsed["annotations"], frame_of, None), _HOW_TO_LINK), names


@contextmanager
def _named(path: str | Path) -> Iterator[None]:
    """Names the file in all errors."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise InputError(f"{path} is not valid JSON ({error}): export it again") from error
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise InputError(f"{path} is not a COCO instances file ({reason}): export it again") from error


def _annotations(
    content: dict[str, Any],
    entries: Sequence[dict[str, Any]],
    frame_of: Mapping[Any, int | None],
    frame_size: tuple[int, int] | None,
) -> list[Annotation]:
    """The entries of a parsed file in its order, less those whose image is no frame.

    Args:
        frame_of: the frame of every image id.
    """
    images = {image["id"]: image for image in content["images"]}
    labels = {category["id"]: str(category["name"]) for category in content["categories"]}
    annotations = []
    for position, entry in enumerate(entries):
        where = f"annotation {entry.get('id', position)}"
        if entry["image_id"] not in images:
            raise InputError(f"{where} belongs to image {entry['image_id']}, which the file does not list")
        image, frame = images[entry["image_id"]], frame_of[entry["image_id"]]
        if frame is None:
            continue
        size = (int(image["height"]), int(image["width"]))
        check_size(f"image {image['file_name']}", size, frame_size)
        parts, flaw = _usable(entry.get("segmentation"), size)
        annotations.append(
            Annotation(
                where=where,
                frame=frame,
                size=size,
                label=labels.get(entry["category_id"], f"category {entry['category_id']}"),
                paint=partial(_paint, parts, size),
                identity=_track_id(entry),
                is_interpolated=_is_interpolated(entry),
                flaw=flaw,
                is_useless=not parts,
            )
        )
    return annotations


def _usable(segmentation: Any, size: tuple[int, int]) -> tuple[list[Any], str | None]:
    """The polygons and RLE masks of a segmentation that can be painted, and what is wrong with the others."""
    if not segmentation:
        return [], "left out: there is no segmentation; export polygons or masks, not boxes alone"
    if not isinstance(segmentation, list) or all(isinstance(value, int | float) for value in segmentation):
        segmentation = [segmentation]  # RLE, or one polygon that is not in a list
    return flaw_of_parts(segmentation, partial(_check, size=size))


def _check(part: Any, size: tuple[int, int]) -> None:
    """Raises what is wrong with one polygon or RLE mask of a segmentation."""
    if isinstance(part, dict):
        check_size("the RLE mask", tuple(part["size"]), size)
        checked_counts(_counts(part), *size)
    elif isinstance(part, list):
        check_polygon(part)
    else:
        raise InputError(f"a part of the segmentation is {_shortened(part)}, neither a polygon nor an RLE mask")


def _shortened(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 20 else f"{text[:17]}..."


def _counts(part: dict[str, Any]) -> Any:
    """The counts of an RLE mask, not yet checked."""
    counts = part["counts"]
    return decompress_counts(counts) if isinstance(counts, str) else counts


def _is_interpolated(entry: dict[str, Any]) -> bool:
    """Whether CVAT made the annotation between two that were drawn."""
    return str(_attributes(entry).get("keyframe", True)).lower() in ("false", "0")


def _track_id(entry: dict[str, Any]) -> int | str | None:
    """What the annotation says about its object's identity."""
    for value in (entry.get("track_id"), _attributes(entry).get("track_id"), entry.get("instance_id")):
        if value is not None:
            return int(value) if isinstance(value, float) and value.is_integer() else value
    return None


def _attributes(entry: dict[str, Any]) -> dict[str, Any]:
    attributes = entry.get("attributes")
    return attributes if isinstance(attributes, dict) else {}


def _paint(parts: Sequence[Any], size: tuple[int, int]) -> np.ndarray:
    """Checked parts of a segmentation as bool (H, W)."""
    mask = polygons_to_mask([part for part in parts if isinstance(part, list)], *size)
    for part in parts:
        if isinstance(part, dict):
            mask |= counts_to_mask(_counts(part), *size)
    return mask
