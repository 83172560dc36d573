"""What is kept of keyframes, and which of them are held out."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model import Keyframe
from model.errors import InputError, UndecodableFrameError
from model.learning.kept_lessons import KeptLesson
from model.learning.lesson import Lesson
from model.learning.project_check import NothingToLearnError, ProjectCheck
from model.object_masks import ObjectMasks

SIZE = 24, 32
FRAMES = [np.full((*SIZE, 3), 7 * i, np.uint8) for i in range(30)]


def block(left: int, side: int = 8) -> np.ndarray:
    mask = np.zeros(SIZE, bool)
    mask[4 : 4 + side, left : left + side] = True
    return mask


def kept(folder: Path, task: str, *keyframes: Keyframe, frames=FRAMES, lines: int = 1000) -> KeptLesson:
    lesson = Lesson(frames, keyframes, {1: "car", 2: "person"}, [10 + i for i in range(len(frames))])
    return KeptLesson.keep(folder / task, task, lesson, lines)[0]


def drawn(folder: Path, task: str, *indices: int) -> KeptLesson:
    return kept(folder, task, *(Keyframe(i, {1: block(2)}) for i in indices))


def held(check: ProjectCheck) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for asked in check.asked:
        found.setdefault(asked.lesson.task, []).append(asked.index)
    return found


def test_what_is_kept_comes_back_whole_with_overlaps_and_absences(tmp_path):
    masks = ObjectMasks.of({1: block(2), 2: block(6), 5: block(6, 2)}, (5, 1, 2))
    kept(tmp_path, "a", Keyframe(3, masks, (1, 2, 4, 5)), Keyframe(9, {1: block(20)}))
    lesson = KeptLesson.read(tmp_path / "a")
    keyframe = lesson.keyframe(3)
    assert keyframe.masks == masks and keyframe.objects == (1, 2, 4, 5) and keyframe.present == (1, 2, 5)
    assert lesson.labels == {1: "car", 2: "person"} and lesson.numbers[9] == 19 and len(lesson) == 30
    assert np.abs(lesson[9].astype(int) - FRAMES[9]).max() <= 2
    assert lesson.missing(range(8, 11)) == [8, 10]
    lesson.add(8, FRAMES[8])
    assert lesson.missing(range(8, 11)) == [10] and lesson.lesson([9]).frames[8].shape == (*SIZE, 3)


def test_large_frames_are_made_smaller_and_what_is_lost_by_that_is_not_declared_absent(tmp_path):
    speck = np.zeros(SIZE, bool)
    speck[0, 0] = True
    lesson = kept(tmp_path, "a", Keyframe(0, {1: block(8), 2: speck}, (1, 2, 3)), lines=6)
    keyframe = lesson.keyframe(0)
    assert keyframe.masks.shape == lesson[0].shape[:2] == (6, 8)
    assert keyframe.objects == (1, 3) and keyframe.masks.mask(1).sum() == 4
    lesson.add(1, FRAMES[1])
    assert lesson[1].shape == lesson[0].shape


def test_a_keyframe_without_its_own_picture_is_left_out_and_a_damaged_file_is_said(tmp_path):
    class Torn(list):
        def __getitem__(self, index):
            if index == 4:
                raise UndecodableFrameError("frame 4 cannot be decoded")
            return super().__getitem__(index)

    lesson, left_out = KeptLesson.keep(
        tmp_path / "a", "a", Lesson(Torn(FRAMES), [Keyframe(i, {1: block(2)}) for i in (0, 4)]), 1000
    )
    assert [k.index for k in lesson.keyframes] == [0] and left_out == [
        "frame 4 cannot be decoded: its keyframe is left out"
    ]
    for path in (tmp_path / "a").iterdir():
        path.write_bytes(path.read_bytes()[:40])
    for read in (lambda: lesson[0], lambda: lesson.keyframe(0), lambda: KeptLesson.read(tmp_path / "a")):
        with pytest.raises(InputError, match=r"is damaged .*--anew"):
            read()


@settings(max_examples=12, deadline=None)
@given(counts=st.lists(st.integers(1, 7), min_size=1, max_size=7))
def test_the_choice_leaves_enough_to_learn_from_and_does_not_depend_on_the_order(tmp_path_factory, counts):
    folder = tmp_path_factory.mktemp("lessons")
    lessons = [drawn(folder, str(i), *range(0, 4 * count, 4)) for i, count in enumerate(counts)]
    check = ProjectCheck(lessons)
    assert held(ProjectCheck(lessons[::-1])) == held(check)
    learned = {(lesson.task, i) for lesson, indices in check.learned_from for i in indices}
    asked = {(task, i) for task, indices in held(check).items() for i in indices}
    assert learned
    if check.holds_out:
        assert not learned & asked and 2 * len(learned) >= sum(counts)
    else:
        assert counts == [1]
    if "of task" in check.words:  # whole tasks
        assert not {task for task, _ in learned} & set(held(check))
    if max(counts) > 1:
        for a in check.asked:
            assert a.given and a.index not in a.given
            whole = "of task" in check.words
            assert whole or {(a.lesson.task, i) for i in a.given} <= learned


def test_of_one_task_every_fifth_keyframe_is_held_out(tmp_path):
    check = ProjectCheck([drawn(tmp_path, "a", *range(12))])
    assert held(check) == {"a": [2, 7]} and check.words == "2 keyframes, held out"
    assert [i for _, indices in check.learned_from for i in indices] == [0, 1, 3, 4, 5, 6, 8, 9, 10, 11]
    assert {lesson.task: indices for lesson, indices in check.missing()} == {}


def test_a_task_that_holds_most_keyframes_is_not_held_out(tmp_path):
    for large in ("a", "b"):
        small = "ab".replace(large, "")
        folder = tmp_path / large
        check = ProjectCheck([drawn(folder, large, 0, 5, 10, 15, 20), drawn(folder, small, 3)])
        assert held(check) == {large: [10]}


def test_objects_that_no_neighbour_shows_are_not_asked_for(tmp_path):
    first, second = Keyframe(0, {1: block(2)}), Keyframe(5, {1: block(3), 2: block(20)})
    (asked,) = ProjectCheck([kept(tmp_path, "a", first, second)]).asked
    assert asked.objects == (1,)
    lonely = kept(tmp_path, "b", first, Keyframe(5, {2: block(20)}))
    assert "there and back" in ProjectCheck([lonely]).words


def test_what_leaves_nothing_to_ask_is_refused(tmp_path):
    lesson = kept(tmp_path, "a", Keyframe(0, {1: block(2)}), frames=FRAMES[:4])
    with pytest.raises(NothingToLearnError, match="draw another keyframe"):
        ProjectCheck([lesson])
