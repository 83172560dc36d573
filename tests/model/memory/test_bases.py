"""SWEM's bases absorb and are read as the public code does it, and their weight step keeps its digits."""

from pathlib import Path

import numpy as np
import pytest
import torch

from model.memory.bases import Bases, absorb, empty_bases, read_bases, starting_keys, unit
from model.memory.bases_memory import BasesMemory


@pytest.fixture(scope="module")
def golden():
    with np.load(Path(__file__).parent / "swem_em.npz") as file:
        return {name: torch.from_numpy(file[name]) for name in file.files}


def _absorbed(golden: dict, prior: Bases, frame: int, objects: list[int], iterations: int) -> Bases:
    key = golden["x"][frame].flatten(1).T
    value = golden["v"][frame, objects].flatten(2).transpose(1, 2)
    return absorb(prior, key, value, golden["group_masks"][frame, objects].flatten(2), iterations)


def _assert_bases(found: Bases, golden: dict, name: str) -> None:
    for part, bar in (("kappa", 1e-5), ("nu", 1e-4), ("zeta", 1e-4)):
        expected = golden.get(f"{name}_{part}")
        if expected is not None:
            array = getattr(found, part)
            assert (array - (expected if part == "zeta" else expected.transpose(2, 3))).abs().max() < bar, part


def _assert_read(found: torch.Tensor, golden: dict, name: str) -> None:
    expected = torch.cat([golden[f"{name}_memory"], golden[f"{name}_features"]], 1).flatten(2).transpose(1, 2)
    assert (found - expected).abs().max() < 2e-5


@pytest.mark.parametrize("iterations", [1, 4])
def test_a_first_frame(golden, iterations):
    start = empty_bases(unit(golden["initial_kappa"][:2].transpose(2, 3)), 32)
    _assert_bases(_absorbed(golden, start, 0, [0, 1], iterations), golden, f"iters{iterations}_frame0")


def test_a_new_object_and_one_that_is_gone(golden):
    keys = unit(golden["initial_kappa"].transpose(2, 3))
    before = _absorbed(golden, empty_bases(keys[:2], 32), 0, [0, 1], 4)
    new = _absorbed(golden, empty_bases(keys[2:], 32), 1, [2], 4)
    gone_on = _absorbed(golden, before, 1, [0, 1], 4)
    first, update = (Bases(*map(torch.cat, zip(some, new))) for some in (before, gone_on))
    _assert_bases(first, golden, "iters4_frame1_first")
    _assert_bases(update, golden, "iters4_frame1_update")
    _assert_read(read_bases(golden["x"][1].flatten(1).T, [before], 8), golden, "iters4_read1")
    _assert_read(read_bases(golden["x"][0].flatten(1).T, [first, update], 8), golden, "iters4_read2")


def test_well_explained_positions_keep_their_digits():
    """In float32, 1 minus a share of nearly 1 would be nothing; float64 is the measure."""
    torch.manual_seed(0)
    kappa = torch.zeros(1, 2, 4, 8)
    kappa[0, 0, :, 0] = 1
    kappa[0, 1, :, 1] = 1
    key = torch.zeros(6, 8)
    key[:3, 0], key[3:, 1] = 1, 1
    key += 0.01 * torch.randn(6, 8)
    groups = torch.tensor([[[1.0, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 1]]])
    value = torch.randn(1, 6, 3)
    found = absorb(empty_bases(kappa, 3), key, value, groups)
    exact = absorb(Bases(*(x.double() for x in empty_bases(kappa, 3))), key.double(), value.double(), groups.double())
    assert ((found.zeta - exact.zeta) / exact.zeta).abs().max() < 1e-3


def test_objects_start_from_one_fixed_stream_of_numbers():
    stream = np.random.RandomState(0).standard_normal((2, 2, 5, 3)) * (2 / 3) ** 0.5
    for obj in (1, 2):
        expected = unit(torch.from_numpy(stream[obj - 1].astype(np.float32)).transpose(1, 2))
        assert torch.equal(starting_keys(obj, 5, 3), expected)


def test_a_memory_never_grows_and_keeps_what_was_drawn():
    torch.manual_seed(0)
    memory = BasesMemory((1, 2), 0)
    memory.add_keyframe(torch.randn(9, 8), {o: torch.rand(9, 6) for o in (1, 2)})
    queries = torch.randn(4, 8)
    assert memory.read(queries)[1].shape == (4, 4 + 128)
    kept = memory._first[1]
    sizes = set()
    for index in range(1, 6):
        memory.add(index, torch.randn(9, 8), {o: torch.rand(9, 6) for o in (1, 2)})
        sizes.add(sum(x.numel() for bases in (memory._first, memory._updated) for b in bases.values() for x in b))
    assert len(sizes) == 1 and all(torch.equal(a, b) for a, b in zip(kept, memory._first[1]))
    assert memory.frames == ()  # nothing needs to be memorised again: the state holds it
    memory.restrict((2,))
    assert set(memory.read(queries)) == {2}


def test_a_state_goes_on_elsewhere_as_if_it_had_never_stopped():
    torch.manual_seed(0)
    frames = [(torch.randn(9, 8), {o: torch.rand(9, 6) for o in (1, 2)}) for _ in range(5)]

    def begun() -> BasesMemory:
        memory = BasesMemory((1, 2), 10)
        memory.add_keyframe(*frames[0])
        return memory

    whole, elsewhere = begun(), begun()
    for index, frame in zip((9, 8), frames[1:]):
        whole.add(index, *frame)
    elsewhere.restore(whole.state())
    elsewhere.add(8, *frames[2])  # held by the state: it is not absorbed a second time
    for memory in (whole, elsewhere):
        memory.add(7, *frames[3])
    queries = torch.randn(4, 8)
    assert all(torch.equal(a, b) for a, b in zip(whole.read(queries).values(), elsewhere.read(queries).values()))
    for damaged in (b"", whole.state()[:-4], b"\xff" * 64):
        with pytest.raises(ValueError, match="not of their size"):
            begun().restore(damaged)
