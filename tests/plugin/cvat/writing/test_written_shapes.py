"""What is sent to the server is checked before, as the server checks nothing; tracks show what was meant."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from model.errors import InputError
from plugin.cvat.planning.output import output_of
from plugin.cvat.planning.task_objects import TaskObject
from plugin.cvat.settings import OUTPUTS
from plugin.cvat.task.annotations import Shape, Track
from plugin.cvat.task.drawn import Drawn
from plugin.cvat.task.layout import Job, Label, TaskLayout
from plugin.cvat.writing.written_shapes import problem_of, problem_of_annotation, shape_of, tracks_of
from plugin.shapes import encode_mask, mask_to_polygons
from tests.plugin.cvat.program import HEIGHT, WIDTH, square

CAR = Label(1, "car", "any", {11: False, 12: True}, {11: "red", 12: "shut"})
LABELS = {
    1: CAR,
    2: Label(2, "region", "mask", {}, {}),
    3: Label(3, "outline", "polygon", {}, {}),
    4: Label(4, "box", "rectangle", {}, {}),
}
JOB = Job(7, range(10, 20), "annotation", "new", "annotation")
SIZES = dict.fromkeys(range(30), (HEIGHT, WIDTH))
LAYOUT = TaskLayout(12, "clip", (JOB,), (), LABELS, (), SIZES, frozenset(), True)

MASK = Shape(12, "mask", tuple(encode_mask(square(2, 2))), 1)
POLYGON = Shape(12, "polygon", (1.0, 1.0, 9.0, 1.0, 9.0, 9.0), 1)
RECTANGLE = Shape(12, "rectangle", (1.0, 1.0, 9.0, 9.0), 1)
GOOD = [MASK, POLYGON, RECTANGLE]
WHOLE = Shape(12, "polygon", (0.0, 0.0, WIDTH, 0.0, WIDTH, HEIGHT, 0.0, HEIGHT), 1)


def drawn_object(label: Label = CAR, *drawn: Drawn) -> TaskObject:
    return TaskObject(5, label, drawn or (Drawn(7, replace(MASK, label=label.id, frame=10)),))


@pytest.mark.parametrize("shape", [*GOOD, WHOLE, replace(MASK, attributes=((11, "blue"), (12, "open")))])
def test_good_shapes_have_no_problem(shape):
    assert problem_of(shape, LAYOUT, JOB) is None


@pytest.mark.parametrize("shape", GOOD, ids=lambda shape: shape.kind)
@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"frame": 9}, "not in the job"),
        ({"frame": 20}, "not in the job"),
        ({"label": 99}, "no more"),
        ({"attributes": ((11, "blue"), (77, "x"))}, "attributes"),
        ({"points": ()}, ""),
        ({"points": (1.0,)}, ""),
    ],
)
def test_shapes_that_belong_nowhere_have_a_problem(shape, changes, why):
    shape = replace(shape, **changes)
    problem = problem_of(shape, LAYOUT, JOB)
    assert problem is not None and why in problem and "\n" not in problem


@pytest.mark.parametrize("shape", GOOD, ids=lambda shape: shape.kind)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -1.0, 1e9])
def test_no_point_may_be_infinite_or_outside_the_image(shape, value):
    """An infinite one is stored by the server, and no annotation of the job can be read any more."""
    for place in range(len(shape.points)):
        points = (*shape.points[:place], value, *shape.points[place + 1 :])
        assert problem_of(replace(shape, points=points), LAYOUT, JOB) is not None


@pytest.mark.parametrize("shape", [POLYGON, RECTANGLE], ids=lambda shape: shape.kind)
@pytest.mark.parametrize(("place", "value"), [(-2, WIDTH + 0.5), (-1, HEIGHT + 0.5), (0, -0.5), (1, -0.5)])
def test_a_little_outside_the_image_is_outside(shape, place, value):
    points = list(shape.points)
    points[place] = value
    assert "out of the image" in problem_of(replace(shape, points=tuple(points)), LAYOUT, JOB)


def test_the_image_is_that_of_the_shapes_own_frame():
    for shape in GOOD:
        small = replace(LAYOUT, sizes=SIZES | {12: (8, 9)})
        assert problem_of(replace(shape, points=(*shape.points[:-1], 8.5)), small, JOB) is not None
        assert problem_of(replace(shape, frame=13), small, JOB) is None


def test_each_label_takes_its_own_type_alone():
    for label, kind in ((2, "mask"), (3, "polygon"), (4, "rectangle")):
        for shape in GOOD:
            problem = problem_of(replace(shape, label=label), LAYOUT, JOB)
            assert (problem is None) == (shape.kind == kind) and (problem is None or kind in problem)


@pytest.mark.parametrize(
    "shape",
    [
        replace(MASK, points=(1.0, 0.0, 0.0, 0.0, 0.0)),  # what an empty mask encodes to
        replace(MASK, points=(9.0, 1.0, 1.0, 3.0, 3.0)),  # a box without a pixel
        replace(MASK, points=(0.0, 8.0, 1.0, 1.0, 3.0, 3.0)),  # 8 of 9 pixels
        replace(MASK, points=(0.0, 10.0, 1.0, 1.0, 3.0, 3.0)),
        replace(MASK, points=(0.0, 9.0, 30.0, 1.0, 32.0, 3.0)),  # one column beyond the last
        replace(POLYGON, points=(1.0, 1.0, 9.0, 1.0)),
        replace(POLYGON, points=(1.0, 1.0, 9.0, 1.0, 9.0, 9.0, 4.0)),
        replace(RECTANGLE, points=(1.0, 1.0, 1.0, 9.0)),
        replace(RECTANGLE, points=(9.0, 1.0, 1.0, 9.0)),
        replace(RECTANGLE, points=(1.0, 1.0, 9.0, 9.0, 9.0, 1.0)),
    ],
    ids=str,
)
def test_points_must_make_a_shape(shape):
    problem = problem_of(shape, LAYOUT, JOB)
    assert problem is not None and "\n" not in problem


def test_every_keyframe_of_a_track_is_checked():
    good = Track(1, (POLYGON, replace(POLYGON, frame=13)))
    assert problem_of_annotation(good, LAYOUT, JOB) is None
    for changes in ({"frame": 20}, {"points": (1.0, 1.0, math.inf, 1.0, 9.0, 9.0)}, {"attributes": ((77, "x"),)}):
        keyframes = (POLYGON, replace(POLYGON, **{"frame": 13, **changes}))
        assert problem_of_annotation(Track(1, keyframes), LAYOUT, JOB) is not None


def test_a_track_of_masks_or_of_mixed_types_is_a_problem():
    """The server stores it; then the job cannot be opened, and no export works."""
    for keyframes in ((MASK,), (POLYGON, replace(MASK, frame=13))):
        assert problem_of_annotation(Track(1, keyframes), LAYOUT, JOB) is not None


# --- what is written as what ---


@pytest.mark.parametrize("wanted", OUTPUTS)
@pytest.mark.parametrize("label", LABELS.values(), ids=lambda label: label.name)
@pytest.mark.parametrize("takes_tracks", [True, False])
def test_whatever_is_wanted_the_label_and_the_server_take_it(wanted, label, takes_tracks):
    """And only polygons become tracks."""
    obj = drawn_object(label)
    output = output_of(obj, wanted, takes_tracks)
    shape = shape_of(square(2, 2), obj, 12, output, 1.0, None, None)
    assert problem_of(shape, LAYOUT, JOB) is None and shape.group == obj.group
    assert output != "track" or (takes_tracks and shape.kind == "polygon")
    if label.kind == "any" and wanted not in ("as-drawn", "track", "one-track"):
        assert output == shape.kind == wanted


def test_as_drawn_is_what_the_first_shape_is():
    for shape, output in ((MASK, "mask"), (POLYGON, "polygon"), (RECTANGLE, "rectangle")):
        assert (
            output_of(drawn_object(CAR, Drawn(7, shape), Drawn(7, replace(MASK, frame=15))), "as-drawn", True) == output
        )
    track = drawn_object(CAR, Drawn(7, replace(POLYGON, outside=True), 4), Drawn(7, replace(POLYGON, frame=14), 4))
    assert output_of(track, "as-drawn", True) == "track" and output_of(track, "as-drawn", False) == "polygon"
    assert output_of(track, "one-track", True) == "one-track" and output_of(track, "one-track", False) == "polygon"


def test_a_label_for_points_is_refused_in_one_line():
    with pytest.raises(InputError, match="points"):
        output_of(drawn_object(Label(1, "car", "points", {}, {})), "mask", True)


@pytest.mark.parametrize("kind", ["mask", "polygon", "rectangle", "track"])
def test_an_empty_mask_is_no_shape(kind):
    assert shape_of(np.zeros((HEIGHT, WIDTH), bool), drawn_object(), 12, kind, 1.0, None, 0.5) is None


@pytest.mark.parametrize("kind", ["polygon", "rectangle", "mask"])
def test_masks_of_the_whole_image_and_at_its_edges_are_inside(kind):
    for mask in (np.ones((HEIGHT, WIDTH), bool), square(WIDTH - 4, HEIGHT - 4), square(0, 0, 3)):
        shape = shape_of(mask, drawn_object(), 12, kind, 1.0, None, None)
        assert problem_of(shape, LAYOUT, JOB) is None


def test_attributes_and_z_order_are_those_of_the_nearest_keyframe():
    first = replace(MASK, frame=10, attributes=((11, "blue"), (77, "no more")), z_order=2)
    second = replace(MASK, frame=16, attributes=((12, "open"),), z_order=3)
    gone = replace(MASK, frame=14, outside=True, attributes=((11, "green"),))
    obj = drawn_object(CAR, *(Drawn(7, shape) for shape in (first, gone, second)))
    for frame, attributes, z_order in ((13, ((11, "blue"),), 2), (14, ((12, "open"),), 3)):
        shape = shape_of(square(2, 2), obj, frame, "mask", 1.0, None, 0.123456)
        assert (shape.attributes, shape.z_order, shape.score) == (attributes, z_order, 0.1235)
        assert problem_of(shape, LAYOUT, JOB) is None and shape.source == "auto"


# --- tracks ---


def keyframes_of(shapes: Mapping[int, Shape | None], obj: TaskObject | None = None) -> tuple[Shape, ...]:
    (track,) = tracks_of(shapes, obj or drawn_object(), LAYOUT, JOB)
    return track.keyframes


def shown(keyframes: Sequence[Shape], frame: int) -> tuple[float, ...] | None:
    """What CVAT shows on a frame: the last keyframe, on the way to the next one; None: nothing."""
    before = [k for k in keyframes if k.frame <= frame]
    behind = [k for k in keyframes if k.frame > frame]
    if not before or before[-1].outside:
        return None
    start = before[-1]
    if not behind or start.frame == frame:
        return start.points
    end = behind[0]
    assert len(start.points) == len(end.points), "CVAT would invent points here"
    part = (frame - start.frame) / (end.frame - start.frame)
    return tuple(a + part * (b - a) for a, b in zip(start.points, end.points))


def polygon(left: int, **fields: Any) -> Shape:
    fields = {"group": 5, **fields}
    return Shape(0, "polygon", tuple(mask_to_polygons(square(left, 2), 0)[0]), 1, **fields)


PICTURES = [
    polygon(2),
    polygon(9),
    polygon(2, z_order=1),
    replace(polygon(2), points=(1.0, 1.0, 9.0, 1.0, 9.0, 9.0)),
    None,
]


@settings(max_examples=80, database=None, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(st.dictionaries(st.integers(6, 23), st.sampled_from([0, 0, 0, 1, 2, 3, 4]), min_size=1, max_size=18))
def test_a_track_shows_each_frame_as_it_was_meant(numbers):
    """Frames that are not named, a person's for instance, show nothing; nor does any beyond the job."""
    shapes = {
        f: None if PICTURES[n] is None else replace(PICTURES[n], frame=f, score=f / 30) for f, n in numbers.items()
    }
    tracks = tracks_of(shapes, drawn_object(), LAYOUT, JOB)
    meant = {frame: shapes.get(frame) for frame in JOB.frames}
    assert len(tracks) == any(meant.values())
    for track in tracks:
        assert problem_of_annotation(track, LAYOUT, JOB) is None
        assert (track.label, track.group, track.source) == (1, 5, "auto")
        frames = [k.frame for k in track.keyframes]
        assert frames == sorted(set(frames)) and not track.keyframes[0].outside
        for frame, shape in meant.items():
            assert shown(track.keyframes, frame) == (shape and shape.points)
            last = max((k for k in track.keyframes if k.frame <= frame), key=lambda k: k.frame, default=None)
            assert shape is None or last.z_order == shape.z_order
        assert {k.kind for k in track.keyframes} == {"polygon"} and {k.score for k in track.keyframes} == {None}


def test_equal_polygons_between_equal_ones_are_left_out():
    lefts = (2, 2, 2, 2, 9, 9, 9, 2, 2, 2)
    shapes = {f: replace(polygon(left), frame=f, score=0.1 * (f - 9)) for f, left in zip(JOB.frames, lefts)}
    assert [k.frame for k in keyframes_of(shapes)] == [10, 13, 14, 16, 17, 19]


def test_the_track_ends_behind_the_object_but_not_behind_the_job():
    shapes = {f: replace(polygon(2), frame=f) for f in range(12, 16)}
    assert [(k.frame, k.outside) for k in keyframes_of(shapes)] == [(12, False), (15, False), (16, True)]
    shapes = {f: replace(polygon(2), frame=f) for f in range(12, 25)}
    assert [(k.frame, k.outside) for k in keyframes_of(shapes)] == [(12, False), (19, False)]


def test_where_the_object_is_absent_the_track_is_outside():
    shapes = {f: None if f in (13, 14) else replace(polygon(2), frame=f) for f in range(11, 17)}
    expected = [(11, False), (12, False), (13, True), (15, False), (16, False), (17, True)]
    assert [(k.frame, k.outside) for k in keyframes_of(shapes)] == expected


def test_a_track_may_end_on_an_image_of_another_size():
    """The keyframe that closes it there shows nothing, and must not keep the track from being written."""
    layout = replace(LAYOUT, sizes=SIZES | dict.fromkeys(range(15, 20), (6, 8)))
    (track,) = tracks_of({f: replace(polygon(9), frame=f) for f in range(11, 15)}, drawn_object(), layout, JOB)
    assert track.keyframes[-1].frame == 15 and track.keyframes[-1].outside
    assert problem_of_annotation(track, layout, JOB) is None


def test_an_object_that_is_nowhere_to_be_seen_in_the_job_is_no_track():
    assert tracks_of({12: None, 13: None}, drawn_object(), LAYOUT, JOB) == []
    assert tracks_of({25: replace(polygon(2), frame=25)}, drawn_object(), LAYOUT, JOB) == []


def test_mutable_attributes_are_in_the_keyframes_and_the_others_on_the_track():
    first = Drawn(7, replace(MASK, frame=10, attributes=((11, "blue"), (12, "open"))))
    second = Drawn(7, replace(MASK, frame=16, attributes=((11, "blue"), (12, "ajar"))))
    obj = drawn_object(CAR, first, second)
    shapes = {f: shape_of(square(2, 2), obj, f, "track", 1.0, None, 0.5) for f in range(11, 16)}
    (track,) = tracks_of(shapes, obj, LAYOUT, JOB)
    assert track.attributes == ((11, "blue"),)
    values = {k.frame: k.attributes for k in track.keyframes}
    assert values == {
        11: ((12, "open"),),
        13: ((12, "open"),),
        14: ((12, "ajar"),),
        15: ((12, "ajar"),),
        16: ((12, "ajar"),),
    }
    body = track.to_json(CAR)
    assert body["attributes"] == [{"spec_id": 11, "value": "blue"}]
    assert all([a["spec_id"] for a in shape["attributes"]] == [12] for shape in body["shapes"])
