"""A task that a program has open: what it is made of, what Perclip has written into it, and its frames."""

from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from plugin.cvat.journal.journal import Journal, journal_path
from plugin.cvat.server.client import Server
from plugin.cvat.task.chunk_store import ChunkStore
from plugin.cvat.task.frames import TaskFrames
from plugin.cvat.task.layout import TaskLayout


class OpenTask:
    """What all who work on one task need of it. A context: what is opened for its frames ends with it.

    Args:
        server: logged in.
        layout: of the task.
        journal: of the task.
        cache: folder for downloaded chunks.
        dry: write nothing.

    Attributes:
        server: as given.
        journal: as given.
        dry: as given.
        layout: with the defaults that the journal keeps, and the jobs that are still worked on.
    """

    def __init__(self, server: Server, layout: TaskLayout, journal: Journal, cache: Path, dry: bool = False):
        self.server, self.journal, self.dry = server, journal, dry
        self.layout = journal.keep_defaults(layout)
        self._stores = {m.path: ChunkStore(server, m, cache) for m in self.layout.media}
        self._sources: list[TaskFrames] = []

    def keep_jobs(self, ids: Container[int]) -> None:
        """Leaves all other jobs out of the layout, neighbours too."""
        jobs, neighbours = (
            tuple(job for job in jobs if job.id in ids) for jobs in (self.layout.jobs, self.layout.neighbours)
        )
        self.layout = replace(self.layout, jobs=jobs, neighbours=neighbours)

    def frames_of(self, numbers: Sequence[int]) -> TaskFrames:
        """Opens frames, by task-relative number, ascending; the place in this list is their index. Threads may call it.

        Raises:
            InputError: they are not of one size.
        """
        source = TaskFrames(self.layout, numbers, self._stores)
        self._sources.append(source)
        return source

    def close(self) -> None:
        """Closes all frames."""
        opened_here: list[TaskFrames | ChunkStore] = [*self._sources, *self._stores.values()]
        for opened in opened_here:
            opened.close()

    def __enter__(self) -> "OpenTask":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


@dataclass(frozen=True)
class Workplace:
    """Where a program works on tasks: the server, and the folders on this machine.

    Attributes:
        server: logged in.
        cache: folder for downloaded chunks.
        journals: folder of the journals of all tasks.
        dry: write nothing.
    """

    server: Server
    cache: Path
    journals: Path
    dry: bool = False

    def journal_path(self, task: int) -> Path:
        """The file of a task's journal."""
        return journal_path(self.journals, self.server.url, task)

    def journal(self, task: int) -> Journal:
        """Opens a task's journal."""
        return Journal(self.journal_path(task), read_only=self.dry)

    @contextmanager
    def open(self, layout: TaskLayout) -> Iterator[OpenTask]:
        """The task of this layout, as long as it is worked on."""
        with (
            self.journal(layout.id) as journal,
            OpenTask(self.server, layout, journal, self.cache, self.dry) as task,
        ):
            yield task
