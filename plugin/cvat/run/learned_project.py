"""What was learned from a project: where it lies, and what is known of it."""

import json
import re
import shutil
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from model.errors import InputError
from model.program.folder_lock import FolderLock
from model.program.user_folders import data_folder
from plugin.cvat.journal.journal import server_name

_FILE = re.compile(r"project-(?P<number>\d+)(\.safetensors|\.json)?")


@dataclass(frozen=True)
class LearnedProject:
    """A checkpoint that is better on what was held out.

    Attributes:
        network: its name.
        begun_with: the weights that learning began with, and their terms.
        check: what was held out, in words.
        before: mean J&F there of the weights that learning began with, 0..1.
        after: of the checkpoint.
        keyframes: how many were learned from.
        steps: of the optimiser.
        date: of its end, as YYYY-MM-DD.
        server: its address; empty in what earlier versions wrote.
    """

    network: str
    begun_with: str
    check: str
    before: float
    after: float
    keyframes: int
    steps: int
    date: str
    server: str = ""

    @property
    def words(self) -> str:
        """One line for people."""
        keyframes = "1 keyframe" if self.keyframes == 1 else f"{self.keyframes} keyframes"
        gain = f"J&F {self.before:.3f} -> {self.after:.3f} ({self.after - self.before:+.3f})"
        return f"learned on {self.date} from {keyframes} in {self.steps} steps: {gain} by {self.check}"


def _size(*paths: Path) -> int:
    total = 0
    for path in paths:
        with suppress(OSError):  # a run that works there removes some
            total += path.stat().st_size if path.is_file() else 0
    return total


def _folder() -> Path:
    return data_folder("learned")


@dataclass(frozen=True)
class LearnedFiles:
    """Where all of a project lies.

    Attributes:
        checkpoint: there only where what was learned is to be used.
        facts: about it.
        work: folder of a run that goes on.
    """

    checkpoint: Path
    facts: Path
    work: Path

    @classmethod
    def of(cls, url: str, project: int) -> "LearnedFiles":
        """Of a project of a server, in the user's data folder."""
        return cls._in(_folder() / server_name(url), f"project-{project}")

    @classmethod
    def _in(cls, folder: Path, name: str) -> "LearnedFiles":
        return cls(folder / f"{name}.safetensors", folder / f"{name}.json", folder / name)

    @classmethod
    def every(cls) -> dict[str, "LearnedFiles"]:
        """All that the user has, checkpoints and runs that were ended early, by `name`."""
        found = set()
        for path in _folder().glob("*/project-*"):
            if match := _FILE.fullmatch(path.name):
                found.add((path.parent, int(match["number"])))
        every = [cls._in(folder, f"project-{number}") for folder, number in sorted(found)]
        return {files.name: files for files in every if files.size}

    @classmethod
    def named(cls, name: str) -> "LearnedFiles":
        """Of one of these; raises InputError where there is none of this name."""
        every = cls.every()
        if name not in every:
            there = ", ".join(every) or "nothing"
            raise InputError(f"nothing that was learned from a project is called {name!r}; there is {there}")
        return every[name]

    @property
    def name(self) -> str:
        """What people call it: SERVER/project-NUMBER."""
        return f"{self.work.parent.name}/{self.work.name}"

    @property
    def project(self) -> str:
        """The number of the project."""
        return self.work.name.removeprefix("project-")

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return _size(self.checkpoint, self.facts) + self.size_of_work

    @property
    def size_of_work(self) -> int:
        """Bytes of what a run that was ended early would go on with."""
        return _size(*self.work.rglob("*"))

    def remove(self) -> None:
        """Removes the checkpoint, and what a run that was ended early would go on with.

        Raises:
            InputError: a run works on it, or the files cannot be removed.
        """
        with FolderLock(self.work):
            try:
                # A checkpoint without facts counts as none, however far this comes.
                for path in (self.facts, self.checkpoint):
                    path.unlink(missing_ok=True)
                path = self.work
                shutil.rmtree(path)
            except OSError as error:
                raise InputError(f"{path} cannot be removed: {error.strerror}") from None
        with suppress(OSError):
            self.work.parent.rmdir()  # where it was the last of its server

    def read(self) -> LearnedProject | None:
        """What is known of the checkpoint; None: there is none.

        Raises:
            InputError: the file about it is damaged.
        """
        if not self.checkpoint.exists() or not self.facts.exists():
            return None
        try:
            return LearnedProject(**json.loads(self.facts.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            raise InputError(f"{self.facts} is damaged: run `perclip cvat learn` again, or remove it") from None

    def facts_json(self, learned: LearnedProject) -> str:
        """What `read` reads."""
        return json.dumps(asdict(learned), indent=1) + "\n"
