"""The effort benchmark's command: its files, its figures, and going on after a kill."""

import argparse
import csv
import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from benchmarks import effort
from benchmarks.annotator import annotate
from benchmarks.effort_report import Curve, bars
from benchmarks.measured import sequences_of
from model.learning.check import Check

LENGTH = 8


@pytest.fixture(scope="module")
def dataset(squares, tmp_path_factory) -> Path:
    """Two sequences of 8 frames of the moving squares, the second one backwards."""
    root = tmp_path_factory.mktemp("davis")
    for name, step in (("there", 1), ("back", -1)):
        for kind, images in (("JPEGImages", squares.frames), ("Annotations", squares.labels)):
            (root / kind / name).mkdir(parents=True)
            for i, image in enumerate(images[:LENGTH][::step]):
                Image.fromarray(image).save(root / kind / name / f"{i:05d}.png")
    return root


def run(dataset: Path, out: Path, *more: str) -> int:
    settings = ["--rounds", "3", "--short-side", "64", "--device", "cpu", "--dtype", "float32"]
    return effort.main([str(dataset), "--out", str(out), "--policies", "confidence,even", *settings, *more])


@pytest.fixture(scope="module")
def done(dataset, tmp_path_factory) -> Path:
    """A folder with an uninterrupted run."""
    out = tmp_path_factory.mktemp("done")
    assert run(dataset, out) == 0
    return out


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "effort.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_all_rounds_of_all_annotators_are_written(done):
    rows = rows_of(done)
    assert [int(r["keyframes"]) for r in rows] == [1, 2, 3] * 8
    annotators = [(r["sequence"], r["mode"], r["policy"]) for r in rows[::3]]
    wanted = [(s, m, p) for s in ("back", "there") for m in ("forward", "fusion") for p in ("confidence", "even")]
    assert annotators == wanted
    assert all(0 < float(r[c]) <= 1 for r in rows for c in ("J", "F", "J&F", "J&F rest", "J&F rest before"))
    assert (done / "effort.png").read_bytes().startswith(b"\x89PNG")


def test_the_summary_has_the_means_over_sequences_and_both_bars(done):
    rows, summary = rows_of(done), json.loads((done / "effort.json").read_text(encoding="utf-8"))
    values = [
        float(r["J&F"]) for r in rows if (r["policy"], r["mode"], r["keyframes"]) == ("confidence", "fusion", "2")
    ]
    curve = summary["curves"]["confidence"]["fusion"]["J&F"]
    assert len(values) == 2 and curve[1] == pytest.approx(sum(values) / 2)
    gain = summary["bars"]["gain of the second keyframe (confidence, fusion)"]
    assert gain["all frames"] == pytest.approx(curve[1] - curve[0])
    assert summary["settings"]["weights"]["sha256"]
    table = (done / "effort.md").read_text(encoding="utf-8")
    assert f"| confidence, fusion | {' | '.join(f'{v:.3f}' for v in curve)} |" in table
    assert "corrected too" in table  # nobody must be misled


@pytest.fixture(autouse=True)
def _undrawn(monkeypatch):
    """Drawing takes longer than these runs; `done`, which is made before, is drawn."""
    monkeypatch.setattr("benchmarks.effort_report.draw", lambda *_: None)


@pytest.fixture(scope="module")
def killed(dataset, tmp_path_factory) -> Path:
    """A folder with a run that was killed at the sixth of its eight annotators."""
    out, calls = tmp_path_factory.mktemp("killed"), []

    def killed_at_the_sixth(*arguments):
        calls.append(arguments)
        if len(calls) == 6:
            raise KeyboardInterrupt
        yield from annotate(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(effort, "annotate", killed_at_the_sixth)
        assert run(dataset, out) == 130
    assert len(rows_of(out)) == 5 * 3
    return out


@pytest.mark.parametrize("torn", ["", "there,even,forw", "there,even,forward,1,,8,0.9,0.9,0.9,0.9,0.9,,,,{}\n"])
def test_a_killed_run_goes_on_and_ends_the_same(dataset, done, killed, tmp_path, monkeypatch, torn):
    shutil.copytree(killed, tmp_path, dirs_exist_ok=True)
    settings = rows_of(tmp_path)[0]["settings"]
    with (tmp_path / "effort.csv").open("a", encoding="utf-8") as file:
        file.write(torn.format(settings))

    calls = []

    def counted(*arguments):
        calls.append((arguments[0].task.sequence.name, arguments[2], arguments[1]))
        return annotate(*arguments)

    monkeypatch.setattr(effort, "annotate", counted)
    assert run(dataset, tmp_path, "--resume") == 0
    assert calls == [
        ("there", "forward", "even"),
        ("there", "fusion", "confidence"),
        ("there", "fusion", "even"),
    ]
    for name in ("effort.csv", "effort.json", "effort.md"):
        assert (tmp_path / name).read_bytes() == (done / name).read_bytes()


def test_a_run_with_other_settings_is_not_gone_on_with(dataset, done, capsys):
    before = (done / "effort.csv").read_bytes()
    assert run(dataset, done, "--resume", "--distance", "2") == 2
    assert "other weights or settings" in capsys.readouterr().err
    assert (done / "effort.csv").read_bytes() == before


def test_without_resume_it_starts_afresh(dataset, tmp_path):
    few = ["--sequences", "back", "--modes", "forward", "--frames", "6"]
    assert run(dataset, tmp_path, *few, "--distance", "2") == 0
    assert run(dataset, tmp_path, *few) == 0
    assert len(rows_of(tmp_path)) == 2 * 3


def row(sequence: str, keyframes: int, jf: float, rest: float, before: float) -> dict[str, str]:
    numbers = {"J&F": jf, "J&F rest": rest, "J&F rest before": before, "rerun": 10, "keyframes": keyframes}
    return {"sequence": sequence, "policy": "confidence", "mode": "fusion"} | {k: str(v) for k, v in numbers.items()}


def test_the_bars_from_known_rows():
    rows = [row("a", 1, 0.7, 0.7, 0.7), row("a", 2, 0.92, 0.84, 0.74), row("a", 3, 0.89, 0.85, 0.84)]
    rows += [row("b", 1, 0.6, 0.6, 0.6), row("b", 2, 0.8, 0.76, 0.62), row("b", 3, 0.93, 0.9, 0.86)]
    curve = Curve.of("confidence", "fusion", rows, 3)
    assert curve.everything == pytest.approx([0.65, 0.86, 0.91])
    assert curve.to_target == {"a": 2, "b": 3} and curve.mean_to_target == 3
    gain, target = bars([curve]).values()
    assert gain == pytest.approx({"all frames": 0.21, "never annotated": 0.12})
    assert target == {"confidence, fusion": 3}


def test_bars_that_were_not_measured_are_null():
    curve = Curve.of("confidence", "fusion", [row("a", 1, 0.7, 0.7, 0.7)], 1)
    gain, target = bars([curve]).values()
    assert set(gain.values()) == {None} and target == {"confidence, fusion": None}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--policies", "random"], "no policy 'random'; there are confidence, truth, even"),
        (["--modes", "backward"], "no mode 'backward'"),
        (["--rounds", "0"], "--rounds must be at least 1"),
        (["--rounds", "7"], "too few for 7 rounds"),
        (["--frames", "2"], "--frames must be at least 3"),
        (["--sequences", "bus"], "no sequence 'bus'"),
        (["--weights", "none.safetensors"], "none.safetensors"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(dataset, tmp_path, capsys, arguments, message):
    assert run(dataset, tmp_path, *arguments) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1].startswith("error: ") and message in lines[-1]


def test_with_learning_the_other_rows_stay_and_what_is_refused_gives_the_same(dataset, done, tmp_path, monkeypatch):
    """The check refuses all that is learned."""
    monkeypatch.setattr(Check, "score", lambda check, propagator, between=None: 0.5)
    monkeypatch.setattr("model.learning.learner._PROBES", 1)
    some = ["--policies", "confidence", "--modes", "fusion,learning", "--sequences", "there", "--rounds", "2"]
    some += ["--steps", "1", "--crop", "64"]
    assert run(dataset, tmp_path, *some) == 0
    rows = rows_of(tmp_path)
    said = {(r["mode"], r["learning"], r["check before"], r["check after"]) for r in rows}
    assert said == {("fusion", "", "", ""), ("learning", "not better", "0.5000", "0.5000")}
    measured = [c for c in effort.COLUMNS if c not in ("mode", "learning", "check before", "check after", "settings")]
    fusion, learning = ([[r[c] for c in measured] for r in rows if r["mode"] == m] for m in ("fusion", "learning"))
    mine = [r for r in rows_of(done) if (r["sequence"], r["policy"], r["mode"]) == ("there", "confidence", "fusion")]
    assert fusion == learning == [[r[c] for c in measured] for r in mine[:2]]
    summary = json.loads((tmp_path / "effort.json").read_text(encoding="utf-8"))
    assert summary["learning"]["confidence"]["used"] == [0, 0]
    assert summary["settings"]["learning"]["most_steps"] == 1
    assert not (tmp_path / "effort-learned").exists()
    assert run(dataset, tmp_path, *some, "--steps", "2", "--resume") == 2  # other settings


def test_sequences_of_several_archives_are_measured_together(dataset, tmp_path, capsys):
    assert effort.main([str(dataset), str(dataset), "--out", str(tmp_path)]) == 2
    assert "several archives have a sequence back" in capsys.readouterr().err
    other = tmp_path / "other"
    for kind in ("JPEGImages", "Annotations"):
        shutil.copytree(dataset / kind / "there", other / kind / "elsewhere")
    arguments = argparse.Namespace(data=[dataset, other], sequences="back,elsewhere", frames=None)
    assert [s.name for s in sequences_of(arguments)] == ["back", "elsewhere"]
