"""Exported CVAT tasks as annotated sequences."""

import json
import zipfile

import numpy as np
import pytest
from PIL import Image

from model.errors import InputError
from model.evaluation.semi_supervised import Task
from plugin.shapes import mask_to_polygons
from plugin.training.exported_tasks import read_exported_tasks
from plugin.training.training_data import read_training_data, read_validation_data
from tests.model.training.data_sets import moving_squares, write_davis
from tests.plugin.keyframe_files import (
    SIZE,
    cvat,
    entry,
    image,
    label_map,
    mask_xml,
    polygon_xml,
    single_mask,
    square,
    track,
)

_HERE, _THERE = square(0, 0), square(9, 9)


def _meta(mode="interpolation", start=0, stop=4, step=1):
    return (
        f"<mode>{mode}</mode><start_frame>{start}</start_frame><stop_frame>{stop}</stop_frame>"
        f"<frame_filter>step={step}</frame_filter>"
        "<original_size><width>30</width><height>20</height></original_size>"
    )


def _images(folder, names, size=SIZE):
    """One image per name; its grey value is its place among the names."""
    for value, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((*size, 3), value, np.uint8)).save(folder / name)


def _video_names(frames, folder="images"):
    return [f"{folder}/frame_{frame:06d}.PNG" for frame in frames]


def _zipped(folder):
    path = folder.parent / "task 7.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, file.relative_to(folder))
    return path


def _one(path, **options):
    (sequence,) = read_exported_tasks(path, progress=False, **options)
    return sequence


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "task").mkdir()
    return tmp_path / "task"


@pytest.mark.parametrize("preload", [False, True])
@pytest.mark.parametrize("inside", ["images", "data", "images/sub"])
@pytest.mark.parametrize("archive", [False, True])
def test_a_video_task_in_an_archive_or_unpacked(folder, preload, inside, archive):
    cvat(folder, single_mask("dog", _HERE, 1), single_mask("dog", _THERE, 4), meta=_meta())
    _images(folder, _video_names(range(5), inside))
    sequence = _one(_zipped(folder) if archive else folder, preload=preload)
    assert sequence.name == ("task 7" if archive else "task") and sequence.annotated == (1, 4)
    assert [int(frame[0, 0, 0]) for frame in sequence.frames] == [0, 1, 2, 3, 4]
    assert [int(frame[0, 0, 0]) for frame in sequence.frames[1:3]] == [1, 2]
    np.testing.assert_array_equal(sequence.label_maps[1], label_map(o1=_HERE))
    np.testing.assert_array_equal(sequence.label_maps[4], label_map(o1=_THERE))
    assert [sequence.label_maps[i] for i in (0, 2, 3)] == [None] * 3
    assert (sequence.frames[1] is sequence.frames[1]) == preload, "annotated frames are decoded once"
    assert sequence.frames[0] is not sequence.frames[0], "others are of no use"


def test_frames_of_a_video_are_counted_in_the_video(folder):
    cvat(folder, single_mask("dog", _HERE, 14, step=2), single_mask("dog", _THERE, 10, step=2), meta=_meta(step=2))
    _images(folder, _video_names([10, 12, 14]))
    sequence = _one(folder)
    assert sequence.annotated == (0, 2)
    np.testing.assert_array_equal(sequence.label_maps[2], label_map(o1=_HERE))


def test_tracks_are_completed_where_a_person_drew_and_only_there(folder):
    moving = track(
        "dog",
        polygon_xml(_HERE, **entry(0)),
        *(polygon_xml(square(0, 3 * f), **entry(f, keyframe=0)) for f in (1, 2, 3)),
        polygon_xml(square(0, 12), **entry(4)),
    )
    other = track("dog", polygon_xml(_THERE, **entry(2)), polygon_xml(_THERE, **entry(3, outside=1)))
    leaving = track(
        "cat",
        polygon_xml(square(14, 20), **entry(0)),
        polygon_xml(square(14, 20), **entry(1, keyframe=0)),
        polygon_xml(square(14, 20), **entry(2, keyframe=0)),
        polygon_xml(square(14, 20), **entry(4, outside=1)),
    )
    cvat(folder, moving, other, leaving, meta=_meta())
    _images(folder, _video_names(range(5)))
    sequence = _one(folder)
    assert sequence.annotated == (0, 2, 4)
    np.testing.assert_array_equal(sequence.label_maps[0], label_map(o1=_HERE, o3=square(14, 20)))
    np.testing.assert_array_equal(sequence.label_maps[2], label_map(o1=square(0, 6), o2=_THERE, o3=square(14, 20)))
    np.testing.assert_array_equal(sequence.label_maps[4], label_map(o1=square(0, 12)))


def test_shapes_that_nothing_links_are_refused(folder):
    shapes = [single_mask("dog", mask, frame) for frame in (0, 3) for mask in (_HERE, _THERE)]
    cvat(folder, *shapes, meta=_meta())
    _images(folder, _video_names(range(5)))
    _refused(folder, "has several 'dog' .*group the shapes of one object")
    grouped = [
        single_mask("dog", mask, frame, group_id=group)
        for frame, masks in ((0, (_HERE, _THERE)), (3, (_THERE, _HERE)))
        for group, mask in zip((70, 900), masks)
    ]
    cvat(folder, *grouped, meta=_meta())
    sequence = _one(folder)
    np.testing.assert_array_equal(sequence.label_maps[0], label_map(o1=_HERE, o2=_THERE))
    np.testing.assert_array_equal(sequence.label_maps[3], label_map(o2=_HERE, o1=_THERE))


def _refused(path, match):
    with pytest.raises(InputError, match=match) as caught:
        read_exported_tasks(path, progress=False)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("named", "stored"), [("f{}.png", "f{}.png"), ("sub/f{}", "sub/f{}.PNG")])
def test_cvat_for_images_names_the_image_of_each_frame(folder, named, stored):
    # In an order that is not that of the names.
    numbers = [3, 1, 2]
    shapes = {0: [polygon_xml(_HERE, label="dog")], 2: [mask_xml(_THERE, label="dog")]}
    content = [
        image(frame, *shapes.get(frame, ())).replace(f"f{frame}.png", named.format(n))
        for frame, n in enumerate(numbers)
    ]
    cvat(folder, *content, meta=_meta("annotation", stop=2))
    _images(folder, [f"images/{stored.format(n)}" for n in numbers])
    sequence = _one(folder)
    assert sequence.annotated == (0, 2)
    assert [int(frame[0, 0, 0]) for frame in sequence.frames] == [0, 1, 2]
    np.testing.assert_array_equal(sequence.label_maps[2], label_map(o1=_THERE))


def test_a_task_of_images_exported_as_video_is_read_where_the_order_is_sure(folder):
    cvat(folder, single_mask("dog", _HERE, 0), single_mask("dog", _THERE, 2), meta=_meta("annotation", stop=2))
    # Named like a video's frames, but counted from 1.
    _images(folder, _video_names([1, 2, 3]))
    assert _one(folder).annotated == (0, 2)
    for old, new in (("frame_000001.PNG", "frame_9.PNG"), ("frame_000002.PNG", "frame_10.PNG")):
        (folder / "images" / old).rename(folder / "images" / new)
    _refused(folder, "which image is which frame cannot be told: export as COCO 1.0")
    (folder / "images" / "frame_10.PNG").unlink()
    _refused(folder, "cannot be told")


def test_deleted_frames_are_left_out(folder):
    cvat(folder, *(single_mask("dog", _HERE, frame) for frame in (0, 2, 4)), meta=_meta())
    _images(folder, _video_names([0, 1, 3, 4]))
    sequence = _one(folder)
    assert len(sequence.frames) == 4 and sequence.annotated == (0, 3)


def test_an_odd_sized_video_is_cropped(folder):
    cvat(folder, single_mask("dog", _HERE, 0), single_mask("dog", _HERE, 1), meta=_meta())
    _images(folder, _video_names([0, 1]), size=(SIZE[0] + 1, SIZE[1] + 1))
    assert _one(folder).frames[1].shape == (*SIZE, 3)
    _images(folder, _video_names([0, 1]), size=(SIZE[0] * 2, SIZE[1] * 2))
    _refused(folder, "60x40 but its annotation 30x20")


def _coco(path, names, annotations, sizes=None):
    segments = [
        {"segmentation": mask_to_polygons(mask), "image_id": place, "category_id": 1, "attributes": attributes}
        for place, mask, attributes in annotations
    ]
    content = {
        "images": [
            {"id": i, "file_name": name, "height": size[0], "width": size[1]}
            for i, (name, size) in enumerate(zip(names, sizes or [SIZE] * len(names)))
        ],
        "categories": [{"id": 1, "name": "dog"}],
        "annotations": [{"id": i, **segment} for i, segment in enumerate(segments)],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def test_coco_with_tracks(folder):
    names = ["f10.png", "f9.png", "f11.png"]
    drawn, between = {"keyframe": True, "track_id": 4}, {"keyframe": False, "track_id": 9}
    annotations = [(0, _HERE, drawn), (0, _THERE, between), (1, _THERE, between), (2, _THERE, drawn)]
    _coco(folder / "annotations" / "instances_default.json", names, annotations)
    _images(folder, [f"images/default/{name}" for name in names])
    sequence = _one(_zipped(folder))
    assert [int(frame[0, 0, 0]) for frame in sequence.frames] == [1, 0, 2], "in the order of the numbers"
    assert sequence.name == "task 7" and sequence.annotated == (1, 2), "nobody drew on frame 9"
    np.testing.assert_array_equal(sequence.label_maps[1], label_map(o1=_HERE, o2=_THERE))
    np.testing.assert_array_equal(sequence.label_maps[2], label_map(o1=_THERE))


def test_several_tasks_of_one_folder(folder):
    for name in ("one", "two"):
        (folder / name).mkdir()
        cvat(folder / name, single_mask("dog", _HERE, 0), single_mask("dog", _HERE, 1), meta=_meta())
        _images(folder / name, _video_names([0, 1]))
    assert [task.name for task in read_exported_tasks(folder)] == ["task/one", "task/two"]


def test_objects_that_overlap_are_whole_in_sequences_of_their_own(folder):
    person, helmet = square(2, 2, 10), square(3, 4, 5)
    shapes = [single_mask(label, mask, f) for f in (0, 2) for label, mask in (("person", person), ("helmet", helmet))]
    cvat(folder, *shapes, single_mask("dog", square(14, 20, 4), 0), meta=_meta(stop=3))
    _images(folder, _video_names(range(4)))
    below, above = read_exported_tasks(folder, preload=True, progress=False)
    assert (below.name, above.name) == ("task layer 1", "task layer 2")
    assert below.frames is above.frames and below.frames[2] is below.frames[2]
    assert below.annotated == above.annotated == (0, 2)
    assert [int(np.count_nonzero(of.label_maps[2])) for of in (below, above)] == [100, 25]
    for sequence in (below, above):
        Task(sequence)  # both can be measured


def test_a_layer_that_nothing_follows_does_not_hinder_the_task(folder):
    person, helmet = square(2, 2, 10), square(3, 4, 5)
    people = [single_mask("person", person, f) for f in (0, 1, 3)]
    cvat(folder, *people, single_mask("helmet", helmet, 3), meta=_meta(stop=3))
    _images(folder, _video_names(range(4)))
    sequence = _one(folder)
    assert sequence.name == "task" and int(sequence.label_maps[3].astype(bool).sum()) == 100


def test_what_cannot_be_trained_on_is_refused_in_one_line(folder):
    two = [single_mask("dog", _HERE, 0), single_mask("dog", _HERE, 1)]
    cvat(folder, *two, meta=_meta())
    _refused(folder, "comes without its images: export the task with")
    _images(folder, _video_names([0]))
    _refused(folder, "has 1 annotated frames with an image: annotate two")
    cvat(folder, meta=_meta())
    _refused(folder, r"annotations\.xml: no mask, polygon or box")
    many = [single_mask("dog", _HERE, f, group_id=g) for g in range(1, 256) for f in (0, 1)]
    _images(folder, _video_names([0, 1]))
    cvat(folder, *many, meta=_meta())
    _refused(folder, "255 objects are too many: at most 254")
    (folder / "annotations.xml").write_text("<annotations>")
    _refused(folder, r"annotations\.xml is not valid XML")
    (folder / "annotations.xml").unlink()
    assert read_exported_tasks(folder) is None
    _coco(folder / "instances.json", ["frame_000000.PNG", "frame_000001.PNG"], [(0, _HERE, {}), (1, _HERE, {})])
    assert _one(folder).annotated == (0, 1)
    _images(folder, ["copy/frame_000000.PNG"])
    _refused(folder, "either may be frame_000000.PNG")
    (folder / "copy" / "frame_000000.PNG").unlink()
    big = np.zeros((40, 60), bool)
    big[3:9, 3:9] = True
    _images(folder, ["images/frame_000001.PNG"], size=(40, 60))
    sizes = [SIZE, (40, 60)]
    names = ["frame_000000.PNG", "frame_000001.PNG"]
    _coco(folder / "instances.json", names, [(0, _HERE, {}), (1, big, {})], sizes)
    _refused(folder, "images of several sizes")
    (folder / "instances.json").write_text("{")
    _refused(folder, r"instances\.json is not valid JSON")
    _images(folder, ["SegmentationObject/frame_000000.png"])
    _refused(folder, "segmentation masks, which does not say .* export as CVAT for video 1.1")


def test_exports_mix_with_data_sets(folder, tmp_path):
    cvat(folder, single_mask("dog", _HERE, 0), single_mask("dog", _THERE, 1), meta=_meta())
    _images(folder, _video_names([0, 1]))
    davis = write_davis(tmp_path / "davis", moving_squares("bear", {1: (255, 0, 0)}, length=2))
    (davis / "instances.json").write_text("{}")  # of another kind; not an export
    sequences, stills = read_training_data([davis, _zipped(folder)])
    assert [s.name for s in sequences] == ["task 7", "bear"] and stills is None
    assert [s.name for s in read_validation_data(davis)] == ["bear"]
    assert [s.name for s in read_validation_data(folder)] == ["task"]
