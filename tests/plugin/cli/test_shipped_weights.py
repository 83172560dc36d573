"""Which weights ran, and under which terms, is told wherever a person may ask."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model import load_network
from model.errors import CheckpointError
from model.network.checkpoint_files import SHIPPED, shipped_path, weights_in_words
from model.network.config import DEFAULT_NETWORK, NETWORKS
from model.options import PropagationOptions
from plugin.cli import main
from plugin.cvat.engine.engine import LocalEngine
from serverless.perclip_function import PerclipFunction, Settings

_WEIGHTS = Path(__file__).resolve().parents[3] / "model" / "weights"


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_network_loads_by_its_name_and_has_a_card(name):
    assert name in NETWORKS and load_network(name).compact
    cards = [card.read_text(encoding="utf-8") for card in _WEIGHTS.glob("MODEL_CARD*.md")]
    assert any(card.startswith(f"# {shipped_path(name).name}") for card in cards)


def test_the_shipped_networks_are_not_the_same():
    digests = {shipped_path(name).read_bytes() for name in SHIPPED}
    assert len(digests) == len(SHIPPED)


def test_the_list_of_networks_says_the_default_and_the_terms(capsys):
    assert main(["models"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert next(line for line in lines if "(default)" in line).startswith(DEFAULT_NETWORK)
    for name, weights in SHIPPED.items():
        assert any(line.startswith(name) and line.endswith(weights.terms) for line in lines)


def test_a_network_without_shipped_weights_says_so():
    with pytest.raises(CheckpointError, match="no weights of 'stcn' ship"):
        weights_in_words("stcn", None)
    assert weights_in_words("stcn", Path("stcn.pth")).startswith("stcn.pth")


@pytest.mark.parametrize("name", SHIPPED)
def test_a_run_tells_its_weights(tmp_path, capsys, name):
    for i in range(3):
        Image.fromarray(np.full((48, 64, 3), 60 * i, np.uint8)).save(tmp_path / f"{i}.png")
    mask = np.zeros((48, 64), np.uint8)
    mask[10:30, 10:30] = 1
    (tmp_path / "masks").mkdir()
    Image.fromarray(mask).save(tmp_path / "masks" / "m.png")
    out = tmp_path / "out"
    command = ["propagate", str(tmp_path), "--keyframe", f"0={tmp_path / 'masks' / 'm.png'}", "--model", name]
    assert main([*command, "--short-side", "0", "--format", "report", "--out", str(out)]) == 0
    assert SHIPPED[name].terms in capsys.readouterr().out
    assert SHIPPED[name].terms in (out / "report.html").read_text(encoding="utf-8")
    assert json.loads((out / "run.json").read_text())["network"] == name


@pytest.mark.parametrize("name", SHIPPED)
def test_the_function_and_the_sdk_program_tell_their_weights(name):
    status = PerclipFunction(Settings.of({"PERCLIP_NETWORK": name, "PERCLIP_DEVICE": "cpu"})).status()
    assert status["network"] == name and SHIPPED[name].terms in status["weights_terms"]
    assert SHIPPED[name].terms in LocalEngine(name, None, PropagationOptions()).weights
