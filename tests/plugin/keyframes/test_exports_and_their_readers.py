"""What Perclip writes, read by the programs that people read it with, and with the names that people have."""

import json
import os
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from plugin.keyframes import read_coco, read_cvat_xml
from plugin.shapes.coco_rle import compress_counts, runs_to_counts
from plugin.shapes.rle import object_runs
from plugin.sinks.coco_json import write_coco_json
from plugin.sinks.cvat_xml import write_cvat_images_xml, write_cvat_video_xml
from plugin.sinks.html_page import facts_table, write_page
from tests.plugin.keyframe_files import BY_NUMBER
from tests.plugin.keyframes.test_annotation_exports import (
    COUNT,
    NAMES,
    SIZE,
    frame_name,
    import_into_cvat,
    result,
    results,
)

# A name of bytes that are no UTF-8, controls, a lone surrogate, markup, letters of all kinds.
ODD_NAMES = [os.fsdecode(b"\xe9t\xe9"), "line\nbreak\x00\x07", "\ud800", '<a href="x">&amp;', "中文 😀 Ж", "\ufffe"]


@pytest.fixture
def coco_file(tmp_path) -> Path:
    path = tmp_path / "instances.json"
    write_coco_json(results(), path, frame_names=frame_name, object_names=NAMES)
    return path


def test_pycocotools_reads_every_mask_as_it_is(coco_file):
    coco = COCO(coco_file)
    assert len(coco.getImgIds()) == COUNT
    assert [c["name"] for c in coco.loadCats(coco.getCatIds())] == list(dict.fromkeys(NAMES.values()))
    seen = set()
    for annotation in coco.loadAnns(coco.getAnnIds()):
        truth = result(annotation["image_id"] - 1).label_map == annotation["track_id"]
        np.testing.assert_array_equal(coco.annToMask(annotation), truth)
        rle = coco.annToRLE(annotation)
        assert annotation["area"] == coco_mask.area(rle) and annotation["bbox"] == coco_mask.toBbox(rle).tolist()
        seen.add((annotation["image_id"], annotation["track_id"]))
    assert len(seen) == COUNT + 6 + 2


def test_the_file_scores_full_marks_against_itself(coco_file):
    truth = COCO(coco_file)
    found = truth.loadRes(json.loads(coco_file.read_text())["annotations"])
    evaluation = COCOeval(truth, found, "segm")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    assert evaluation.stats[0] == 1


def test_the_file_has_all_sections_of_the_format(coco_file):
    content = json.loads(coco_file.read_text())
    assert list(content) == ["info", "licenses", "annotations", "images", "categories"]
    assert {"description", "url", "version", "year", "contributor", "date_created"} <= content["info"].keys()
    assert all({"id", "name", "url"} <= licence.keys() for licence in content["licenses"])
    assert {i["license"] for i in content["images"]} <= {licence["id"] for licence in content["licenses"]}
    assert all({"id", "name", "supercategory"} <= c.keys() for c in content["categories"])


@settings(deadline=None)
@given(arrays.arrays(np.uint8, arrays.array_shapes(min_dims=2, max_dims=2, max_side=40), elements=st.integers(0, 1)))
def test_compressed_runs_are_those_of_pycocotools(mask):
    runs = object_runs(np.ascontiguousarray(mask.T))
    theirs = coco_mask.encode(np.asfortranarray(mask))["counts"].decode()
    if 1 in runs:
        assert compress_counts(runs_to_counts(runs[1], *mask.shape)) == theirs


@pytest.mark.parametrize("name", ODD_NAMES)
def test_any_name_gives_whole_files_that_read_back(tmp_path, name):
    names = {1: name, 2: name, 5: f"{name} too"}
    images = {f"{name}_{i:06d}.png": i for i in range(COUNT)}
    frame_names = list(images).__getitem__
    write_coco_json(results(), tmp_path / "a.json", frame_names=frame_names, object_names=names)
    options = {"object_names": names, "frame_count": COUNT, "frame_size": SIZE, "source_name": name}
    for shape in ("mask", "polygon"):
        write_cvat_video_xml(results(), tmp_path / "v.xml", shape=shape, **options)
        write_cvat_images_xml(results(), tmp_path / "i.xml", shape=shape, frame_names=frame_names, **options)
        (label,) = {label for label, _ in import_into_cvat(tmp_path / "v.xml") if not label.endswith(" too")}
        shown = [image.get("name") for image in ElementTree.parse(tmp_path / "i.xml").iter("image")]
        assert len(set(shown)) == COUNT and all("\n" not in text for text in shown)
        assert set(import_into_cvat(tmp_path / "i.xml", dict(zip(shown, range(COUNT))))) == {
            (label, 1),
            (label, 2),
            (f"{label} too", 5),
        }
    assert [i["file_name"] for i in COCO(tmp_path / "a.json").loadImgs(range(1, COUNT + 1))] == shown
    for found in (read_coco(tmp_path / "a.json", BY_NUMBER, SIZE), read_cvat_xml(tmp_path / "v.xml", BY_NUMBER, SIZE)):
        assert found.object_names == {1: label, 2: label, 5: f"{label} too"} and len(found.keyframes) == COUNT
    write_page(tmp_path / "a.html", name, [facts_table({name: name})])
    assert (tmp_path / "a.html").read_bytes().decode("utf-8").endswith("</html>\n")
