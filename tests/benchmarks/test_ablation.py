"""The ablation's rows: what each turns off, and that none is measured twice."""

import csv
from pathlib import Path

import pytest
import torch
from PIL import Image

from benchmarks import ablation
from model import load_network
from model.evaluation.semi_supervised import evaluate
from model.network.checkpoint import save_network


@pytest.fixture(scope="module")
def dataset(squares, tmp_path_factory) -> Path:
    """Two sequences of 6 frames, one with both squares, one with the first."""
    root = tmp_path_factory.mktemp("davis")
    for name, objects in (("two", 2), ("one", 1)):
        labels = squares.labels * (squares.labels <= objects)
        for kind, images in (("JPEGImages", squares.frames), ("Annotations", labels)):
            (root / kind / name).mkdir(parents=True)
            for i, image in enumerate(images[:6]):
                Image.fromarray(image).save(root / kind / name / f"{i:05d}.png")
    return root


@pytest.fixture
def measured(monkeypatch) -> list:
    """The options of every evaluation."""
    options = []

    def watched(propagator, *arguments, **more):
        options.append(propagator.options)
        return evaluate(propagator, *arguments, **more)

    monkeypatch.setattr(ablation, "evaluate", watched)
    return options


def run(dataset: Path, out: Path, *more: str) -> int:
    settings = ["--short-side", "64", "--device", "cpu", "--dtype", "float32"]
    return ablation.main([str(dataset), "--out", str(out), *settings, *more])


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "ablation.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_rows_differ_in_what_their_names_say(dataset, tmp_path, measured):
    assert run(dataset, tmp_path, "--rows", "L5,L5 no refinement,L10 no progressive,L1 previous") == 0
    assert [(o.clip_length, o.refinement, o.progressive_interval, o.memory) for o in measured] == [
        (5, True, 5, "every"),
        (5, False, 5, "every"),
        (10, True, None, "every"),
        (1, True, 5, "previous"),
    ]
    rows = rows_of(tmp_path)
    assert [r["refinement"] for r in rows] == ["yes", "no", "yes", "yes"]
    assert rows[0]["J"] != rows[1]["J"]
    one, several, mean = (float(rows[0][c]) for c in ("J&F one object", "J&F several objects", "J&F"))
    assert (one + several) / 2 == pytest.approx(mean, abs=1e-4)
    assert run(dataset, tmp_path, "--rows", "L5", "--sequences", "one") == 0
    assert float(rows_of(tmp_path)[-1]["J&F"]) == one != several
    assert rows_of(tmp_path)[-1]["J&F several objects"] == ""


def test_the_table_has_the_rows_that_are_asked_for(dataset, tmp_path):
    for names in ("L5", "L1", "L1,L5"):
        assert run(dataset, tmp_path, "--rows", names, "--sequences", "one") == 0
    table = (tmp_path / "ablation.md").read_text(encoding="utf-8").splitlines()
    assert [line.split(" | ")[0] for line in table if line.startswith("| L")] == ["| L1", "| L5"]


def test_a_killed_run_goes_on_row_by_row(dataset, tmp_path, measured, monkeypatch):
    watched = ablation.evaluate

    def killed_at_the_second(*arguments, **more):
        if len(measured) == 1:
            raise KeyboardInterrupt
        return watched(*arguments, **more)

    monkeypatch.setattr(ablation, "evaluate", killed_at_the_second)
    assert run(dataset, tmp_path, "--rows", "L5,L1") == 130
    assert [r["row"] for r in rows_of(tmp_path)] == ["L5"]
    monkeypatch.setattr(ablation, "evaluate", watched)
    assert run(dataset, tmp_path, "--rows", "L5,L1") == 0
    assert [o.clip_length for o in measured] == [5, 1]
    assert [r["row"] for r in rows_of(tmp_path)] == ["L5", "L1"]


def test_other_weights_are_measured_anew_and_extra_ones_have_rows_of_their_own(dataset, tmp_path, measured):
    other = load_network("perclip-lite")
    with torch.no_grad():
        other.decoder.guess.bias += 1
    save_network(other, tmp_path / "other.safetensors")
    extra = ["--extra", f"per frame={tmp_path / 'other.safetensors'}", "--extra-rows", "L5,L1"]
    assert run(dataset, tmp_path, "--rows", "L5", *extra) == 0
    rows = rows_of(tmp_path)
    assert [r["row"] for r in rows] == ["L5", "per frame, L5", "per frame, L1"]
    assert rows[0]["weights"] != rows[1]["weights"] and rows[0]["J&F"] != rows[1]["J&F"]
    assert run(dataset, tmp_path, "--rows", "L5", *extra) == 0
    assert len(measured) == 3
    assert run(dataset, tmp_path, "--rows", "L5", "--weights", str(tmp_path / "other.safetensors")) == 0
    assert len(measured) == 4
    # The table is of these weights alone.
    table = (tmp_path / "ablation.md").read_text(encoding="utf-8")
    assert rows[1]["weights"] in table and rows[0]["weights"] not in table


def test_other_data_are_measured_anew(dataset, tmp_path, measured):
    assert run(dataset, tmp_path, "--rows", "L5", "--sequences", "one") == 0
    assert run(dataset, tmp_path, "--rows", "L5", "--sequences", "two") == 0
    assert len(measured) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rows", "L7"], "no row 'L7'; there are L5,"),
        (["--rows", ""], "no row to measure"),
        (["--extra", "other.safetensors"], "give NAME=FILE"),
        (["--extra", "a=none.safetensors"], "none.safetensors"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(dataset, tmp_path, capsys, arguments, message):
    assert run(dataset, tmp_path, *arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and message in error and error.count("\n") == 1
