"""Which drawn shapes are one object: what people say counts first, the network decides only where they say nothing."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from plugin.cvat.planning.identity import Identities, identify
from plugin.cvat.task.annotations import Shape, Track
from plugin.cvat.task.drawn import Drawn, collect_drawn
from plugin.shapes import encode_mask, mask_to_polygons
from tests.plugin.cvat.program import HEIGHT, WIDTH, NearestKeyframe, square

LEFT, RIGHT = square(2, 2), square(20, 12)
LABEL, OTHER = 1, 2


def drawn(frame: int, mask: np.ndarray, label: int = LABEL, job: int = 7, track: int | None = None, **fields: Any):
    kind, points = "mask", encode_mask(mask)
    if track is not None:
        kind, points = "polygon", mask_to_polygons(mask, 0)[0]
    return Drawn(job, Shape(frame, kind, tuple(points), label, source="manual", **fields), track)


def nobody() -> Any:
    raise AssertionError("the network was asked")


def still_picture() -> Any:
    """A network that says that nothing moves."""
    return NearestKeyframe(), np.zeros((30, HEIGHT, WIDTH, 3), np.uint8)


def identities(
    shapes: Sequence[Drawn],
    ask: Any = nobody,
    members: Mapping[str, int] | None = None,
    written: Iterable[tuple[int, int]] = (),
    size: tuple[int, int] = (HEIGHT, WIDTH),
    seen: Mapping[tuple[int, int], range] | None = None,
) -> Identities:
    places = {frame: frame for frame in range(30)}
    return identify(shapes, members or {}, set(written), places, lambda d: d.mask(*size, nobody), ask, seen=seen)


def objects(shapes: Sequence[Drawn], *args: Any, **options: Any) -> list[set[int]]:
    """The objects as sets of places in the list of shapes."""
    found = identities(shapes, *args, **options).objects
    return [{next(i for i, s in enumerate(shapes) if s is d) for d in o} for o in found]


# --- tracks ---


def test_the_keyframes_of_a_track_are_one_object_wherever_they_are():
    shapes = [drawn(f, mask, track=t) for t in (1, 2) for f, mask in ((0, (LEFT, RIGHT)[t - 1]), (9, LEFT), (5, RIGHT))]
    assert objects(shapes) == [{0, 1, 2}, {3, 4, 5}]
    assert [[d.frame for d in o] for o in identities(shapes).objects] == [[0, 5, 9]] * 2


def test_two_tracks_of_one_job_are_never_one_object():
    """Not even where propagation finds that they are."""
    shapes = [drawn(0, LEFT, track=1), drawn(5, LEFT, track=2), drawn(0, RIGHT)]
    assert objects(shapes, still_picture) == [{0}, {2}, {1}]
    shapes = [drawn(0, LEFT), drawn(5, LEFT), drawn(0, RIGHT)]  # without the tracks they would be
    assert objects(shapes, still_picture) == [{0, 1}, {2}]


def test_tracks_of_the_same_number_in_different_jobs_are_not_one_object_for_that():
    shapes = [drawn(0, LEFT, track=1), drawn(0, RIGHT, track=2), drawn(15, RIGHT, job=8, track=1)]
    assert objects(shapes, still_picture) == [{0}, {1, 2}]


def test_a_track_goes_on_in_the_next_job_by_propagation():
    shapes = [drawn(0, LEFT, track=1), drawn(0, RIGHT, track=2), drawn(15, LEFT, job=8, track=9)]
    found = identities(shapes, still_picture)
    assert [len(o) for o in found.objects] == [2, 1]
    assert [(a.label, a.first, a.second, a.iou) for a in found.associations] == [(LABEL, 0, 15, 1.0)]


# --- groups ---


def test_shapes_of_a_group_are_one_object_wherever_they_are():
    groups = (1, 2, 2, 1)
    shapes = [drawn(f, (LEFT, RIGHT)[f % 2], group=g) for f, g in zip((0, 0, 7, 9), groups)]
    assert objects(shapes) == [{0, 3}, {1, 2}]


def test_a_group_of_several_labels_is_an_object_of_each():
    shapes = [drawn(0, LEFT, LABEL, group=1), drawn(0, RIGHT, OTHER, group=1), drawn(9, RIGHT, OTHER, group=1)]
    assert objects(shapes) == [{0}, {1, 2}]


def test_two_groups_of_one_job_are_never_one_object():
    assert objects([drawn(0, LEFT, group=1), drawn(9, LEFT, group=2)]) == [{0}, {1}]


def test_groups_of_the_same_number_in_two_jobs_need_evidence():
    """CVAT numbers the groups of each job on its own."""
    shapes = [
        drawn(0, LEFT, group=1),
        drawn(0, RIGHT, group=2),
        drawn(15, RIGHT, job=8, group=1),
        drawn(15, square(2, 16), job=8, group=2),
    ]
    assert objects(shapes, still_picture) == [{0}, {1, 2}, {3}]


def test_a_group_that_perclip_gave_is_one_object_in_all_jobs_where_it_wrote_it():
    shapes = [drawn(0, LEFT, group=1), drawn(0, RIGHT, group=2), drawn(15, RIGHT, job=8, group=1)]
    assert objects(shapes, written={(7, 1), (7, 2), (8, 1)}) == [{0, 2}, {1}]
    # In the other job a person has counted to the same number.
    assert objects(shapes, still_picture, written={(7, 1), (7, 2)}) == [{0}, {1, 2}]


# --- one per frame ---


def test_one_shape_of_its_label_per_frame_is_one_object():
    shapes = [drawn(0, LEFT), drawn(9, RIGHT), drawn(4, LEFT), drawn(0, RIGHT, OTHER), drawn(9, LEFT, OTHER)]
    assert objects(shapes) == [{0, 1, 2}, {3, 4}]


def test_a_single_crowded_frame_is_enough_to_ask_the_network():
    shapes = [drawn(0, LEFT), drawn(9, RIGHT), drawn(9, LEFT), drawn(20, square(12, 2))]
    assert objects(shapes, still_picture) == [{0, 2}, {1}, {3}]


def test_a_detectors_shapes_are_one_object_only_where_propagation_says_so():
    """One per frame means nothing there: a detector misses some."""
    seen = ((0, LEFT), (9, RIGHT), (12, LEFT))
    shapes = [Drawn(7, drawn(frame, mask).shape, is_proposal=True) for frame, mask in seen]
    assert objects(shapes, still_picture) == [{0, 2}, {1}]


# --- copies in overlapping jobs ---


def test_copies_in_overlapping_jobs_are_one_object():
    """Whatever they are called: each job has a track or group of its own."""
    shapes = [
        drawn(5, LEFT, job=7, track=1),
        drawn(5, RIGHT, job=7, track=2),
        drawn(5, square(3, 2), job=8, track=1),
        drawn(5, square(20, 11), job=8, group=4),
        drawn(9, LEFT, job=8, group=4),
    ]
    assert objects(shapes) == [{0, 2}, {1, 3, 4}]


def test_different_shapes_in_overlapping_jobs_are_two_objects():
    assert objects([drawn(5, LEFT, job=7), drawn(5, square(6, 2), job=8)]) == [{0}, {1}]
    assert objects([drawn(5, LEFT, job=7), drawn(5, LEFT, OTHER, job=8)]) == [{0}, {1}]
    assert objects([drawn(5, LEFT, job=7), drawn(5, LEFT, job=7)]) == [{0}, {1}]  # one job has no copies


# --- the network ---


def two_drawn(squares: Any, frames: Sequence[int]) -> list[Drawn]:
    return [drawn(f, squares.labels[f] == i) for f in frames for i in (1, 2)]


def test_the_network_tells_squares_apart_that_pass_one_another(squares, lite):
    shapes = two_drawn(squares, (0, 12))
    size = squares.labels.shape[1:]
    found = identities(shapes, lambda: (lite, squares.frames), size=size)
    assert [[d.shape.points for d in o] for o in found.objects] == [
        [shapes[0].shape.points, shapes[2].shape.points],
        [shapes[1].shape.points, shapes[3].shape.points],
    ]
    assert [(a.label, a.first, a.second) for a in found.associations] == [(LABEL, 0, 12)] * 2
    assert all(0.5 <= a.iou <= 1 for a in found.associations)


def test_what_the_network_finds_does_not_depend_on_the_order_of_the_shapes(squares, lite):
    """One of the squares is drawn on frame 12 alone, and the other one comes first there."""
    first, second, third = (two_drawn(squares, (0, 12))[i] for i in (3, 0, 2))
    found = identities([first, second, third], lambda: (lite, squares.frames), size=squares.labels.shape[1:])
    assert found.objects == [[second, third], [first]] and len(found.associations) == 1


# --- earlier runs ---


def test_what_an_earlier_run_found_stands_and_nobody_is_asked_again():
    shapes = [drawn(0, LEFT), drawn(0, RIGHT), drawn(9, LEFT), drawn(9, RIGHT)]
    members = {d.digest: group for d, group in zip(shapes, (4, 6, 6, 4))}
    found = identities(shapes, members=members)
    assert found.objects == [[shapes[0], shapes[3]], [shapes[1], shapes[2]]] and not found.associations


def test_a_shape_that_is_new_is_added_to_what_an_earlier_run_found():
    shapes = [drawn(0, LEFT), drawn(0, RIGHT), drawn(9, square(12, 2)), drawn(9, RIGHT), drawn(15, square(12, 2))]
    members = {d.digest: group for d, group in zip(shapes[:4], (4, 6, 4, 6))}
    assert objects(shapes, still_picture, members=members) == [{0, 2, 4}, {1, 3}]


def three_of_an_earlier_run() -> tuple[list[Drawn], dict[str, int]]:
    """Of the first and the last the network said that they are two, as a crowded frame had it asked."""
    shapes = [drawn(0, LEFT), drawn(0, RIGHT), drawn(9, square(12, 16))]
    assert objects(shapes, still_picture) == [{0}, {1}, {2}]
    return shapes, {d.digest: group for group, d in enumerate(shapes, 4)}


def test_objects_of_an_earlier_run_stay_two_when_the_crowded_frame_is_gone():
    (first, _, last), members = three_of_an_earlier_run()
    assert objects([first, last], members=members) == [{0}, {1}]


def test_objects_of_an_earlier_run_stay_two_when_another_shape_is_drawn():
    """Their masks are written as two objects: a correction of one must not make them one."""
    (first, _, last), members = three_of_an_earlier_run()
    found = objects([first, last, drawn(15, LEFT)], still_picture, members=members)
    assert not [o for o in found if {0, 1} <= o]


# --- absence ---


def collected(*keyframes: tuple[int, bool], frames: Iterable[int] = range(30)) -> list[tuple[int, bool]]:
    points = tuple(mask_to_polygons(LEFT, 0)[0])
    track = Track(LABEL, tuple(Shape(f, "polygon", points, LABEL, outside=outside) for f, outside in keyframes), id=5)
    return [(d.frame, d.shape.outside) for d in collect_drawn(7, [track], set(frames), ("polygon",))]


@pytest.mark.parametrize(
    ("keyframes", "said"),
    [
        ([(0, False), (1, True)], [(0, False)]),  # CVAT closes a track so; it says nothing of the object
        ([(0, False), (5, True)], [(0, False), (5, True)]),
        ([(0, False), (1, False), (2, True), (6, True)], [(0, False), (1, False), (6, True)]),
        ([(0, False), (1, True), (2, True)], [(0, False), (2, True)]),
        ([(3, True), (4, False)], [(3, True), (4, False)]),
    ],
)
def test_an_outside_keyframe_declares_absence_unless_it_is_right_behind_a_visible_one(keyframes, said):
    assert collected(*keyframes) == said


def test_a_closing_keyframe_says_nothing_even_if_the_frame_before_does_not_count():
    assert collected((0, False), (1, True), (9, False), frames=range(1, 30)) == [(9, False)]


def test_the_declared_absence_belongs_to_the_object_of_its_track():
    shapes = [drawn(0, LEFT, track=1), drawn(9, LEFT, track=1, outside=True), drawn(9, RIGHT, track=2)]
    assert objects(shapes) == [{0, 1}, {2}]


def test_attributes_of_a_track_are_those_of_its_keyframes_too():
    keyframe = Shape(3, "polygon", tuple(mask_to_polygons(LEFT, 0)[0]), LABEL, attributes=((2, "open"),))
    (found,) = collect_drawn(7, [Track(LABEL, (keyframe,), attributes=((1, "red"),), id=5)], {3}, ("polygon",))
    assert found.shape.attributes == ((1, "red"), (2, "open")) and found.origin == (7, True, 5)


# --- tracks of one group ---


def seen_at(*spans: range) -> dict[tuple[int, int], range]:
    """Tracks 1, 2, ... of job 7 and the frames on which they are to be seen."""
    return {(7, number): span for number, span in enumerate(spans, 1)}


def test_tracks_of_a_group_that_follow_one_another_are_one_object():
    shapes = [drawn(f, LEFT, track=t, group=4) for f, t in ((0, 1), (3, 1), (12, 2), (20, 3))]
    assert objects(shapes, seen=seen_at(range(5), range(12, 15), range(20, 30))) == [{0, 1, 2, 3}]


def test_tracks_of_a_group_that_are_to_be_seen_at_once_are_two_objects():
    """As in the page's action; not even the network, or a keyframe on other frames, makes them one."""
    shapes = [drawn(f, LEFT, track=t, group=4) for f, t in ((0, 1), (12, 2), (15, 2), (25, 3))]
    seen = seen_at(range(30), range(12, 20), range(25, 30))
    assert objects(shapes, still_picture, seen=seen) == [{0}, {1, 2}, {3}]


def test_a_shape_of_the_group_goes_with_the_first_of_two_tracks():
    shapes = [drawn(0, LEFT, track=1, group=4), drawn(5, RIGHT, track=2, group=4), drawn(9, LEFT, group=4)]
    assert objects(shapes, seen=seen_at(range(30), range(5, 30))) == [{0, 2}, {1}]
