import json
import weakref
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest

from model.errors import InputError
from model.result import FrameResult
from plugin.keyframes import FrameFinder, read_coco, read_cvat_xml
from plugin.shapes import decode_mask, polygons_to_mask
from plugin.sinks.coco_json import write_coco_json
from plugin.sinks.cvat_xml import write_cvat_images_xml, write_cvat_video_xml

SIZE = (90, 120)
COUNT = 10
NAMES = {1: "dog", 2: "dog", 5: 'a "cat" & <co>'}


def result(index):
    """Object 1 moves and is cut in two on frames 4 and 5; 2 is away on 3..6 and has a hole; 5 comes at 8 and stays."""
    label_map = np.zeros(SIZE, np.uint8)
    cv2.ellipse(label_map, (25 + 2 * index, 30), (20, 14), 5 * index, 0, 360, 1, -1)
    if index in (4, 5):
        label_map[:, 30:34] = 0
    if not 3 <= index <= 6:
        cv2.circle(label_map, (90, 60), 22, 2, -1)
        cv2.circle(label_map, (90, 60), 8, 0, -1)
    if index >= 8:
        label_map[70:90, :30] = 5
    keyframe = index in (0, 9)
    confidence = {1: 1.0 if keyframe else 0.75, 2: 1.0 if index == 0 else 0.5, 5: 0.25}
    return FrameResult(index, label_map, confidence, keyframe)


def results(frames=range(COUNT)):
    return (result(index) for index in frames)


def frame_name(index):
    return f"frame_{index:06d}.png"


def iou(a, b):
    return np.count_nonzero(a & b) / np.count_nonzero(a | b)


def points_of(element):
    if element.tag == "mask":
        box = [int(element.attrib[name]) for name in ("left", "top", "width", "height")]
        assert box[2] > 0 and box[3] > 0
        corner = [box[0] + box[2] - 1, box[1] + box[3] - 1]
        return [*map(int, element.attrib["rle"].split(",")), *box[:2], *corner]
    assert element.tag == "polygon"
    pairs = [pair.split(",") for pair in element.attrib["points"].split(";")]
    assert len(pairs) >= 3 and all(len(number.split(".")[1]) == 2 for pair in pairs for number in pair)
    return [float(number) for pair in pairs for number in pair]


def raster(kind, points):
    return decode_mask(points, *SIZE) if kind == "mask" else polygons_to_mask([points], *SIZE)


def import_into_cvat(path, frame_by_name=None):
    """What a CVAT task shows after the import: {(label, group): {frame: mask}}, by the rules of CVAT's importer.

    Only entries with keyframe="1" count. A track whose first entry is a mask becomes one shape of that frame, without
    group, whatever follows. Another track holds each entry until the next one, hidden where outside, to the task's end.
    """
    root = ElementTree.parse(path).getroot()
    assert root.tag == "annotations" and root.findtext("version") == "1.1"
    labels = [name.text for name in root.findall("meta/task/labels/label/name")]
    shown = {}

    def show(label, group, frame, kind, points):
        assert label in labels and 0 <= frame < COUNT
        masks = shown.setdefault((label, group), {})
        masks[frame] = masks.get(frame, False) | raster(kind, points)

    for track in root.findall("track"):
        label, group = track.attrib["label"], int(track.attrib.get("group_id", 0))
        entries = [e for e in track if e.attrib["keyframe"] == "1"]
        for element in entries:
            assert {"frame", "outside", "occluded", "z_order"} <= set(element.attrib)
        first = entries[0]
        if first.tag == "mask":
            show(label, 0, int(first.attrib["frame"]), "mask", points_of(first))
            continue
        assert {e.tag for e in entries} == {"polygon"}, "no track of mixed types"
        frames = [int(e.attrib["frame"]) for e in entries]
        assert frames == sorted(set(frames))
        for element, frame, end in zip(entries, frames, [*frames[1:], COUNT]):
            for held in range(frame, end):
                if element.attrib["outside"] == "0":
                    show(label, group, held, "polygon", points_of(element))
    for image in root.findall("image"):
        assert (int(image.attrib["height"]), int(image.attrib["width"])) == SIZE
        frame = frame_by_name[image.attrib["name"]]
        for element in image:
            assert {"occluded", "z_order", "source"} <= set(element.attrib)
            group = int(element.attrib["group_id"])
            show(element.attrib["label"], group, frame, element.tag, points_of(element))
    return shown


def expected(object_ids):
    masks = {r.index: np.isin(r.label_map, object_ids) for r in results()}
    return {frame: mask for frame, mask in masks.items() if mask.any()}


def same_masks(found, truth, least):
    assert sorted(found) == sorted(truth)
    return all(iou(found[frame], truth[frame]) >= least for frame in truth)


def write_video(path, frames=range(COUNT), shape="mask", **options):
    options = {"object_names": NAMES, "frame_count": COUNT, "frame_size": SIZE, "source_name": "a&b.mp4", **options}
    write_cvat_video_xml(results(frames), path, shape=shape, **options)
    return path


def write_images(path, shape="mask", **options):
    options = {"frame_names": frame_name, "object_names": NAMES, "frame_count": COUNT, "frame_size": SIZE, **options}
    write_cvat_images_xml(results(), path, shape=shape, **options)
    return path


def test_video_masks_survive_the_import_pixel_by_pixel(tmp_path):
    shown = import_into_cvat(write_video(tmp_path / "a.xml"))
    assert same_masks(shown["dog", 0], expected([1, 2]), 1.0)
    assert same_masks(shown[NAMES[5], 0], expected([5]), 1.0)


def test_every_video_mask_is_closed_on_the_next_frame_unless_it_is_the_last(tmp_path):
    root = ElementTree.parse(write_video(tmp_path / "a.xml")).getroot()
    tracks = root.findall("track")
    assert len({track.attrib["id"] for track in tracks}) == len(tracks) == COUNT + 6 + 2
    for track in tracks:
        frames = [int(mask.attrib["frame"]) for mask in track]
        assert [mask.attrib["outside"] for mask in track] == (["0", "1"] if frames[0] < COUNT - 1 else ["0"])
        assert frames == list(range(frames[0], min(frames[0] + 2, COUNT)))
    groups = {(track.attrib["label"], track.attrib["group_id"]) for track in tracks}
    assert groups == {("dog", "1"), ("dog", "2"), (NAMES[5], "5")}


def test_video_polygons_survive_the_import(tmp_path):
    shown = import_into_cvat(write_video(tmp_path / "a.xml", shape="polygon"))
    assert set(shown) == {("dog", 1), ("dog", 2), (NAMES[5], 5)}
    for (_, group), masks in shown.items():
        assert same_masks(masks, expected([group]), 0.99)


def test_polygon_tracks_end_where_the_object_does(tmp_path):
    root = ElementTree.parse(write_video(tmp_path / "a.xml", shape="polygon")).getroot()
    states = [
        (track.attrib["group_id"], [(int(p.attrib["frame"]), p.attrib["outside"]) for p in track])
        for track in root.findall("track")
    ]
    assert states == [
        ("1", [(frame, "0") for frame in range(COUNT)]),
        ("1", [(4, "0"), (5, "0"), (6, "1")]),
        ("2", [(0, "0"), (1, "0"), (2, "0"), (3, "1"), (7, "0"), (8, "0"), (9, "0")]),
        ("5", [(8, "0"), (9, "0")]),
    ]


def test_polygons_are_hidden_on_frames_without_result(tmp_path):
    shown = import_into_cvat(write_video(tmp_path / "a.xml", frames=[1, 2, 6], shape="polygon"))
    assert sorted(shown["dog", 1]) == [1, 2, 6]
    assert sorted(shown["dog", 2]) == [1, 2]


@pytest.mark.parametrize(("shape", "least"), [("mask", 1.0), ("polygon", 0.99)])
def test_images_survive_the_import(tmp_path, shape, least):
    path = write_images(tmp_path / "a.xml", shape=shape)
    shown = import_into_cvat(path, {frame_name(index): index for index in range(COUNT)})
    assert set(shown) == {("dog", 1), ("dog", 2), (NAMES[5], 5)}
    for (_, group), masks in shown.items():
        assert same_masks(masks, expected([group]), least)


def test_an_image_stands_for_every_frame_and_says_what_a_person_drew(tmp_path):
    root = ElementTree.parse(write_images(tmp_path / "a.xml")).getroot()
    images = root.findall("image")
    assert [(int(i.attrib["id"]), i.attrib["name"]) for i in images] == [(k, frame_name(k)) for k in range(COUNT)]
    sources = {(i.attrib["id"], s.attrib["group_id"]): s.attrib["source"] for i in images for s in i}
    human = {key for key, source in sources.items() if source == "manual"}
    assert human == {("0", "1"), ("0", "2"), ("9", "1")}
    assert set(sources.values()) == {"manual", "auto"}


@pytest.mark.parametrize("write", [write_video, write_images])
@pytest.mark.parametrize(("shape", "least"), [("mask", 1.0), ("polygon", 0.99)])
def test_our_reader_gives_cvat_files_back(tmp_path, write, shape, least):
    found = read_cvat_xml(write(tmp_path / "a.xml", shape=shape), FrameFinder(), SIZE)
    assert found.object_names == NAMES
    for object_id in NAMES:
        masks = {k.index: k.label_map == object_id for k in found.keyframes if object_id in k.present}
        assert same_masks(masks, expected([object_id]), least)


def test_coco_holds_everything_and_reads_back(tmp_path):
    path = tmp_path / "new" / "instances.json"
    write_coco_json(results(), path, frame_names=frame_name, object_names={1: "dog", 2: "dog"})
    content = json.loads(path.read_text())
    assert [i["file_name"] for i in content["images"]] == [frame_name(k) for k in range(COUNT)]
    assert {(i["height"], i["width"]) for i in content["images"]} == {SIZE}
    assert [c["name"] for c in content["categories"]] == ["dog", "object 5"]
    annotations = content["annotations"]
    assert len({a["id"] for a in annotations}) == len(annotations) == COUNT + 6 + 2
    names = {c["id"]: c["name"] for c in content["categories"]}
    for annotation in annotations:
        truth = result(annotation["image_id"] - content["images"][0]["id"])
        mask = truth.label_map == annotation["track_id"]
        left, top, width, height = annotation["bbox"]
        assert (
            annotation["area"]
            == np.count_nonzero(mask)
            == np.count_nonzero(mask[top : top + height, left : left + width])
        )
        assert [width, height] == [np.ptp(np.nonzero(mask)[1]) + 1, np.ptp(np.nonzero(mask)[0]) + 1]
        assert annotation["iscrowd"] == 0 and isinstance(annotation["segmentation"]["counts"], str)
        assert annotation["score"] == truth.confidence[annotation["track_id"]]
        assert annotation["attributes"] == {"track_id": annotation["track_id"], "is_keyframe": truth.is_keyframe}
        assert names[annotation["category_id"]] == ("object 5" if annotation["track_id"] == 5 else "dog")
    found = read_coco(path, FrameFinder(), SIZE)
    assert found.object_names == {1: "dog", 2: "dog", 5: "object 5"}
    for keyframe in found.keyframes:
        np.testing.assert_array_equal(keyframe.label_map, result(keyframe.index).label_map)


def test_without_objects_the_files_are_still_whole(tmp_path):
    empty = FrameResult(0, np.zeros(SIZE, np.uint8), {1: 0.9}, False)
    write_coco_json([empty], tmp_path / "a.json", frame_names=frame_name, object_names=NAMES)
    content = json.loads((tmp_path / "a.json").read_text())
    assert len(content["images"]) == 1 and content["annotations"] == []
    for shape in ("mask", "polygon"):
        write_cvat_video_xml(
            [empty], tmp_path / "a.xml", shape=shape, object_names=NAMES, frame_count=COUNT, frame_size=SIZE
        )
        assert import_into_cvat(tmp_path / "a.xml") == {}


def test_a_failed_export_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.xml"
    path.write_text("old")

    def breaks_off():
        yield from results(range(3))
        raise RuntimeError("killed")

    options = {"object_names": NAMES, "frame_count": COUNT, "frame_size": SIZE}
    with pytest.raises(RuntimeError):
        write_cvat_video_xml(breaks_off(), path, shape="mask", **options)
    with pytest.raises(RuntimeError):
        write_cvat_images_xml(breaks_off(), path, shape="mask", frame_names=frame_name, **options)
    with pytest.raises(RuntimeError):
        write_coco_json(breaks_off(), path, frame_names=frame_name, object_names=NAMES)
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("frames", "options", "match"),
    [
        ([2, 1], {}, "out of order"),
        ([COUNT], {}, "out of order"),
        ([0], {"frame_size": (80, 120)}, "120x90"),
        ([0], {"shape": "box"}, "'box'"),
    ],
)
def test_results_that_cannot_be_written_are_refused(tmp_path, frames, options, match):
    with pytest.raises(InputError, match=match):
        write_video(tmp_path / "a.xml", frames=frames, **options)
    assert not list(tmp_path.iterdir())


def test_exports_hold_no_label_maps(tmp_path):
    alive = []

    def watched():
        for index in range(COUNT):
            made = result(index)
            alive.append(weakref.ref(made.label_map))
            assert sum(ref() is not None for ref in alive) <= 3
            yield made

    options = {"object_names": NAMES, "frame_count": COUNT, "frame_size": SIZE}
    for shape in ("mask", "polygon"):
        alive.clear()
        write_cvat_video_xml(watched(), tmp_path / "a.xml", shape=shape, **options)
        alive.clear()
        write_cvat_images_xml(watched(), tmp_path / "a.xml", shape=shape, frame_names=frame_name, **options)
    alive.clear()
    write_coco_json(watched(), tmp_path / "a.json", frame_names=frame_name, object_names=NAMES)
