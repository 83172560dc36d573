"""Runs that pause and go on elsewhere, with no more images than the record asks for."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from model import InputError, Keyframe
from model.memory.memory_bank import MemoryBank
from model.options import PropagationOptions
from model.propagation.run_record import RunRecord
from tests.model.propagation.test_propagator import assert_same, by_frame

_TOKENS = 6 * 8  # memory positions of a frame of the squares


class SentFrames:
    """The frames that a call brings along; asking for another one fails."""

    def __init__(self, frames: np.ndarray, sent: set[int]):
        self._frames, self._sent = frames, sent

    def __len__(self) -> int:
        return len(self._frames)

    def __getitem__(self, index):
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        assert index in self._sent, f"frame {index} was not sent"
        return self._frames[index]


def chain(propagator, frames, keyframes, batch, **run):
    """All results of a chain of calls, each with at most `batch` new frames, and the number of calls."""
    record, results, calls = RunRecord(), {}, 0
    while True:
        sent = {k.index for k in keyframes} | set(record.required) | set(record.ahead[:batch])
        given = by_frame(
            propagator.run(
                SentFrames(frames, sent),
                keyframes,
                record=record,
                admit=sent.issuperset,
                **run,
            )
        )
        assert not given.keys() & results.keys()
        results |= given
        if not record.ahead:
            return results, calls
        calls += 1
        assert calls < 100
        record = copy.deepcopy(record)  # as if it came from elsewhere


@settings(max_examples=8, deadline=None, phases=set(Phase) - {Phase.shrink})
@given(data=st.data())
def test_a_chain_of_calls_gives_the_results_of_one_run(data, lite, few):
    covered = data.draw(
        st.dictionaries(st.integers(0, 11), st.sampled_from([(1, 2), (1,), (2,)]), min_size=1, max_size=4)
    )
    keyframes = [
        Keyframe(i, few.labels[i] * np.isin(few.labels[i], objects), objects) for i, objects in covered.items()
    ]
    run = {"direction": data.draw(st.sampled_from(["forward", "backward", "both"]))}
    run["start"] = data.draw(st.integers(0, 3))
    run["stop"] = data.draw(st.integers(9, 12))
    tokens = 7 * _TOKENS
    memory = data.draw(st.sampled_from([{"memory": "every"}, {"memory": "spread", "memory_tokens": tokens}]))
    propagator = lite.with_options(clip_length=data.draw(st.sampled_from([1, 2, 5])), **memory)
    whole = by_frame(propagator.run(few.frames, keyframes, record=RunRecord(), **run))
    parts, _ = chain(propagator, few.frames, keyframes, data.draw(st.integers(5, 12)), **run)
    assert_same(parts, whole)


def test_groups_that_start_together_keep_their_own_memory(lite, squares):
    covered = {9: (2,), 21: (1, 2), 23: (1, 2)}  # backward from 21: object 2 ends at 9, object 1 goes on
    keyframes = [
        Keyframe(i, squares.labels[i] * np.isin(squares.labels[i], objects), objects) for i, objects in covered.items()
    ]
    propagator = lite.with_options(clip_length=1, memory="spread", memory_tokens=7 * _TOKENS)
    whole = by_frame(propagator.run(squares.frames, keyframes, record=RunRecord(), start=4, stop=19))
    parts, calls = chain(propagator, squares.frames, keyframes, 11, start=4, stop=19)
    assert calls > 1
    assert_same(parts, whole)


def test_a_run_that_is_left_between_two_results_gives_the_rest(lite, squares):
    frames, keyframes = squares.frames[:14], [squares.keyframe(0), squares.keyframe(13)]
    whole = by_frame(lite.run(frames, keyframes, record=RunRecord()))
    record, results = RunRecord(), {}
    for take in (3, 4, 30):
        run = lite.run(frames, keyframes, record=record)
        for _, result in zip(range(take), run):
            results[result.index] = result
        run.close()
    assert_same(results, whole)


def test_a_record_asks_for_what_memory_keeps_and_no_more(lite, squares):
    frames = squares.frames[np.arange(48) % 24]
    propagator = lite.with_options(clip_length=1, memory="spread", memory_tokens=9 * _TOKENS)
    record = RunRecord()
    results = propagator.run(frames, [squares.keyframe(0)], record=record, admit=lambda indices: indices[0] < 36)
    assert len(list(results)) == 36
    assert record.ahead == list(range(36, 48))
    assert len(record.required) == 8 and record.required[-3:] == [33, 34, 35]
    assert not any(packed for packed in record.passes[0, 1].waiting.values())


def test_spread_memory_keeps_the_latest_frames_and_even_gaps():
    bank = MemoryBank((1,), 0, 4, PropagationOptions(memory="spread", memory_tokens=4 * 17))
    bank.add_keyframe(torch.full((4, 2), 0.5), {1: torch.zeros(4, 3)})
    for t in range(5, 1005, 5):
        bank.add(t, torch.full((4, 2), float(t)), {1: torch.full((4, 3), float(t))})
    kept = bank.frames
    assert len(kept) == 16 and kept[-4:] == (985, 990, 995, 1000)
    gaps = np.diff([0, *kept[:-3]])
    assert gaps.max() <= 4 * gaps.min()
    # Keys and values moved together: every kept frame reads its own value back.
    for t in kept:
        assert float(bank.read(torch.full((1, 2), float(t)))[1].mean()) == pytest.approx(t, rel=0.01)


def test_bounded_memory_cannot_be_recorded(lite, squares):
    with pytest.raises(InputError, match="spread"):
        lite.with_options(memory="bounded").run(squares.frames, [squares.keyframe(0)], record=RunRecord())
