"""What Perclip has written into a task and how far it has come: an SQLite file per server and task.

Whatever is to be created is noted before it is sent, and confirmed after the server has answered. So at any moment the
journal together with the server's annotations tells what is Perclip's own.
"""

import fcntl
import json
import re
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import urlsplit

from model.errors import InputError
from model.learning.record import LearningRecord
from model.program.user_folders import state_folder
from plugin.cvat.journal.joint_track import JointRecord
from plugin.cvat.task.layout import TaskLayout

_FORMAT = "1"
_TABLES = """
CREATE TABLE fact (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE item (
    id INTEGER PRIMARY KEY, job INTEGER NOT NULL, kind TEXT NOT NULL, server_id INTEGER NOT NULL, digest TEXT NOT NULL,
    first INTEGER NOT NULL, last INTEGER NOT NULL, label INTEGER NOT NULL, object INTEGER NOT NULL,
    stretch TEXT NOT NULL, state TEXT NOT NULL);
CREATE INDEX item_of_job ON item (job, state);
CREATE TABLE done (
    stretch TEXT NOT NULL, frame INTEGER NOT NULL, object INTEGER NOT NULL, confidence REAL NOT NULL,
    PRIMARY KEY (stretch, frame)) WITHOUT ROWID;
CREATE INDEX done_of_object ON done (object, frame);
CREATE TABLE member (digest TEXT PRIMARY KEY, object INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE plan (digest TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;
"""
# Added to journals of earlier versions, which are of the same format but for these.
_LATER_TABLES = """
CREATE TABLE IF NOT EXISTS joint (
    id INTEGER PRIMARY KEY, job INTEGER NOT NULL, object INTEGER NOT NULL, digest TEXT NOT NULL,
    highest INTEGER NOT NULL, original TEXT NOT NULL, state TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS joint_keyframe (
    job INTEGER NOT NULL, digest TEXT NOT NULL, object INTEGER NOT NULL,
    PRIMARY KEY (job, digest, object)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS learning (id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS made_with (stretch TEXT PRIMARY KEY, weights TEXT NOT NULL) WITHOUT ROWID
"""


@dataclass(frozen=True)
class Item:
    """Something that Perclip has created, or is about to.

    Attributes:
        job: where.
        kind: "shapes", "tracks", "tags" or "issues".
        digest: of its content.
        first: its first frame.
        last: its last frame; of a shape the same.
        label: its id.
        object: group number of the object it shows; 0 for tags and issues.
        stretch: digest of the stretch it belongs to.
        server_id: on the server; while it is only intended, minus the highest id that was there before.
        is_written: the server has it, as far as is known.
        id: in the journal.
    """

    job: int
    kind: str
    digest: str
    first: int
    last: int
    label: int
    object: int
    stretch: str
    server_id: int = 0
    is_written: bool = False
    id: int = 0


@dataclass(frozen=True)
class Done:
    """A frame of a stretch that is finished.

    Attributes:
        stretch: its digest.
        frame: task-relative number.
        object: group number.
        confidence: 0..1.
    """

    stretch: str
    frame: int
    object: int
    confidence: float


def journal_folder() -> Path:
    """Where journals are kept unless somebody says otherwise."""
    return state_folder("journals")


def journal_path(folder: Path, url: str, task: int) -> Path:
    """The file of a task of a server."""
    return folder / server_name(url) / f"task-{task}.sqlite"


def server_name(url: str) -> str:
    """A name of a server for folders."""
    parts = urlsplit(url)
    port = "" if parts.port in (None, {"http": 80, "https": 443}.get(parts.scheme)) else f"_{parts.port}"
    return re.sub(r"[^a-z0-9.-]+", "_", f"{parts.hostname or ''}{port}{parts.path}".lower())


class Journal:
    """The journal of one task; one process at a time has it open. May be used by several threads, one after the other.

    Args:
        path: of the file; made where it is missing.
        read_only: leave no trace: where there is no file yet, it is kept in memory. Writes are lost.

    Raises:
        InputError: another run has it open, it cannot be written, or it is none or of another version.
    """

    def __init__(self, path: Path, read_only: bool = False):
        self._path = path
        self._lock: TextIO | None = None
        place = str(path)
        try:
            if read_only:
                place = ":memory:"
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                self._lock = path.with_suffix(".lock").open("w")
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if self._lock is not None:
                self._lock.close()
            raise InputError(f"another run of Perclip works on this task ({path}): wait for its end") from None
        except OSError as error:
            raise InputError(f"the journal {path} cannot be written ({error.strerror}): choose --journal") from None
        try:
            self._base = sqlite3.connect(place, check_same_thread=False, isolation_level=None)
            if read_only and path.exists():
                self._copy(path)
            self._prepare()
        except sqlite3.Error as error:
            raise self._broken(error) from None

    def close(self) -> None:
        """Closes the file."""
        self._base.close()
        if self._lock is not None:
            self._lock.close()

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @contextmanager
    def together(self) -> Iterator[None]:
        """All changes inside happen, or none."""
        self._run("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._base.rollback()
            raise
        self._run("COMMIT")

    def keep_defaults(self, layout: TaskLayout) -> TaskLayout:
        """The layout with the attributes' defaults of its first run: by them it is told what nobody has set.

        An owner may change a default later. What was written before must not look edited then.
        """
        row = self._run("SELECT value FROM fact WHERE name = 'defaults'").fetchone()
        known = {int(i): value for i, value in json.loads(row[0]).items()} if row else {}
        labels = {
            i: replace(label, defaults={**label.defaults, **{a: v for a, v in known.items() if a in label.defaults}})
            for i, label in layout.labels.items()
        }
        known |= {a: value for label in labels.values() for a, value in label.defaults.items()}
        self._run("INSERT OR REPLACE INTO fact VALUES ('defaults', ?)", (json.dumps(known),))
        return replace(layout, labels=labels)

    def items(self, job: int | None = None) -> list[Item]:
        """What is written or intended; of one job or of all, in the order in which it was created."""
        where, values = ("", ()) if job is None else (" AND job = ?", (job,))
        rows = self._run(f"SELECT {_ITEM} FROM item WHERE state IN ('intended', 'written'){where} ORDER BY id", values)
        return [_item(row) for row in rows]

    def lost(self, job: int) -> list[Item]:
        """What was written into a job and is no more, though Perclip has not deleted it."""
        rows = self._run(f"SELECT {_ITEM} FROM item WHERE state = 'lost' AND job = ? ORDER BY id", (job,))
        return [_item(row) for row in rows]

    def objects_ever(self) -> set[tuple[int, int]]:
        """Job and group number of all that anything was ever written for."""
        return {tuple(row) for row in self._run("SELECT DISTINCT job, object FROM item WHERE object > 0")}

    def intend(self, items: Iterable[Item]) -> list[Item]:
        """Notes what is about to be created."""
        noted = []
        with self.together():
            for item in items:
                row = (item.job, item.kind, item.server_id, item.digest, item.first, item.last, item.label, item.object)
                made = self._run(
                    "INSERT INTO item (job, kind, server_id, digest, first, last, label, object, stretch, state) "
                    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 'intended')",
                    (*row, item.stretch),
                )
                noted.append(Item(**{**item.__dict__, "id": made.lastrowid}))
        return noted

    def confirm(self, item: int, server_id: int, stretch: str | None = None, digest: str | None = None) -> None:
        """The server has an item under this id; it may belong to another stretch or have another digest now."""
        self._run(
            "UPDATE item SET state = 'written', server_id = ?, stretch = coalesce(?, stretch), "
            "digest = coalesce(?, digest) WHERE id = ?",
            (server_id, stretch, digest, item),
        )

    def forget(self, item: int) -> None:
        """An item that was never created."""
        self._run("DELETE FROM item WHERE id = ?", (item,))

    def lose(self, item: int) -> None:
        """The server no longer has an item as it was written: a person has deleted it or made it theirs."""
        self._run("UPDATE item SET state = 'lost' WHERE id = ?", (item,))

    def withdraw(self, item: int) -> None:
        """Perclip itself has deleted an item."""
        self._run("UPDATE item SET state = 'withdrawn' WHERE id = ?", (item,))

    def finish(self, done: Iterable[Done]) -> None:
        """Frames of stretches are finished; what other stretches of the object had there is no more."""
        for d in done:
            others = (d.object, d.frame, d.stretch)
            self._run("DELETE FROM done WHERE object = ? AND frame = ? AND stretch != ?", others)
            row = (d.stretch, d.frame, d.object, d.confidence)
            self._run("INSERT OR REPLACE INTO done VALUES (?, ?, ?, ?)", row)

    def stretches_ever(self) -> set[str]:
        """Digests of the stretches that anything but marks was written for."""
        return {row[0] for row in self._run("SELECT DISTINCT stretch FROM item WHERE object > 0")}

    def done(self) -> dict[str, dict[int, float]]:
        """Stretch -> finished frame -> confidence."""
        found: dict[str, dict[int, float]] = {}
        for stretch, _, frame, confidence in self.done_rows():
            found.setdefault(stretch, {})[frame] = confidence
        return found

    def done_rows(self) -> list[tuple[str, int, int, float]]:
        """Stretch, object, frame and confidence of all finished frames."""
        return self._run("SELECT stretch, object, frame, confidence FROM done ORDER BY frame, object").fetchall()

    def drawn_anew(self, obj: int, frames: Iterable[int]) -> None:
        """People have drawn an object on these frames: no stretch has them any more."""
        for frame in frames:
            self._run("DELETE FROM done WHERE object = ? AND frame = ?", (obj, frame))

    def jobs(self) -> set[int]:
        """Jobs in which there is, or was, something of Perclip's."""
        rows = self._run(
            "SELECT job FROM item WHERE state != 'withdrawn' UNION SELECT job FROM joint WHERE state != 'restored'"
        )
        return {row[0] for row in rows}

    def joint_records(self, job: int) -> list[JointRecord]:
        """The joint tracks that were sent to a job, in the order in which they were noted."""
        rows = self._run(f"SELECT {_JOINT} FROM joint WHERE state != 'restored' AND job = ? ORDER BY id", (job,))
        return [
            JointRecord(job, obj, digest, highest, json.loads(original), state == "written", number)
            for number, obj, digest, highest, original, state in rows
        ]

    def joint_keyframes(self, job: int) -> dict[str, list[int]]:
        """Digests of all keyframes that were ever sent within joint tracks of a job -> the objects that they show."""
        found: dict[str, list[int]] = {}
        for digest, obj in self._run("SELECT digest, object FROM joint_keyframe WHERE job = ?", (job,)):
            found.setdefault(digest, []).append(obj)
        return found

    def joint_objects(self) -> set[int]:
        """Group numbers of the objects that have, or had, a joint track."""
        return {row[0] for row in self._run("SELECT DISTINCT object FROM joint WHERE state != 'restored'")}

    def restored_tracks(self, job: int) -> set[str]:
        """Digests of the drawn tracks that were put back."""
        return {row[0] for row in self._run("SELECT digest FROM joint WHERE state = 'restored' AND job = ?", (job,))}

    def intend_joint(self, record: JointRecord, keyframes: Iterable[str]) -> JointRecord:
        """Notes a joint track that is about to be sent, and the digests of Perclip's keyframes in it."""
        with self.together():
            made = self._run(
                "INSERT INTO joint (job, object, digest, highest, original, state) VALUES (?, ?, ?, ?, ?, 'intended')",
                (record.job, record.object, record.digest, record.highest, json.dumps(record.original)),
            )
            for digest in keyframes:
                row = (record.job, digest, record.object)
                self._run("INSERT OR IGNORE INTO joint_keyframe VALUES (?, ?, ?)", row)
        assert made.lastrowid is not None  # it was inserted
        return replace(record, id=made.lastrowid)

    def confirm_joint(self, record: int, digest: str | None = None) -> None:
        """The server has a joint track, with this digest where it is another than was noted."""
        self._run("UPDATE joint SET state = 'written', digest = coalesce(?, digest) WHERE id = ?", (digest, record))

    def forget_joint(self, record: int) -> None:
        """A joint track that was refused."""
        self._run("DELETE FROM joint WHERE id = ?", (record,))

    def restore_joint(self, job: int, obj: int, digest: str) -> None:
        """The drawn track of an object is back, as this digest says, and has nothing of Perclip's in it."""
        self._run("DELETE FROM joint WHERE job = ? AND object = ? AND state = 'written'", (job, obj))
        row = (job, obj, digest)
        self._run(
            "INSERT INTO joint (job, object, digest, highest, original, state) VALUES (?, ?, ?, 0, '{}', 'restored')",
            row,
        )

    def forget_done(self, obj: int) -> None:
        """All stretches of an object are to be made anew."""
        self._run("DELETE FROM done WHERE object = ?", (obj,))

    def undo_stretch(self, stretch: str) -> None:
        """A stretch is to be made anew."""
        self._run("DELETE FROM done WHERE stretch = ?", (stretch,))

    def undo_all(self) -> None:
        """Nothing is done, and nothing planned; what is on the server stays known, and what is not is forgotten."""
        for table in ("done", "plan", "member", "learning", "made_with"):
            self._run(f"DELETE FROM {table}")
        self._run("DELETE FROM item WHERE state = 'withdrawn'")
        self._run("DELETE FROM item WHERE object = 0 AND state = 'lost'")  # marks may be made again

    def learning(self) -> list[LearningRecord]:
        """What came of learning from the task's keyframes, the last one last; what cannot be read is left out."""
        found = []
        for (body,) in self._run("SELECT body FROM learning ORDER BY id"):
            with suppress(ValueError, TypeError):
                found.append(LearningRecord.from_json(json.loads(body)))
        return found

    def note_learning(self, record: LearningRecord) -> None:
        """Remembers what came of learning, in place of what was known of the same keyframes."""
        body = json.dumps(record.to_json())
        self._run("INSERT OR REPLACE INTO learning (key, body) VALUES (?, ?)", (record.key, body))

    def made_with(self) -> dict[str, str]:
        """Stretch -> names of the weights that it was made with; of some runs went on with others, all of them."""
        return dict(self._run("SELECT stretch, weights FROM made_with").fetchall())

    def note_made_with(self, stretches: Iterable[str], weights: str) -> None:
        """These stretches are about to be made, or gone on with where frames of them are finished."""
        known, done = self.made_with(), self.done()
        with self.together():
            for stretch in stretches:
                before = known.get(stretch, weights) if stretch in done else weights
                names = weights if weights in before else f"{before}; {weights}"
                self._run("INSERT OR REPLACE INTO made_with VALUES (?, ?)", (stretch, names))

    def members(self) -> dict[str, int]:
        """Digest of a drawn shape -> group number of its object, as earlier runs found."""
        return dict(self._run("SELECT digest, object FROM member WHERE object > 0").fetchall())

    def set_members(self, members: Mapping[str, int]) -> None:
        """Remembers which object each drawn shape shows."""
        for digest, obj in members.items():
            self._run("INSERT OR REPLACE INTO member VALUES (?, ?)", (digest, obj))

    def repeats(self) -> dict[str, int]:
        """Digest of a detector's shape that was left out -> group number of the object that another one shows."""
        return dict(self._run("SELECT digest, -object FROM member WHERE object < 0").fetchall())

    def set_repeats(self, repeats: Mapping[str, int]) -> None:
        """Remembers which shapes of a detector were left out for the sake of which object."""
        self.set_members({digest: -obj for digest, obj in repeats.items()})

    def forget_members(self, objects: Iterable[int]) -> None:
        """These objects are no more, and their numbers may be given to others."""
        for obj in objects:
            self._run("DELETE FROM member WHERE abs(object) = ?", (obj,))

    def plan(self, digest: str) -> Any:
        """What an unfinished run with the same input has planned; None: there is none."""
        row = self._run("SELECT body FROM plan WHERE digest = ?", (digest,)).fetchone()
        return None if row is None else json.loads(row[0])

    def set_plan(self, digest: str, body: Any) -> None:
        """Replaces all plans by this one."""
        self._run("DELETE FROM plan")
        self._run("INSERT INTO plan VALUES (?, ?)", (digest, json.dumps(body)))

    def _copy(self, path: Path) -> None:
        """Takes over what a file holds; one that a kill has left in the middle of a change is first put right."""
        try:
            stored = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
            stored.backup(self._base)
        except sqlite3.OperationalError:
            stored.close()
            stored = sqlite3.connect(path)
            stored.backup(self._base)
        stored.close()

    def _prepare(self) -> None:
        tables = self._base.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if not tables:
            with self.together():
                for statement in _TABLES.split(";\n"):
                    self._base.execute(statement)
                self._base.execute("INSERT INTO fact VALUES ('format', ?)", (_FORMAT,))
        for statement in _LATER_TABLES.split(";\n"):
            self._base.execute(statement)
        found = self._base.execute("SELECT value FROM fact WHERE name = 'format'").fetchone()
        if found != (_FORMAT,):
            raise InputError(
                f"the journal {self._path} is of another version of Perclip: use that version for this task"
            )

    def _run(self, statement: str, values: tuple[object, ...] = ()) -> sqlite3.Cursor:
        try:
            return self._base.execute(statement, values)
        except sqlite3.Error as error:
            raise self._broken(error) from None

    def _broken(self, error: sqlite3.Error) -> InputError:
        text = str(error)
        advice = "free some space, then run again to go on" if "full" in text else "check the file and its folder"
        return InputError(f"the journal {self._path} cannot be used ({text}): {advice}")


_JOINT = "id, object, digest, highest, original, state"
_ITEM = "job, kind, digest, first, last, label, object, stretch, server_id, state, id"


def _item(row: tuple[Any, ...]) -> Item:
    job, kind, digest, first, last, label, obj, stretch, server_id, state, number = row
    return Item(job, kind, digest, first, last, label, obj, stretch, server_id, state == "written", number)
