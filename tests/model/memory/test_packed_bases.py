"""One object's bases in few bytes: rounded, by a rule that lets them go on."""

import zlib

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.memory.bases import Bases, absorb, empty_bases, starting_keys
from model.memory.packed_bases import pack_bases, unpack_bases

_COUNT, _KEY, _VALUE = 6, 5, 7


def some_bases(seed: int, scale: float = 1.0) -> Bases:
    random = torch.Generator().manual_seed(seed)
    kappa, nu = (scale * torch.randn(1, 2, _COUNT, dim, generator=random) for dim in (_KEY, _VALUE))
    return Bases(kappa, nu, torch.rand(1, 2, _COUNT, generator=random) + 1e-6)


def unpacked(data: bytes) -> Bases:
    return unpack_bases(data, _KEY, _VALUE, _COUNT)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), exponent=st.integers(-12, 6), dither=st.integers(0, 2**31 + 1))
def test_each_base_comes_back_within_a_63rd_of_its_own_largest_number(seed, exponent, dither):
    bases = some_bases(seed, 10.0**exponent)
    bases.nu[0, 0, 0] = 0  # of a base that has absorbed nothing
    bases.nu[0, 1, 0] *= 1e-3
    found = unpacked(pack_bases(bases, dither))
    for before, after in zip(bases[:2], found[:2]):
        assert ((after - before).abs() <= before.abs().amax(-1, keepdim=True) / 63).all()
    assert torch.equal(found.zeta, bases.zeta)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**31), first=st.integers(0, 99), second=st.integers(0, 99))
def test_what_is_rounded_already_stays_as_it_is(seed, first, second):
    once = unpacked(pack_bases(some_bases(seed), first))
    assert all(torch.equal(a, b) for a, b in zip(unpacked(pack_bases(once, second)), once))


def test_rounding_takes_nothing_away_on_the_mean():
    bases = some_bases(0)
    mean = torch.stack([unpacked(pack_bases(bases, dither)).nu for dither in range(400)]).mean(0)
    step = bases.nu.abs().amax(-1, keepdim=True) / 63
    assert ((mean - bases.nu).abs() / step).max() < 0.15  # of half a step to the nearest


def test_bases_that_are_old_still_learn():
    """What lies under a group changes for good: rounded bases follow it as exact ones do, however little a frame."""
    random = torch.Generator().manual_seed(0)
    key = torch.randn(40, _KEY, generator=random)
    groups = torch.rand(1, 2, 40, generator=random)
    before, after = (torch.randn(1, 40, _VALUE, generator=random) for _ in range(2))
    exact = empty_bases(starting_keys(1, _KEY, _COUNT)[None], _VALUE)
    for _ in range(60):
        exact = absorb(exact, key, before, groups)
    rounded, old = exact, exact
    for i in range(120):
        exact = absorb(exact, key, after, groups)
        rounded = unpacked(pack_bases(absorb(rounded, key, after, groups), i))
    way = (exact.nu - old.nu).norm()
    assert (rounded.nu - exact.nu).norm() < 0.2 * way


def test_the_published_sizes_take_less_than_150_kilobytes():
    kappa, nu = (torch.randn(1, 2, 128, dim) for dim in (128, 512))
    data = pack_bases(Bases(kappa, nu, torch.ones(1, 2, 128)), 0)
    assert len(data) < 150_000
    assert unpack_bases(data, 128, 512).nu.shape == (1, 2, 128, 512)


def test_damaged_or_foreign_bytes_are_refused():
    data = pack_bases(some_bases(0), 0)
    raw = bytearray(zlib.decompress(data))
    exponent, mass = bytearray(raw), bytearray(raw)
    exponent[0] = 100
    mass[-4:] = np.float32(np.nan).tobytes()
    others = [b"", data[:-9], b"no bases", zlib.compress(raw[:-4]), zlib.compress(raw + b"more")]
    for wrong in (*others, zlib.compress(exponent), zlib.compress(mass)):
        with pytest.raises(ValueError, match="packed bases"):
            unpacked(wrong)
    with pytest.raises(ValueError, match="not of their size"):
        unpack_bases(data, _KEY, _VALUE + 1, _COUNT)
