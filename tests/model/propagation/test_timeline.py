"""How keyframes cut the time axis."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from model import Keyframe
from model.propagation.timeline import Timeline


def keyframe(index: int, *objects: int) -> Keyframe:
    label_map = np.zeros((4, 4), np.uint8)
    for i, o in enumerate(objects):
        label_map[0, i] = o
    return Keyframe(index, label_map)


@given(
    length=st.integers(1, 40),
    covering=st.sets(st.integers(0, 39), max_size=5),
    partial=st.sets(st.integers(0, 39), max_size=5),
)
def test_spans_emit_every_frame_once_and_meet_at_covering_keyframes(length, covering, partial):
    given_keyframes = [keyframe(i, 1, 2) for i in covering if i < length]
    given_keyframes += [keyframe(i, 1 + i % 2) for i in partial - covering if i < length]
    if not given_keyframes:
        return
    timeline = Timeline(given_keyframes, length)
    spans = timeline.spans()
    assert [i for span in spans for i in span.emits] == list(range(length))
    for span in spans:
        inner = [k for k in span.keyframes if span.first < k.index < span.last]
        assert not any(k.objects == timeline.objects for k in inner)
        assert all(span.first <= k.index <= span.last for k in span.keyframes)


def test_neighbours_of_a_frame():
    timeline = Timeline([keyframe(3, 1), keyframe(8, 2), keyframe(12, 1, 2)], 20)
    assert timeline.before(1, 2) is None and timeline.before(1, 3).index == 3
    assert timeline.after(1, 4).index == 12 and timeline.after(2, 8).index == 8
    assert timeline.after(2, 13) is None
