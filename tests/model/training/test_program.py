"""`python -m model.training` as a person uses it: data in, checkpoint, state, log and curves out."""

import csv
import json
import multiprocessing
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from model import InputError, Keyframe, PropagationOptions, Propagator, load_network
from model.data.annotated_sequences import AnnotatedSequence
from model.network.checkpoint_files import shipped_path
from model.network.compact_trunk import TRUNKS, CompactTrunk
from model.network.config import PERCLIP_LITE_CONFIG
from model.training.__main__ import main
from model.training.program import Run, train
from model.training.recipe import Recipe
from model.training.trainer import Trainer
from model.training.training_log import TrainingLog
from tests.model.training.data_sets import GREEN, RED, moving_squares, write_davis

_SEQUENCE = moving_squares("a", {1: RED, 2: GREEN}, length=10, size=(160, 120), side=30, apart=10, start=20, speed=3)
_RECIPE = Recipe(crop=64, batch=1, objects=2, iterations=2)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_davis(tmp_path_factory.mktemp("data") / "set", _SEQUENCE)


@pytest.fixture(autouse=True)
def _threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def curves():
    """For tests that look at the drawn curves."""


@pytest.fixture(autouse=True)
def _undrawn(request, monkeypatch):
    """Drawing takes longer than these trainings."""
    if "curves" not in request.fixturenames:
        monkeypatch.setattr(TrainingLog, "draw", lambda _log: None)


def _command(data: Path, out: Path, *more: str, iterations: int = 4, weights: bool = True) -> list[str]:
    return [
        *("--data", str(data), "--out", str(out), "--device", "cpu", "--threads", "1", "--iterations", str(iterations)),
        *("--crop", "64", "--batch", "1", "--objects", "2"),
        *(("--weights", str(shipped_path("perclip-lite"))) if weights else ()),
        *more,
    ]


def _run(out: Path, **changes) -> Run:
    """A run on a sequence in memory."""
    run = Run([], out, weights=shipped_path("perclip-lite"), device="cpu", read=lambda _paths: ([_SEQUENCE], None))
    return replace(run, **changes)


def _rows(out: Path, name: str = "steps.csv") -> list[list[str]]:
    with open(out / name, newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def _same(a, b) -> bool:
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(_same, a, b))
    return a == b


def test_a_resumed_training_is_the_same_as_one_in_one_go(data, tmp_path, capsys):
    assert main(_command(data, tmp_path / "a")) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'a' / 'perclip-lite.safetensors'}\n"
    out = tmp_path / "b"
    assert main(_command(data, out, "--stop-after", "2")) == 0
    assert [row[0] for row in _rows(out)] == ["step", "0", "1"]
    # What was done behind the last state, and half a line that a kill left.
    with open(out / "steps.csv", "a", encoding="utf-8") as file:
        file.write("2,9,9,9,9,9\r\n3,9,")
    assert main(_command(data, out, "--resume", weights=False)) == 0  # the state knows what was started from
    assert [row[:4] for row in _rows(out)] == [row[:4] for row in _rows(tmp_path / "a")]
    straight, resumed = (torch.load(tmp_path / run / "state.pt", weights_only=True) for run in ("a", "b"))
    assert straight["step"] == 4 and straight["optimiser"]["state"] and _same(straight, resumed)
    assert _same(*(load_file(tmp_path / run / "perclip-lite.safetensors") for run in ("a", "b")))


def test_what_a_training_leaves(tmp_path, curves):
    checkpoint = train(_run(tmp_path / "r"), _RECIPE)
    header, *rows = _rows(tmp_path / "r")
    assert header == ["step", "cross_entropy", "dice", "gradient", "wait_s", "step_s"]
    assert all(0 < float(row[4]) < float(row[5]) for row in rows)
    assert Image.open(tmp_path / "r" / "curves.png").size == (1200, 480)
    assert Recipe(**json.loads((tmp_path / "r" / "recipe.json").read_text())) == _RECIPE
    assert not list((tmp_path / "r").glob("*.new"))
    before, after = (load_file(path) for path in (shipped_path("perclip-lite"), checkpoint))
    assert not torch.equal(before["decoder.pred.weight"], after["decoder.pred.weight"])
    options = PropagationOptions(short_side=None, dtype="float32", device="cpu")
    propagator = Propagator(load_network("perclip-lite", checkpoint), options)
    *_, last = propagator.run(_SEQUENCE.frames[:3], [Keyframe(0, _SEQUENCE.label_maps[0])])
    truth = _SEQUENCE.label_maps[2]
    assert np.mean(last.label_map[truth > 0] == truth[truth > 0]) > 0.7


def test_seeds_make_a_training(tmp_path):
    rows = []
    for run, seed in (("a", 1), ("b", 1), ("c", 2)):
        train(_run(tmp_path / run), replace(_RECIPE, iterations=1, seed=seed))
        rows.append(_rows(tmp_path / run)[1][:4])
    assert rows[0] == rows[1] != rows[2]


def test_workers_end_with_the_training(tmp_path, monkeypatch):
    before = set(multiprocessing.active_children())
    train(_run(tmp_path / "a", stop_after=1), _RECIPE)  # samples of the second step are drawn already
    assert set(multiprocessing.active_children()) <= before

    def failing(_trainer, *_batch):
        assert set(multiprocessing.active_children()) - before
        raise InputError("enough")

    monkeypatch.setattr(Trainer, "learn", failing)
    with pytest.raises(InputError, match="enough") as _kept_alive_with_all_its_frames:
        train(_run(tmp_path / "b"), _RECIPE)
    assert set(multiprocessing.active_children()) <= before


def test_without_matplotlib_there_is_a_hint_instead_of_curves(tmp_path, curves, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    train(_run(tmp_path / "r"), replace(_RECIPE, iterations=1))
    assert "pip install matplotlib" in capsys.readouterr().err
    assert not (tmp_path / "r" / "curves.png").exists()


def test_validation_is_recorded_and_survives_resuming(tmp_path, capsys):
    short = replace(_SEQUENCE, frames=_SEQUENCE.frames[:4], label_maps=_SEQUENCE.label_maps[:4], annotated=())
    run = _run(tmp_path / "r", validation=Path("v"), read_validation=lambda _path: [short], every=1, stop_after=1)
    train(run, _RECIPE)
    train(replace(run, resume=True, stop_after=2, validation_frames=3), _RECIPE)
    header, *rows = _rows(tmp_path / "r", "validation.csv")
    assert not capsys.readouterr().out
    assert header == ["step", "J", "F", "J&F"] and [row[0] for row in rows] == ["1", "2"]
    assert all(0.5 < float(j) <= 1 for j in rows[0][1:])


def test_a_validation_that_cannot_be_scored_is_refused_before_any_step(tmp_path):
    empty = AnnotatedSequence("dull", _SEQUENCE.frames, [m * 0 for m in _SEQUENCE.label_maps])
    with pytest.raises(InputError, match="dull has no object"):
        train(_run(tmp_path / "r", validation=Path("v"), read_validation=lambda _path: [empty]), _RECIPE)
    assert not (tmp_path / "r").exists()


def test_a_killed_training_without_checkpoint_gives_it_on_resuming(tmp_path):
    checkpoint = train(_run(tmp_path / "r"), _RECIPE)
    content = load_file(checkpoint)
    checkpoint.unlink()
    assert _same(load_file(train(_run(tmp_path / "r", resume=True), _RECIPE)), content)


def test_the_published_network_trains_from_random_weights(tmp_path, monkeypatch):
    monkeypatch.setattr(Trainer, "save", lambda _trainer, _path: None)  # of a gigabyte
    checkpoint = train(_run(tmp_path / "r", weights=None), replace(_RECIPE, network="pcvos", iterations=1))
    network = load_network("pcvos", checkpoint)
    # Of the layers and of the average: BatchNorm has learned statistics.
    assert network.key_encoder.bn1.running_mean.abs().sum() > 0
    assert network.value_encoder.bn1.running_mean.abs().sum() > 0
    assert all(tensor.isfinite().all() for tensor in network.state_dict().values())


def _folded_trunk(path: Path, kind: str = PERCLIP_LITE_CONFIG.trunk) -> Path:
    """Random weights under the names of a folded public trunk."""
    torch.manual_seed(0)
    tensors, tensorflow = {}, kind == "mobilenet_v2"
    for name, tensor in CompactTrunk(kind).state_dict().items():
        parts = name.split(".")
        if parts[0] == "blocks":
            block = "expanded_conv" if parts[1] == "0" else f"expanded_conv_{parts[1]}"
            tensors[".".join([block if tensorflow else f"blocks.{parts[1]}", *parts[2:]])] = tensor
        elif parts[0] == "Conv":
            tensors[name if tensorflow else f"stem.{parts[1]}"] = tensor
    save_file(tensors, path)
    return path


@pytest.mark.parametrize("kind", TRUNKS)
def test_a_new_compact_network_starts_from_a_trunk(tmp_path, kind):
    trunk = _folded_trunk(tmp_path / "trunk.safetensors", kind)
    checkpoint = train(_run(tmp_path / "r", weights=None, trunk=trunk), replace(_RECIPE, iterations=1))
    network, folded = load_network("perclip-lite", checkpoint), load_file(trunk)
    assert network.config.trunk == kind
    frozen = network.key_encoder.blocks[3].project.weight
    name = "expanded_conv_3.project.weight" if kind == "mobilenet_v2" else "blocks.3.project.weight"
    torch.testing.assert_close(frozen, folded[name], atol=1e-3, rtol=1e-3)
    assert network.position_code is not None and (network.key_encoder.f16_std != 1).any()
    assert network.refine_transformer is not None


def test_a_compact_network_can_be_trained_without_refinement(tmp_path):
    run = _run(tmp_path / "r", weights=None, trunk=_folded_trunk(tmp_path / "trunk.safetensors"))
    network = load_network("perclip-lite", train(run, replace(_RECIPE, iterations=1, refinement=0)))
    assert network.refine_transformer is None


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--data", "nowhere.zip"], "nowhere.zip does not exist"),
        (["--crop", "100"], "crop 100: give a multiple of 16"),
        (["--crop", "big"], "--crop"),
        (["--network", "unet"], "unknown network 'unet'"),
        (["--device", "quantum"], "unknown device 'quantum'"),
        (["--every", "0"], "every 0"),
        (["--save-every", "0"], "save_every 0"),
        (["--threads", "0"], "--threads 0"),
        (["--refinement", "2"], "refinement 2: give 1, or 0"),
        (["--refinement", "0"], "leave --weights out"),
        (["--refinement", "0", "--network", "pcvos"], "pcvos without refinement is stcn"),
        (["--resume"], "nothing to resume"),
        (["--validation", "nowhere"], "nowhere does not exist"),
        (["--weights", "none.safetensors"], "no weights file at none.safetensors"),
        (["--trunk", "t.safetensors"], "weights and trunk exclude one another"),
    ],
    ids=str,
)
def test_bad_input_is_refused_in_one_line(data, tmp_path, capsys, more, says):
    _refused(_command(data, tmp_path / "r", *more), capsys, says)
    assert not (tmp_path / "r").exists()


def test_bad_weights_and_folders_are_refused_in_one_line(data, tmp_path, capsys):
    (tmp_path / "bad.safetensors").write_bytes(b"nothing")
    save_file({"Conv.weight": torch.zeros(1)}, tmp_path / "other.safetensors")
    trunk = _folded_trunk(tmp_path / "trunk.safetensors")
    (tmp_path / "file").touch()
    cases = [
        (_command(data, tmp_path / "r", weights=False), "give --trunk or --weights"),
        (_command(data, tmp_path / "r", "--trunk", str(tmp_path / "no"), weights=False), "no weights file at"),
        (_command(data, tmp_path / "r", "--trunk", str(tmp_path / "bad.safetensors"), weights=False), "cannot be read"),
        (_command(data, tmp_path / "r", "--trunk", str(tmp_path / "other.safetensors"), weights=False), "none of"),
        (_command(data, tmp_path / "r", "--trunk", str(trunk), "--network", "stcn", weights=False), "leave --trunk"),
        (_command(data, tmp_path / "file"), "cannot be used"),
        (_command(data, tmp_path / "r")[2:], "--data"),
    ]
    for command, says in cases:
        _refused(command, capsys, says)


def test_a_used_folder_and_an_unfit_state_are_refused_in_one_line(data, tmp_path, capsys):
    out = tmp_path / "r"
    train(_run(out), replace(_RECIPE, iterations=1))
    _refused(_command(data, out, iterations=1), capsys, "holds a training: go on with --resume")
    _refused(_command(data, out, "--resume", iterations=2), capsys, "written with iterations 1, not 2")
    (out / "state.pt").write_bytes((out / "state.pt").read_bytes()[:5000])
    _refused(_command(data, out, "--resume", iterations=1), capsys, "state.pt is no readable training state")


def _refused(command: list[str], capsys, says: str) -> None:
    capsys.readouterr()
    try:
        code = main(command)
    except SystemExit as leaving:
        code = leaving.code
    error = capsys.readouterr().err.splitlines()
    assert code == 2 and says in error[-1] and error[-1].startswith("error: "), error
    assert len([line for line in error if line and "%|" not in line]) == 1, error


def test_an_interrupted_training_says_how_to_go_on(data, tmp_path, capsys, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Trainer, "learn", interrupted)
    before = set(multiprocessing.active_children())
    assert main(_command(data, tmp_path / "r")) == 130
    assert "--resume" in capsys.readouterr().err.splitlines()[-1]
    assert set(multiprocessing.active_children()) <= before
