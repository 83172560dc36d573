"""Whose an annotation is: a person's, Perclip's own, or some other program's."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from plugin.cvat.journal.joint_track import JointTrack, joint_digest, split_track
from plugin.cvat.journal.journal import Item, Journal
from plugin.cvat.task.annotations import AUTO, KINDS, Annotation, JobAnnotations, Tag, Track


@dataclass(frozen=True)
class Ownership:
    """The annotations of a job, sorted by owner.

    Attributes:
        human: drawn or edited by people; never touched. Of joint tracks, the person's keyframes.
        own: written by Perclip and as it was written, each with its item in the journal.
        foreign: written by another program; never touched.
        missing: items of the journal that the server does not have as they were written.
        edited: those of the human ones that Perclip once wrote.
        edited_from: kind and id of each of these -> the objects of which it may have been written.
        highest: the highest id of each kind.
        joint: the tracks in which keyframes of Perclip lie among a person's.
    """

    human: tuple[Annotation, ...]
    own: tuple[tuple[Item, Annotation], ...]
    foreign: tuple[Annotation, ...]
    missing: tuple[Item, ...]
    edited: tuple[Annotation, ...]
    highest: dict[str, int]
    joint: tuple[JointTrack, ...] = ()
    edited_from: Mapping[tuple[str, int], Collection[int]] = field(default_factory=dict)


def sort_by_owner(job: int, annotations: JobAnnotations, journal: Journal) -> Ownership:
    """Says whose each annotation of a job is.

    What came from a program (source "auto") is Perclip's own if it is exactly as the journal has it. Where something
    that Perclip wrote is missing, and something else of its kind has come to its frame since, a person has edited it.

    Args:
        job: its id.
        annotations: as they are on the server now.
        journal: of the task.
    """
    items: dict[tuple[str, str], list[Item]] = defaultdict(list)
    for item in journal.items(job):
        if item.kind in KINDS.values():
            items[item.kind, item.digest].append(item)
    candidates: dict[tuple[str, str], list[Annotation]] = defaultdict(list)
    for annotation in annotations.all:
        if annotation.source == AUTO:
            candidates[KINDS[type(annotation)], annotation.digest].append(annotation)
    own: list[tuple[Item, Annotation]] = []
    missing: list[Item] = []
    for key, noted in items.items():
        pairs, lost = _pair(noted, candidates.get(key, []))
        own += pairs
        missing += lost
    own_ids = {(KINDS[type(a)], a.id) for _, a in own}
    once = [*missing, *journal.lost(job)]
    joint = _joint_tracks(job, annotations, journal)
    restored = journal.restored_tracks(job)
    human: list[Annotation] = []
    edited: list[Annotation] = []
    edited_from: dict[tuple[str, int], Collection[int]] = {}
    foreign: list[Annotation] = []
    for annotation in annotations.all:
        if (KINDS[type(annotation)], annotation.id) in own_ids:
            continue
        if isinstance(annotation, Track) and annotation.id in joint:
            human += [person for person in [joint[annotation.id].person] if person is not None]
            continue
        is_restored = annotation.digest in restored
        before = set() if is_restored else {item.object for item in once if _may_have_been(item, annotation)}
        is_edited = bool(before)
        if is_edited:
            edited.append(annotation)
            edited_from[KINDS[type(annotation)], annotation.id] = before
        (human if annotation.source != AUTO or is_edited else foreign).append(annotation)
    highest: dict[str, int] = defaultdict(int)
    for annotation in annotations.all:
        kind = KINDS[type(annotation)]
        highest[kind] = max(highest[kind], annotation.id)
    return Ownership(
        tuple(human),
        tuple(own),
        tuple(foreign),
        tuple(missing),
        tuple(edited),
        highest,
        tuple(joint.values()),
        edited_from,
    )


def _joint_tracks(job: int, annotations: JobAnnotations, journal: Journal) -> dict[int, JointTrack]:
    """The tracks with keyframes of Perclip among a person's, by id."""
    known = journal.joint_keyframes(job)
    records = {record.digest: record for record in journal.joint_records(job)}
    found = {}
    for track in annotations.tracks:
        joint = split_track(track, known, records.get(joint_digest(track)) if records else None)
        if joint is not None:
            found[track.id] = joint
    return found


def _may_have_been(item: Item, annotation: Annotation) -> bool:
    """Whether an annotation came to the place of an item that is gone, as what a person saves anew does."""
    least = item.server_id if item.server_id > 0 else 1 - item.server_id
    if item.kind != KINDS[type(annotation)] or annotation.id < least or isinstance(annotation, Tag):
        return False
    if isinstance(annotation, Track):
        last = max(k.frame for k in annotation.keyframes)
        is_like = item.object == annotation.group or item.label == annotation.label
        return annotation.frame <= item.last and item.first <= last and is_like
    return annotation.frame == item.first


def _pair(items: Sequence[Item], annotations: Sequence[Annotation]) -> tuple[list[tuple[Item, Annotation]], list[Item]]:
    """Items and annotations of one content: by id, then what came after the item, then shapes that got new ids.

    A tag says too little to be known again by its content: another program may have set the same.
    """
    by_id = {annotation.id: annotation for annotation in annotations}
    pairs = [(item, by_id.pop(item.server_id)) for item in items if item.is_written and item.server_id in by_id]
    paired = {item.id for item, _ in pairs}
    rest = []
    for item in sorted((i for i in items if i.id not in paired), key=lambda i: i.is_written):
        later = sorted(number for number in by_id if number > -item.server_id) if not item.is_written else list(by_id)
        if later and not (item.is_written and item.kind == KINDS[Tag]):
            pairs.append((item, by_id.pop(later[0])))
        else:
            rest.append(item)
    return pairs, rest


def reconcile(owned: Ownership, journal: Journal, *, forget: bool = False) -> None:
    """Brings the journal up to date with what the server has: after a kill, or after people have deleted things.

    Args:
        owned: of a job.
        journal: of the task.
        forget: what was intended and is not there will not come any more; else it may still be on its way.
    """
    with journal.together():
        for item, annotation in owned.own:
            if not item.is_written or item.server_id != annotation.id:
                journal.confirm(item.id, annotation.id)
        for item in owned.missing:
            if item.is_written:
                journal.lose(item.id)
            elif forget:
                journal.forget(item.id)


def gone_for_good(job: int, owned: Ownership, journal: Journal) -> list[Item]:
    """Items of shapes and tracks that people have deleted: nothing on the server may be what has become of them.

    Args:
        job: its id.
        owned: its annotations, reconciled.
        journal: of the task.
    """
    lost = [item for item in journal.lost(job) if item.object]
    return [item for item in lost if not any(_may_have_been(item, annotation) for annotation in owned.edited)]
