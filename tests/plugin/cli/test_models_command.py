"""`perclip models` lists what was learned from projects and removes it; `perclip cache` tells of it."""

import errno
import os
import shutil
from pathlib import Path

import pytest

from model.network.checkpoint_files import shipped_path
from model.program.folder_lock import FolderLock
from plugin.cli import main
from plugin.cvat.run.learned_project import LearnedFiles, LearnedProject

URL = "https://cvat.example.org:8443"
NAME = "cvat.example.org_8443/project-{}"


@pytest.fixture(autouse=True)
def data(tmp_path, monkeypatch) -> Path:
    for name in ("CACHE", "DATA"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name))
    return tmp_path / "DATA" / "perclip" / "learned"


def learned(project: int, server: str = URL) -> LearnedFiles:
    files = LearnedFiles.of(URL, project)
    files.checkpoint.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(shipped_path("perclip-lite"), files.checkpoint)
    facts = LearnedProject("perclip-lite", "terms", "3 keyframes, held out", 0.7, 0.75, 9, 40, "2026-11-28", server)
    files.facts.write_text(files.facts_json(facts))
    return files


def unfinished(project: int) -> LearnedFiles:
    files = LearnedFiles.of(URL, project)
    (files.work / "run").mkdir(parents=True)
    (files.work / "run" / "state.pt").write_bytes(bytes(2_000_000))
    return files


def listing(capsys) -> str:
    assert main(["models"]) == 0
    return capsys.readouterr().out


def test_nothing_learned_is_not_mentioned(data, capsys):
    (data / "cvat.example.org").mkdir(parents=True)
    (data / "cvat.example.org" / "project-4.part.safetensors").write_bytes(b"half")
    assert "project" not in listing(capsys)
    assert main(["cache"]) == 0 and "project" not in capsys.readouterr().out


def test_checkpoints_and_unfinished_runs_are_listed_with_how_to_use_them(capsys):
    files = learned(10)
    learned(9)
    unfinished(9)
    unfinished(2)
    text = listing(capsys)
    assert [line for line in text.splitlines() if line.startswith("cvat.")] == [NAME.format(n) for n in (2, 9, 10)]
    assert text.count("learned on 2026-11-28 from 9 keyframes in 40 steps: J&F 0.700 -> 0.750 (+0.050)") == 2
    assert f"propagate --url {URL} --project 10 --weights learned" in text
    assert f"--model perclip-lite --weights {files.checkpoint}" in text
    assert text.count("an unfinished run, 2.0 MB") == 2
    assert main(["cache", "--empty"]) == 0
    assert "projects 3, " in capsys.readouterr().out and files.checkpoint.exists()


def test_what_is_listed_can_be_used_elsewhere(tmp_path, capsys):
    from model import load_network

    assert load_network("perclip-lite", learned(3).checkpoint).config.name == "perclip-lite"


def test_damaged_facts_and_checkpoints_of_earlier_versions_are_listed_too(capsys):
    learned(1).facts.write_text("{")
    learned(2).facts.unlink()
    learned(3, server="")
    text = listing(capsys)
    assert "project-1.json is damaged" in text and "not whole: run `perclip cvat learn --project 2`" in text
    assert "propagate --url URL --project 3 --weights learned" in text
    for number in (1, 2, 3):
        assert main(["models", "--remove", NAME.format(number)]) == 0
    assert LearnedFiles.every() == {}


def test_one_is_removed_whole_and_others_stay(data, capsys):
    learned(3)
    unfinished(3)
    other = learned(33)
    assert main(["models", "--remove", NAME.format(3)]) == 0
    assert f"removed: {NAME.format(3)}" in capsys.readouterr().out
    assert list(LearnedFiles.every()) == [NAME.format(33)] and other.checkpoint.exists()
    assert main(["models", "--remove", NAME.format(33)]) == 0
    assert list(data.iterdir()) == []


@pytest.mark.parametrize("name", ["project-3", NAME.format(4), "../learned", NAME.format(3) + ".json"])
def test_what_is_not_listed_is_not_removed(name, capsys):
    files = learned(3)
    assert main(["models", "--remove", name]) == 2
    assert f"there is {NAME.format(3)}" in capsys.readouterr().err and files.checkpoint.exists()


def test_what_a_run_works_on_is_not_removed(capsys):
    files = learned(3)
    with FolderLock(files.work):
        assert main(["models", "--remove", NAME.format(3)]) == 2
    assert "another run works" in capsys.readouterr().err and files.checkpoint.exists()


def test_what_cannot_be_removed_is_not_said_to_be(capsys, monkeypatch):
    unfinished(3)
    monkeypatch.setattr("os.rmdir", _refuse)
    assert main(["models", "--remove", NAME.format(3)]) == 2
    said = capsys.readouterr()
    assert "project-3 cannot be removed: Permission denied" in said.err and "removed:" not in said.out


def _refuse(path, **_):
    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
