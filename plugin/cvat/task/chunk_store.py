"""Chunks of a task's images, downloaded once: kept on disk, fetched ahead while others are decoded."""

import hashlib
import os
import tempfile
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from model.program import user_folders
from model.program.atomic_write import write_error
from model.program.bounded_folder import KeptFile, drop_oldest, files_in
from plugin.cvat.server.client import Server
from plugin.cvat.server.errors import CvatError
from plugin.cvat.task.layout import Media


def cache_folder() -> Path:
    """Where chunks are kept unless somebody says otherwise."""
    return user_folders.cache_folder("chunks")


def chunks_in(folder: Path) -> list[KeptFile]:
    """The chunks that are kept."""
    return files_in(folder, "*/*")


def prune(folder: Path, budget: int) -> None:
    """Removes the chunks that were used longest ago until the rest fits into a budget in bytes."""
    drop_oldest(chunks_in(folder), budget)


class ChunkStore:
    """The chunks of one media, as files. May be used by several threads.

    Args:
        server: logged in.
        media: whose chunks.
        folder: of all caches.
    """

    def __init__(self, server: Server, media: Media, folder: Path):
        self._server, self._media = server, media
        name = f"{server.url} {media.path} {media.version} {media.frames} {media.chunk_size}"
        self._folder = folder / hashlib.sha256(name.encode()).hexdigest()[:24]
        self._ahead = ThreadPoolExecutor(1, thread_name_prefix="chunks")
        self._coming: dict[int, Future[Path]] = {}
        self._last: int | None = None
        self._lock = threading.Lock()

    def path(self, chunk: int) -> Path:
        """The file of a chunk; the next one in the same direction is fetched in the background.

        Raises:
            CvatError: the server does not give it.
            InputError: it cannot be kept on disk.
        """
        with self._lock:
            coming = self._coming.pop(chunk, None)
            path = coming.result() if coming is not None else self._fetch(chunk)
            step = -1 if self._last is not None and chunk < self._last else 1
            following = chunk + step
            if chunk != self._last and 0 <= following < self._media.chunks and following not in self._coming:
                self._coming[following] = self._ahead.submit(self._fetch, following)
            self._last = chunk
            return path

    def forget(self, chunk: int) -> None:
        """Removes a chunk that turned out to be damaged, so that it is downloaded anew."""
        with suppress(OSError):
            self._file(chunk).unlink()

    def close(self) -> None:
        """Waits for what is being fetched."""
        self._ahead.shutdown(cancel_futures=True)
        self._coming.clear()

    def _file(self, chunk: int) -> Path:
        return self._folder / f"{chunk}.chunk"

    def _fetch(self, chunk: int) -> Path:
        path = self._file(chunk)
        if path.exists():
            with suppress(OSError):  # a cache of somebody else's serves as well
                path.touch()
            return path
        frames = self._media.chunk_frames(chunk)
        what = f"frames {frames[0]} to {frames[-1]}"
        try:
            # Compressed chunks of large videos have half the size.
            query = {"type": "chunk", self._media.parameter: chunk, "quality": "original"}
            content = self._server.get_bytes(self._media.path, what, **query)
        except CvatError as error:
            raise CvatError(f"{what} cannot be had: {error}", error.status) from None
        # Other runs may fetch the same chunk at the same time: each writes a file of its own.
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as file:
                try:
                    file.write(content)
                    file.close()
                    os.replace(file.name, path)
                except BaseException:
                    os.unlink(file.name)
                    raise
        except OSError as error:
            raise write_error(path, error) from error
        return path
