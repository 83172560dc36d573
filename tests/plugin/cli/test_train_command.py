"""`perclip train`: from an export of CVAT to a checkpoint that propagates."""

import re
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from model import Keyframe, Propagator, load_network
from plugin.cli import main
from tests.model.training.data_sets import GREEN, RED, moving_squares, write_davis
from tests.plugin.keyframe_files import cvat, mask_xml, track

_HEIGHT, _WIDTH = 120, 160
_SEQUENCE = moving_squares(
    "bear", {1: RED, 2: GREEN}, length=6, size=(_WIDTH, _HEIGHT), side=30, apart=10, start=20, speed=3
)


@pytest.fixture(scope="module")
def export(tmp_path_factory):
    """A "CVAT for video" export with images: masks of two objects on every second frame, grouped by object."""
    folder = tmp_path_factory.mktemp("export")
    shapes = []
    for frame in range(0, 6, 2):
        for group in (1, 2):
            mask = _SEQUENCE.label_maps[frame] == group
            place = {"keyframe": 1, "occluded": 0, "z_order": 0}
            entries = (mask_xml(mask, frame=f, outside=int(f > frame), **place) for f in (frame, frame + 1))
            shapes.append(track("block", *entries, group_id=group))
    size = f"<original_size><width>{_WIDTH}</width><height>{_HEIGHT}</height></original_size>"
    path = cvat(folder, *shapes, meta=f"<mode>interpolation</mode>{size}")
    with zipfile.ZipFile(folder / "task.zip", "w") as archive:
        archive.write(path, "annotations.xml")
        for i, frame in enumerate(_SEQUENCE.frames):
            Image.fromarray(frame).save(folder / "frame.png")
            archive.write(folder / "frame.png", f"images/frame_{i:06d}.PNG")
    return folder / "task.zip"


@pytest.fixture(autouse=True)
def _undrawn(monkeypatch):
    """Drawing takes longer than these trainings."""
    monkeypatch.setattr("model.training.training_log.TrainingLog.draw", lambda _log: None)


@pytest.fixture(autouse=True)
def _threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def _command(data, out, *more):
    small = ("--device", "cpu", "--threads", "1", "--iterations", "2", "--crop", "64", "--batch", "1")
    return ["train", "--data", *map(str, data), "--out", str(out), *small, *more]


def test_a_task_is_fine_tuned_on_and_the_result_propagates(export, tmp_path, capsys):
    davis = write_davis(tmp_path / "davis", _SEQUENCE)
    out = tmp_path / "tuned"
    assert main(_command([export, davis], out, "--validation", str(export), "--validation-frames", "5")) == 0
    said = capsys.readouterr().out
    checkpoint = out / "perclip-lite.safetensors"
    assert f"{checkpoint} is ready" in said and "--model" not in said
    assert (out / "validation.csv").read_text().count("\n") == 2
    # It began with the shipped weights and is good at once.
    propagator = Propagator(load_network("perclip-lite", checkpoint))
    *_, last = propagator.run(_SEQUENCE.frames[:3], [Keyframe(0, _SEQUENCE.label_maps[0])])
    truth = _SEQUENCE.label_maps[2]
    assert np.mean(last.label_map[truth > 0] == truth[truth > 0]) > 0.8
    # The printed command works as it is said.
    (words,) = re.findall(r"^  perclip (.*)$", said, re.M)
    Image.fromarray(_SEQUENCE.label_maps[0]).save(tmp_path / "first.png")
    filled = {"VIDEO": str(davis / "JPEGImages" / "bear"), "0=MASK.png": f"0={tmp_path / 'first.png'}"}
    filled["DIR"] = str(tmp_path / "result")
    arguments = [filled.get(word, word) for word in words.split()]
    assert main([*arguments, "--format", "none", "--stop", "2", "--short-side", "0"]) == 0
    assert len(list((tmp_path / "result" / "masks").glob("*.png"))) == 2


def test_it_resumes(export, tmp_path, capsys):
    out = tmp_path / "tuned"
    assert main(_command([export], out, "--stop-after", "1")) == 0
    assert main(_command([export], out)) == 2
    assert "--resume" in capsys.readouterr().err.splitlines()[-1]
    assert main(_command([export], out, "--resume")) == 0
    assert (out / "steps.csv").read_text().count("\n") == 3


def test_defaults_are_those_of_fine_tuning(export, tmp_path, capsys):
    out = tmp_path / "tuned"
    assert main(["train", "--data", str(export), "--out", str(out), "--crop", "64", "--stop-after", "1"]) == 0
    recipe = (out / "recipe.json").read_text()
    assert '"rate": 0.0001' in recipe and '"iterations": 400' in recipe


def test_bad_input_is_refused_in_one_line(export, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    cases = {
        "does not exist": _command([tmp_path / "none.zip"], tmp_path / "r"),
        "give a data set": _command([tmp_path / "empty"], tmp_path / "r"),
        "no weights of 'pcvos' ship with Perclip": _command([export], tmp_path / "r", "--network", "pcvos"),
        "unknown network 'unet'": _command([export], tmp_path / "r", "--network", "unet"),
        "nothing to resume": _command([export], tmp_path / "r", "--resume"),
        "crop 100": _command([export], tmp_path / "r", "--crop", "100"),
    }
    for says, command in cases.items():
        assert main(command) == 2, says
        error = capsys.readouterr().err
        assert error.startswith("perclip: error: ") and error.count("\n") == 1 and says in error, (says, error)
    assert not (tmp_path / "r").exists()


def test_an_interruption_says_how_to_go_on(export, tmp_path, capsys, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("model.training.trainer.Trainer.learn", interrupted)
    assert main(_command([export], tmp_path / "r")) == 130
    assert "interrupted: the same command with --resume" in capsys.readouterr().err.splitlines()[-1]
