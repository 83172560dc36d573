"""Is a network better on this video than another? Asked of the keyframes alone, as there is no other truth."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from model.evaluation.metrics import contour_accuracy, region_similarity
from model.keyframe import Keyframe
from model.learning.lesson import Lesson
from model.object_masks import ObjectMasks
from model.propagation.propagator import Propagator

_MOST_QUESTIONS = 4
_MOST_FRAMES = 32  # that a question is propagated through; of more, some are left out, evenly
_THERE = 24  # frames of the way there, and of the way back
_LEAST_THERE = 4  # less shows nothing


class Question(ABC):
    """What a network is asked about one keyframe.

    Attributes:
        lesson: whose video it is.
        asked: the keyframe that says what is right.
        objects: of it that are asked for.
    """

    lesson: Lesson
    asked: Keyframe
    objects: tuple[int, ...]

    @property
    @abstractmethod
    def indices(self) -> list[int]:
        """Of the frames that are looked at."""

    @abstractmethod
    def answer(self, propagator: Propagator) -> ObjectMasks:
        """What comes there."""

    def scores(self, masks: ObjectMasks) -> dict[int, float]:
        """J&F of an answer, 0..1, by object."""
        return {obj: _jf(masks.mask(obj), self.asked.mask(obj)) for obj in self.objects}


@dataclass(frozen=True, eq=False)
class HeldOut(Question):
    """Some objects of a keyframe are asked for from others, `given`."""

    lesson: Lesson
    given: tuple[Keyframe, ...]
    asked: Keyframe
    objects: tuple[int, ...]

    @property
    def indices(self) -> list[int]:
        """Between the keyframes."""
        stops = sorted({self.asked.index, *(k.index for k in self.given)})
        return _thinned(range(stops[0], stops[-1] + 1), stops)

    def answer(self, propagator: Propagator) -> ObjectMasks:
        """What the others are carried to."""
        picked = _Picked(self.lesson.frames, self.indices)
        given = [picked.keyframe(k) for k in self.given]
        place = picked.indices.index(self.asked.index)
        (result,) = propagator.run(picked, given, place, place + 1, labels=self.lesson.labels)
        return result.masks


@dataclass(frozen=True, eq=False)
class ThereAndBack(Question):
    """The masks of a keyframe are carried away and, from the last of them alone, back again."""

    lesson: Lesson
    asked: Keyframe

    @property
    def objects(self) -> tuple[int, ...]:  # type: ignore[override]  # follows from the keyframe
        """All that it shows."""
        return self.asked.present

    @property
    def indices(self) -> list[int]:
        """The longer way from the keyframe."""
        return _way_from(self.asked.index, len(self.lesson.frames))

    @property
    def possible(self) -> bool:
        """Whether there is anything to carry, and far enough."""
        return bool(self.asked.present) and len(self.indices) > _LEAST_THERE

    def answer(self, propagator: Propagator) -> ObjectMasks:
        """What comes back."""
        picked = _Picked(self.lesson.frames, self.indices)
        start, last = picked.keyframe(self.asked), len(picked) - 1
        (end,) = propagator.run(picked, [start], last, last + 1, "forward", labels=self.lesson.labels)
        arrived = [o for o in self.asked.present if end.masks.mask(o).any()]
        if not arrived:
            return ObjectMasks.of({}, shape=self.asked.masks.shape)
        turned = Keyframe(last, end.masks.only(arrived))
        (back,) = propagator.run(picked, [turned], 0, 1, "backward", labels=self.lesson.labels)
        return back.masks.only(arrived)


class Check:
    """What is asked.

    With two keyframes or more some are held out: a network learns from the others, carries these to the one that is
    held out, and what comes there is compared with what was drawn. Else masks are carried away and back again.

    Args:
        lessons: all that can be learned from.
        seen: digests of masks that were learned from already: these cannot be asked for any more.
    """

    def __init__(self, lessons: Sequence[Lesson], seen: Collection[str] = ()):
        held = [question for lesson in lessons for question in _held_out(lesson, seen)]
        step = max(1, -(-len(held) // _MOST_QUESTIONS))
        self._held = held[::step]
        self._lessons = lessons

    @property
    def holds_out(self) -> bool:
        """Whether it asks for keyframes that must not be learned from before."""
        return bool(self._held)

    @property
    def possible(self) -> bool:
        """Whether there is anything to ask."""
        return bool(self._questions)

    @cached_property
    def _questions(self) -> Sequence[Question]:
        if self._held:
            return self._held
        first = [
            question
            for lesson in self._lessons
            for question in (ThereAndBack(lesson, keyframe) for keyframe in lesson.keyframes)
            if question.possible
        ]
        return first[:: max(1, -(-len(first) // _MOST_QUESTIONS))]

    @property
    def lessons(self) -> list[Lesson]:
        """What may be learned from before it is asked."""
        asked = {id(question.asked) for question in self._held}
        rest = [
            replace(lesson, keyframes=[k for k in lesson.keyframes if id(k) not in asked]) for lesson in self._lessons
        ]
        return [lesson for lesson in rest if lesson.keyframes]

    @property
    def words(self) -> str:
        """What is asked, for people."""
        if self._held:
            frames = ", ".join(str(question.lesson.number(question.asked.index)) for question in self._held)
            return f"held-out keyframe{'s' if len(self._held) > 1 else ''} {frames}"
        return "there and back again"

    def indices(self, lesson: Lesson) -> list[int]:
        """Frames of a lesson that it looks at, ascending."""
        return sorted({i for question in self._questions if question.lesson is lesson for i in question.indices})

    def score(self, propagator: Propagator, between: Callable[[], None] = lambda: None) -> float:
        """Mean J&F of a network, 0..1; `between` is called before each question, and may raise."""
        scores = []
        for question in self._questions:
            between()
            scores.append(np.mean(list(question.scores(question.answer(propagator)).values())))
        return float(np.mean(scores))


def _held_out(lesson: Lesson, seen: Collection[str]) -> Iterator[HeldOut]:
    """Some keyframes, no neighbours, each asked for from its neighbours, where these show what it speaks for."""
    keyframes = list(lesson.keyframes)
    new = [{o for o, digest in digests.items() if digest not in seen} for digests in lesson.mask_digests]
    held: list[int] = []
    # The first one last: from behind it is asked for only where there is no other.
    for place in [*range(1, len(keyframes)), 0][: len(keyframes)]:
        beside = [p for p in (place - 1, place + 1) if 0 <= p < len(keyframes)]
        if not new[place] or set(beside) & set(held) or (place == 0 and held):
            continue
        given = tuple(keyframes[p] for p in beside)
        asked = tuple(sorted(new[place] & {o for k in given for o in k.present}))
        if asked:
            held.append(place)
            yield HeldOut(lesson, given, keyframes[place], asked)


def _way_from(index: int, length: int) -> list[int]:
    """Frames of the longer way from a keyframe, at most so many, to both sides alike."""
    behind, before = length - 1 - index, index
    step = 1 if behind >= before else -1
    return [index + step * i for i in range(min(_THERE, max(behind, before)) + 1)]


def _thinned(frames: range, needed: Sequence[int]) -> list[int]:
    """The needed frames, and of the others at most so many, evenly."""
    step = max(1, -(-len(frames) // _MOST_FRAMES))
    return sorted({*frames[::step], *needed})


class _Picked(Sequence[np.ndarray]):
    """Some frames of a video in any order, as if there were no others."""

    def __init__(self, frames: Sequence[np.ndarray], indices: Sequence[int]):
        self._frames, self.indices = frames, list(indices)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index):  # type: ignore[no-untyped-def]  # an overload for each kind says no more
        if isinstance(index, slice):
            return [self._frames[i] for i in self.indices[index]]
        return self._frames[self.indices[index]]

    def keyframe(self, keyframe: Keyframe) -> Keyframe:
        """A keyframe by its place among these frames."""
        return Keyframe(self.indices.index(keyframe.index), keyframe.masks, keyframe.objects)


def _jf(mask: np.ndarray, truth: np.ndarray) -> float:
    return (region_similarity(mask, truth) + contour_accuracy(mask, truth)) / 2
