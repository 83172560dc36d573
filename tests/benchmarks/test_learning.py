"""The learning benchmark: its tables, and that its rows are of the masks that they name."""

import csv
from pathlib import Path

import pytest
from PIL import Image

from benchmarks import learning, learning_confidence
from benchmarks.annotator import CorrectedSequence
from benchmarks.learning import table
from model.data.annotated_sequences import read_sequences
from model.evaluation.semi_supervised import Task
from model.learning.check import Check


def test_it_tells_what_the_check_is_worth():
    def row(sequence: str, off: float, learned: float, taken: int) -> dict[str, str]:
        chosen = learned if taken else off
        return {
            "sequence": sequence,
            "keyframes": "1",
            "off": str(off),
            "learned": str(learned),
            "chosen": str(chosen),
            "taken": str(taken),
        }

    rows = [row("a", 0.5, 0.7, 1), row("b", 0.9, 0.8, 1), row("c", 0.8, 0.6, 0)]
    assert table(rows).splitlines()[-1] == "| 1 | 3 | 0.7333 | 0.7000 | 0.7667 | 0.8000 | -0.1000 | 2 |"


def mask(sequence: str, frame: int, weights: str, j: float, confidence: float) -> dict[str, str]:
    figures = {"frame": str(frame), "J": str(j), "confidence": str(confidence)}
    return {"sequence": sequence, "keyframes": "1", "weights": weights, "object": "1", **figures}


def test_confidences_are_judged_without_with_and_as_chosen():
    """In a, learning is right and its confidence says so backwards; b is refused."""
    rows = [mask("a", i, "off", 0.4 + i / 10, 0.5 + i / 10) for i in range(4)]
    rows += [mask("a", i, "learned", 0.6 + i / 10, 0.9 - i / 10) for i in range(4)]
    rows += [mask("b", i, kind, 0.5 + i / 10, 0.5 + i / 10) for kind in ("off", "learned") for i in range(4)]
    lines = learning_confidence.table(rows, {("a", 1): True, ("b", 1): False}).splitlines()
    cells = {line.split(" | ")[1]: line.split(" | ")[2:] for line in lines if line.startswith("| 1 |")}
    assert list(cells) == ["off", "learned", "chosen", "off, there", "learned, there"]
    assert cells["off, there"] == ["4", "0.550", "0.650", "0.100", "1.000", "1.000 |"]
    assert cells["learned, there"] == ["4", "0.750", "0.750", "0.200", "-1.000", "-1.000 |"]
    assert cells["chosen"][:3] == ["8", "0.700", "0.700"] and cells["chosen"][-1] == "0.000 |"
    assert learning_confidence.table([], {}) == ""


@pytest.fixture
def archive(tmp_path, few) -> Path:
    """A sequence of 8 frames."""
    for kind, images in (("JPEGImages", few.frames), ("Annotations", few.labels)):
        folder = tmp_path / "data" / kind / "there"
        folder.mkdir(parents=True)
        for i, image in enumerate(images[:8]):
            Image.fromarray(image).save(folder / f"{i:05d}.png")
    return tmp_path / "data"


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_every_mask_on_frames_that_nobody_drew_has_a_row(archive, lite, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(Check, "score", lambda check, propagator, between=None: 0.5)
    monkeypatch.setattr("model.learning.learner._PROBES", 1)
    some = [str(archive), "--out", str(tmp_path), "--keyframes", "2", "--steps", "1", "--batch", "1", "--crop", "64"]
    some += ["--short-side", "0", "--device", "cpu", "--dtype", "float32"]
    assert learning.main(some) == 0
    masks = rows_of(tmp_path / "learning-confidence.csv")
    off, learned = ([r for r in masks if r["weights"] == weights] for weights in ("off", "learned"))
    (corrected,) = {1, 2, 3, 4, 5, 6} - {int(r["frame"]) for r in off}
    task = Task(read_sequences(archive)[0])
    scores = CorrectedSequence(lite, task).scores((corrected,), "fusion")
    wanted = [s for i in sorted(set(scores) - {corrected}) for s in scores[i]]
    assert [(int(r["frame"]), int(r["object"])) for r in off] == [(s.frame, s.object) for s in wanted]
    assert [r["J"] for r in off] == [f"{s.j:.4f}" for s in wanted]
    assert [r["confidence"] for r in off] == [f"{s.confidence:.4f}" for s in wanted]
    assert len(learned) == len(off) and [r["confidence"] for r in learned] != [r["confidence"] for r in off]
    assert "| 2 | chosen | 10 |" in (tmp_path / "learning.md").read_text(encoding="utf-8")
    # Killed behind the masks of another sequence: they go, and nothing is measured again.
    with (tmp_path / "learning-confidence.csv").open("a", encoding="utf-8") as file:
        file.write(f"back,2,off,1,3,0.5,0.5,{masks[0]['settings']}\n")
    monkeypatch.setattr(learning, "_measured", lambda *_: pytest.fail("it is measured already"))
    assert learning.main([*some, "--resume"]) == 0
    assert rows_of(tmp_path / "learning-confidence.csv") == masks
