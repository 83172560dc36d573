"""Keyframes from mask pictures and COCO files, and from several files together."""

import json

import numpy as np
import pytest
from PIL import Image

from model.errors import InputError
from plugin.keyframes import (
    FrameFinder,
    read_coco,
    read_coco_data_set,
    read_keyframes,
    read_label_map,
    read_label_map_folder,
)
from plugin.keyframes.mask_origin import MaskOrigin
from plugin.shapes import mask_to_polygons
from plugin.sinks.palette import save_masks
from tests.plugin.keyframe_files import (
    BY_NUMBER,
    SIZE,
    cvat,
    fails,
    frames_of,
    image,
    label_map,
    mask_xml,
    save,
    single_mask,
    square,
)

# Mask pictures


@pytest.mark.parametrize("kind", ["palette", "grey", "16 bit", "tiff", "grey RGB", "bmp"])
def test_pixel_values_are_object_ids(tmp_path, kind):
    ids = label_map(o1=square(0, 0), o7=square(10, 10), o254=square(3, 20))
    path = tmp_path / "mask.png"
    if kind == "palette":
        picture = Image.frombytes("P", SIZE[::-1], ids.tobytes())
        picture.putpalette([128, 0, 0] * 256)
        picture.save(path)
    elif kind == "16 bit":
        save(path, ids.astype(np.uint16))
    elif kind == "grey RGB":
        save(path, np.repeat(ids[..., None], 3, axis=2))
    else:
        path = save(tmp_path / {"grey": "m.png", "tiff": "m.tif", "bmp": "m.bmp"}[kind], ids)
    found = read_label_map(path)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, ids)


@pytest.mark.parametrize("white", [np.uint8(255), np.uint16(65535), np.True_, np.uint8([255, 255, 255])], ids=repr)
def test_a_plain_white_mask_is_object_1(tmp_path, white):
    mask = square(2, 3)
    pixels = np.where(mask if np.ndim(white) == 0 else mask[..., None], white, np.zeros_like(white))
    np.testing.assert_array_equal(read_label_map(save(tmp_path / "m.png", pixels)), mask)


def test_every_colour_is_an_object_and_keeps_its_id_in_all_files(tmp_path):
    red, green, blue = (200, 10, 10), (10, 200, 10), (10, 10, 200)

    def paint(name, *areas):
        pixels = np.zeros((*SIZE, 3), np.uint8)
        for mask, colour in areas:
            pixels[mask] = colour
        save(tmp_path / name, pixels)

    paint("frame_000003.png", (square(0, 0), red), (square(10, 10), green))
    paint("frame_000012.png", (square(0, 0), blue), (square(10, 10), red))
    found = read_label_map_folder(tmp_path, BY_NUMBER)
    assert [k.index for k in found.keyframes] == [3, 12]
    np.testing.assert_array_equal(found.keyframes[0].label_map, label_map(o1=square(0, 0), o2=square(10, 10)))
    np.testing.assert_array_equal(found.keyframes[1].label_map, label_map(o3=square(0, 0), o1=square(10, 10)))
    assert found.object_names == {1: "object 1", 2: "object 2", 3: "object 3"}


def test_transparent_pixels_are_background(tmp_path):
    pixels = np.full((*SIZE, 4), 99, np.uint8)
    pixels[..., 0] = 200
    pixels[..., 3] = np.where(square(0, 0), 255, 0)
    np.testing.assert_array_equal(read_label_map(save(tmp_path / "m.png", pixels)), square(0, 0))


def test_void_is_no_object_of_a_keyframe(tmp_path):
    path = save(tmp_path / "m.png", label_map(o255=square(0, 0, 8), o3=square(1, 1)))
    assert read_keyframes([f"4={path}"], BY_NUMBER, SIZE).object_names == {3: "object 3"}
    np.testing.assert_array_equal(read_label_map(path), label_map(o3=square(1, 1)))
    np.testing.assert_array_equal(
        read_label_map(path, keep_void=True), label_map(o255=square(0, 0, 8), o3=square(1, 1))
    )
    picture = Image.frombytes("P", SIZE[::-1], label_map(o255=square(0, 0)).tobytes())
    picture.putpalette([0, 0, 0] + [7, 7, 7] * 255)
    picture.save(path)
    fails(read_label_map, path, match="only void")


def test_what_is_no_label_map_is_refused(tmp_path):
    ids = label_map(o1=square(0, 0))
    fails(read_label_map, save(tmp_path / "a.jpg", ids), match=r"a\.jpg is a JPEG picture.*PNG")
    fails(read_label_map, save(tmp_path / "a.webp", ids), match=r"WEBP")
    fails(read_label_map, save(tmp_path / "j.tif", ids, compression="jpeg"), match=r"TIFF")
    fails(read_label_map, save(tmp_path / "e.png", ids * 0), match=r"e\.png is empty")
    many = np.arange(301, dtype=np.uint16)[None].repeat(3, axis=0)
    fails(read_label_map, save(tmp_path / "n.png", many), match=r"n\.png has 300 object ids; at most 254")
    fails(read_label_map, save(tmp_path / "h.png", ids.astype(np.uint16) * 300), match=r"object id 300")
    smooth = np.random.default_rng(0).integers(0, 255, (*SIZE, 3), dtype=np.uint8)
    fails(read_label_map, save(tmp_path / "s.png", smooth), match=r"s\.png has \d+ colours; at most 254")
    fails(read_label_map, tmp_path / "missing.png", match=r"missing\.png does not exist")
    (tmp_path / "broken.png").write_bytes((tmp_path / "e.png").read_bytes()[:50])
    fails(read_label_map, tmp_path / "broken.png", match=r"broken\.png cannot be read")


def test_a_folder_names_its_troubles(tmp_path):
    fails(read_label_map_folder, tmp_path, BY_NUMBER, match="no mask pictures")
    (tmp_path / "notes.txt").write_text("passed over")
    save(tmp_path / "00004.png", label_map(o1=square(0, 0)))
    assert [k.index for k in read_label_map_folder(tmp_path, BY_NUMBER).keyframes] == [4]
    save(tmp_path / "frame_4.png", label_map(o1=square(0, 0)))
    fails(
        read_label_map_folder,
        tmp_path,
        BY_NUMBER,
        match=r"00004\.png and .*frame_4\.png are two pictures, and both would be frame 4",
    )
    (tmp_path / "frame_4.png").unlink()
    save(tmp_path / "cover.png", label_map(o1=square(0, 0)))
    fails(read_label_map_folder, tmp_path, BY_NUMBER, match=r"cover\.png: the name must end in its frame number")


# COCO


def coco(tmp_path, annotations, images=(0, 8), categories=("dog", "cat")):
    content = {
        "images": [
            {"id": i + 1, "file_name": f"clip/frame_{frame:06d}.PNG", "height": SIZE[0], "width": SIZE[1]}
            for i, frame in enumerate(images)
        ],
        "categories": [{"id": i + 1, "name": name} for i, name in enumerate(categories)],
        "annotations": [{"id": i + 100, "category_id": 1, **a} for i, a in enumerate(annotations)],
    }
    path = tmp_path / "instances.json"
    path.write_text(json.dumps(content))
    return path


def polygon_of(mask):
    return mask_to_polygons(mask)


def counts_of(mask):
    columns = mask.T.ravel().astype(int)
    edges = np.flatnonzero(np.diff(columns)) + 1
    runs = np.diff([0, *edges, columns.size]).tolist()
    return {"size": list(SIZE), "counts": [0, *runs] if columns[0] else runs}


def test_coco_segmentations_of_every_kind(tmp_path):
    compressed = {
        "size": [60, 90],
        "counts": "01iU1W1kjN" + "0" * 18 + "ROF:" + ":FF:" * 9 + ":d0" + "0" * 58 + "UU1iN",
    }
    mask = square(3, 5)
    for segmentation in (polygon_of(mask), counts_of(mask)):
        found = read_coco(coco(tmp_path, [{"image_id": 2, "segmentation": segmentation}]), BY_NUMBER, SIZE)
        assert [k.index for k in found.keyframes] == [8] and found.object_names == {1: "dog"}
        np.testing.assert_array_equal(found.keyframes[0].label_map, mask)
    path = coco(tmp_path, [{"image_id": 1, "segmentation": compressed}])
    path.write_text(path.read_text().replace('"height": 20, "width": 30', '"height": 60, "width": 90'))
    assert read_coco(path, BY_NUMBER).keyframes[0].label_map.sum() == 1902


def test_coco_track_ids_are_object_ids(tmp_path):
    path = coco(
        tmp_path,
        [
            {"image_id": 1, "segmentation": polygon_of(square(0, 0)), "track_id": 7},
            {"image_id": 1, "segmentation": polygon_of(square(10, 10)), "attributes": {"track_id": 3}},
            {"image_id": 2, "segmentation": polygon_of(square(5, 5)), "instance_id": 7, "iscrowd": 0},
        ],
    )
    found = read_coco(path, BY_NUMBER)
    np.testing.assert_array_equal(found.keyframes[0].label_map, label_map(o7=square(0, 0), o3=square(10, 10)))
    np.testing.assert_array_equal(found.keyframes[1].label_map, label_map(o7=square(5, 5)))
    assert found.object_names == {3: "dog", 7: "dog"}


def test_coco_without_track_ids_takes_one_object_per_category(tmp_path):
    one_each = [
        {"image_id": 1, "segmentation": polygon_of(square(0, 0))},
        {"image_id": 1, "segmentation": polygon_of(square(10, 10)), "category_id": 2},
        {"image_id": 2, "segmentation": polygon_of(square(5, 5)), "category_id": 2},
    ]
    found = read_coco(coco(tmp_path, one_each), BY_NUMBER)
    assert found.object_names == {1: "dog", 2: "cat"}
    assert [k.objects for k in found.keyframes] == [(1, 2), (2,)]
    two_dogs = [{"image_id": 1, "segmentation": polygon_of(square(9, 9))}, *one_each[:2]]
    assert read_coco(coco(tmp_path, two_dogs), BY_NUMBER).object_names == {1: "dog", 2: "dog", 3: "cat"}, (
        "one image: no doubt"
    )
    path = coco(tmp_path, [*two_dogs, {"image_id": 2, "segmentation": polygon_of(square(5, 5))}])
    fails(read_coco, path, BY_NUMBER, match=r"instances\.json: frame 0 has several 'dog'.*track_id")


def test_later_coco_annotations_cover_earlier_ones(tmp_path):
    parts = [(square(0, 0), 1), (square(3, 3), 2)]
    path = coco(tmp_path, [{"image_id": 1, "segmentation": polygon_of(m), "category_id": c} for m, c in parts])
    np.testing.assert_array_equal(
        read_coco(path, BY_NUMBER).keyframes[0].label_map, label_map(o1=square(0, 0), o2=square(3, 3))
    )


def test_coco_images_are_found_among_pictures_by_name(tmp_path):
    path = coco(tmp_path, [{"image_id": 2, "segmentation": polygon_of(square(0, 0))}])
    frames = FrameFinder(0, ["frame_000003.jpg", "frame_000008.jpg"], "frames")
    found = read_coco(path, frames, SIZE)
    assert [k.index for k in found.keyframes] == [1]
    assert found.origins == {1: "instances.json: clip/frame_000008.PNG"}
    others = FrameFinder(0, ["frame_000003.jpg"], "frames")
    fails(read_coco, path, others, match=r"instances\.json: clip/frame_000008\.PNG matches no picture of frames")


def test_what_cvat_interpolated_is_no_keyframe(tmp_path):
    drawn, made = {"keyframe": True, "track_id": 0}, {"keyframe": False, "track_id": 0}
    other_made = {"keyframe": False, "track_id": 1}
    shape = {"segmentation": polygon_of(square(0, 0))}
    annotations = [
        {"image_id": 1, "attributes": drawn, **shape},
        {"image_id": 1, "attributes": other_made, "segmentation": polygon_of(square(9, 9))},
        {"image_id": 2, "attributes": made, **shape},
    ]
    found = read_coco(coco(tmp_path, annotations), BY_NUMBER)
    assert [k.index for k in found.keyframes] == [0]
    np.testing.assert_array_equal(found.keyframes[0].label_map, square(0, 0))
    data_set, _ = read_coco_data_set(coco(tmp_path, annotations).read_bytes(), "data")
    np.testing.assert_array_equal(data_set.keyframes[0].label_map, label_map(o1=square(0, 0), o2=square(9, 9)))
    fails(read_coco, coco(tmp_path, annotations[1:]), BY_NUMBER, match="all annotations are interpolated")


_WHOLE = {"size": [*SIZE], "counts": [SIZE[0] * SIZE[1]]}
_USELESS = {
    "two points": ([5, 1, 5, 2], "3 points"),
    "one point": ([5, 1], "3 points"),
    "empty": ([], "3 points"),
    "odd": ([1, 1, 5, 1, 5, 5, 1], "7 values"),
    "null": ([1, 1, 5, None, 5, 5], "list of numbers"),
    "NaN": ([1, 1, 5, float("nan"), 5, 5], "not a number"),
    "infinite": ([1, 1, 5, float("inf"), 5, 5], "not a number"),
    "text": ([1, 1, 5, "1", 5, 5], "list of numbers"),
    "huge": ([1, 1, 5, 10**40, 5, 5], "list of numbers"),
    "pairs": ([[1, 1], [5, 1], [5, 5]], "list of numbers"),
    "line": ([1, 1, 5, 5, 9, 9], "one line"),
    "number": (7, "neither a polygon nor an RLE mask"),
    "nothing": (None, "neither a polygon nor an RLE mask"),
    "RLE short": (_WHOLE | {"counts": [1, 2]}, "do not fill"),
    "RLE null": (_WHOLE | {"counts": [None, SIZE[0] * SIZE[1]]}, "list of numbers"),
    "RLE without counts": ({"size": [*SIZE]}, "counts"),
    "RLE counts null": (_WHOLE | {"counts": None}, "RLE counts"),
    "RLE text": (_WHOLE | {"counts": "no text of this kind"}, "RLE"),
    "RLE empty text": (_WHOLE | {"counts": ""}, "broken"),
    "RLE size": (_WHOLE | {"size": [*SIZE[::-1]]}, f"is {SIZE[0]}x{SIZE[1]}"),
    "RLE size null": (_WHOLE | {"size": None}, ""),
    "RLE without size": ({"counts": "1"}, "size"),
}


@pytest.mark.parametrize(("bad", "why"), _USELESS.values(), ids=_USELESS)
def test_a_useless_part_is_left_out_with_a_warning(tmp_path, bad, why):
    good = polygon_of(square(0, 0))
    path = coco(tmp_path, [{"image_id": 1, "segmentation": [bad, *good, bad]}])
    found = read_coco(path, BY_NUMBER)
    np.testing.assert_array_equal(found.keyframes[0].label_map, square(0, 0))
    (warning,) = found.warnings
    assert warning.startswith(f"{path}: annotation 100: 2 of 3 parts left out: ") and why in warning
    data_set, _ = read_coco_data_set(path.read_bytes(), path)
    np.testing.assert_array_equal(data_set.keyframes[0].label_map, square(0, 0))

    # Beside good annotations: no second object, which nobody could tell from the first on other images.
    whole = bad if isinstance(bad, dict | int) else [bad]
    clicks = [{"image_id": i, "segmentation": s} for i in (1, 2) for s in (whole, good)]
    found = read_coco(coco(tmp_path, clicks), BY_NUMBER)
    assert [k.objects for k in found.keyframes] == [(1,), (1,)] and len(found.warnings) == 2
    assert "annotation 100: left out: " in found.warnings[0] and why in found.warnings[0]
    fails(read_coco, coco(tmp_path, clicks[:1]), BY_NUMBER, match=r"no mask.*annotation 100: left out: ")


def test_one_polygon_need_not_be_in_a_list(tmp_path):
    (flat,) = polygon_of(square(0, 0))
    found = read_coco(coco(tmp_path, [{"image_id": 1, "segmentation": flat}]), BY_NUMBER)
    np.testing.assert_array_equal(found.keyframes[0].label_map, square(0, 0))
    bad = {"image_id": 1, "segmentation": [float("nan"), *flat[1:]]}
    fails(read_coco, coco(tmp_path, [bad]), BY_NUMBER, match="a coordinate that is not a number")


@pytest.mark.parametrize("nothing", [None, [], {}, "", [[]], _WHOLE, [[90, 90, 95, 90, 95, 95]]], ids=repr)
def test_an_annotation_without_pixels_is_left_out_with_a_warning(tmp_path, nothing):
    both = [{"image_id": 1, "segmentation": s} for s in (nothing, polygon_of(square(0, 0)))]
    for number, annotation in enumerate(both):
        annotation["track_id"] = number + 1
    found = read_coco(coco(tmp_path, both), BY_NUMBER)
    assert [k.objects for k in found.keyframes] == [(2,)] and found.object_names.keys() == {2}
    assert len(found.warnings) == 1 and "annotation 100: left out: " in found.warnings[0]


def test_an_empty_mask_in_a_folder_says_nothing(tmp_path):
    save(tmp_path / "1.png", label_map(o1=square(0, 0)))
    save(tmp_path / "2.png", label_map())
    found = read_label_map_folder(tmp_path, BY_NUMBER)
    assert [k.index for k in found.keyframes] == [1] and found.warnings[0].endswith("it is left out")
    (tmp_path / "1.png").unlink()
    fails(read_label_map_folder, tmp_path, BY_NUMBER, match="all masks are empty")


@pytest.mark.parametrize(
    "damage",
    [
        ('"images"', '"pictures"'),
        ('"annotations": [', '"annotations": [3, '),
        ('"image_id": 1', '"image_id": 77'),
        ('"segmentation": [[', '"segmentation": [[NaN, 1, '),
        ('"segmentation": [[', '"segmentation": [[1, '),
        ('"segmentation": ', '"bones": '),
        ('"height": 20', '"height": "tall"'),
        ("_000000.PNG", ".PNG"),
        ("}", ""),
    ],
    ids=str,
)
def test_broken_coco_files_are_refused_in_one_line(tmp_path, damage):
    path = coco(tmp_path, [{"image_id": 1, "segmentation": polygon_of(square(0, 0))}])
    path.write_text(path.read_text().replace(*damage))
    fails(read_coco, path, BY_NUMBER, match=r"instances\.json")


# All together


def test_several_values_merge(tmp_path):
    save(tmp_path / "a.png", label_map(o1=square(0, 0)))
    save(tmp_path / "b.png", label_map(o2=square(3, 3)))
    (tmp_path / "more").mkdir()
    save(tmp_path / "more" / "00020.png", label_map(o1=square(9, 9)))
    xml = cvat(
        tmp_path, single_mask("dog", square(9, 20), 20, group_id=3), single_mask("cat", square(0, 0), 2, group_id=4)
    )
    values = [f"5={tmp_path}/b.png", f"5={tmp_path}/a.png", str(tmp_path / "more"), str(xml)]
    found = read_keyframes(values, BY_NUMBER, SIZE)
    frames = frames_of(found)
    assert [k.index for k in found.keyframes] == [2, 5, 20]
    assert found.object_names == {1: "object 1", 2: "object 2", 3: "dog", 4: "cat"}
    np.testing.assert_array_equal(frames[5].label_map, label_map(o2=square(3, 3), o1=square(0, 0)))
    np.testing.assert_array_equal(frames[20].label_map, label_map(o1=square(9, 9), o3=square(9, 20)))
    assert frames[20].objects == (1, 3)


def test_values_that_contradict_each_other_are_refused(tmp_path):
    a = save(tmp_path / "a.png", label_map(o1=square(0, 0)))
    fails(read_keyframes, [f"5={a}", f"5={a}"], BY_NUMBER, SIZE, match="object 1 is given twice on frame 5")
    dog = coco(tmp_path, [{"image_id": 1, "segmentation": polygon_of(square(0, 0)), "track_id": 1}])
    cat = cvat(tmp_path, single_mask("cat", square(0, 0), 3, group_id=1))
    fails(read_keyframes, [str(dog), str(cat)], BY_NUMBER, SIZE, match="object 1 is 'dog' in .* but 'cat' in")
    assert read_keyframes([f"5={a}", str(dog)], BY_NUMBER, SIZE).object_names == {1: "dog"}


def test_masks_of_another_size_are_refused_by_name(tmp_path):
    a = save(tmp_path / "a.png", label_map(o1=square(0, 0)))
    sources = [
        f"0={a}",
        str(coco(tmp_path, [{"image_id": 1, "segmentation": polygon_of(square(0, 0))}])),
        str(cvat(tmp_path, single_mask("dog", square(0, 0), 0))),
    ]
    for source in sources:
        name = source.rsplit("/", 1)[-1].replace(".", r"\.")
        fails(read_keyframes, [source], BY_NUMBER, (40, 60), match=rf"{name}.* is 30x20 but the video is 60x40: export")
    fails(
        read_keyframes,
        [str(cvat(tmp_path, image(0, mask_xml(square(0, 0), label="d"))))],
        BY_NUMBER,
        (4, 6),
        match="30x20",
    )


def test_values_of_no_known_kind_are_refused(tmp_path):
    a = save(tmp_path / "a.png", label_map(o1=square(0, 0)))
    fails(read_keyframes, [], BY_NUMBER, SIZE, match="no keyframes are given")
    fails(read_keyframes, [str(a)], BY_NUMBER, SIZE, match="which frame is it for")
    fails(read_keyframes, [str(tmp_path / "nothing.txt")], BY_NUMBER, SIZE, match=r"nothing\.txt is no keyframe")
    fails(read_keyframes, [str(tmp_path / "nothing.xml")], BY_NUMBER, SIZE, match=r"nothing\.xml cannot be read")
    fails(read_keyframes, [str(tmp_path / "nothing.json")], BY_NUMBER, SIZE, match=r"nothing\.json cannot be read")
    fails(read_keyframes, [f"0={tmp_path}"], BY_NUMBER, SIZE, match="cannot be read")


def test_a_mask_that_perclip_wrote_comes_back_whatever_it_looks_like(tmp_path):
    """Thin rims of an id between two others are soft edges in other people's masks."""
    ids = np.zeros((64, 96), np.uint8)
    ids[10:50, 10:50], ids[11:49, 11:49] = 1, 3
    path = tmp_path / "000004.png"
    save_masks(ids, path, MaskOrigin(4))
    assert (read_label_map(path) == ids).all()
    save_masks(ids, path)
    with pytest.raises(InputError, match="soft edges"):
        read_label_map(path)
