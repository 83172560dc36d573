"""Few rectangles for scattered cells."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from model.inference.region import Region
from model.inference.region_cover import batches, cover, merged

SCATTERED = arrays(
    bool, st.tuples(st.integers(1, 14), st.integers(1, 30)), elements=st.sampled_from([True] + 30 * [False])
)


@settings(max_examples=150, deadline=None, database=None)
@given(SCATTERED, st.integers(0, 3), st.integers(0, 80))
def test_all_cells_and_what_is_around_them_lie_in_regions(cells, margin, overhead):
    height, width = cells.shape
    regions = cover(torch.from_numpy(cells), margin, overhead)
    assert bool(regions) == cells.any()
    inside = torch.zeros(height, width, dtype=torch.bool)
    for r in regions:
        assert 0 <= r.top < r.bottom <= height and 0 <= r.left < r.right <= width
        assert r.top % 2 == 0 == r.left % 2  # where a sparse look begins
        for low, high, size in ((r.top, r.bottom, height), (r.left, r.right, width)):  # few sizes
            assert (high - low) % 4 == 0 or (high == size and (size % 2 or low == 0))
        r.of(inside)[:] = True
    for y, x in np.argwhere(cells):
        assert inside[max(0, y - margin) : y + margin + 1, max(0, x - margin) : x + margin + 1].all()


def test_far_patches_have_regions_of_their_own_and_near_ones_share():
    cells = torch.zeros(30, 54, dtype=torch.bool)
    cells[4, 4] = cells[20:24, 40:46] = True
    assert sorted(cover(cells, 1, 60)) == [Region(2, 6, 2, 6), Region(18, 26, 38, 50)]
    assert len(cover(cells, 1, 2000)) == 1
    cells[6, 9] = True
    assert sorted(cover(cells, 1, 60))[0] == Region(2, 10, 2, 14)


@settings(max_examples=100, deadline=None, database=None)
@given(st.lists(st.tuples(*4 * [st.integers(0, 20)]), max_size=6), st.integers(0, 60))
def test_merging_leaves_nothing_out_and_never_costs_more(sides, overhead):
    regions = [Region(t, t + 1 + h, x, x + 1 + w) for t, h, x, w in sides]
    joined = merged(regions, overhead)
    assert all(any(j.holds(r) for j in joined) for r in regions)
    assert sum(r.cells + overhead for r in joined) <= sum(r.cells + overhead for r in regions)


@given(st.integers(0, 40), st.integers(1, 1620))
def test_batches_hold_every_frame_once_and_no_more_than_one_and_a_half_frames_of_cells(count, cells):
    cut = batches(range(count), cells, 1620)
    assert [i for batch in cut for i in batch] == list(range(count))
    sizes = [len(batch) for batch in cut]
    assert all(n == 1 or n * cells <= 1.5 * 1620 for n in sizes) and (not sizes or max(sizes) - min(sizes) <= 1)
