"""Takes back what Perclip has written into a task, as far as nobody has touched it since."""

from dataclasses import dataclass

from plugin.cvat.journal.journal import Journal
from plugin.cvat.journal.ownership import gone_for_good, reconcile
from plugin.cvat.review.doubts import ISSUES, read_issues, remove_issue
from plugin.cvat.server.client import Server
from plugin.cvat.task.layout import TaskLayout
from plugin.cvat.writing.job_writer import JobWriter
from plugin.cvat.writing.joint_writer import JointWriter


@dataclass(frozen=True)
class Undone:
    """What was taken back.

    Attributes:
        deleted: annotations and issues.
        kept: that people have edited, answered or resolved.
        restored: drawn tracks that have the person's keyframes alone again.
    """

    deleted: int
    kept: int
    restored: int = 0

    def __add__(self, other: "Undone") -> "Undone":
        return Undone(self.deleted + other.deleted, self.kept + other.kept, self.restored + other.restored)


def undo_task(server: Server, journal: Journal, layout: TaskLayout, dry: bool = False) -> Undone:
    """Deletes all that is Perclip's own in the jobs of a layout, and takes it out of drawn tracks.

    Args:
        server: logged in.
        journal: of the task.
        layout: of the task.
        dry: only count.

    Raises:
        CvatError: the server refuses; what is deleted so far stays deleted, and a further call goes on.
    """
    layout = journal.keep_defaults(layout)
    deleted = kept = restored = 0
    for job in layout.jobs:
        writer = JobWriter(server, journal, layout, job, dry)
        owned = writer.read()
        reconcile(owned, journal, forget=True)
        kept += len(owned.edited)
        for item in () if dry else gone_for_good(job.id, owned, journal):
            journal.forget(item.id)  # nothing bears its group number any more
        deleted += writer.delete(lambda item: True)
        restored += JointWriter(server, journal, layout, job, dry).undo()
        if any(item.kind == ISSUES for item in journal.items(job.id)):
            existing = read_issues(server, journal, job.id)
            for item in [item for item in journal.items(job.id) if item.kind == ISSUES]:
                gone = item.server_id in existing if dry else remove_issue(server, journal, item, existing)
                deleted, kept = deleted + gone, kept + (not gone)
    if not dry:
        with journal.together():
            journal.undo_all()
    return Undone(deleted, kept, restored)
