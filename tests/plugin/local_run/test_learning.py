"""`perclip propagate --learn`: what it says, and that --resume goes on with the same weights."""

import json
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import model.learning.learner as learner
from model.learning.check import Check
from model.learning.recipe import LearningRecipe
from plugin.cli import main
from plugin.sinks.mask_folder import MaskFolder

_TINY = LearningRecipe(most_steps=1, least_steps=1, batch=1, crop=64, clip_frames=1, objects=1)


@pytest.fixture
def command(tmp_path, monkeypatch) -> list[str]:
    """One step, that the check finds better."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(learner, "LearningRecipe", lambda: _TINY)
    monkeypatch.setattr(learner, "_PROBES", 1)
    rising = count()
    monkeypatch.setattr(Check, "score", lambda check, propagator, between=None: 0.3 + next(rising) / 20)
    frames = tmp_path / "frames"
    frames.mkdir()
    random = np.random.default_rng(0)
    for i in range(6):
        Image.fromarray(random.integers(0, 255, (48, 64, 3), dtype=np.uint8)).save(frames / f"{i}.png")
    mask = np.zeros((48, 64), np.uint8)
    mask[10:30, 20:50] = 1
    Image.fromarray(mask).save(tmp_path / "m.png")
    arguments = ["propagate", str(frames), "--keyframe", f"0={tmp_path / 'm.png'}", "--out", str(tmp_path / "r")]
    return [*arguments, "--format", "none", "--short-side", "48", "--learn", "10000"]


def record(tmp_path: Path) -> dict:
    return json.loads((tmp_path / "r" / "learning.json").read_text())


def masks(tmp_path: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((tmp_path / "r" / "masks").glob("*.png"))}


def kill_at(index: int, monkeypatch) -> None:
    """The run ends as by a kill before a frame's mask is written."""
    add = MaskFolder.add

    def add_or_die(results, result):
        if result.index == index:
            raise KeyboardInterrupt
        add(results, result)

    monkeypatch.setattr(MaskFolder, "add", add_or_die)


def no_steps(monkeypatch) -> None:
    monkeypatch.setattr(learner.Trainer, "learn", lambda *batch: pytest.fail("it learns again"))


def test_it_says_what_was_learned_and_a_resumed_run_takes_the_same(command, tmp_path, capsys, monkeypatch):
    with monkeypatch.context() as patched:
        kill_at(3, patched)
        assert main(command) == 130
    assert "learned from the keyframes in 1 steps: J&F 0.300 -> 0.350 (+0.050)" in capsys.readouterr().out
    noted = record(tmp_path)
    assert noted["outcome"] == "used" and noted["weights"] != noted["network"] and len(masks(tmp_path)) == 3
    with monkeypatch.context() as patched:
        no_steps(patched)
        assert main([*command, "--resume"]) == 0
    assert "learned from the keyframes" in capsys.readouterr().out
    assert record(tmp_path) == noted and len(masks(tmp_path)) == 6


def test_without_the_cache_it_learns_the_same_again_or_refuses_to_mix(command, tmp_path, capsys, monkeypatch):
    with monkeypatch.context() as patched:
        kill_at(3, patched)
        assert main(command) == 130
    noted, before = record(tmp_path), masks(tmp_path)
    assert main(["cache", "--empty"]) == 0
    path = tmp_path / "r" / "learning.json"
    path.write_text(json.dumps({**noted, "weights": "0" * 32}))
    assert main([*command, "--resume"]) == 2
    assert "cannot be learned again here" in capsys.readouterr().err
    assert masks(tmp_path) == before
    assert main(["cache", "--empty", "learned"]) == 0
    path.write_text(json.dumps(noted))
    assert main([*command, "--resume"]) == 0
    assert record(tmp_path) == noted and len(masks(tmp_path)) == 6


def test_when_all_frames_are_done_nothing_is_learned_again(command, tmp_path, capsys, monkeypatch):
    assert main(command) == 0
    assert main(["cache", "--empty"]) == 0
    no_steps(monkeypatch)
    capsys.readouterr()
    assert main([*command, "--resume", "--format", "coco"]) == 0
    assert "learned from the keyframes in 1 steps" in capsys.readouterr().out


def test_with_or_without_learning_is_another_run(command, tmp_path, capsys):
    plain = command[:-2]
    assert main([*plain, "--stop", "3"]) == 0
    capsys.readouterr()
    assert main([*command, "--resume"]) == 2
    assert "was made with another --learn" in capsys.readouterr().err


def test_ctrl_c_while_it_learns_goes_on_unlearned_and_stays_so(command, tmp_path, capsys, monkeypatch):
    def interrupt(*batch):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(learner.Trainer, "learn", interrupt)
        assert main(command) == 0
    assert "not learned, as a person stopped it" in capsys.readouterr().out
    assert record(tmp_path)["outcome"] == "stopped" and len(masks(tmp_path)) == 6
    (tmp_path / "r" / "masks" / "000004.png").unlink()
    no_steps(monkeypatch)
    main([*command, "--resume"])
    assert record(tmp_path)["outcome"] == "stopped"


def test_the_cache_is_shown_and_emptied(command, tmp_path, capsys):
    assert main(command) == 0
    capsys.readouterr()
    assert main(["cache"]) == 0
    assert "1 network," in capsys.readouterr().out
    assert main(["cache", "--empty"]) == 0
    assert "0 networks, 0.0 MB" in capsys.readouterr().out
    assert not list((tmp_path / "cache" / "perclip" / "learned").iterdir())


@pytest.mark.parametrize("lost", [(4,), (0, 4)])
def test_keyframes_on_damaged_pictures_are_neither_learned_from_nor_asked_for(command, tmp_path, capsys, lost):
    for index in lost:
        path = tmp_path / "frames" / f"{index}.png"
        path.write_bytes(path.read_bytes()[:2000])
    command = [*command, "--keyframe", f"4={tmp_path / 'm.png'}", "--format", "report"]
    assert main(command) == 0
    noted = record(tmp_path)
    assert noted["left_out"] == list(lost)
    if len(lost) == 1:
        assert noted["outcome"] == "used" and noted["check"] == "there and back again"
        words = "by there and back again; the keyframe on frame 4 was left out, as its picture is damaged"
    else:
        assert noted["outcome"] == "nothing to learn"
        words = "the keyframes on frames 0, 4 were left out, as their pictures are damaged"
    assert words in capsys.readouterr().out and words in (tmp_path / "r" / "report.html").read_text()
    assert len(masks(tmp_path)) == 6
    assert main([*command, "--resume"]) == 0 and record(tmp_path) == noted
