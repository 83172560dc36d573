"""Which frames of a task a person should look at: the list, and marks in CVAT that point to them."""

from collections.abc import Callable, Collection, Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from model.errors import InputError
from plugin.cvat.journal.journal import Item, Journal
from plugin.cvat.journal.ownership import Ownership
from plugin.cvat.review.object_points import ObjectPoints, point_on
from plugin.cvat.server.client import Server
from plugin.cvat.server.errors import ConnectionLostError, CvatError
from plugin.cvat.server.patience import Patience
from plugin.cvat.settings import BulkSettings
from plugin.cvat.task.annotations import KINDS, Tag
from plugin.cvat.task.layout import Job, TaskLayout
from plugin.cvat.writing.job_writer import Creation, JobWriter
from plugin.digest import digest_of

MaskOn = Callable[[int, int], np.ndarray | None]
"""Gives the mask, bool (H, W), of an object on a frame, by frame and group number; None: it is not known."""

ISSUES = "issues"
"""Kind of the journal's items that are issues in CVAT."""

_APART = 10  # frames between two marks of an object
_MOST_MARKS = 50  # in a job


@dataclass(frozen=True)
class DoubtfulFrame:
    """A frame on which an object may be wrong.

    Attributes:
        frame: task-relative number.
        group: of the object.
        confidence: 0..1.
    """

    frame: int
    group: int
    confidence: float


def doubtful_frames(
    frames: Iterable[DoubtfulFrame], below: float, apart: int = 1, most: int | None = None
) -> list[DoubtfulFrame]:
    """The frames with the lowest confidence, most doubtful first.

    Args:
        frames: to choose from.
        below: only lower confidences are doubtful, 0..1.
        apart: frames of one object are at least this far from each other.
        most: how many at most.
    """
    found: list[DoubtfulFrame] = []
    near: dict[int, list[int]] = {}
    for doubt in sorted((d for d in frames if d.confidence < below), key=lambda d: (d.confidence, d.frame, d.group)):
        if most is not None and len(found) >= most:
            break
        if all(abs(doubt.frame - other) >= apart for other in near.get(doubt.group, ())):
            near.setdefault(doubt.group, []).append(doubt.frame)
            found.append(doubt)
    return found


class Marker:
    """Leaves tags or issues on doubtful frames of a task.

    Args:
        server: logged in.
        journal: of the task.
        layout: of the task.
        settings: what is asked for.

    Raises:
        InputError: the label of tags is missing or takes no tags.
    """

    def __init__(self, server: Server, journal: Journal, layout: TaskLayout, settings: BulkSettings):
        self._server, self._journal, self._layout, self._settings = server, journal, layout, settings
        if settings.review == "tag":
            self._label = self._tag_label()

    def mark(
        self,
        current: Collection[str],
        names: Mapping[int, str],
        failed: MutableMapping[int, str],
        mask_of: MaskOn,
    ) -> int:
        """Marks the doubtful frames of some stretches; marks that no longer point to one of them give way.

        A mark that a person has removed is not made again, until the stretch is propagated anew.

        Args:
            current: digests of the stretches.
            names: of the objects.
            failed: why jobs could not be marked, by id; filled in.
            mask_of: gives masks of this run; where it has none, the server's annotations tell where an object is.

        Returns:
            How many marks were made.

        Raises:
            ConnectionLostError: the server is gone.
        """
        if self._settings.review == "none":
            return 0
        done = self._journal.done_rows()
        stretches = {(frame, group): stretch for stretch, group, frame, _ in done}
        frames = [DoubtfulFrame(f, g, c) for stretch, g, f, c in done if stretch in current]
        elsewhere = {stretch for stretch, *_ in done} - set(current)  # marks there are not this run's business
        kind = KINDS[Tag] if self._settings.review == "tag" else ISSUES
        made = 0
        for job in self._layout.jobs:
            if job.id in failed:
                continue
            here = [doubt for doubt in frames if doubt.frame in job.frames]
            wanted: list[tuple[DoubtfulFrame, str]] = []
            removed = {(item.first, item.stretch) for item in self._journal.lost(job.id) if item.kind == kind}
            for doubt in doubtful_frames(here, self._settings.doubt_below, _APART, _MOST_MARKS):
                stretch = stretches[doubt.frame, doubt.group]
                if (doubt.frame, stretch) not in removed:
                    wanted.append((doubt, stretch))
            try:
                if kind == KINDS[Tag]:
                    made += self._tag(job, wanted, elsewhere)
                else:
                    made += self._raise_issues(job, wanted, names, elsewhere, mask_of)
            except ConnectionLostError:
                raise
            except CvatError as error:
                failed[job.id] = f"doubtful frames could not be marked: {error}"
        return made

    def _tag(
        self,
        job: Job,
        wanted: Sequence[tuple[DoubtfulFrame, str]],
        elsewhere: Collection[str],
    ) -> int:
        worst: dict[int, str] = {}  # one tag for a frame, whatever is doubtful there
        for doubt, stretch in wanted:
            worst.setdefault(doubt.frame, stretch)
        writer = JobWriter(self._server, self._journal, self._layout, job)
        tags = [Creation(Tag(frame, self._label), stretch) for frame, stretch in sorted(worst.items())]

        def missing(owned: Ownership) -> list[Creation]:
            fresh = {item.first for item in owned.missing if item.kind == KINDS[Tag] and item.is_written}
            return [tag for tag in tags if tag.annotation.frame not in fresh]  # a person has just removed these

        return writer.write(missing, lambda item: item.kind == KINDS[Tag] and item.stretch not in elsewhere).created

    def _raise_issues(
        self,
        job: Job,
        wanted: Sequence[tuple[DoubtfulFrame, str]],
        names: Mapping[int, str],
        elsewhere: Collection[str],
        mask_of: MaskOn,
    ) -> int:
        existing = read_issues(self._server, self._journal, job.id)
        doubtful = {(doubt.frame, stretch) for doubt, stretch in wanted}
        noted: set[tuple[int, str]] = set()
        answered: set[int] = set()  # frames with issues of former stretches
        for item in self._journal.items(job.id):
            if item.kind != ISSUES:
                continue
            noted.add((item.first, item.stretch))
            if item.server_id not in existing:
                self._journal.lose(item.id)  # a person has removed it
                continue
            is_current = (item.first, item.stretch) in doubtful or item.stretch in elsewhere
            if not is_current and not remove_issue(self._server, self._journal, item, existing):
                answered.add(item.first)
        new = [
            (doubt, stretch)
            for doubt, stretch in sorted(wanted, key=lambda found: (found[0].frame, found[0].group))
            if (doubt.frame, stretch) not in noted and doubt.frame not in answered
        ]
        known: ObjectPoints | None = None
        for doubt, stretch in new:
            frame = doubt.frame
            mask = mask_of(frame, doubt.group)
            if mask is not None and mask.any():
                point = point_on(mask)
            else:
                if known is None:
                    owned = JobWriter(self._server, self._journal, self._layout, job).read()
                    known = ObjectPoints(job, owned, self._journal.members())
                point = known.at(frame, doubt.group, self._layout.sizes[frame])
            name = names.get(doubt.group, "an object")
            message = f"Perclip is not sure of {name} on frame {frame}: confidence {doubt.confidence:.2f}"
            item = self._journal.intend([Item(job.id, ISSUES, digest_of(message), frame, frame, 0, 0, stretch)])[0]
            body = {"job": job.id, "frame": frame, "position": list(point), "message": message}
            self._post(job, item, body)
        return len(new)

    def _post(self, job: Job, item: Item, body: Mapping[str, Any]) -> None:
        """Makes an issue, once."""
        patience = Patience(self._server.patience, self._server.pause)
        while True:
            try:
                self._journal.confirm(
                    item.id, self._server.post("/api/issues", body, f"an issue in job {job.id}")["id"]
                )
                return
            except ConnectionLostError as error:
                patience.wait_or_raise(error)
                read_issues(self._server, self._journal, job.id)
                if any(i.id == item.id and i.is_written for i in self._journal.items(job.id)):
                    return
                item = self._journal.intend([item])[0]

    def _tag_label(self) -> int:
        name = self._settings.review_label
        labels = {label.name: label for label in self._layout.labels.values()}
        fitting = [n for n, label in labels.items() if label.kind in ("tag", "any")]
        if name is None and (tags := [n for n in fitting if labels[n].kind == "tag"]):
            name = tags[0]
        if name not in fitting:
            what = "no label of type tag" if name is None else f"no label {name!r} that takes tags"
            raise InputError(
                f"--review tag: task {self._layout.id} has {what}: make one in CVAT, or name one of "
                f"{', '.join(fitting) or 'none'} with --review-label"
            )
        return labels[name].id


def read_issues(server: Server, journal: Journal, job: int) -> dict[int, dict[str, Any]]:
    """The issues of a job by id; those that were about to be made when a run was killed are known again, or forgotten.

    Raises:
        CvatError: the server refuses.
    """
    existing = {issue["id"]: issue for issue in server.get_all("/api/issues", f"the issues of job {job}", job_id=job)}
    known = {item.server_id for item in journal.items(job) if item.kind == ISSUES}
    for item in journal.items(job):
        if item.kind != ISSUES or item.is_written:
            continue
        found = None
        for number, issue in existing.items():
            if number not in known and issue["frame"] == item.first and found is None:
                comments = list(server.get_all("/api/comments", f"issue {number}", issue_id=number))
                if any(digest_of(comment["message"]) == item.digest for comment in comments):
                    found = number
        if found is None:
            journal.forget(item.id)
        else:
            journal.confirm(item.id, found)
    return existing


def remove_issue(server: Server, journal: Journal, item: Item, existing: dict[int, dict[str, Any]]) -> bool:
    """Removes an issue that nobody has answered or resolved; says whether it is gone."""
    issue = existing.get(item.server_id)
    if issue is not None:
        comments = issue.get("comments")
        count = comments.get("count", 1) if isinstance(comments, dict) else len(comments or [0])
        if issue.get("resolved") or count > 1:
            return False
        server.delete(f"/api/issues/{item.server_id}", f"issue {item.server_id}")
    journal.withdraw(item.id)
    return True
