"""Which keyframes of a project are held out, and what networks answer when they are asked for these."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from model.errors import InputError
from model.learning.check import HeldOut, Question, ThereAndBack
from model.learning.kept_lessons import KeptKeyframe, KeptLesson
from model.object_masks import ObjectMasks
from model.propagation.propagator import Propagator

_PART = 5  # of so many tasks one is held out; of so many keyframes of a single task likewise
_MOST_QUESTIONS = 24


@dataclass(frozen=True)
class Score:
    """How well an object of a held-out keyframe is found.

    Attributes:
        question: its place among the questions.
        object: its number in its video.
        jf: J&F, 0..1.
    """

    question: int
    object: int
    jf: float


@dataclass(frozen=True, eq=False)
class Asked:
    """What is asked of a network about a keyframe.

    Attributes:
        lesson: whose video it is.
        index: of the frame.
        given: frames of the keyframes that are carried there; none: its own masks are carried away and back again.
        objects: that are asked for.
    """

    lesson: KeptLesson
    index: int
    given: tuple[int, ...]
    objects: tuple[int, ...]

    @property
    def number(self) -> int:
        """Of the frame, as people know it."""
        return self.lesson.numbers[self.index]

    def question(self) -> Question:
        """With the masks; raises InputError where these are damaged."""
        keyframe, lesson = self.lesson.keyframe(self.index), self.lesson.lesson()
        if not self.given:
            return ThereAndBack(lesson, keyframe)
        return HeldOut(lesson, tuple(map(self.lesson.keyframe, self.given)), keyframe, self.objects)


class NothingToLearnError(InputError):
    """The keyframes are too few, or show too little."""


class ProjectCheck:
    """Holds some keyframes out. The choice depends on the tasks and their keyframes alone.

    One task of five is held out whole, where the others hold half of the keyframes or more. Else it is every fifth
    keyframe of a video, one at least. Where no video has two keyframes the masks of one are carried away and back.

    Args:
        lessons: of all tasks, with a keyframe each.

    Attributes:
        asked: the questions.
        words: what is asked, for people.
        holds_out: whether nothing is learned from what is asked for.

    Raises:
        NothingToLearnError: there is nothing that could be asked.
    """

    def __init__(self, lessons: Sequence[KeptLesson]):
        self._lessons = lessons
        by_task: dict[str, list[KeptLesson]] = {}
        for lesson in lessons:
            by_task.setdefault(lesson.task, []).append(lesson)
        self._held: dict[int, set[int]] = {}  # id of a lesson -> frames
        tasks, asked = self._whole_tasks(by_task, lambda lesson: _from_neighbours(lesson, range(len(lesson.keyframes))))
        if not asked:
            asked = [a for lesson in lessons for a in _from_neighbours(lesson, _every(lesson))]
            asked = asked[:: _step(asked)]
            for a in asked:
                self._held.setdefault(id(a.lesson), set()).add(a.index)
        if not asked:
            tasks, asked = self._whole_tasks(by_task, _there_and_back)
        if not asked:
            asked = [a for lesson in lessons for a in _there_and_back(lesson)]
        if not asked:
            raise NothingToLearnError(
                "nothing can be held out to check by: no two keyframes of a video show one object, and none has frames "
                "enough beside it; draw another keyframe"
            )
        self.asked = asked[:: _step(asked)]
        self.holds_out = bool(self._held)
        cycle = "" if self.asked[0].given else ", there and back again"
        count = f"{len(self.asked)} keyframe{'s' if len(self.asked) > 1 else ''}"
        where = f" of task{'s' if len(tasks) > 1 else ''} {', '.join(tasks)}" if tasks else ""
        self.words = f"{count}{where}{', held out' if self.holds_out else ''}{cycle}"

    def _whole_tasks(
        self, by_task: dict[str, list[KeptLesson]], ask: "Callable[[KeptLesson], list[Asked]]"
    ) -> tuple[list[str], list[Asked]]:
        """Tasks that are held out, and what is asked of them; none where the others would hold too little."""
        counts = {task: sum(len(lesson.keyframes) for lesson in some) for task, some in by_task.items()}
        tasks: list[str] = []
        found: list[Asked] = []
        for task in sorted(by_task, key=lambda name: hashlib.sha256(name.encode()).hexdigest()):
            if len(tasks) >= max(1, len(by_task) // _PART):
                break
            held = sum(counts[t] for t in (*tasks, task))
            rest = [k for t, some in by_task.items() if t not in (*tasks, task) for x in some for k in x.keyframes]
            asked = [a for lesson in by_task[task] for a in ask(lesson)]
            if asked and 2 * held <= sum(counts.values()) and any(k.present for k in rest):
                tasks.append(task)
                found += asked
        for task in tasks:
            for lesson in by_task[task]:
                self._held[id(lesson)] = {k.index for k in lesson.keyframes}
        return tasks, found

    @cached_property
    def learned_from(self) -> list[tuple[KeptLesson, list[int]]]:
        """Videos and the frames of their keyframes that are not held out."""
        rest = [
            (lesson, [k.index for k in lesson.keyframes if k.index not in self._held.get(id(lesson), ())])
            for lesson in self._lessons
        ]
        return [(lesson, indices) for lesson, indices in rest if indices]

    def missing(self) -> Iterator[tuple[KeptLesson, list[int]]]:
        """Frames that are looked at and not kept yet."""
        wanted: dict[int, set[int]] = {}
        for asked in self.asked:
            wanted.setdefault(id(asked.lesson), set()).update(asked.question().indices)
        for lesson in self._lessons:
            missing = lesson.missing(sorted(wanted.get(id(lesson), ())))
            if missing:
                yield lesson, missing

    def answers(
        self, propagator: Propagator, advanced: Callable[[], None] = lambda: None
    ) -> tuple[list[Score], list[ObjectMasks]]:
        """What a network makes of the questions: scores, and its masks by question.

        Raises:
            InputError: what is kept is damaged.
            PerclipError: of the network.
        """
        scores, answers = [], []
        for place, asked in enumerate(self.asked):
            question = asked.question()
            masks = question.answer(propagator)
            scores += [Score(place, obj, round(jf, 4)) for obj, jf in question.scores(masks).items()]
            answers.append(masks)
            advanced()
        return scores, answers


def mean_score(scores: Sequence[Score]) -> float:
    """Mean J&F: of the objects of each question first."""
    by_question: dict[int, list[float]] = {}
    for score in scores:
        by_question.setdefault(score.question, []).append(score.jf)
    return float(np.mean([np.mean(some) for some in by_question.values()]))


def _step(asked: Sequence[Asked]) -> int:
    return max(1, -(-len(asked) // _MOST_QUESTIONS))


def _every(lesson: KeptLesson) -> list[int]:
    """Places of keyframes that may be held out, none beside another; from behind only where there is no other."""
    count = len(lesson.keyframes)
    if count < 2:
        return []
    step = min(_PART, count)
    for first in (step // 2 or 1, *range(1, count), 0):
        places = range(first, count, step)
        if _from_neighbours(lesson, places):
            return list(places)
    return []


def _from_neighbours(lesson: KeptLesson, places: Sequence[int]) -> list[Asked]:
    """Keyframes asked for from their neighbours, where these show what the keyframe speaks for."""
    found = []
    for place in places:
        keyframe = lesson.keyframes[place]
        beside: list[KeptKeyframe] = [
            lesson.keyframes[p] for p in (place - 1, place + 1) if 0 <= p < len(lesson.keyframes)
        ]
        objects = sorted(set(keyframe.objects) & {o for k in beside for o in k.present})
        if objects:
            found.append(Asked(lesson, keyframe.index, tuple(k.index for k in beside), tuple(objects)))
    return found


def _there_and_back(lesson: KeptLesson) -> list[Asked]:
    shown = [Asked(lesson, k.index, (), k.present) for k in lesson.keyframes if k.present]
    return [a for a in shown if ThereAndBack(lesson.lesson(), lesson.keyframe(a.index)).possible]
