"""The record of a training."""

from PIL import Image

from model.training.trainer import StepLosses
from model.training.training_log import TrainingLog


def _lines(folder, name="steps.csv"):
    return (folder / name).read_text(encoding="utf-8").splitlines()


def _record(log, steps):
    for step in steps:
        log.step(step, StepLosses(1 / (step + 1), 0.5, 2.0), 0.25, 1.5)


def test_lines_of_what_is_done_again_are_dropped(tmp_path):
    log = TrainingLog(tmp_path, 0)
    _record(log, range(5))
    for step in (2, 3, 4):
        log.validation(step, 0.5, 0.7)
    with open(tmp_path / "steps.csv", "a") as file:
        file.write("2,0.3")
    log = TrainingLog(tmp_path, 3)
    _record(log, [3])
    assert [line.split(",")[0] for line in _lines(tmp_path)] == ["step", "0", "1", "2", "3"]
    assert _lines(tmp_path)[3] == "2,0.333333,0.5,2,0.25,1.5"
    assert _lines(tmp_path, "validation.csv") == ["step,J,F,J&F", "2,0.5000,0.7000,0.6000", "3,0.5000,0.7000,0.6000"]
    TrainingLog(tmp_path, 0)
    assert len(_lines(tmp_path)) == len(_lines(tmp_path, "validation.csv")) == 1


def test_curves_are_drawn_with_and_without_validation(tmp_path):
    log = TrainingLog(tmp_path, 0)
    log.draw()
    empty = Image.open(tmp_path / "curves.png").convert("L").tobytes()
    _record(log, range(30))
    log.validation(30, 0.5, 0.7)
    log.draw()
    assert Image.open(tmp_path / "curves.png").convert("L").tobytes() != empty
