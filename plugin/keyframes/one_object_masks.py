"""Masks of one object each, which say the same id although they are different objects: they go by their names.

`0=person.png` and `0=helmet.png` are as people draw them two plain masks, which both say object 1. What speaks for one
object alone, a file or a folder, and clashes with another such on a frame, is an object of its own, called after it.
Those of the same name are one object on all frames. The name is the file's, less the frame's number (`person_0012.png`
is `person`), or that of the folder that tells them apart (`person/0012.png`).
"""

import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from model.data.mask_picture import MOST_OBJECTS
from model.errors import InputError
from model.keyframe import Keyframe
from plugin.keyframes.keyframe_set import KeyframeSet

_NUMBERED = re.compile(r"([0-9]{1,9})=(.+)")
_AN_OBJECT = re.compile(r"[^\W\d_]")


def numbered_file(value: str) -> tuple[int, str] | None:
    """The frame and the file of a value `INDEX=FILE`; None where it is none."""
    match = _NUMBERED.fullmatch(value)
    return None if match is None else (int(match[1]), match[2])


def names_of(value: str) -> tuple[str, ...]:
    """What the object of `INDEX=FILE` or of a folder may be called: less its frame's number, as it is, by the folders
    around it, the innermost first."""
    numbered = numbered_file(value)
    path = Path(os.path.abspath(value if numbered is None else numbered[1]))
    whole = path.name if numbered is None else path.stem
    bare = whole if numbered is None else _less_number(whole, numbered[0])
    return bare, whole, *(folder.name for folder in path.parents if folder.name)


def told_apart(sources: Sequence[tuple[str, KeyframeSet]]) -> list[tuple[str, KeyframeSet]]:
    """The same sources, in which masks of one object each that clash are objects of their own.

    Args:
        sources: pairs of a value as of `read_keyframes` and what was read from it.

    Raises:
        InputError: that makes too many objects.
    """
    found = list(sources)
    used = {object_id for _, of_source in sources for object_id in of_source.object_names}
    alone: dict[int, list[int]] = {}  # places of the sources that speak for one object, by its id
    for place, (_, of_source) in enumerate(sources):
        if of_source.is_pictures and len(of_source.object_names) == 1:
            alone.setdefault(next(iter(of_source.object_names)), []).append(place)
    for object_id, places in alone.items():
        frames = [{keyframe.index for keyframe in sources[place][1].keyframes} for place in places]
        if not _clash(frames, [""] * len(places)):
            continue
        names = _names([sources[place][0] for place in places], frames)
        if names is None:
            continue  # the same file twice: refused where they are merged
        ids = {names[0]: object_id}
        known = _first_together(frames, names)
        for place, name in zip(places, names):
            if name not in ids:
                ids[name] = next(i for i in range(1, MOST_OBJECTS + 2) if i not in used)
                used.add(ids[name])
            found[place] = sources[place][0], _renamed(sources[place][1], ids[name], name)
            if name not in known:
                known.add(name)  # one word for each is enough
                found[place] = _with_warning(*found[place], name, sorted(set(names) & set(ids) - {name}))
    if len(used) > MOST_OBJECTS:
        raise InputError(f"{len(used)} objects are too many: at most {MOST_OBJECTS} can be carried in one run")
    return found


def _names(values: Sequence[str], frames: Sequence[set[int]]) -> list[str] | None:
    """A name for the object of each value, none of them twice on a frame; None where there are no such names."""
    choices = [names_of(value) for value in values]
    by_kind = [list(names) for names in zip(*choices)]  # less the number, as it is, the folder, its folder, ...
    usable = [names for names in by_kind if not _clash(frames, names)]
    telling = [names for names in usable if all(_AN_OBJECT.search(name) for name in names)]
    bare, whole = by_kind[:2]
    own = (bare, whole) if all(a != b for a, b in zip(bare, whole)) else (whole, bare)
    # Of a file's own names those that make fewer objects: person_0, person_40 are one, car1, car2 are two.
    files = sorted((names for names in own if names in telling), key=lambda names: len(set(names)))
    return next(iter((*files, *telling, *usable)), None)


def _clash(frames: Sequence[set[int]], names: Sequence[str]) -> bool:
    """Whether two sources of one name speak for the same frame."""
    seen: set[tuple[int, str]] = set()
    for of_source, name in zip(frames, names):
        mine = {(index, name) for index in of_source}
        if seen & mine:
            return True
        seen |= mine
    return False


def _first_together(frames: Sequence[set[int]], names: Sequence[str]) -> set[str]:
    """The names of the sources that speak for the first frame for which several do, or for one before it."""
    count = Counter(index for of_source in frames for index in of_source)
    first = min(index for index, sources in count.items() if sources > 1)
    return {name for of_source, name in zip(frames, names) if min(of_source) <= first}


def _with_warning(value: str, of_source: KeyframeSet, name: str, others: Sequence[str]) -> tuple[str, KeyframeSet]:
    """A source that brings a new object on a frame of its own, with a word on it: a correction may be meant."""
    warning = (
        f"{value} is taken for one more object, {name}, by its name: if it corrects one of the others "
        f"({', '.join(others)}), call the file like it"
    )
    return value, replace(of_source, warnings=(*of_source.warnings, warning))


def _less_number(stem: str, index: int) -> str:
    """A file's name without the number of its frame at the end or the beginning, if anything is left then."""
    number = rf"(0*{index}|[0-9]{{3,}})"
    bare = re.sub(rf"[\s._-]*(?<![0-9]){number}$", "", stem)
    bare = re.sub(rf"^{number}(?![0-9])[\s._-]*", "", bare)
    return bare or stem


def _renamed(of_source: KeyframeSet, object_id: int, name: str) -> KeyframeSet:
    """What was read from a mask of one object, with another id and a name."""
    keyframes = [
        Keyframe(k.index, k.masks.renamed(dict.fromkeys(k.present, object_id)), {object_id})
        for k in of_source.keyframes
    ]
    return replace(of_source, keyframes=tuple(keyframes), object_names={object_id: name})
