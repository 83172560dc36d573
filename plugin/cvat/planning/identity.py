"""Which drawn shapes are one object.

In this order: the keyframes of a track; shapes of one group, and its tracks that follow one another (two that are to be
seen on one frame are two objects: nothing is there twice); what an earlier run found; copies in overlapping jobs; all
shapes of a label that has one per frame; and else those whose masks, propagated to one another, overlap by a sequence
IoU of 0.5 (Propose-Reduce, `model.propose_reduce`). Of a detector's shapes that show one object on one frame, as their
sequences say, the one of the highest score stays.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np

from model.evaluation.metrics import region_similarity
from model.keyframe import Keyframe
from model.mask_pile import MaskPile
from model.propose_reduce.links import Mask
from model.propose_reduce.reduction import LEAST_IOU
from plugin.cvat.engine.engine import Engine
from plugin.cvat.planning.comparison import compare
from plugin.cvat.task.drawn import Drawn

MaskOf = Callable[[Drawn], np.ndarray]
"""Gives the mask of a drawn shape, bool (H, W)."""


@dataclass(frozen=True)
class Association:
    """Two shapes that were taken for one object because their propagated masks overlap: for a person to check.

    Attributes:
        before: the earlier shape.
        behind: the later one.
        iou: of the two sequences, 0.5..1.
    """

    before: Drawn
    behind: Drawn
    iou: float

    @property
    def label(self) -> int:
        """Id of both."""
        return self.before.shape.label

    @property
    def first(self) -> int:
        """Frame of the earlier shape."""
        return self.before.frame

    @property
    def second(self) -> int:
        """Frame of the later one."""
        return self.behind.frame


@dataclass(frozen=True)
class Unmatched:
    """A shape without a name that matched nothing drawn before it, so that it begins an object: for a person to check.

    Attributes:
        drawn: the shape.
        nearest: of the earlier shapes the one whose sequence overlaps most; None: none overlaps.
        iou: of the two sequences, 0..1.
    """

    drawn: Drawn
    nearest: Drawn | None
    iou: float


@dataclass(frozen=True)
class Repeated:
    """A detector's shape that shows an object which another shape of its frame shows: it is no keyframe.

    Attributes:
        drawn: the shape.
        instead: the shape that is.
        score: of the shape's sequence, 0..1.
    """

    drawn: Drawn
    instead: Drawn
    score: float


@dataclass
class Identities:
    """The objects of a sequence.

    Attributes:
        objects: each the shapes that show it, in the order of their frames; in the order in which they appear. Together
            all shapes but those that are repeated.
        associations: those that rest on propagation.
        assumed: objects that are one because no frame has two of their label; each its shapes.
        unmatched: shapes that begin an object because they matched none.
        repeated: a detector's shapes that are left out.
    """

    objects: list[list[Drawn]]
    associations: list[Association] = field(default_factory=list)
    assumed: list[list[Drawn]] = field(default_factory=list)
    unmatched: list[Unmatched] = field(default_factory=list)
    repeated: list[Repeated] = field(default_factory=list)


def identify(
    drawn: Sequence[Drawn],
    members: Mapping[str, int],
    written: Collection[tuple[int, int]],
    places: Mapping[int, int],
    mask_of: MaskOf,
    propagator: Callable[[], tuple[Engine, Sequence[np.ndarray]]],
    advanced: Callable[[int, int], None] = lambda done, total: None,
    seen: Mapping[tuple[int, int], Collection[int]] | None = None,
) -> Identities:
    """Finds the objects of a sequence.

    Args:
        drawn: all of the sequence.
        members: digest -> object, as earlier runs found.
        written: job and group number of the objects of Perclip that `plugin.cvat.planning.group_numbers` finds there;
            these numbers mean the same object in every job.
        places: frame -> its place in the sequence.
        mask_of: gives masks.
        propagator: gives what propagates masks, and the frames of the sequence; asked only where nothing else decides.
        advanced: called with the number of frames that were propagated for that, and of those that there will be.
        seen: job and id of each track -> the frames on which CVAT shows it; None: not known.

    Raises:
        PerclipError: of frames that cannot be read, or more objects at once than can be told apart.
    """
    sets = _Sets(drawn, members)
    _join_named(sets, drawn, members, written, seen or {})
    _join_copies(sets, drawn, mask_of)
    found = Identities([])
    by_label: dict[int, list[int]] = defaultdict(list)
    for i, d in enumerate(drawn):
        by_label[d.shape.label].append(i)
    unclear: list[int] = []
    for indices in by_label.values():
        roots = sorted(sets.roots(indices))
        is_settled = all(drawn[i].digest in members for i in indices)
        if is_settled or all(sets.are_apart(i, j) for i, j in combinations(roots, 2)):
            continue
        if not any(drawn[i].is_proposal for i in indices) and _one_per_frame(sets, drawn, indices):
            for i in indices[1:]:
                sets.join(indices[0], i)
            found.assumed.append(sorted((drawn[i] for i in indices), key=lambda d: d.frame))
        else:
            frames = _frames_to_compare(sets, drawn, indices, members)
            unclear += [i for i in indices if drawn[i].frame in frames]
    if unclear:
        found.associations, found.repeated, nearest = _associate(
            sets, drawn, unclear, members, places, mask_of, propagator, advanced
        )
        found.unmatched = _unmatched(sets, drawn, unclear, members, nearest)
    grouped: dict[int, list[Drawn]] = defaultdict(list)
    left_out = {id(repeated.drawn) for repeated in found.repeated}
    for i, d in enumerate(drawn):
        if id(d) not in left_out:
            grouped[sets.root(i)].append(d)
    objects = [sorted(shapes, key=lambda d: d.frame) for shapes in grouped.values()]
    found.objects = sorted(objects, key=lambda shapes: shapes[0].frame)
    return found


class _Sets:
    """Disjoint sets of drawn shapes, each with its frames, its names in each job, and what earlier runs found it is."""

    def __init__(self, drawn: Sequence[Drawn], members: Mapping[str, int]):
        self._parent = list(range(len(drawn)))
        self.objects = [{members[d.digest]} if d.digest in members else set() for d in drawn]
        self.frames = [{d.frame} for d in drawn]
        self.names: list[dict[int, set[Hashable]]] = [{} for _ in drawn]

    def root(self, i: int) -> int:
        while self._parent[i] != i:
            self._parent[i] = self._parent[self._parent[i]]
            i = self._parent[i]
        return i

    def roots(self, indices: Sequence[int]) -> set[int]:
        return {self.root(i) for i in indices}

    def join(self, i: int, j: int) -> None:
        a, b = sorted((self.root(i), self.root(j)))
        if a != b:
            self._parent[b] = a
            self.frames[a] |= self.frames[b]
            self.objects[a] |= self.objects[b]
            for job, names in self.names[b].items():
                self.names[a].setdefault(job, set()).update(names)

    def are_apart(self, i: int, j: int, copies: bool = False) -> bool:
        """True if the two are known to be different: other names in one job, both on one frame, or found so before."""
        a, b = self.root(i), self.root(j)
        if a != b and self.objects[a] and self.objects[b] and not self.objects[a] & self.objects[b]:
            return True
        named = any(self.names[a][job] != self.names[b][job] for job in self.names[a].keys() & self.names[b].keys())
        return a != b and (named or (not copies and bool(self.frames[a] & self.frames[b])))


def _join_named(
    sets: _Sets,
    drawn: Sequence[Drawn],
    members: Mapping[str, int],
    written: Collection[tuple[int, int]],
    seen: Mapping[tuple[int, int], Collection[int]],
) -> None:
    """Shapes with a common name. Names of tracks and groups hold inside their job, those of Perclip in the task."""
    first: dict[Hashable, int] = {}
    shown: dict[Hashable, dict[int, Collection[int]]] = defaultdict(dict)  # tracks of a group's name in a job
    for i, d in enumerate(drawn):
        label, group = d.shape.label, d.shape.group
        names: list[Hashable] = []
        if d.track is not None:
            names.append((d.job, "track", d.track))
            tracks = shown[label, d.job, group]
            if group and d.track not in tracks:
                here = seen.get((d.job, d.track), ())
                if any(not set(here).isdisjoint(others) for others in tracks.values()):
                    group = 0
                else:
                    tracks[d.track] = here
        if (d.job, group) in written and members.get(d.digest, group) == group:
            names.append((label, "object", group))
        elif group:
            names.append((label, d.job, "group", group))
        if names:
            sets.names[i] = {d.job: {names[0]}}
        if d.digest in members:
            names.append((label, "object", members[d.digest]))
        for name in names:
            sets.join(first.setdefault(name, i), i)


def _join_copies(sets: _Sets, drawn: Sequence[Drawn], mask_of: MaskOf) -> None:
    """Shapes of two overlapping jobs that show the same object on a frame that both have."""
    by_place: dict[tuple[int, int], list[int]] = defaultdict(list)
    for i, d in enumerate(drawn):
        if not d.shape.outside:
            by_place[d.shape.label, d.frame].append(i)
    for indices in by_place.values():
        pairs = [
            (-similarity, i, j)
            for i in indices
            for j in indices
            if drawn[i].job < drawn[j].job
            and (similarity := region_similarity(mask_of(drawn[i]), mask_of(drawn[j]))) >= LEAST_IOU
        ]
        # The likest first: a part of an object has no copy in the other job but its own.
        copied: set[tuple[int, int]] = set()  # shape, and the job in which its copy is
        for _, i, j in sorted(pairs):
            there = {(i, drawn[j].job), (j, drawn[i].job)}
            if not there & copied and not sets.are_apart(i, j, copies=True):
                sets.join(i, j)
                copied |= there


def _one_per_frame(sets: _Sets, drawn: Sequence[Drawn], indices: Sequence[int]) -> bool:
    """True if no frame has two objects of the label, no job two names for it, and no earlier run found two."""
    on_frame: dict[int, set[int]] = defaultdict(set)
    names: dict[int, set[Hashable]] = defaultdict(set)
    for i in indices:
        root = sets.root(i)
        on_frame[drawn[i].frame].add(root)
        if sets.names[root].get(drawn[i].job):
            names[drawn[i].job].add(root)
    before = set().union(*(sets.objects[root] for root in sets.roots(indices)))
    return (
        all(len(roots) == 1 for roots in on_frame.values())
        and all(len(roots) == 1 for roots in names.values())
        and len(before) < 2
    )


def _frames_to_compare(
    sets: _Sets, drawn: Sequence[Drawn], indices: Sequence[int], members: Mapping[str, int]
) -> set[int]:
    """The frames with shapes that may be any object of a label, and those beside them that show each of its sets.

    So a single shape that is new among many that are known costs little.
    """
    jobs = {drawn[i].job for i in indices}
    known = {i for i in indices if drawn[i].digest in members or (drawn[i].is_named and len(jobs) == 1)}
    open_frames = {drawn[i].frame for i in indices if i not in known}
    of_set: dict[int, list[int]] = defaultdict(list)
    for i in indices:
        of_set[sets.root(i)].append(drawn[i].frame)
    beside = set()
    for frame in open_frames:
        for frames in of_set.values():
            beside |= {max((f for f in frames if f < frame), default=frame)}
            beside |= {min((f for f in frames if f > frame), default=frame)}
    return open_frames | beside


def _associate(
    sets: _Sets,
    drawn: Sequence[Drawn],
    indices: Sequence[int],
    members: Mapping[str, int],
    places: Mapping[int, int],
    mask_of: MaskOf,
    propagator: Callable[[], tuple[Engine, Sequence[np.ndarray]]],
    advanced: Callable[[int, int], None],
) -> tuple[list[Association], list[Repeated], dict[int, tuple[int, float]]]:
    """Joins the sets of one label whose propagated masks overlap, but for those that people keep apart.

    All labels are propagated together, as that takes no longer than one of them.

    Returns:
        What was joined; what is left out; and for each shape that was compared with earlier ones the nearest of them,
        and their overlap.
    """
    keyframes: list[Keyframe] = []
    kinds: dict[Mask, int] = {}
    shown: dict[Mask, int] = {}
    detected: dict[Mask, float] = {}
    for frame in sorted({drawn[i].frame for i in indices}):
        here = [i for i in indices if drawn[i].frame == frame and not drawn[i].shape.outside]
        if not here:
            continue
        masks = {i: mask_of(drawn[i]) for i in here}
        local: dict[int, int] = {}
        height, width = masks[here[0]].shape
        pile = MaskPile((height, width))
        for i in sorted(here, key=lambda i: (drawn[i].shape.z_order, -int(masks[i].sum()))):
            number = local.setdefault(sets.root(i), min(255, len(local) + 1))
            pile.add(number, masks[i])
            shown[places[frame], number] = i
            kinds[places[frame], number] = drawn[i].shape.label
            if _is_doubtful(drawn[i], members):
                detected[places[frame], number] = drawn[i].score
        if pile.objects:
            keyframes.append(Keyframe(places[frame], pile.masks()))
    if len(keyframes) < 2:
        return [], [], {}

    def said(before: Mask, behind: Mask) -> bool | None:
        i, j = shown[before], shown[behind]
        if sets.root(i) == sets.root(j):
            return True
        # Two of one frame may still compete for the object, where one of them is a proposal.
        return False if sets.are_apart(i, j, copies=True) else None

    reduction = compare(*propagator(), keyframes, kinds, advanced, detected, said)
    found = []
    for before, behind, iou in sorted(reduction.links, key=lambda link: -link.iou):
        i, j = shown[before], shown[behind]
        if sets.root(i) != sets.root(j) and not sets.are_apart(i, j):
            sets.join(i, j)
            found.append(Association(drawn[i], drawn[j], round(iou, 3)))
    nearest = {shown[link.behind]: (shown[link.before], link.iou) for link in (*reduction.apart, *reduction.links)}
    repeated = [Repeated(drawn[shown[r.mask]], drawn[shown[r.instead]], round(r.score, 3)) for r in reduction.repeats]
    return sorted(found, key=lambda a: (a.first, a.second)), repeated, nearest


def _is_doubtful(d: Drawn, members: Mapping[str, int]) -> bool:
    """Whether a shape may be left out: a detector's, without a name, that no earlier run has used."""
    return d.is_proposal and not d.is_named and d.digest not in members


def _unmatched(
    sets: _Sets,
    drawn: Sequence[Drawn],
    indices: Sequence[int],
    members: Mapping[str, int],
    nearest: Mapping[int, tuple[int, float]],
) -> list[Unmatched]:
    """The shapes that begin an object behind the first one of their label, though nobody said so."""
    begins: dict[int, int] = {}  # frame of each label
    first: dict[int, int] = {}  # shape of each set
    known: set[int] = set()  # sets that people or earlier runs have named
    for i in sorted(range(len(drawn)), key=lambda i: (drawn[i].frame, drawn[i].shape.outside)):
        begins.setdefault(drawn[i].shape.label, drawn[i].frame)
        first.setdefault(sets.root(i), i)
        if drawn[i].is_named or drawn[i].is_proposal or drawn[i].digest in members:
            known.add(sets.root(i))
    found = []
    for i in sorted(set(first.values()) & set(indices)):
        d = drawn[i]
        if d.frame > begins[d.shape.label] and sets.root(i) not in known:
            before, iou = nearest.get(i, (None, 0.0))
            iou = round(iou, 3)
            found.append(Unmatched(d, drawn[before] if before is not None and iou > 0 else None, iou))
    return found
