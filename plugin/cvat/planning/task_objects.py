"""The objects of a sequence of frames, and the keyframes that people have drawn of them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import count

from model.errors import InputError
from model.keyframe import Keyframe
from model.mask_pile import MaskPile
from plugin.cvat.planning.identity import MaskOf
from plugin.cvat.task.drawn import Drawn, Origin
from plugin.cvat.task.layout import Label

MOST_OBJECTS = 255


@dataclass(frozen=True)
class TaskObject:
    """An object in a sequence.

    Attributes:
        group: the group number of what Perclip writes for it; tells objects of a task apart.
        label: what it is.
        drawn: the usable shapes that people have drawn of it, ascending by frame.
    """

    group: int
    label: Label
    drawn: tuple[Drawn, ...]

    @property
    def name(self) -> str:
        """What people call it."""
        return f"{self.label.name} (group {self.group})"

    @cached_property
    def frames(self) -> tuple[int, ...]:
        """On which it is drawn or declared absent, ascending."""
        return tuple(sorted({d.frame for d in self.drawn}))

    def at(self, frame: int) -> list[Drawn]:
        """What is drawn on a frame."""
        return [d for d in self.drawn if d.frame == frame]

    def nearest(self, frame: int) -> Drawn:
        """The drawn shape whose attributes hold on a frame: that of the nearest keyframe, of two the earlier."""
        shown = [d for d in self.drawn if not d.shape.outside]
        return min(shown, key=lambda d: (abs(d.frame - frame), d.frame))

    def digest_at(self, frame: int) -> list[str]:
        """What is drawn on a frame, in a word."""
        return sorted(d.digest for d in self.at(frame))


def known_groups(
    shapes: Sequence[Drawn], members: Mapping[str, int], written: Collection[tuple[int, int]]
) -> list[int]:
    """Group numbers that earlier runs gave to some drawn shapes; behind them those that these shapes only bear.

    Args:
        shapes: of an object.
        members: digest -> group number, as earlier runs found.
        written: as for `plugin.cvat.planning.identity.identify`.
    """
    known = {members[d.digest] for d in shapes if d.digest in members}
    fresh = [d for d in shapes if d.digest not in members]  # what a run has seen has its number for certain
    return sorted(known) + sorted({d.shape.group for d in fresh if (d.job, d.shape.group) in written} - known)


def allot_groups(
    objects: Sequence[Sequence[Drawn]],
    members: Mapping[str, int],
    written: Collection[tuple[int, int]],
    used: Mapping[int, set[Origin]],
    inherited: Mapping[int, int],
    kept: Collection[int] = (),
) -> list[int]:
    """Group numbers for objects: of earlier runs, else that which people gave, else the lowest that are free.

    Free is what nothing on the server bears and the journal does not know; it forgets at undo. CVAT's page does not see
    what the journal alone knows, nor other jobs, so that people may give a number that is another object's.

    Args:
        objects: each the shapes that show it.
        members: digest -> group number, as earlier runs found.
        written: as for `plugin.cvat.planning.identity.identify`.
        used: group number -> whatever of the task bears it, on the server or in the journal.
        inherited: place among the objects -> group number that an earlier run gave it.
        kept: group numbers of objects of earlier runs, wherever they are, that may still be there.
    """
    borne = {group for _, group in written} | set(used) | set(members.values()) | set(kept)
    free = (group for group in count(1) if group not in borne)
    known_of = [known_groups(shapes, members, written) for shapes in objects]
    for place, group in inherited.items():
        known_of[place].append(group)
    spoken_for = {group for known in known_of for group in known}
    groups = [0] * len(objects)
    # What an earlier run has seen has its number for certain; other shapes only bear one.
    for place in sorted(range(len(objects)), key=lambda i: all(d.digest not in members for d in objects[i])):
        shapes, known = objects[place], known_of[place]
        own = {d.origin for d in shapes}
        drawn = sorted({d.shape.group for d in shapes} - {0} - spoken_for - set(kept))
        given = [g for g in drawn if used.get(g, set()) <= own]
        chosen = next((g for g in [*known, *given] if g not in groups), None)
        groups[place] = next(free) if chosen is None else chosen
    return groups


def keyframes_of(
    objects: Sequence[TaskObject], places: Mapping[int, int], size: tuple[int, int], mask_of: MaskOf
) -> list[Keyframe]:
    """The engine's keyframes of all that is drawn.

    Objects are numbered 1, 2, ... in their order. Each shape is whole; of those that overlap the one of higher z_order
    lies above, among equals that of the later object.

    Args:
        objects: at most 255.
        places: frame -> its place in the sequence.
        size: (H, W) of the frames.
        mask_of: gives masks, none of them empty.

    Returns:
        Ascending by place.

    Raises:
        InputError: there are too many objects.
    """
    if len(objects) > MOST_OBJECTS:
        raise InputError(
            f"{len(objects)} objects in one sequence: at most {MOST_OBJECTS} can be carried; choose some with --label"
        )
    shown: dict[int, list[tuple[int, int, Drawn]]] = {}
    for number, obj in enumerate(objects, 1):
        for d in obj.drawn:
            shown.setdefault(d.frame, []).append((d.shape.z_order, number, d))
    keyframes = []
    for frame in sorted(shown):
        pile = MaskPile(size)
        for _, number, d in sorted(shown[frame], key=lambda item: item[:2]):
            if not d.shape.outside:
                pile.add(number, mask_of(d))
        keyframes.append(Keyframe(places[frame], pile.masks(), {number for _, number, _ in shown[frame]}))
    return keyframes
