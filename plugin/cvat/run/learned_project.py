"""What was learned from a project: where it lies, and what is known of it."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from model.errors import InputError
from model.program.user_folders import data_folder
from plugin.cvat.journal.journal import server_name


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
    """

    network: str
    begun_with: str
    check: str
    before: float
    after: float
    keyframes: int
    steps: int
    date: str

    @property
    def words(self) -> str:
        """One line for people."""
        keyframes = "1 keyframe" if self.keyframes == 1 else f"{self.keyframes} keyframes"
        gain = f"J&F {self.before:.3f} -> {self.after:.3f} ({self.after - self.before:+.3f})"
        return f"learned on {self.date} from {keyframes} in {self.steps} steps: {gain} by {self.check}"


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
        folder = data_folder("learned") / server_name(url)
        name = f"project-{project}"
        return cls(folder / f"{name}.safetensors", folder / f"{name}.json", folder / name)

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
