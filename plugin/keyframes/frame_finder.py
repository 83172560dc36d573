"""Which frame a picture of an annotation file is: the one mechanism that all readers of masks use.

* Frames that have names of their own, the pictures of a folder, are found by name (`picture_name.py` says what may
  differ). Folder parts count only to tell several videos of one file apart: the part that agrees with the place of the
  frames wins, and what lies in the other folders is left out.
* Where a file uses other names altogether, the numbers at the names' ends count, if nothing else can be meant: a number
  could be the one in a picture's name, or the picture's place counted from 0; both must lead to the same picture, or
  one of them nowhere.
* Frames of a video have no names: the number at a name's end is the frame number.

What matches nothing, or two things, is refused.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from model.errors import InputError
from model.program.printable import printable
from plugin.keyframes.picture_name import comparable, is_count, name_forms, number_in, split_folders

_ADVICE = "give it the name of its picture, or give the mask as INDEX=FILE"
_TASK_ADVICE = "export as CVAT for images 1.1, which names the pictures"


@dataclass(frozen=True)
class Mention:
    """A picture that an annotation file speaks of.

    Attributes:
        name: what the file calls it, with all folders; two mentions of one name are one picture.
        match: the name to look for where it differs from `name`: that of a mask's picture is the mask's without suffix.
        number: the frame number that the file gives beside the name; None without one.
        place: the frame that Perclip made it for; counts before numbers, and `match` before it, where it has one.
        is_wanted: it carries annotations. The others only help to tell what is meant.
    """

    name: str
    match: str | None = None
    number: int | None = None
    place: int | None = None
    is_wanted: bool = True


class FrameFinder:
    """Finds the frames of one video or folder.

    Args:
        length: number of frames; None allows every frame number.
        names: the frames' own names; None where they have none, as in a video.
        where: the video or folder.
    """

    def __init__(self, length: int | None = None, names: Sequence[str] | None = None, where: str | Path = "the video"):
        self._length = length if names is None else len(names)
        self._names = names
        self._where = where
        self._by_form: list[dict[str, list[int]]] = []
        self._by_number: dict[int, list[int]] = {}
        for frame, name in enumerate(names or ()):
            forms = name_forms(printable(name))  # as Perclip's own files have it
            self._by_form = self._by_form or [{} for _ in forms]
            for found, form in zip(self._by_form, forms):
                found.setdefault(form, []).append(frame)
            number = number_in(name)
            if number is not None:
                self._by_number.setdefault(number, []).append(frame)

    def describe(self, frame: int) -> str:
        """The frame's number, with its name where it has one: `frame 0 (00001.jpg)`."""
        return f"frame {frame}" if self._names is None else f"frame {frame} ({self._names[frame]})"

    def find(self, mentions: Sequence[Mention]) -> list[int | None]:
        """The frame of every picture that a file speaks of.

        Args:
            mentions: all of one file, or all masks of one folder.

        Returns:
            For each the frame number, 0-based; None for one that is not wanted, or belongs to another video by its
            folder.

        Raises:
            InputError: a wanted one matches no frame, or two; or two match one frame; the text names both.
        """
        found: list[int | None] = [None] * len(mentions)
        if not any(mention.is_wanted for mention in mentions):
            return found
        ours = self._of_these_frames(mentions)
        certainty: dict[int, int] = {}
        for i in ours:
            mention = mentions[i]
            if mention.place is not None and (self._names is None or mention.match is None):
                if self._length is not None and mention.place >= self._length and mention.is_wanted:
                    self._refuse_missing(mention.name, mention.place)
                found[i], certainty[i] = mention.place, 0
        rest = [i for i in ours if found[i] is None]
        if self._names is None:
            for i in rest:
                found[i] = self._numbered(mentions[i])
        else:
            for i in rest:
                found[i], certainty[i] = self._named(mentions[i])
            missing = [i for i in rest if found[i] is None]
            if missing and len(missing) == len(rest):
                self._count(mentions, missing, found)
            for i in missing:
                if found[i] is None and mentions[i].is_wanted:
                    self._refuse_missing(mentions[i].name)
        self._check_that_none_meet(mentions, found, certainty)
        self._check_one_folder(mentions[i] for i in ours)
        return [frame if mention.is_wanted else None for frame, mention in zip(found, mentions)]

    def find_in_task(self, numbers: Sequence[int], task: range | None, is_video: bool | None) -> dict[int, int]:
        """The frames that a task's frame numbers mean, for a file that names no pictures.

        Args:
            numbers: of CVAT's frames, which count the pictures of the task's data from 0.
            task: all frame numbers of the task; None where the file does not say.
            is_video: whether the task was made from a video; None where the file does not say.

        Returns:
            frame number of the task -> frame, 0-based.

        Raises:
            InputError: a number matches no frame, or may mean two.
        """
        if self._names is None:
            for number in numbers:
                if self._length is not None and number >= self._length:
                    self._refuse_missing(f"frame {number}", number)
            return {number: number for number in numbers}
        names = self._names
        in_reach = all(number < len(names) for number in (*numbers, *(task or ())[-1:]))
        if task is not None and len(task) == len(names) and all(number in task for number in numbers):
            frames = {number: task.index(number) for number in numbers}
        elif in_reach and all(self._by_number.get(frame + 1) == [frame] for frame in range(len(names))):
            # Names that count from 1 are no doubt: CVAT counts from 0.
            frames = {number: number for number in numbers}
        else:
            frames = self._by_numbers({number: f"frame {number}" for number in numbers}, _TASK_ADVICE)
        if not is_video:
            # CVAT sorts pictures letter by letter, so that img10 comes before img2.
            sorted_names = sorted(names)
            for number, frame in frames.items():
                other, name = sorted_names[frame], names[frame]
                if other != name:
                    raise InputError(
                        f"frame {number} may be {other} (as CVAT sorts names) or {name} (as {self._where} is counted): "
                        f"{_TASK_ADVICE}"
                    )
        return frames

    def _of_these_frames(self, mentions: Sequence[Mention]) -> list[int]:
        """The mentions that do not belong to another video by their folder."""
        folders = [self._folders(mention.name)[0] for mention in mentions]
        agreement = {folder: self._agreement(folder) for folder in set(folders)}
        best = max(agreement.values())
        ours = [i for i, folder in enumerate(folders) if not folder or best[0] == 0 or agreement[folder] == best]
        wanted = [mention.name for mention in mentions if mention.is_wanted]
        if wanted and not any(mentions[i].is_wanted for i in ours):
            raise InputError(f"{wanted[0]} is of another folder than {self._where}: give a file of this video")
        return ours

    def _agreement(self, folder: tuple[str, ...]) -> tuple[int, bool]:
        """How many last parts of a folder are those of the frames' place, and whether these are all."""
        best = 0
        where = Path(self._where)
        for home in (where.absolute(), where.resolve()):
            for last in {home.name, home.stem}:
                parts = [comparable(part) for part in (*home.parts[:-1], last)]
                equal = 0
                while equal < min(len(folder), len(parts)) and folder[-1 - equal] == parts[-1 - equal]:
                    equal += 1
                best = max(best, equal)
        return best, best == len(folder)

    def _folders(self, name: str) -> tuple[tuple[str, ...], str]:
        """The folder parts of a mentioned name and the rest, but none where the whole is the name of a frame."""
        if self._names is not None and printable(name) in self._by_form[0]:  # which a backslash may belong to
            return (), printable(name)
        folders, base = split_folders(name)
        return folders, printable(base)

    def _named(self, mention: Mention) -> tuple[int | None, int]:
        """The frame of that name, and how loosely it was looked for; None if there is none."""
        assert self._names is not None
        base = self._folders(mention.match or mention.name)[1]
        forms = name_forms(base)
        for looseness, (by_form, form) in enumerate(zip(self._by_form, forms[:-1] if is_count(base) else forms)):
            frames = by_form.get(form, ())
            if len(frames) > 1 and mention.is_wanted:
                self._refuse_two(mention.name, f"{self._names[frames[0]]} or {self._names[frames[1]]}")
            if frames:
                return (frames[0] if len(frames) == 1 else None), looseness
        return None, 0

    def _numbered(self, mention: Mention) -> int | None:
        """The frame of a video; None for a picture that has none and is not wanted."""
        number = number_in(self._folders(mention.match or mention.name)[1])
        if mention.number is not None:
            if number not in (None, mention.number) and mention.is_wanted:
                self._refuse_two(mention.name, f"frame {number} (by its name) or frame {mention.number} (by its id)")
            number = mention.number
        if not mention.is_wanted:
            return number
        if number is None:
            raise InputError(
                f"{mention.name}: the name must end in its frame number, as in 00040.png or frame_000040.png"
            )
        if self._length is not None and number >= self._length:
            self._refuse_missing(mention.name, number)
        return number

    def _count(self, mentions: Sequence[Mention], which: Sequence[int], found: list[int | None]) -> None:
        """Find by number the mentions of a file that uses none of the frames' names."""
        numbers: dict[int, str] = {}
        for i in sorted(which, key=lambda i: not mentions[i].is_wanted):  # whose names errors should have
            number = number_in(self._folders(mentions[i].match or mentions[i].name)[1])
            if mentions[i].is_wanted and number is None:
                self._refuse_missing(mentions[i].name)
            if mentions[i].is_wanted and mentions[i].number not in (None, number):
                self._refuse_two(mentions[i].name, f"number {number} (by its name) or {mentions[i].number} (by its id)")
            if number is not None:
                numbers.setdefault(number, mentions[i].name)
        frames = self._by_numbers(numbers, _ADVICE)
        for i in which:
            number = number_in(self._folders(mentions[i].match or mentions[i].name)[1])
            found[i] = None if number is None else frames.get(number)
            begun = self._begun_with(mentions[i])
            if mentions[i].is_wanted and begun not in (None, found[i]) and number is not None:
                assert self._names is not None and begun is not None
                by_name, by_number = self._names[begun], self._names[frames[number]]
                self._refuse_two(mentions[i].name, f"{by_name} (by its beginning) or {by_number} (by its number)")

    def _begun_with(self, mention: Mention) -> int | None:
        """The frame whose whole name a mention begins with, as `f1_2.png` does with `f1.jpg`."""
        bare = name_forms(self._folders(mention.match or mention.name)[1])[-2]
        for end in (i for i, letter in enumerate(bare) if letter == "-" and i):
            if frames := self._by_form[-2].get(bare[:end]):
                return frames[0]
        return None

    def _by_numbers(self, numbers: Mapping[int, str], advice: str) -> dict[int, int]:
        """The frames that numbers mean, all in the same way: as those in the frames' names, or as places.

        Args:
            numbers: what to call each number in an error.
            advice: how the error ends.
        """
        assert self._names is not None and self._length is not None
        alone = {number: frames[0] for number, frames in self._by_number.items() if len(frames) == 1}
        named = {number: alone[number] for number in numbers if number in alone}
        counted = {number: number for number in numbers if number < self._length}
        by_name, by_place = len(named) == len(numbers), len(counted) == len(numbers)
        if by_name and by_place:
            for number, frame in named.items():
                if frame != number:
                    either = f"{self._names[frame]} (by its number) or {self._names[number]} (by its place)"
                    self._refuse_two(numbers[number], either, advice)
        if by_name:
            return named
        # Pictures with numbers of their own are not counted anew, but where every one of them is counted.
        if by_place and (not self._by_number or len(numbers) == self._length):
            return counted
        lost = next(number for number in numbers if number not in named)
        self._refuse_missing(numbers[lost], advice=advice)

    def _check_that_none_meet(
        self, mentions: Sequence[Mention], found: Sequence[int | None], looseness: Mapping[int, int]
    ) -> None:
        """Refuse two pictures for one frame, unless only one is wanted and meets the frame's name better."""
        owner: dict[int, int] = {}
        for i in sorted(range(len(mentions)), key=lambda i: (not mentions[i].is_wanted, i)):
            frame = found[i]
            if frame is None or (not mentions[i].is_wanted and frame not in owner):
                continue
            other = owner.setdefault(frame, i)
            is_better = not mentions[i].is_wanted and looseness.get(other, 0) < looseness.get(i, 0)
            if mentions[other].name != mentions[i].name and not is_better:
                raise InputError(
                    f"{mentions[other].name} and {mentions[i].name} are two pictures, and both would be "
                    f"{self.describe(frame)} of {self._where}: keep one, or those of one video"
                )

    def _check_one_folder(self, mentions: Iterable[Mention]) -> None:
        """Refuse annotated pictures of several folders: they are several videos, or might be."""
        first: dict[tuple[str, ...], str] = {}
        for mention in mentions:
            folder = self._folders(mention.name)[0]
            if mention.is_wanted and mention.place is None and folder:
                first.setdefault(folder, mention.name)
        if len(first) > 1:
            one, other, *_ = first.values()
            raise InputError(
                f"{one} and {other} lie in two folders, and either may be {self._where}: keep the pictures of one video"
            )

    def _refuse_missing(self, name: str, number: int | None = None, advice: str = _ADVICE) -> NoReturn:
        if self._names is None:
            assert self._length is not None
            says = "" if number is None else f" is for frame {number}, but"
            raise InputError(f"{name}{says or ' matches nothing:'} {self._where} has the frames 0..{self._length - 1}")
        first, last = self._names[0], self._names[-1]
        raise InputError(f"{name} matches no picture of {self._where} ({first} ... {last}): {advice}")

    def _refuse_two(self, name: str, candidates: str, advice: str = _ADVICE) -> NoReturn:
        raise InputError(f"{name} may be {candidates} of {self._where}: {advice}")
