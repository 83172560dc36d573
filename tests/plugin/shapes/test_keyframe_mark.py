"""The mark of Perclip's keyframes in a track; the vectors bind `plugin/ui/perclip/keyframe_mark.js` too."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugin.shapes.keyframe_mark import is_marked, mark_keyframe

_VECTORS = json.loads((Path(__file__).parents[2] / "keyframe_mark_vectors.json").read_text())
_WIDTH = 1920
_points = st.lists(
    st.tuples(st.floats(0, _WIDTH), st.floats(0, 1080)).map(list), min_size=3, max_size=12
).map(lambda pairs: [c for pair in pairs for c in pair])  # fmt: skip


@pytest.mark.parametrize("case", _VECTORS["marked"], ids=lambda case: case["name"])
def test_a_marked_keyframe_is_as_agreed_and_is_known_again(case: dict) -> None:
    assert mark_keyframe(case["points"], case["outside"], case["width"]) == case["marked"]
    assert is_marked(case["marked"], case["outside"])


@pytest.mark.parametrize("case", _VECTORS["persons"], ids=lambda case: case["name"])
def test_what_a_person_drew_or_changed_has_no_mark(case: dict) -> None:
    assert not is_marked(case["points"], case["outside"])


@given(_points, st.booleans())
def test_marking_moves_nothing_visibly_and_survives_json(points: list[float], outside: bool) -> None:
    marked = mark_keyframe(points, outside, _WIDTH)
    assert max(abs(a - b) for a, b in zip(points, marked)) < 1 / 32
    assert min(marked) >= 0 and max(marked[::2]) <= _WIDTH and max(marked[1::2]) <= 1080
    assert is_marked(json.loads(json.dumps(marked)), outside) and not is_marked(marked, not outside)


@given(_points, st.data())
def test_a_moved_point_has_lost_the_mark(points: list[float], data: st.DataObject) -> None:
    marked = mark_keyframe(points, False, _WIDTH)
    place = data.draw(st.integers(0, len(marked) - 1))
    marked[place] += data.draw(st.floats(0.02, 50))
    assert not is_marked(marked, False)
