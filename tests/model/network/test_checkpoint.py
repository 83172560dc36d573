"""Loading and saving networks: what loads, and what is refused in which words."""

import pickle

import pytest
import torch
from safetensors.torch import save_file

from model import CheckpointError, InputError, load_network
from model.network.checkpoint import save_network
from model.network.config import PCVOS_CONFIG, PERCLIP_LITE_CONFIG, NetworkConfig, network_config
from model.network.pcvos import PCVOS


@pytest.fixture(scope="module")
def stcn():
    """With random numbers everywhere, statistics too."""
    torch.manual_seed(0)
    network = PCVOS(network_config("stcn")).eval()
    for tensor in network.state_dict().values():
        if tensor.dim() == 1:
            tensor.uniform_(1, 2)
    return network


@pytest.fixture(scope="module")
def state(stcn):
    return stcn.state_dict()


def saved(tmp_path, content):
    torch.save(content, tmp_path / "net.pth")
    return tmp_path / "net.pth"


@pytest.mark.parametrize(
    "wrap", [lambda s: s, lambda s: {"network": s, "it": 3}, lambda s: {f"module.{k}": v for k, v in s.items()}]
)
def test_public_checkpoints_load(tmp_path, state, wrap):
    network = load_network("stcn", saved(tmp_path, wrap(dict(state))))
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, state[name])


def test_saved_networks_come_back(tmp_path):
    network = PCVOS(PERCLIP_LITE_CONFIG)
    save_network(network, tmp_path / "lite.safetensors", torch.float32)
    loaded = load_network("perclip-lite", tmp_path / "lite.safetensors")
    assert loaded.config == PERCLIP_LITE_CONFIG and not loaded.training
    for name, tensor in loaded.state_dict().items():
        assert torch.equal(tensor, network.state_dict()[name])


def test_config_survives_json():
    assert NetworkConfig.from_json(PCVOS_CONFIG.to_json()) == PCVOS_CONFIG


def test_the_shipped_checkpoint_loads_and_is_small():
    network = load_network("perclip-lite")
    assert sum(p.numel() for p in network.parameters()) < 5e6


def test_another_architecture_is_told_by_its_names(tmp_path, state):
    path = saved(tmp_path, dict(state))
    with pytest.raises(CheckpointError, match="checkpoint of stcn, not of 'pcvos': load it as 'stcn'"):
        load_network("pcvos", path)
    with pytest.raises(CheckpointError, match="checkpoint of stcn, not of 'perclip-lite'"):
        load_network("perclip-lite", path)
    foreign = {"key_proj.d_proj.weight": torch.zeros(1), "key_proj.key_proj.weight": torch.zeros(1)}
    with pytest.raises(CheckpointError, match=r"checkpoint of XMem, .* Perclip cannot run it"):
        load_network("stcn", saved(tmp_path, foreign))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda s: s.pop("decoder.pred.bias"), "it has no 'decoder.pred.bias'"),
        (lambda s: s.update({"extra.weight": torch.zeros(1)}), "it has 'extra.weight', which the network has not"),
        (lambda s: s.update({"key_comp.bias": torch.zeros(3)}), r"'key_comp.bias' is \(3,\), expected \(512,\)"),
    ],
)
def test_the_first_mismatch_is_named(tmp_path, state, change, says):
    tensors = dict(state)
    change(tensors)
    with pytest.raises(CheckpointError, match=says):
        load_network("stcn", saved(tmp_path, tensors))


class Evil:
    def __reduce__(self):
        return (print, ("code from a checkpoint ran",))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("net.pth", b""),
        ("net.pth", b"PK\x03\x04 cut short"),
        ("net.pth", pickle.dumps({"a": Evil()})),
        ("net.safetensors", b"not safetensors at all"),
        ("net.safetensors", b"\xff" * 64),
    ],
)
def test_broken_and_hostile_files_are_refused_in_one_line(tmp_path, capsys, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError) as error:
        load_network("stcn", tmp_path / name)
    assert "\n" not in str(error.value) and name in str(error.value)
    assert capsys.readouterr().out == ""


def test_a_file_without_weights_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="holds no network weights"):
        load_network("stcn", saved(tmp_path, {"epoch": 3}))


def test_foreign_safetensors_are_checked_too(tmp_path):
    save_file({"a.weight": torch.zeros(2)}, str(tmp_path / "a.safetensors"))
    with pytest.raises(CheckpointError, match="it has no"):
        load_network("stcn", tmp_path / "a.safetensors")


def test_what_is_missing_is_said():
    with pytest.raises(CheckpointError, match="no weights of 'pcvos' ship"):
        load_network("pcvos")
    with pytest.raises(CheckpointError, match="no weights file at"):
        load_network("stcn", "nowhere.pth")
    with pytest.raises(
        InputError, match="unknown network 'resnet'; choose one of pcvos, stcn, stm, swem, perclip-lite"
    ):
        load_network("resnet")
