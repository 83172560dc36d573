"""Results as a COCO instances file, with masks as compressed RLE."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from model.object_masks import ObjectMasks
from model.program.atomic_write import atomic_write
from model.program.printable import printable
from plugin.keyframes.keyframe_set import default_name
from plugin.shapes.coco_rle import compress_counts, runs_to_counts
from plugin.shapes.rle import object_runs
from plugin.sinks.mask_folder import AnyResult

# Some importers refuse a file without these sections (CVAT 2.35 and 2.36 among them); as CVAT writes them.
_INFO = {"contributor": "", "date_created": "", "description": "by Perclip", "url": "", "version": "", "year": ""}
_LICENSE = {"id": 0, "name": "", "url": ""}


def write_coco_json(
    results: Iterable[AnyResult],
    path: str | Path,
    *,
    frame_names: Callable[[int], str],
    object_names: Mapping[int, str],
) -> None:
    """Write results as they come; only the list of images is held in memory.

    The file has all sections of the format: `info`, `licenses`, `images`, `annotations`, `categories`. Every frame is
    an image, also without objects. Every mask is an annotation with `segmentation` (compressed RLE),
    `area`, `bbox`, `iscrowd` 0, `score` (the confidence, 0..1), `track_id` (the object id), and in `attributes` again
    `track_id` and `is_keyframe`. Objects of the same name share a category. Masks that share pixels are each whole, and
    stand from bottom to top.

    Args:
        results: frames in ascending order.
        path: the file; an older one is replaced once the new one is complete.
        frame_names: the image's file name for a frame number.
        object_names: label of every object id; "object 3" for an id that is not there.

    Raises:
        InputError: the file cannot be written.
    """
    images: list[dict[str, Any]] = []
    categories: dict[str, int] = {}
    names = {object_id: printable(name) for object_id, name in sorted(object_names.items())}
    for name in names.values():
        categories.setdefault(name, len(categories) + 1)
    with atomic_write(Path(path)) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write(f'{{"info":{json.dumps(_INFO)},\n"licenses":{json.dumps([_LICENSE])},\n"annotations":[')
        count = 0
        for result in results:
            height, width = result.masks.shape
            image_id = len(images) + 1
            image = {"id": image_id, "width": width, "height": height, "license": _LICENSE["id"]}
            images.append({**image, "file_name": printable(frame_names(result.index))})
            for object_id, columns in _columns(result.masks):
                name = names.get(object_id, default_name(object_id))
                left, top = int(columns[0, 0]), int(columns[:, 1].min())
                right, bottom = int(columns[-1, 0]) + 1, int(columns[:, 2].max())
                count += 1
                annotation = {
                    "id": count,
                    "image_id": image_id,
                    "category_id": categories.setdefault(name, len(categories) + 1),
                    "segmentation": {
                        "size": [height, width],
                        "counts": compress_counts(runs_to_counts(columns, height, width)),
                    },
                    "area": int((columns[:, 2] - columns[:, 1]).sum()),
                    "bbox": [left, top, right - left, bottom - top],
                    "iscrowd": 0,
                    "score": round(float(result.confidence[object_id]), 6),
                    "track_id": object_id,
                    "attributes": {"track_id": object_id, "is_keyframe": bool(result.is_keyframe)},
                }
                file.write((",\n" if count > 1 else "\n") + json.dumps(annotation, allow_nan=False))
        listed = [{"id": number, "name": name, "supercategory": ""} for name, number in categories.items()]
        file.write(f'\n],\n"images":{json.dumps(images)},\n"categories":{json.dumps(listed)}\n}}\n')


def _columns(masks: ObjectMasks) -> Iterator[tuple[int, np.ndarray]]:
    """The vertical runs of each object's mask, as `object_runs` gives them of the transposed picture."""
    if not masks.overlapping:
        yield from object_runs(cv2.transpose(masks.label_map)).items()
        return
    for object_id, mask in masks.items():
        yield object_id, object_runs(cv2.transpose(mask.view(np.uint8)))[1]
