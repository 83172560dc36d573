"""What a memory keeps of a predicted frame, and that nobody sees a difference."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from model import Keyframe, PropagationOptions, Propagator, load_network
from model.evaluation.metrics import region_similarity
from model.memory.memory_bank import MemoryBank
from model.memory.memory_thinning import worth_keeping
from model.network.config import STCN_CONFIG
from model.network.pcvos import PCVOS
from model.propagation.run_record import RunRecord


@settings(max_examples=60, deadline=None, database=None)
@given(cells=arrays(bool, (9, 14), elements=st.sampled_from([False] * 40 + [True])))
def test_all_near_an_object_stay_and_a_quarter_of_the_rest(cells):
    kept = worth_keeping(torch.from_numpy(cells)).tolist()
    seen = np.argwhere(cells)
    for place in range(9 * 14):
        row, column = divmod(place, 14)
        near = any(max(abs(row - y), abs(column - x)) <= 3 for y, x in seen)
        assert (place in kept) == (near or (row % 2 == 0 and column % 2 == 0))
    assert kept == sorted(set(kept))


@settings(max_examples=30, deadline=None, database=None)
@given(
    policy=st.sampled_from(["spread", "bounded", "every"]),
    sizes=st.lists(st.integers(2, 6), min_size=16, max_size=40),
    seed=st.integers(0, 99),
)
def test_a_bank_of_thinned_frames_answers_with_what_belongs_to_each_key(policy, sizes, seed):
    """Whatever was dropped: keys, biases and values of what stays still lie beside each other."""
    random = torch.Generator().manual_seed(seed)
    budget = None if policy == "every" else 7 * 6
    memory = MemoryBank((1, 2), 0, 6, PropagationOptions(memory=policy, memory_tokens=budget, top_k=1))

    def values(key: torch.Tensor) -> dict[int, torch.Tensor]:
        return {1: key.sum(1, keepdim=True), 2: -key}

    keys = [3 * torch.randn(n, 4, generator=random) for n in (6, *sizes)]
    memory.add_keyframe(keys[0], values(keys[0]))
    for t, key in enumerate(keys[1:], 1):
        memory.add(t, key, values(key))
        memory.add_temporary(key + 50, values(key + 50))
        memory.read(torch.cat(keys[: max(1, t - 5)]))  # to "bounded" the newer ones are of no use
    queries = torch.cat([keys[0], *keys[-4:], keys[-1] + 50])  # what no policy drops
    found = memory.read(queries)
    torch.testing.assert_close(found[2], -queries)
    torch.testing.assert_close(found[1], queries.sum(1, keepdim=True))
    size = len(memory) - sizes[-1]
    if policy == "every":
        assert size == 6 + sum(sizes)
    elif policy == "bounded":  # no more is dropped than must be
        assert size == min(6 + sum(sizes), budget)
    else:  # six predicted frames, as if they were whole
        assert len(memory.frames) == 6 and size == 6 + sum(sizes[t - 1] for t in memory.frames)


def test_spread_memory_keeps_as_many_frames_as_if_they_were_whole(meadow):
    """So that how much is sent along with the next clip call does not depend on what is seen."""
    frames, labels = meadow
    long = frames[np.abs(np.arange(60) % 22 - 11)]
    options = PropagationOptions(
        clip_length=1, short_side=None, memory="spread", memory_tokens=9 * 16 * 28, device="cpu"
    )
    record = RunRecord()
    run = Propagator(load_network("perclip-lite"), options).run(
        long, [Keyframe(0, labels[11])], record=record, admit=lambda indices: indices[0] < 40
    )
    assert len(list(run)) == 40
    assert len(record.required) == 8 and record.required[-3:] == [37, 38, 39]


@pytest.mark.parametrize("length", [3, 12])
def test_a_thin_memory_finds_the_same_objects(meadow, monkeypatch, length):
    """With clips of 12, by what progressive matching remembers."""
    frames, labels = meadow
    network, sizes = load_network("perclip-lite"), []
    append = MemoryBank._append
    monkeypatch.setattr(
        MemoryBank, "_append", lambda self, key, values: (sizes.append(len(key)), append(self, key, values))
    )
    found = []
    for thin in (True, False):
        options = PropagationOptions(clip_length=length, short_side=None, thin_memory=thin, device="cpu")
        found.append([r.label_map for r in Propagator(network, options).run(frames, [Keyframe(0, labels[0])])])
    for few, whole, truth in zip(*found, labels):
        assert region_similarity(few == 1, whole == 1) > 0.97
        assert region_similarity(few == 1, truth == 1) > 0.75
    half = len(sizes) // 2
    assert sizes[0] == 16 * 28 and set(sizes[half:]) == {16 * 28}  # the keyframe, and all frames without thinning
    assert 16 * 28 / 4 < max(sizes[1:half]) < 16 * 28 / 2


def test_other_networks_memorise_whole_frames(squares, monkeypatch):
    """Their values carry no masks."""
    sizes = []
    add = MemoryBank.add
    monkeypatch.setattr(
        MemoryBank, "add", lambda self, i, key, values: (sizes.append(len(key)), add(self, i, key, values))
    )
    network = PCVOS(STCN_CONFIG)
    options = PropagationOptions(clip_length=1, short_side=None, device="cpu")
    list(Propagator(network, options).run(squares.frames[:4], [squares.keyframe(0)]))
    tokens = -(-squares.frames[0].shape[0] // 16) * -(-squares.frames[0].shape[1] // 16)
    assert sizes == [tokens] * len(sizes) and sizes
