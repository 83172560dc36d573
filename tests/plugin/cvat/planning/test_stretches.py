"""What is to be done: stretches between keyframes, told apart by what they depend on, and windows that hold them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from plugin.cvat.planning.stretches import Stretch, stretches_of, windows_of
from plugin.cvat.planning.task_objects import TaskObject
from plugin.cvat.task.annotations import Shape
from plugin.cvat.task.drawn import Drawn
from plugin.cvat.task.layout import Job, Label

quick = settings(max_examples=50, database=None, deadline=None, phases=[Phase.explicit, Phase.generate])
LABEL = Label(1, "car", "any", {}, {})
JOBS = [
    Job(7, range(0, 30), "annotation", "new", "annotation"),
    Job(8, range(25, 90), "annotation", "new", "annotation"),
]


@dataclass(frozen=True)
class Case:
    """Keyframes of an object in a sequence of some frames of the task."""

    numbers: Sequence[int]
    keyframes: Mapping[int, bool]  # place -> whether the object is declared absent
    direction: str
    max_gap: int | None
    group: int = 1

    def drawn(self, place: int, left: float = 1.0) -> Drawn:
        points = (left, 1.0, left + 9, 1.0, left + 9, 9.0)
        return Drawn(7, Shape(self.numbers[place], "polygon", points, 1, outside=self.keyframes[place]), track=1)

    def stretches(self, changed: int | None = None, **options: Any) -> list[Stretch]:
        """The stretches; at one place the person may have moved what is drawn."""
        drawn = tuple(self.drawn(p, 2.0 if p == changed else 1.0) for p in sorted(self.keyframes))
        obj = TaskObject(self.group, LABEL, drawn)
        return stretches_of(obj, self.numbers, self.direction, self.max_gap, options, JOBS)

    def is_reached(self, place: int) -> bool:
        """From a keyframe that shows the object, with none between, in the direction, near enough."""
        before = max((p for p in self.keyframes if p < place), default=None)
        behind = min((p for p in self.keyframes if p > place), default=None)
        sources = [before] * (self.direction != "backward") + [behind] * (self.direction != "forward")
        return place not in self.keyframes and any(
            source is not None
            and not self.keyframes[source]
            and (self.max_gap is None or abs(source - place) <= self.max_gap)
            for source in sources
        )


@st.composite
def cases(draw: Any, group: int = 1, length: int | None = None, least: int = 1) -> Case:
    length = draw(st.integers(1, 40)) if length is None else length
    unused = draw(st.sets(st.integers(0, length + 9), max_size=10))  # deleted ones
    numbers = [frame for frame in range(length + 10) if frame not in unused][:length]
    keyframes = draw(
        st.dictionaries(st.integers(0, length - 1), st.integers(0, 3).map(lambda i: i == 0), min_size=least)
    )
    gap = draw(st.none() | st.integers(0, length))
    return Case(numbers, keyframes, draw(st.sampled_from(("forward", "backward", "both"))), gap, group)


@quick
@given(cases())
def test_stretches_are_exactly_what_the_direction_reaches(case):
    stretches = case.stretches()
    places = [place for stretch in stretches for place in stretch.places]
    assert places == [place for place in range(len(case.numbers)) if case.is_reached(place)]
    for stretch in stretches:
        assert stretch.first <= stretch.places[0] and stretch.places[-1] <= stretch.last
        # No keyframe inside, and one at each end that is not the end of the sequence.
        assert not [p for p in case.keyframes if stretch.first < p < stretch.last]
        assert stretch.first in (0, *case.keyframes) and stretch.last in (len(case.numbers) - 1, *case.keyframes)


@quick
@given(cases(), st.data())
def test_a_changed_keyframe_changes_the_stretches_beside_it_and_no_others(case, data):
    changed = data.draw(st.sampled_from(sorted(case.keyframes)))
    before, after = case.stretches(), case.stretches(changed)
    assert [(s.first, s.last, s.places) for s in before] == [(s.first, s.last, s.places) for s in after]
    for old, new in zip(before, after):
        assert (old.digest != new.digest) == (changed in (old.first, old.last))
    assert len({s.digest for s in (*before, *after)}) == len(before) + sum(changed in (s.first, s.last) for s in before)


@quick
@given(cases(), st.data())
def test_a_new_keyframe_leaves_the_stretches_beyond_its_neighbours_as_they_are(case, data):
    free = [p for p in range(len(case.numbers)) if p not in case.keyframes]
    if not free:
        return
    added = data.draw(st.sampled_from(free))
    before = {s.digest: s for s in case.stretches()}
    after = {s.digest for s in replace(case, keyframes={**case.keyframes, added: False}).stretches()}
    for digest, stretch in before.items():
        is_at_open_end = added in (0, len(case.numbers) - 1) and added in (stretch.first, stretch.last)
        is_beside = stretch.first < added < stretch.last or is_at_open_end
        assert (digest not in after) == is_beside


def test_whatever_else_decides_the_result_changes_every_digest():
    case = Case(range(40), {10: False, 20: False}, "both", None)
    digests = [s.digest for s in case.stretches()]
    others = [
        case.stretches(engine="another"),
        replace(case, group=2).stretches(),
        replace(case, numbers=range(1, 41)).stretches(),
        replace(case, max_gap=39).stretches(),
    ]
    assert len({*digests, *(s.digest for other in others for s in other)}) == 3 * 5
    assert case.stretches(b=1, a=2) == case.stretches(a=2, b=1)


def test_a_keyframe_that_declares_absence_ends_a_stretch_and_begins_none():
    case = Case(range(20), {5: False, 10: True}, "both", None)
    assert [s.places for s in case.stretches()] == [tuple(range(5)), tuple(range(6, 10))]
    assert replace(case, direction="backward").stretches()[-1].last == 5


@st.composite
def several(draw: Any) -> list[Stretch]:
    """Some stretches of some objects of one sequence, in any order."""
    stretches = [
        stretch
        for group in range(1, draw(st.integers(1, 4)) + 1)
        for stretch in draw(cases(group, 30)).stretches()
        if draw(st.booleans())
    ]
    return draw(st.permutations(stretches))


@quick
@given(several())
def test_windows_hold_all_stretches_and_share_only_their_ends(stretches):
    windows = windows_of(stretches)
    held = [s for w in windows for s in w.stretches]
    assert sorted(s.digest for s in held) == sorted(s.digest for s in stretches)
    for window in windows:
        assert window.first == min(s.first for s in window.stretches)
        assert window.last == max(s.last for s in window.stretches)
    for before, behind in pairwise(windows):
        assert before.last <= behind.first
    filled = [(s.group, p) for s in held for p in s.places]
    assert len(filled) == len(set(filled))


@quick
@given(several())
def test_windows_are_no_larger_than_they_must_be(stretches):
    """Wherever none of its stretches goes across, a window could be two."""
    for window in windows_of(stretches):
        for place in range(window.first + 1, window.last):
            assert any(s.first < place < s.last for s in window.stretches)


def test_nothing_to_do_is_no_window():
    assert windows_of([]) == [] and Case(range(3), {0: False, 1: False, 2: True}, "both", None).stretches() == []
    assert Case(range(9), {4: True}, "both", None).stretches() == []
