"""Reading the memory only where objects may be."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model import Keyframe, PropagationOptions, Propagator, load_network
from model.evaluation.metrics import region_similarity
from model.inference.region import Region
from model.memory.focused_read import FocusedRead
from model.memory.memory_bank import MemoryBank
from model.network.compact_value_encoder import MASK_CHANNELS

HEIGHT, WIDTH = 11, 16


def scene(covered: np.ndarray) -> tuple[MemoryBank, torch.Tensor, torch.Tensor]:
    """A bank that knows a frame of cells by heart, the frame's keys, and the values, of which the mask is `covered`."""
    tokens = HEIGHT * WIDTH
    keys = 9 * torch.eye(tokens)
    values = torch.arange(tokens * (2 + MASK_CHANNELS)).view(tokens, -1).float()
    values[:, 2:] = 0
    values[:, 5] = torch.from_numpy(covered.astype(np.float32)).flatten()
    bank = MemoryBank((4,), 0, tokens, PropagationOptions(top_k=1))
    bank.add_keyframe(keys, {4: values})
    return bank, keys, values


def focused_read(bank: MemoryBank, keys: torch.Tensor, before: torch.Tensor) -> dict[int, torch.Tensor]:
    """Readouts of frames that are all looked at."""
    read = FocusedRead(bank, keys[-1], (HEIGHT, WIDTH), len(keys))
    read.look(keys, range(len(keys) - 1), [Region(0, HEIGHT, 0, WIDTH)])
    return read.readouts(keys, before)


@settings(max_examples=60, deadline=None, database=None)
@given(
    top=st.integers(0, HEIGHT - 2),
    left=st.integers(0, WIDTH - 2),
    height=st.integers(2, 6),
    width=st.integers(2, 6),
    mirrored=st.booleans(),
)
def test_what_lies_near_an_object_is_exact(top, left, height, width, mirrored):
    """Of any object of two by two cells or more, wherever it turns up, in any frame of a clip."""
    covered = np.zeros((HEIGHT, WIDTH), bool)
    covered[top : top + height, left : left + width] = True
    bank, keys, values = scene(covered)
    # The second frame shows the same upside down.
    clip = torch.stack([keys, keys.flip(0)] if mirrored else [keys])
    found = focused_read(bank, clip, torch.zeros(HEIGHT, WIDTH, dtype=torch.bool))[4]
    assert found.shape == (len(clip), HEIGHT * WIDTH, values.shape[1])
    torch.testing.assert_close(found[:, :, 2:].sum((1, 2)), values[:, 2:].sum().expand(len(clip)))
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    ys, xs = np.nonzero(covered)
    near = np.min(np.maximum(abs(rows[..., None] - ys), abs(columns[..., None] - xs)), -1) <= 2
    torch.testing.assert_close(found[0][near.ravel()], values[near.ravel()])
    if mirrored:
        torch.testing.assert_close(found[1].flip(0)[near.ravel()], values[near.ravel()])


def test_a_frame_is_like_the_last_one_where_it_is_not_looked_at():
    covered = np.zeros((HEIGHT, WIDTH), bool)
    covered[2:5, 2:5] = True
    bank, keys, values = scene(covered)
    clip = torch.stack([keys.flip(0), keys])  # in the first frame the object is at the bottom right
    for region, places in ((Region(0, 6, 0, 8), []), (Region(6, HEIGHT, 10, WIDTH), [6, 8, 10, 12, 14])):
        read = FocusedRead(bank, clip[-1], (HEIGHT, WIDTH), 2)
        assert torch.equal(*read.seen()[4])  # as the last one in both
        read.look(clip, [0], [region])
        first, last = read.seen()[4]
        assert bool(first[6:].any()) == bool(places) and torch.equal(
            torch.nonzero(last), torch.tensor([[2, 2], [2, 4], [4, 2], [4, 4]])
        )
        found = read.readouts(clip, torch.zeros(HEIGHT, WIDTH, dtype=torch.bool))[4]
        torch.testing.assert_close(found[1, 2 * WIDTH + 3], values[2 * WIDTH + 3])
        if places:
            torch.testing.assert_close(found[0].flip(0)[2 * WIDTH + 3], values[2 * WIDTH + 3])


def test_a_small_object_is_read_where_it_was_before_and_the_rest_is_the_neighbour_s():
    covered = np.zeros((HEIGHT, WIDTH), bool)
    covered[5, 9] = True  # one cell, between those of the sparse look
    bank, keys, values = scene(covered)
    before = np.zeros_like(covered)
    before[3, 7] = True
    found = focused_read(bank, keys[None], torch.from_numpy(before))[4][0]
    torch.testing.assert_close(found[5 * WIDTH + 9], values[5 * WIDTH + 9])
    for row, column in ((0, 13), (9, 1), (10, 15), (9, 15)):
        place, neighbour = row * WIDTH + column, row // 2 * 2 * WIDTH + column // 2 * 2
        torch.testing.assert_close(found[place], values[neighbour])


def test_a_small_object_is_followed_from_frame_to_frame():
    """One cell, that the sparse look finds in no frame of the clip; at its end it is ten cells away."""
    covered = np.zeros((HEIGHT, WIDTH), bool)
    covered[5, 3] = True
    bank, keys, values = scene(covered)
    clip = torch.stack([keys.roll((t + t % 2 * WIDTH, 0), (0, 1)) for t in range(11)])
    found = focused_read(bank, clip, torch.from_numpy(covered))[4]
    for t in range(11):
        place = (5 + t % 2) * WIDTH + 3 + t
        torch.testing.assert_close(found[t, place], values[5 * WIDTH + 3])


def test_small_fast_objects_are_the_same_as_without():
    """14 pixels, 12 of them from frame to frame, in clips of 13."""
    random = np.random.default_rng(2)
    ground, texture = random.integers(60, 110, (256, 448, 3)), random.integers(150, 255, (14, 14, 3))
    frames, labels = np.empty((27, 256, 448, 3), np.uint8), np.zeros((27, 256, 448), np.uint8)
    for t in range(27):
        frames[t] = ground
        frames[t, 120:134, 40 + 12 * t : 54 + 12 * t] = texture
        labels[t, 120:134, 40 + 12 * t : 54 + 12 * t] = 1
    network, scores = load_network("perclip-lite"), []
    for focus in (True, False):
        options = PropagationOptions(clip_length=13, short_side=None, focus=focus, device="cpu")
        results = Propagator(network, options).run(frames, [Keyframe(0, labels[0])])
        scores.append([region_similarity(r.label_map == 1, labels[r.index] == 1) for r in results])
    assert min(scores[1]) > 0.3
    np.testing.assert_allclose(scores[0], scores[1], atol=0.15)


def test_less_is_read_and_the_same_found(meadow, monkeypatch):
    frames, labels = meadow
    network, queries = load_network("perclip-lite"), []
    read = MemoryBank.read
    monkeypatch.setattr(MemoryBank, "read", lambda self, asked: (queries.append(len(asked)), read(self, asked))[1])
    found, counts = [], []
    for focus in (True, False):
        queries.clear()
        options = PropagationOptions(clip_length=3, short_side=None, focus=focus, device="cpu")
        found.append([r.label_map for r in Propagator(network, options).run(frames, [Keyframe(0, labels[0])])])
        counts.append(sum(queries))
    for near, whole, truth in zip(*found, labels):
        assert region_similarity(near == 1, whole == 1) > 0.95
        assert region_similarity(near == 1, truth == 1) > 0.8
    assert counts[1] == 11 * 16 * 28 and counts[0] < 0.6 * counts[1]


@pytest.mark.parametrize("length", [1, 12])
@pytest.mark.parametrize("first", [0, 11])
def test_it_is_looked_for_where_it_was_in_the_frame_before(meadow, monkeypatch, first, length):
    """Also in the later pieces of a clip."""
    frames, labels = meadow
    asked = []
    readouts = FocusedRead.readouts
    spied = lambda self, *a: (asked.append((len(a[0]), a[1].numpy())), readouts(self, *a))[1]  # noqa: E731
    monkeypatch.setattr(FocusedRead, "readouts", spied)
    options = PropagationOptions(clip_length=length, short_side=None, device="cpu")
    list(Propagator(load_network("perclip-lite"), options).run(frames, [Keyframe(first, labels[first])]))
    assert [count for count, _ in asked] == ([1] * 11 if length == 1 else [5, 5, 1])
    passed = 0
    for count, before in asked:
        ys, xs = np.nonzero(labels[abs(first - passed)])
        assert before[ys // 16, xs // 16].mean() > 0.8
        rows, columns = np.nonzero(before)
        assert abs(rows.mean() - ys.mean() / 16) < 2 and abs(columns.mean() - xs.mean() / 16) < 2
        passed += count
