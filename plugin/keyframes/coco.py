"""COCO instances files as keyframes.

The frame of an image is the number at the end of its file name. The object of an annotation is told by `track_id`,
`attributes.track_id` or `instance_id`; without one, by its category (see `annotation.py`). Segmentations may be
polygons, RLE counts or compressed RLE. Where annotations overlap, the later one covers. Images without annotations say
nothing.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from model.errors import InputError
from model.natural_order import natural_key
from plugin.keyframes.annotation import Annotation, keyframes_of
from plugin.keyframes.frame_number import frame_number
from plugin.keyframes.keyframe_set import KeyframeSet, check_size
from plugin.shapes.coco_rle import counts_to_mask, decompress_counts
from plugin.shapes.polygon import polygons_to_mask

_HOW_TO_LINK = "give each annotation a track_id"


def read_coco(
    path: str | Path, frame_size: tuple[int, int] | None = None, frame_ids: Mapping[str, int] | None = None
) -> KeyframeSet:
    """Read a COCO instances file.

    Args:
        path: the JSON file.
        frame_size: (H, W) that every annotated image must have; None allows any.
        frame_ids: frame number of every file name; None takes the number at the end of the name.

    Raises:
        InputError: the file is not a COCO instances file, a segmentation is broken, a frame number is missing, or
            nothing says which annotations are one object.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    with _named(path):
        annotations = _annotations(json.loads(content), frame_size, frame_ids, as_data_set=False)
        return keyframes_of(annotations, _HOW_TO_LINK)


def read_coco_data_set(content: bytes, where: str | Path) -> tuple[KeyframeSet, list[str]]:
    """Read a COCO instances file of one video as a data set.

    Annotations that say `keyframe: false` in their attributes, as CVAT's interpolated ones do, only complete the
    images on which somebody drew.

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
        return keyframes_of(_annotations(parsed, None, places, as_data_set=True), _HOW_TO_LINK), names


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
    frame_size: tuple[int, int] | None,
    frame_ids: Mapping[str, int] | None,
    as_data_set: bool,
) -> list[Annotation]:
    """The annotations of a parsed file, in its order."""
    images = {image["id"]: image for image in content["images"]}
    labels = {category["id"]: str(category["name"]) for category in content["categories"]}
    annotations = []
    for position, entry in enumerate(content["annotations"]):
        where = f"annotation {entry.get('id', position)}"
        if entry["image_id"] not in images:
            raise InputError(f"{where} belongs to image {entry['image_id']}, which the file does not list")
        image = images[entry["image_id"]]
        name = str(image["file_name"])
        if frame_ids is not None and name not in frame_ids:
            raise InputError(f"image {name} is not among the frames")
        frame = frame_number(name) if frame_ids is None else frame_ids[name]
        size = (int(image["height"]), int(image["width"]))
        check_size(f"image {name}", size, frame_size)
        annotations.append(
            Annotation(
                where=where,
                frame=frame,
                size=size,
                label=labels.get(entry["category_id"], f"category {entry['category_id']}"),
                paint=partial(_paint, entry.get("segmentation"), size),
                identity=_track_id(entry),
                is_interpolated=as_data_set and _attributes(entry).get("keyframe") is False,
            )
        )
    return annotations


def _track_id(entry: dict[str, Any]) -> int | str | None:
    """What the annotation says about its object's identity."""
    for value in (entry.get("track_id"), _attributes(entry).get("track_id"), entry.get("instance_id")):
        if value is not None:
            return int(value) if isinstance(value, float) and value.is_integer() else value
    return None


def _attributes(entry: dict[str, Any]) -> dict[str, Any]:
    attributes = entry.get("attributes")
    return attributes if isinstance(attributes, dict) else {}


def _paint(segmentation: Any, size: tuple[int, int]) -> np.ndarray:
    """A segmentation as bool (H, W)."""
    if isinstance(segmentation, list) and segmentation:
        return polygons_to_mask(segmentation, *size)
    if not isinstance(segmentation, dict):
        raise InputError("there is no segmentation; export polygons or masks, not boxes alone")
    check_size("the RLE mask", tuple(segmentation["size"]), size)
    counts = segmentation["counts"]
    return counts_to_mask(decompress_counts(counts) if isinstance(counts, str) else counts, *size)
