"""Writes into one job: reads it again, leaves out what people have done meanwhile, creates, counts, deletes its own."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from plugin.cvat.journal.journal import Item, Journal
from plugin.cvat.journal.ownership import Ownership, reconcile, sort_by_owner
from plugin.cvat.server.client import Server
from plugin.cvat.server.errors import ConnectionLostError, CvatError
from plugin.cvat.server.patience import Patience
from plugin.cvat.task.annotations import KINDS, Annotation, JobAnnotations, Track, parse_annotations
from plugin.cvat.task.layout import Job, TaskLayout
from plugin.cvat.writing.written_shapes import problem_of_annotation

_MOST_AT_ONCE = 2000  # annotations in one request


@dataclass(frozen=True)
class Creation:
    """Something to be created.

    Attributes:
        annotation: that it is.
        stretch: digest of the stretch it belongs to; "" for tags.
        group: of its object; 0 for tags.
    """

    annotation: Annotation
    stretch: str = ""
    group: int = 0


@dataclass
class Written:
    """What came of writing.

    Attributes:
        created: annotations that were not there before.
        kept: those that were there as they should be.
        deleted: Perclip's own that gave way.
        refused: one sentence for each that must not be sent.
    """

    created: int = 0
    kept: int = 0
    deleted: int = 0
    refused: tuple[str, ...] = ()

    def __add__(self, other: "Written") -> "Written":
        return Written(
            self.created + other.created,
            self.kept + other.kept,
            self.deleted + other.deleted,
            (*self.refused, *other.refused),
        )


class JobWriter:
    """Writes into one job of a task. Serves one thread.

    Args:
        server: logged in.
        journal: of the task.
        layout: of the task.
        job: to write into.
        dry: change nothing on the server, only count.
    """

    def __init__(self, server: Server, journal: Journal, layout: TaskLayout, job: Job, dry: bool = False):
        self._dry = dry
        self._counted: set[int] = set()  # items that a dry run would have deleted
        self._server, self._journal, self._layout, self._job = server, journal, layout, job
        self._path = f"/api/jobs/{job.id}/annotations/"

    def send(self, action: str, body: Mapping[str, object]) -> Any:
        """Has the job's annotations changed; gives the server's answer. Only deleting may be sent twice.

        Args:
            action: "create", "update" or "delete".
            body: the annotations.

        Raises:
            CvatError: the server refuses, or cannot be reached.
        """
        what = f"a change of job {self._job.id}"
        return self._server.patch(self._path, body, repeatable=action == "delete", what=what, action=action)

    def read(self) -> Ownership:
        """The job's annotations as they are now, by owner; raises CvatError."""
        return sort_by_owner(self._job.id, self.read_all(), self._journal)

    def read_all(self) -> JobAnnotations:
        """The job's annotations as they are now; raises CvatError."""
        try:
            content = self._server.get(self._path, f"the annotations of job {self._job.id}")
        except CvatError as error:
            if error.status == 500:
                raise CvatError(
                    f"the server cannot read the annotations of job {self._job.id} (status 500): one of them may be "
                    "damaged; open the job in CVAT, or restore a backup",
                    500,
                ) from None
            raise
        return parse_annotations(content, f"job {self._job.id}", self._layout.labels)

    def write(
        self, creations_for: Callable[[Ownership], Sequence[Creation]], is_obsolete: Callable[[Item], bool]
    ) -> Written:
        """Creates annotations and deletes those of Perclip that they replace.

        Args:
            creations_for: what to create, given what is in the job now.
            is_obsolete: whether an item of Perclip's own, that is not created anew, is to be deleted.

        Raises:
            CvatError: the server refused, kept fewer than it was sent, or is gone. What was written is in the journal.
        """
        result = Written()
        owned = self.read()
        reconcile(owned, self._journal)
        wanted = []
        for creation in creations_for(owned):
            problem = problem_of_annotation(creation.annotation, self._layout, self._job)
            if problem is None:
                wanted.append(creation)
            else:
                where = f"job {self._job.id}, frame {creation.annotation.frame}"
                result.refused = (*result.refused, f"{where}: not written, {problem}")
        present: dict[tuple[str, str], list[Item]] = {}
        for item, _ in owned.own:
            present.setdefault((item.kind, item.digest), []).append(item)
        kept: set[int] = set()
        new: list[Creation] = []
        for creation in wanted:
            same = present.get((KINDS[type(creation.annotation)], creation.annotation.digest))
            if same:
                item = same.pop()
                kept.add(item.id)
                if item.stretch != creation.stretch:
                    self._journal.confirm(item.id, item.server_id, creation.stretch)
            else:
                new.append(creation)
        result.kept = len(kept)
        if self._dry:
            result.created = len(new)
            result.deleted = self._count(owned, lambda item: item.id not in kept and is_obsolete(item))
            return result
        for start in range(0, len(new), _MOST_AT_ONCE):
            part = new[start : start + _MOST_AT_ONCE]
            kept |= self._create(part, owned.highest)
            result.created += len(part)
        result.deleted = self.delete(lambda item: item.id not in kept and is_obsolete(item))
        return result

    def delete(self, is_obsolete: Callable[[Item], bool], doubles: bool = False) -> int:
        """Deletes those of Perclip's own annotations that nobody has touched; gives their number.

        Args:
            is_obsolete: which.
            doubles: also what is there more than once, as when a request that was taken for lost is carried out late.
        """
        noted = [item for item in self._journal.items(self._job.id) if item.kind in KINDS.values()]
        if not any(is_obsolete(item) for item in noted) and not (doubles and _doubles(noted)):
            return 0
        owned = self.read()
        if self._dry:
            return self._count(owned, is_obsolete)
        reconcile(owned, self._journal)
        double = _doubles([item for item, _ in owned.own]) if doubles else set()
        found = [(item, annotation) for item, annotation in owned.own if item.id in double or is_obsolete(item)]
        for start in range(0, len(found), _MOST_AT_ONCE):
            part = found[start : start + _MOST_AT_ONCE]
            self._delete([annotation for _, annotation in part])
            with self._journal.together():
                for item, _ in part:
                    self._journal.withdraw(item.id)
        return len(found)

    def _count(self, owned: Ownership, is_obsolete: Callable[[Item], bool]) -> int:
        """How many more a dry run would have deleted."""
        found = {item.id for item, _ in owned.own if is_obsolete(item)} - self._counted
        self._counted |= found
        return len(found)

    def _delete(self, annotations: Sequence[Annotation]) -> None:
        body = _body([annotation.raw for annotation in annotations], annotations)
        self.send("delete", body)

    def _create(self, creations: Sequence[Creation], highest: Mapping[str, int]) -> set[int]:
        """Creates annotations; gives the numbers of their items in the journal.

        A request without an answer may still be carried out, even much later: it is sent again under new items, and the
        old ones stay to know whatever comes of it.
        """
        todo = list(creations)
        made: set[int] = set()
        patience = Patience(self._server.patience, self._server.pause)
        while todo:
            noted = self._journal.intend(self._item(c, highest) for c in todo)
            annotations = [c.annotation for c in todo]
            try:
                body = _body([a.to_json(self._layout.labels[a.label]) for a in annotations], annotations)
                reply = self.send("create", body)
                came = parse_annotations(reply, f"job {self._job.id}", self._layout.labels).all
                self._confirm(noted, came)
                return made | {item.id for item in noted}
            except ConnectionLostError as error:
                patience.wait_or_raise(error)
                there = self._found(noted)
                made |= there
                todo = [c for item, c in zip(noted, todo) if item.id not in there]
            except CvatError as error:
                if 400 <= error.status < 500:
                    with self._journal.together():
                        for item in noted:
                            self._journal.forget(item.id)
                raise
        return made

    def _confirm(self, items: Sequence[Item], came: Sequence[Annotation]) -> None:
        """Notes what has come into being; raises CvatError where that is not what was sent."""
        by_digest: dict[tuple[str, str], list[Annotation]] = {}
        for annotation in came:
            by_digest.setdefault((KINDS[type(annotation)], annotation.digest), []).append(annotation)
        rest = []
        with self._journal.together():
            for item in items:
                same = by_digest.get((item.kind, item.digest))
                if same:
                    self._journal.confirm(item.id, same.pop(0).id)
                else:
                    rest.append(item)
            others = [annotation for same in by_digest.values() for annotation in same]
            if len(others) == len(rest):
                # The server has changed something about them, a rounding perhaps: what it has is what we wrote.
                for item, annotation in zip(rest, others):
                    self._journal.confirm(item.id, annotation.id, digest=annotation.digest)
                return
        if others:
            self._delete(others)  # nobody could tell later that these are Perclip's
        with self._journal.together():
            for item in rest:
                self._journal.forget(item.id)
        raise CvatError(
            f"job {self._job.id}: the server kept {len(items) - len(rest)} of {len(items)} annotations that it was "
            f"sent; the first one missing is on frame {rest[0].first}: was the job changed meanwhile?"
        )

    def _found(self, items: Sequence[Item]) -> set[int]:
        """After a lost connection: which of the items the server has; they are noted."""
        there = {item.id: annotation for item, annotation in self.read().own}
        with self._journal.together():
            for item in items:
                if item.id in there:
                    self._journal.confirm(item.id, there[item.id].id)
        return {item.id for item in items if item.id in there}

    def _item(self, creation: Creation, highest: Mapping[str, int]) -> Item:
        annotation = creation.annotation
        last = annotation.frame
        if isinstance(annotation, Track):
            last = max(k.frame for k in annotation.keyframes if not k.outside)
        return Item(
            job=self._job.id,
            kind=KINDS[type(annotation)],
            digest=annotation.digest,
            first=annotation.frame,
            last=last,
            label=annotation.label,
            object=creation.group,
            stretch=creation.stretch,
            server_id=-highest[KINDS[type(annotation)]],
        )


def _doubles(items: Sequence[Item]) -> set[int]:
    """Items that are there more than once, but for the first of each."""
    first: dict[tuple[str, str, int], int] = {}
    return {i.id for i in items if first.setdefault((i.kind, i.digest, i.object), i.id) != i.id}


def _body(contents: Sequence[object], annotations: Sequence[Annotation]) -> dict[str, object]:
    """The body of a PATCH with some annotations."""
    body: dict[str, list[object]] = {"shapes": [], "tracks": [], "tags": []}
    for content, annotation in zip(contents, annotations):
        body[KINDS[type(annotation)]].append(content)
    return {"version": 0, **body}
