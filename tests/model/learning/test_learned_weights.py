"""The folder of what was learned: bounded, shared, and never trusted."""

import os

import pytest
import torch

from model import load_network
from model.learning.learned_weights import LearnedWeights, weights_digest
from model.learning.record import LearningRecord
from model.network.checkpoint import save_network


@pytest.fixture
def network():
    return load_network("perclip-lite")


def record(key: str, weights: str) -> LearningRecord:
    return LearningRecord(key, "network", "used", 3, start="start", weights=weights)


def test_it_gives_back_what_was_put_and_nothing_for_what_is_damaged(tmp_path, network):
    kept = LearnedWeights(tmp_path / "learned")
    digest = weights_digest(network)
    assert kept.record("a", "start") is None and kept.network(digest) is None
    kept.put(record("a", digest), network)
    assert kept.record("a", "start") == record("a", digest)
    assert kept.record("a", "other") is None
    found = kept.network(digest)
    assert found is not None and weights_digest(found) == digest
    with torch.no_grad():
        network.decoder.pred.bias += 1
    save_network(network, kept.folder / f"{digest}.safetensors")
    assert kept.network(digest) is None  # another one
    for path in kept.folder.iterdir():
        path.write_bytes(b"{}")
    assert kept.record("a", "start") is None and kept.network(digest) is None


def test_what_was_used_longest_ago_gives_way(tmp_path, network):
    kept = LearnedWeights(tmp_path)
    digest = weights_digest(network)
    kept.put(record("a", digest), network)
    (weights,) = tmp_path.glob("*.safetensors")
    size = weights.stat().st_size
    names = [tmp_path / f"{letter * 32}.safetensors" for letter in "cde"]
    for age, name in enumerate(names):
        name.write_bytes(weights.read_bytes())
        os.utime(name, (1000 + age, 1000 + age))
    os.utime(weights, (1, 1))
    kept.network(digest)  # is used now
    LearnedWeights(tmp_path, int(2.5 * size)).prune()
    assert weights.exists() and [name.exists() for name in names] == [False, False, True]
    kept.empty()
    assert not list(tmp_path.iterdir())


def test_where_nothing_can_be_written_nothing_is_kept_and_nothing_fails(tmp_path, network):
    (tmp_path / "file").write_text("")
    kept = LearnedWeights(tmp_path / "file" / "learned")
    kept.put(record("a", weights_digest(network)), network)
    assert kept.kept().networks == 0
