"""Objects that share pixels, through every kind of file: each comes back whole, and what lay on top lies on top."""

import json
import tempfile
import zlib
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from model.errors import InputError
from model.keyframe import Keyframe
from model.object_masks import ObjectMasks
from model.result import FrameResult
from plugin.keyframes import KeyframeSet, read_coco, read_cvat_xml, read_keyframes, read_label_map, read_masks
from plugin.keyframes.keyframe_set import merge_keyframe_sets
from plugin.shapes.z_order import z_orders
from plugin.sinks.coco_json import write_coco_json
from plugin.sinks.cvat_xml import write_cvat_images_xml, write_cvat_video_xml
from plugin.sinks.mask_folder import MaskFolder
from plugin.sinks.palette import save_masks
from tests.plugin.keyframe_files import (
    BY_NUMBER,
    SIZE,
    cvat,
    element,
    frames_of,
    image,
    label_map,
    mask_xml,
    polygon_xml,
    save,
    square,
)
from tests.plugin.keyframes.test_keyframe_readers import coco, polygon_of

NAMES = {1: "person", 2: "helmet", 7: "vest"}
PERSON, HELMET = square(0, 0, 16), square(2, 2, 8)


@st.composite
def masks_of_frames(draw):
    """One to three frames, on each some of the objects as blocks that lie anywhere, in any order."""
    frames = []
    for _ in range(draw(st.integers(1, 3))):
        masks = {}
        for object_id in draw(st.lists(st.sampled_from(sorted(NAMES)), min_size=1, unique=True)):
            top, left = draw(st.integers(0, 12)), draw(st.integers(0, 22))
            masks[object_id] = square(top, left, draw(st.integers(2, 12)))
        frames.append(ObjectMasks.of(masks, draw(st.permutations(list(masks)))))
    return frames


def results_of(frames):
    return [FrameResult(i, masks, dict.fromkeys(NAMES, 0.5), is_keyframe=False) for i, masks in enumerate(frames)]


def through_coco(results, folder):
    write_coco_json(results, folder / "a.json", frame_names=lambda i: f"{i:06d}.png", object_names=NAMES)
    return read_coco(folder / "a.json", BY_NUMBER, SIZE)


def through_images(results, folder):
    options = {"object_names": NAMES, "frame_count": 9, "frame_size": SIZE, "frame_names": lambda i: f"{i:06d}.png"}
    write_cvat_images_xml(results, folder / "a.xml", shape="mask", **options)
    return read_cvat_xml(folder / "a.xml", BY_NUMBER, SIZE)


def through_video(results, folder):
    options = {"object_names": NAMES, "frame_count": 9, "frame_size": SIZE}
    write_cvat_video_xml(results, folder / "a.xml", shape="mask", **options)
    return read_cvat_xml(folder / "a.xml", BY_NUMBER, SIZE)


def through_the_results_folder(results, folder):
    store = MaskFolder(folder)
    for result in results:
        store.add(result)
    assert [r.masks for r in MaskFolder(folder)] == [r.masks for r in results]
    return read_keyframes([str(folder / "masks")], BY_NUMBER, SIZE)


@pytest.mark.parametrize("through", [through_coco, through_images, through_video, through_the_results_folder])
@settings(deadline=None, max_examples=20)
@given(frames=masks_of_frames())
def test_masks_that_share_pixels_come_back_whole_and_in_their_order(through, frames):
    with tempfile.TemporaryDirectory() as folder:
        found = through(results_of(frames), Path(folder))
        ids = sorted({i for masks in frames for i in masks.objects})
        # A file that has not all ids may number its objects anew.
        back = {i: next(o for o, name in found.object_names.items() if name in (NAMES[i], f"object {i}")) for i in ids}
        assert {k.index: k.masks for k in found.keyframes} == {i: m.renamed(back) for i, m in enumerate(frames)}


@settings(deadline=None, max_examples=20)
@given(masks=masks_of_frames())
def test_z_orders_tell_what_lies_on_what(masks):
    heights = z_orders(masks[0])
    assert heights.keys() == set(masks[0].objects) and min(heights.values()) == 0
    for a, b in masks[0].shared():
        below, above = sorted((a, b), key=masks[0].order.index)
        assert heights[below] < heights[above]
    if not masks[0].overlapping:
        assert set(heights.values()) == {0}


def test_polygons_keep_what_lies_under_others(tmp_path):
    results = results_of([ObjectMasks.of({1: PERSON, 2: HELMET}, (1, 2))])
    options = {"object_names": NAMES, "frame_count": 2, "frame_size": SIZE}
    write_cvat_video_xml(results, tmp_path / "a.xml", shape="polygon", **options)
    entries = ElementTree.parse(tmp_path / "a.xml").findall("track/polygon")
    assert [e.attrib["z_order"] for e in entries] == ["0", "0", "1", "1"]
    (keyframe,) = (k for k in read_cvat_xml(tmp_path / "a.xml", BY_NUMBER).keyframes if k.present)
    np.testing.assert_array_equal(keyframe.mask(1), PERSON)


def test_coco_annotations_lie_on_those_before_them(tmp_path):
    parts = [(HELMET, 2), (PERSON, 1)]
    path = coco(tmp_path, [{"image_id": 1, "segmentation": polygon_of(m), "category_id": c} for m, c in parts])
    (keyframe,) = read_coco(path, BY_NUMBER).keyframes
    assert keyframe.masks.order == (1, 2), "numbered as they come, bottom to top"
    np.testing.assert_array_equal(keyframe.mask(1), HELMET)
    np.testing.assert_array_equal(keyframe.label_map, label_map(o2=PERSON))


def test_shapes_of_cvat_are_whole_whatever_lies_on_them(tmp_path):
    shapes = [
        polygon_xml(HELMET, label="helmet", z_order=3),
        mask_xml(PERSON, label="person", z_order=1),
        element("box", label="vest", xtl=4, ytl=8, xbr=12, ybr=14, z_order=2),
    ]
    (keyframe,) = read_cvat_xml(cvat(tmp_path, image(0, *shapes), meta=""), BY_NUMBER).keyframes
    assert keyframe.masks.order == (2, 3, 1)
    np.testing.assert_array_equal(keyframe.mask(2), PERSON)
    np.testing.assert_array_equal(keyframe.mask(1), HELMET)
    assert np.count_nonzero(keyframe.mask(3)) == 8 * 6


def test_the_parts_of_an_object_may_lie_under_and_on_another(tmp_path):
    arms = [polygon_xml(square(0, i, 5), label="arm", group_id=1, z_order=z) for i, z in ((0, 0), (9, 2))]
    body = mask_xml(square(2, 2, 10), label="body", group_id=2, z_order=1)
    (keyframe,) = read_cvat_xml(cvat(tmp_path, image(0, *arms, body), meta=""), BY_NUMBER).keyframes
    np.testing.assert_array_equal(keyframe.mask(1), square(0, 0, 5) | square(0, 9, 5))
    np.testing.assert_array_equal(keyframe.mask(2), square(2, 2, 10))
    assert keyframe.masks.order == (2, 1)


def test_sources_that_overlap_stay_whole(tmp_path):
    below, above = (KeyframeSet((Keyframe(0, {i: m}),), {i: f"o{i}"}) for i, m in ((3, PERSON), (1, HELMET)))
    (keyframe,) = merge_keyframe_sets([("a", below), ("b", above)]).keyframes
    assert keyframe.masks == ObjectMasks.of({3: PERSON, 1: HELMET}, (3, 1))


# What a mask picture has beside its pixels.


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "000000.png"
    save_masks(ObjectMasks.of({1: PERSON, 2: HELMET}, (1, 2)), path)
    return path


def test_other_programs_see_a_palette_png_with_the_upper_objects(picture):
    with Image.open(picture) as opened:
        assert opened.mode == "P"
        np.testing.assert_array_equal(np.array(opened), label_map(o1=PERSON, o2=HELMET))
    np.testing.assert_array_equal(read_label_map(picture), label_map(o1=PERSON, o2=HELMET))


def test_what_is_painted_into_a_picture_counts_although_the_file_still_has_whole_masks(picture):
    with Image.open(picture) as opened:
        pixels, content = np.array(opened), picture.read_bytes()
    pixels[15, 15] = 0
    other = picture.with_name("other.png")
    Image.fromarray(pixels).save(other)
    start = content.index(b"ovLP") - 4
    chunk = content[start : start + 12 + int.from_bytes(content[start : start + 4], "big")]
    edited = other.read_bytes()
    other.write_bytes(edited[:33] + chunk + edited[33:])  # behind the head
    masks, _ = read_masks(other)
    assert masks == ObjectMasks.from_label_map(pixels)


@settings(deadline=None, max_examples=25)
@given(data=st.data())
def test_damage_beside_the_pixels_leaves_the_pixels(data):
    from plugin.keyframes import whole_masks

    told = st.recursive(st.none() | st.floats() | st.integers() | st.text(), st.lists, max_leaves=4)
    ours = st.fixed_dictionaries(
        {"order": told, "masks": st.dictionaries(st.text("12x", max_size=3), told, max_size=2)}
    )
    packed = (told | ours).map(lambda content: zlib.compress(json.dumps(content).encode()))

    class Opened:
        private_chunks = ((b"ovLP", data.draw(st.binary(max_size=40) | packed)),)

    pixels = label_map(o1=PERSON, o2=HELMET)
    assert whole_masks.read_whole_masks(Opened(), pixels) == ObjectMasks.from_label_map(pixels)


def test_masks_without_overlap_have_nothing_beside_their_pixels(tmp_path):
    save_masks(label_map(o1=PERSON, o2=HELMET), tmp_path / "a.png")
    assert b"ovLP" not in (tmp_path / "a.png").read_bytes()
    save(tmp_path / "b.png", label_map(o1=PERSON, o2=HELMET))
    assert read_masks(tmp_path / "a.png")[0] == read_masks(tmp_path / "b.png")[0]
    assert frames_of(read_keyframes([f"0={tmp_path / 'a.png'}"], BY_NUMBER, SIZE))[0].present == (1, 2)


def test_rims_of_things_in_one_another_are_no_soft_edges(tmp_path):
    """What Perclip wrote says what it means; the same pixels in a file of anybody may be smoothed."""
    nested = ObjectMasks.of({n + 1: square(n, n, 18 - 2 * n) for n in range(6)})
    save_masks(nested, tmp_path / "own.png")
    assert read_masks(tmp_path / "own.png")[0] == nested
    save_masks(nested.label_map, tmp_path / "other.png")  # nothing beside its pixels
    with pytest.raises(InputError, match="soft edges"):
        read_masks(tmp_path / "other.png")
