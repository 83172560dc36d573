"""The memory read and the memory bank: what is read, what is kept, what is never lost."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model import InputError, Keyframe, PropagationOptions
from model.memory import memory_bank
from model.memory.memory_bank import MemoryBank
from model.memory.memory_read import affinity, key_bias, read_values

TOKENS = 6  # positions of a frame


def frame(seed: int, objects=(1, 2), tokens: int = TOKENS) -> tuple[torch.Tensor, dict[int, torch.Tensor]]:
    random = torch.Generator().manual_seed(seed)
    return torch.randn(tokens, 4, generator=random), {o: torch.randn(tokens, 3, generator=random) for o in objects}


def bank(objects=(1, 2), start: int = 0, **options) -> MemoryBank:
    return MemoryBank(objects, start, TOKENS, PropagationOptions(**options))


@settings(max_examples=30, deadline=None)
@given(
    queries=st.integers(1, 300),
    size=st.integers(1, 60) | st.integers(61, 2500),
    top_k=st.integers(1, 30) | st.just(80),
    seed=st.integers(0, 99),
)
def test_the_read_is_a_softmax_over_the_nearest_keys(queries, size, top_k, seed):
    random = np.random.default_rng(seed)
    q, k, v = (random.normal(size=(n, 4)).astype(np.float32) for n in (queries, size, size))
    weights, positions = affinity(*map(torch.from_numpy, (q, k)), key_bias(torch.from_numpy(k)), top_k)
    found = read_values(weights, positions, torch.from_numpy(v)).numpy()
    similarity = (2 * q @ k.T - (k * k).sum(1)) / 2  # sqrt(4)
    ranked = np.sort(similarity, 1)
    threshold = ranked[:, -min(top_k, size)][:, None]
    dense = np.where(similarity >= threshold, np.exp(similarity - similarity.max(1, keepdims=True)), 0)
    # Of two keys that are as near but for rounding, either may be the last one that is read.
    clear = np.ones(queries, bool) if size <= top_k else ranked[:, -top_k] - ranked[:, -top_k - 1] > 1e-4
    expected = dense / dense.sum(1, keepdims=True) @ v
    np.testing.assert_allclose(found[clear], expected[clear], atol=1e-4)


def test_a_read_finds_what_was_memorised():
    memory = bank(top_k=1)
    key, values = frame(0)
    memory.add_keyframe(key, values)
    for t in range(1, 30):
        memory.add(t, *frame(t))
    found = memory.read(key)
    for o in (1, 2):
        torch.testing.assert_close(found[o], values[o])
    late, late_values = frame(29)
    torch.testing.assert_close(memory.read(late)[2], late_values[2])


def test_every_keeps_all_frames():
    memory = bank()
    memory.add_keyframe(*frame(0))
    for t in range(1, 20):
        memory.add(5 * t, *frame(t))
    assert len(memory) == 20 * TOKENS


def test_previous_keeps_every_fifth_frame_and_the_last():
    memory = bank(memory="previous")
    memory.add_keyframe(*frame(0))
    kept = []
    for t in range(1, 13):
        memory.add(t, *frame(t))
        kept.append(len(memory) // TOKENS)
    #                 1  2  3  4  5  6  7  8  9 10 11 12
    assert kept == [2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 4, 4]


def test_previous_counts_backward_too():
    memory = bank(start=20, memory="previous")
    memory.add_keyframe(*frame(0))
    for t in range(19, 9, -1):
        memory.add(t, *frame(t))
    assert len(memory) // TOKENS == 3  # the keyframe, 15 and 10


@settings(max_examples=20, deadline=None)
@given(frames=st.integers(1, 60), budget=st.integers(7, 20), keyframes=st.integers(1, 2), seed=st.integers(0, 9))
def test_bounded_stays_in_its_budget_and_never_loses_a_keyframe(frames, budget, keyframes, seed):
    memory = bank(memory="bounded", memory_tokens=budget * TOKENS, top_k=1)
    drawn = [frame(1000 + i) for i in range(keyframes)]
    for key, values in drawn:
        memory.add_keyframe(key, values)
    for t in range(frames):
        memory.add(t, *frame(seed * 100 + t))
        memory.read(frame(seed * 100 + t)[0])
        assert len(memory) <= budget * TOKENS
    for key, values in drawn:
        torch.testing.assert_close(memory.read(key)[1], values[1])
    # The latest frame is whole as well.
    key, values = frame(seed * 100 + frames - 1)
    torch.testing.assert_close(memory.read(key)[2], values[2])


def test_bounded_keeps_what_is_read_and_drops_what_is_not():
    memory = bank(memory="bounded", memory_tokens=8 * TOKENS, top_k=1)
    memory.add_keyframe(*frame(0))
    useful, values = frame(4)  # neither the oldest of those that are dropped first nor a recent one
    for t in range(1, 40):
        memory.add(t, *frame(t))
        if t >= 4:
            memory.read(useful)
    torch.testing.assert_close(memory.read(useful)[1], values[1])
    unused, unused_values = frame(5)
    assert not torch.allclose(memory.read(unused)[1], unused_values[1])


def test_a_budget_without_room_is_refused_with_the_least_that_works(lite, squares):
    engine = lite.with_options(memory="bounded", memory_tokens=300)
    with pytest.raises(InputError, match="7 frames of 48 positions must fit, give at least 336"):
        engine.run(squares.frames, [squares.keyframe(0)])


def test_temporary_frames_go_again():
    memory = bank(top_k=1)
    memory.add_keyframe(*frame(0))
    memory.add_temporary(*frame(7))
    torch.testing.assert_close(memory.read(frame(7)[0])[1], frame(7)[1][1])
    memory.add(9, *frame(9))
    assert len(memory) == 2 * TOKENS
    torch.testing.assert_close(memory.read(frame(0)[0])[1], frame(0)[1][1])
    memory.add_temporary(*frame(5))
    memory.add(10, *frame(10, tokens=1))
    found = memory.read(torch.cat([frame(5)[0], frame(7)[0]]))[1]
    left = torch.cat([frame(0)[1][1], frame(9)[1][1], frame(10, tokens=1)[1][1]])
    assert (found[:, None] == left).all(2).any(1).all(), "read what is forgotten"


def test_reads_meet_few_sizes(monkeypatch):
    """oneDNN keeps a megabyte for each."""
    sizes = set()
    spied = lambda q, keys, bias, k: (sizes.add(keys.shape), affinity(q, keys, bias, k))[1]  # noqa: E731
    monkeypatch.setattr(memory_bank, "affinity", spied)
    memory = bank()
    memory.add_keyframe(*frame(0))
    for t in range(1, 400):
        memory.add(t, *frame(t, tokens=1 + 7 * t % 13))
        memory.read(frame(t)[0])
    assert len(memory) > 2500 and len(sizes) < 45

    sizes.clear()
    product = torch.addmm
    spied = lambda bias, q, *rest, **options: (sizes.add(q.shape), product(bias, q, *rest, **options))[1]  # noqa: E731
    monkeypatch.setattr(torch, "addmm", spied)
    for count in range(1, 300):
        weights, positions = affinity(torch.randn(count, 4), torch.randn(50, 4), torch.zeros(50), 3)
        assert weights.shape == positions.shape == (count, 3)
    assert len(sizes) <= 2


def test_objects_that_leave_take_their_values_along():
    memory = bank()
    memory.add_keyframe(*frame(0))
    memory.restrict((2,))
    memory.add(5, *frame(5, objects=(2,)))
    assert list(memory.read(frame(5)[0])) == [2]


@pytest.mark.parametrize("policy", ["every", "previous", "bounded"])
def test_each_policy_follows_the_objects(lite, squares, policy):
    engine = lite.with_options(clip_length=1, memory=policy)
    results = engine.run(squares.frames, [Keyframe(0, squares.labels[0])])
    scores = [np.mean(r.label_map == squares.labels[r.index]) for r in results]
    assert np.mean(scores) > 0.95
