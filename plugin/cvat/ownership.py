"""Whose an annotation is: a person's, Perclip's own, or some other program's."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from plugin.cvat.annotations import AUTO, KINDS, Annotation, JobAnnotations, Shape, Track
from plugin.cvat.journal import Item, Journal


@dataclass(frozen=True)
class Ownership:
    """The annotations of a job, sorted by owner.

    Attributes:
        human: drawn or edited by people; never touched.
        own: written by Perclip and as it was written, each with its item in the journal.
        foreign: written by another program; never touched.
        missing: items of the journal that the server does not have as they were written.
    """

    human: tuple[Annotation, ...]
    own: tuple[tuple[Item, Annotation], ...]
    foreign: tuple[Annotation, ...]
    missing: tuple[Item, ...]


def sort_by_owner(job: int, annotations: JobAnnotations, journal: Journal) -> Ownership:
    """Says whose each annotation of a job is.

    What came from a program (source "auto") is Perclip's own if it is exactly as the journal has it. If it bears the id
    or the group of something that Perclip has written, but not its content, a person has edited it: it is theirs.

    Args:
        job: its id.
        annotations: as they are on the server now.
        journal: of the task.
    """
    items: dict[tuple[str, str], list[Item]] = defaultdict(list)
    for item in journal.items(job):
        items[item.kind, item.digest].append(item)
    candidates: dict[tuple[str, str], list[Annotation]] = defaultdict(list)
    human: list[Annotation] = []
    for annotation in annotations.all:
        if annotation.source == AUTO:
            candidates[KINDS[type(annotation)], annotation.digest].append(annotation)
        else:
            human.append(annotation)
    own: list[tuple[Item, Annotation]] = []
    missing: list[Item] = []
    for key, noted in items.items():
        pairs, lost = _pair(noted, candidates.pop(key, []))
        own += pairs
        missing += lost
    own_ids = {(KINDS[type(a)], a.id) for _, a in own}
    known = {kind: journal.ids_ever(job, kind) for kind in KINDS.values()}
    objects = journal.objects_ever()
    foreign: list[Annotation] = []
    for annotation in annotations.all:
        kind = KINDS[type(annotation)]
        if annotation.source != AUTO or (kind, annotation.id) in own_ids:
            continue
        in_group = isinstance(annotation, (Shape, Track)) and annotation.group in objects
        (human if annotation.id in known[kind] or in_group else foreign).append(annotation)
    return Ownership(tuple(human), tuple(own), tuple(foreign), tuple(missing))


def _pair(items: Sequence[Item], annotations: Sequence[Annotation]) -> tuple[list[tuple[Item, Annotation]], list[Item]]:
    """Items and annotations of one content: by id first, then in their order."""
    by_id = {annotation.id: annotation for annotation in annotations}
    pairs = [(item, by_id.pop(item.server_id)) for item in items if item.server_id in by_id]
    paired = {item.id for item, _ in pairs}
    rest = [item for item in items if item.id not in paired]
    # Only after what a person copied could there be more annotations than items.
    pairs += zip(rest, by_id.values())
    return pairs, rest[len(by_id) :]


def reconcile(owned: Ownership, journal: Journal) -> None:
    """Brings the journal up to date with what the server has: after a kill, or after people have deleted things."""
    with journal.together():
        for item, annotation in owned.own:
            if not item.is_written or item.server_id != annotation.id:
                journal.confirm(item.id, annotation.id)
        for item in owned.missing:
            if item.kind in KINDS.values():
                (journal.gone if item.is_written else journal.forget)(item.id)
