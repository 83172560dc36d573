"""Keyframes from CVAT's XML."""

import numpy as np
import pytest

from plugin.keyframes import FrameFinder, read_cvat_xml
from tests.plugin.keyframe_files import (
    BY_NUMBER,
    SIZE,
    cvat,
    element,
    entry,
    fails,
    frames_of,
    image,
    label_map,
    mask_xml,
    polygon_xml,
    single_mask,
    square,
    track,
)

# CVAT


def test_cvat_masks_of_one_label_are_one_object_and_closing_entries_say_nothing(tmp_path):
    found = read_cvat_xml(
        cvat(tmp_path, single_mask("dog", square(0, 0), 4), single_mask("dog", square(9, 9), 5)), BY_NUMBER, SIZE
    )
    frames = frames_of(found)
    assert found.object_names == {1: "dog"} and sorted(frames) == [4, 5]
    np.testing.assert_array_equal(frames[4].label_map, label_map(o1=square(0, 0)))
    np.testing.assert_array_equal(frames[5].label_map, label_map(o1=square(9, 9)))


def test_cvat_groups_tell_objects_of_one_label_apart(tmp_path):
    shapes = [(square(0, 0), 0, 5), (square(9, 9), 0, 2), (square(9, 9), 7, 5), (square(0, 0), 7, 2)]
    path = cvat(tmp_path, *(single_mask("dog", mask, frame, group_id=group) for mask, frame, group in shapes))
    frames = frames_of(read_cvat_xml(path, BY_NUMBER))
    np.testing.assert_array_equal(frames[0].label_map, label_map(o5=square(0, 0), o2=square(9, 9)))
    np.testing.assert_array_equal(frames[7].label_map, label_map(o2=square(0, 0), o5=square(9, 9)))


def test_ungrouped_cvat_masks_on_one_frame_are_objects_of_their_own(tmp_path):
    shapes = [(square(0, 0), 0), (square(9, 9), 0), (square(9, 20), 6)]
    found = read_cvat_xml(cvat(tmp_path, *(single_mask("dog", *shape) for shape in shapes)), BY_NUMBER)
    assert [k.objects for k in found.keyframes] == [(1, 2), (3,)]


def test_a_cvat_track_is_an_object_that_may_be_absent(tmp_path):
    path = cvat(
        tmp_path,
        track(
            "dog",
            polygon_xml(square(0, 0), **entry(0)),
            polygon_xml(square(2, 2), **entry(3, keyframe=0)),
            polygon_xml(square(4, 4), **entry(6)),
            polygon_xml(square(4, 4), **entry(9, outside=1)),
        ),
        track("dog", element("box", xtl=10, ytl=10, xbr=13.6, ybr=12, **entry(6))),
    )
    frames = frames_of(read_cvat_xml(path, BY_NUMBER))
    assert sorted(frames) == [0, 6, 9], "interpolated entries are not keyframes"
    box = np.zeros(SIZE, bool)
    box[10:12, 10:14] = True
    np.testing.assert_array_equal(frames[6].label_map, label_map(o1=square(4, 4), o2=box))
    assert frames[9].objects == (1,) and frames[9].present == ()


@pytest.mark.parametrize("step", [1, 5])
def test_a_single_cvat_polygon_is_not_absent_after_its_frame(tmp_path, step):
    mask = square(0, 0)
    shape = track("dog", polygon_xml(mask, **entry(10)), polygon_xml(mask, **entry(10 + step, outside=1)))
    size = "<original_size><width>30</width><height>20</height></original_size>"
    found = read_cvat_xml(cvat(tmp_path, shape, meta=f"{size}<frame_filter>step={step}</frame_filter>"), BY_NUMBER)
    assert sorted(frames_of(found)) == [10]


def test_parts_in_one_cvat_group_are_one_object(tmp_path):
    parts = [
        track(
            "dog", polygon_xml(square(0, 0), **entry(0)), polygon_xml(square(0, 0), **entry(5, outside=1)), group_id=9
        ),
        track("dog", polygon_xml(square(9, 9), **entry(0)), polygon_xml(square(9, 9), **entry(5)), group_id=9),
    ]
    frames = frames_of(read_cvat_xml(cvat(tmp_path, *parts), BY_NUMBER))
    np.testing.assert_array_equal(frames[0].label_map, 9 * (square(0, 0) | square(9, 9)).astype(np.uint8))
    assert frames[5].present == (9,), "one part is hidden, the object is not"


def test_higher_z_order_covers(tmp_path):
    over, under = entry(0, z_order=2), entry(0, z_order=1)
    path = cvat(
        tmp_path,
        track("dog", polygon_xml(square(0, 0), **over), polygon_xml(square(0, 0), **entry(3))),
        track("cat", polygon_xml(square(3, 3), **under), polygon_xml(square(3, 3), **entry(3))),
    )
    frames = frames_of(read_cvat_xml(path, BY_NUMBER))
    np.testing.assert_array_equal(frames[0].label_map, label_map(o2=square(3, 3), o1=square(0, 0)))
    np.testing.assert_array_equal(frames[3].label_map, label_map(o1=square(0, 0), o2=square(3, 3)))


def test_cvat_for_images(tmp_path):
    box = element("box", label="sign", occluded=0, xtl=20, ytl=0, xbr=26, ybr=6)
    path = cvat(
        tmp_path,
        image(2, mask_xml(square(0, 0), label="dog", group_id=4), polygon_xml(square(9, 9), label="dog", group_id=6)),
        image(3),
        image(5, polygon_xml(square(9, 9), label="dog", group_id=4), box),
        meta="",
    )
    found = read_cvat_xml(path, BY_NUMBER)
    frames = frames_of(found)
    assert sorted(frames) == [2, 5] and found.object_names == {1: "dog", 2: "dog", 3: "sign"}
    np.testing.assert_array_equal(frames[2].label_map, label_map(o1=square(0, 0), o2=square(9, 9)))
    np.testing.assert_array_equal(frames[5].label_map, label_map(o1=square(9, 9), o3=square(0, 20)))
    two = [mask_xml(square(0, 0), label="dog"), mask_xml(square(9, 9), label="dog")]
    assert read_cvat_xml(cvat(tmp_path, image(0, *two)), BY_NUMBER).object_names == {1: "dog", 2: "dog"}
    fails(
        read_cvat_xml, cvat(tmp_path, image(0, *two), image(1, *two)), BY_NUMBER, match="group the shapes of one object"
    )


def test_cvat_images_are_found_among_pictures_by_name(tmp_path):
    path = cvat(tmp_path, image(50, mask_xml(square(0, 0), label="dog")), image(51))
    found = read_cvat_xml(path, FrameFinder(0, ["f49.jpg", "f50.jpg"], "frames"))
    assert sorted(frames_of(found)) == [1] and found.origins == {1: "annotations.xml: f50.png"}
    fails(
        read_cvat_xml, path, FrameFinder(0, ["f51.jpg"], "frames"), match=r"xml: f50\.png matches no picture of frames"
    )
    fails(read_cvat_xml, path, FrameFinder(9, None, "clip.mp4"), match=r"f50\.png is for frame 50, but clip\.mp4")


def test_cvat_frame_numbers_count_the_frames_of_the_task(tmp_path):
    size = "<original_size><width>30</width><height>20</height></original_size>"
    task = "<start_frame>10</start_frame><stop_frame>20</stop_frame><frame_filter>step=5</frame_filter>"
    path = cvat(tmp_path, single_mask("dog", square(0, 0), 15, step=5), meta=f"<mode>interpolation</mode>{size}{task}")
    found = read_cvat_xml(path, FrameFinder(0, ["1.jpg", "2.jpg", "3.jpg"]))
    assert sorted(frames_of(found)) == [1] and found.origins == {1: "annotations.xml: frame 15"}
    assert sorted(frames_of(read_cvat_xml(path, BY_NUMBER))) == [15]


def test_a_useless_polygon_is_left_out_with_a_warning(tmp_path):
    useless = element("polygon", **entry(0), points="0,0;1,1")
    found = read_cvat_xml(
        cvat(tmp_path, track("dog", useless), track("dog", polygon_xml(square(0, 0), **entry(0)))), BY_NUMBER
    )
    np.testing.assert_array_equal(found.keyframes[0].label_map, square(0, 0))
    assert (
        len(found.warnings) == 1
        and "annotations.xml: track 0, frame 0: left out: a polygon needs 3" in found.warnings[0]
    )


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (("polygon", {"points": "1,1;1,2"}), "3 points"),
        (("polygon", {"points": ""}), "x,y"),
        (("polygon", {"points": "1,1;5,1;5,nan"}), "not a number"),
        (("polygon", {"points": "1,1;5,1;5,abc"}), "no number"),
        (("polygon", {"points": "1,1;5,1;5"}), "x,y"),
        (("polygon", {"points": "1,1;5,5;9,9"}), "one line"),
        (("polygon", {}), "no points"),
        (("mask", {"rle": "1, 2, 3", "left": 0, "top": 0, "width": 5, "height": 2}), "do not fill"),
        (("mask", {"rle": "0, 4", "left": 28, "top": 0, "width": 4, "height": 1}), "not inside"),
        (("mask", {"rle": "0, 4.5", "left": 0, "top": 0, "width": 4, "height": 1}), "no whole number"),
        (("mask", {"rle": "", "left": 0, "top": 0, "width": 4, "height": 1}), "no whole number"),
        (("mask", {"rle": "0, 4", "left": 0, "top": 0, "height": 1}), "no width"),
        (("box", {"xtl": 3, "ytl": 3, "xbr": 3, "ybr": 9}), "encloses nothing"),
        (("box", {"xtl": 3, "ytl": 3, "xbr": "inf", "ybr": 9}), "four numbers"),
        (("box", {"xtl": 300, "ytl": 3, "xbr": 310, "ybr": 9}), "no pixel"),
    ],
    ids=lambda value: value if isinstance(value, str) else value[0],
)
@pytest.mark.parametrize("where", ["track", "image"])
def test_a_shape_that_cannot_be_used_does_not_spoil_the_others(tmp_path, bad, why, where):
    tag, attributes = bad
    good = polygon_xml(square(0, 0), **entry(0), label="dog")
    broken = element(tag, **entry(0), label="cat", **attributes)
    content = image(0, good, broken) if where == "image" else track("cat", broken) + track("dog", good)
    path = cvat(tmp_path, content)
    found = read_cvat_xml(path, BY_NUMBER)
    np.testing.assert_array_equal(found.keyframes[0].label_map > 0, square(0, 0))
    assert list(found.object_names.values()) == ["dog"]
    (warning,) = found.warnings
    assert why in warning and str(path) in warning and ("f0.png" if where == "image" else "frame 0") in warning
    alone = image(0, broken) if where == "image" else track("cat", broken)
    fails(read_cvat_xml, cvat(tmp_path, alone), BY_NUMBER, match=why)


def test_kinds_of_areas_that_are_not_read_are_told(tmp_path):
    ellipse = element("ellipse", label="cat", cx=5, cy=5, rx=2, ry=3)
    path = cvat(tmp_path, image(0, ellipse, polygon_xml(square(0, 0), label="dog"), ellipse))
    assert read_cvat_xml(path, BY_NUMBER).warnings == (
        f"{path}: shapes of the kind ellipse left out (2): draw them as masks or polygons",
    )


def test_interpolated_tracks_alone_are_no_keyframes(tmp_path):
    path = cvat(tmp_path, track("dog", polygon_xml(square(0, 0), **entry(3, keyframe=0))))
    fails(read_cvat_xml, path, BY_NUMBER, match="all shapes are interpolated")


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ("<annotations>", "not valid XML"),
        ("", "not valid XML"),
        ("<html></html>", "<html>"),
        ("<annotations></annotations>", "no mask, polygon or box"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><annotations>&b;</annotations>', "document type"),
        (track("dog", "<mask/>"), "has no frame"),
        (track("dog", element("mask", **entry(0), rle="0, 9", left=0, top=0, width=2, height=2)), "do not fill"),
        (track("dog", element("mask", **entry(0), rle="0, x", left=0, top=0, width=2, height=2)), "annotations"),
        (track("dog", element("mask", **entry(0), rle="0, 4", left=29, top=0, width=2, height=2)), "not inside"),
        (track("dog", element("polygon", **entry(0), points="0,0;1,nan;2,2")), "track 0, frame 0"),
        (track("dog", element("polygon", **entry(0), points="0,0;1,1")), "3 points"),
        (track("dog", element("polygon", **entry("four"), points="0,0;1,1;2,2")), "whole number"),
        (track("dog", task_id=1) + track("dog", task_id=2), "several tasks"),
    ],
    ids=str,
)
def test_broken_cvat_files_are_refused_in_one_line(tmp_path, content, match):
    path = cvat(tmp_path, content)
    if not content.startswith("<track"):
        path.write_text(content)
    fails(read_cvat_xml, path, BY_NUMBER, match=match)
    fails(read_cvat_xml, path, BY_NUMBER, match=r"annotations\.xml")
