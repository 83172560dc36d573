"""What happens to the folder of results while a run works in it."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import plugin.local_run.propagation_job as job
from model.program.folder_lock import LOCK_FILE, FolderLock
from plugin.cli import main
from plugin.sinks.mask_folder import MaskFolder


@pytest.fixture
def command(tmp_path) -> list[str]:
    frames = tmp_path / "frames"
    frames.mkdir()
    random = np.random.default_rng(0)
    for i in range(6):
        Image.fromarray(random.integers(0, 255, (48, 64, 3), dtype=np.uint8)).save(frames / f"{i}.png")
    mask = np.zeros((48, 64), np.uint8)
    mask[10:30, 20:50] = 1
    Image.fromarray(mask).save(tmp_path / "m.png")
    arguments = ["propagate", str(frames), "--keyframe", f"0={tmp_path / 'm.png'}", "--out", str(tmp_path / "r")]
    return [*arguments, "--format", "coco", "--short-side", "48", "--clip-length", "2"]


def remove(folder: Path) -> None:
    shutil.rmtree(folder)


def remove_and_make(folder: Path) -> None:
    shutil.rmtree(folder)
    (folder / "masks").mkdir(parents=True)


def remove_masks(folder: Path) -> None:
    shutil.rmtree(folder / "masks")


def remove_one_mask(folder: Path) -> None:
    (folder / "masks" / "000000.png").unlink()


REMOVALS = pytest.mark.parametrize("removed", [remove, remove_and_make, remove_masks, remove_one_mask])


def assert_fails(command: list[str], capsys) -> None:
    assert main(command) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("perclip: error: ") and "removed" in error


@REMOVALS
def test_a_folder_that_is_removed_between_frames_fails_the_run(command, tmp_path, capsys, monkeypatch, removed):
    add = MaskFolder.add

    def add_then_remove(results: MaskFolder, result) -> None:
        add(results, result)
        if result.index == 3:
            removed(tmp_path / "r")

    monkeypatch.setattr(MaskFolder, "add", add_then_remove)
    assert_fails(command, capsys)


@REMOVALS
def test_a_folder_that_is_removed_after_the_last_frame_fails_the_run(command, tmp_path, capsys, monkeypatch, removed):
    write = job.write_formats

    def write_then_remove(*arguments):
        written = write(*arguments)
        removed(tmp_path / "r")
        return written

    monkeypatch.setattr(job, "write_formats", write_then_remove)
    assert_fails(command, capsys)


@pytest.mark.parametrize("more", [[], ["--resume"]])
def test_beside_a_live_run_another_one_is_refused(command, tmp_path, capsys, more):
    assert main([*command, "--stop", "3"]) == 0
    before = sorted((tmp_path / "r" / "masks").iterdir())
    with FolderLock(tmp_path / "r"):
        assert main([*command, *more]) == 2
        error = capsys.readouterr().err
        assert error.splitlines()[-1].startswith(f"perclip: error: another run works in {tmp_path / 'r'}")
    assert sorted((tmp_path / "r" / "masks").iterdir()) == before
    assert main([*command, "--resume"]) == 0
    assert not (tmp_path / "r" / LOCK_FILE).exists()


def test_two_new_runs_into_one_folder_are_told_apart(command, tmp_path, capsys):
    with FolderLock(tmp_path / "r"):
        assert main(command) == 2
    assert "another run works" in capsys.readouterr().err
    assert main(command) == 0
