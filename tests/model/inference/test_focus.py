"""Refining and decoding only where objects may be."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model import Keyframe, PropagationOptions, Propagator, load_network
from model.evaluation.metrics import region_similarity
from model.inference.focus import NOTHING, in_whole_windows, segment_regions
from model.inference.region import Region
from model.network.pcvos import PCVOS


@given(st.integers(1, 40), st.integers(1, 60), st.data())
@settings(max_examples=60, deadline=None, database=None)
def test_whole_windows_lie_as_in_the_whole_frame(height, width, data):
    top, left = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    region = Region(top, data.draw(st.integers(top + 1, height)), left, data.draw(st.integers(left + 1, width)))
    grown = in_whole_windows(region, height, width)
    assert grown.top % 7 == 0 == grown.left % 7
    assert (grown.bottom % 7 == 0 or grown.bottom == height) and (grown.right % 7 == 0 or grown.right == width)
    assert grown.joined(region) == grown
    assert grown.bottom - grown.top >= min(7, height) and grown.right - grown.left >= min(7, width)
    inner = region.inside(grown)
    x = torch.arange(height * width).view(height, width)
    assert torch.equal(inner.of(grown.of(x)), region.of(x))


def _networks(**options) -> tuple[Propagator, Propagator]:
    network = load_network("perclip-lite")
    each = {"short_side": None, "dtype": "float32", "device": "cpu", "keep_probabilities": True, **options}
    return tuple(Propagator(network, PropagationOptions(focus=focus, **each)) for focus in (True, False))


def test_masks_are_those_of_whole_frames_for_less_work(meadow, monkeypatch):
    frames, labels = meadow
    decoded = []
    decode = PCVOS.decode

    def watched(self, frame, readouts):
        decoded.append(readouts.shape[-2] * readouts.shape[-1])
        return decode(self, frame, readouts)

    monkeypatch.setattr(PCVOS, "decode", watched)
    found, areas = [], []
    for propagator in _networks():
        decoded.clear()
        results = list(propagator.run(frames, [Keyframe(0, labels[0])]))
        found.append(results)
        areas.append(sum(decoded))
    for near, whole, truth in zip(*found, labels):
        assert region_similarity(near.label_map == 1, whole.label_map == 1) > 0.92
        assert region_similarity(near.label_map == 1, truth == 1) > 0.75
        assert near.confidence[1] == pytest.approx(whole.confidence[1], abs=0.05)
        apart = np.abs(near.probabilities - whole.probabilities)
        assert apart.mean() < 2e-3 and (apart > 0.25).mean() < 1e-4
    assert areas[0] < areas[1] / 3


def test_two_objects_and_clips_in_pieces(squares):
    for near, whole in zip(*(p.run(squares.frames, [squares.keyframe(0)]) for p in _networks(clip_length=20))):
        for obj in (1, 2):
            assert region_similarity(near.label_map == obj, whole.label_map == obj) > 0.97


def test_an_object_that_the_memory_does_not_see_is_nowhere():
    network = load_network("perclip-lite")
    height, width = 8, 10
    readouts = torch.zeros(2, 128, 3, height, width)
    readouts[0, -16:, 1, 2:4, 3:5] = 1.0  # one object, in the second of three frames
    with torch.inference_mode():
        features = [network.encode(torch.randn(1, 3, 16 * height, 16 * width)).decoder_input for _ in range(3)]
        local_keys = torch.randn(1, 64, 3, height, width)
        logits = segment_regions(network, local_keys, features, readouts)
        later = segment_regions(network, local_keys, features[1:], readouts, lead=1)
    assert logits.shape == (3, 2, 32, 40) and logits.dtype == torch.float32
    assert (logits[:, 1] == NOTHING).all()
    region = Region(0, 8, 0, 8)  # two cells around the seen ones, grown to a multiple of four
    assert not (region.of(logits[1, 0], 4) == NOTHING).any()
    assert (logits[1, 0, :, 32:] == NOTHING).all()
    torch.testing.assert_close(later, logits[1:])


def test_a_faint_look_alike_is_left_out_and_a_faint_object_is_not():
    """Unless something surer is seen, everything faint may be the object."""
    network = load_network("perclip-lite")
    faint, sure = (slice(0, 2), slice(0, 2)), (slice(5, 7), slice(20, 22))
    for both in (True, False):
        readouts = torch.zeros(1, 128, 1, 12, 24)
        readouts[0, -16:, 0, *faint] = 0.2
        if both:
            readouts[0, -16:, 0, *sure] = 0.9
        with torch.inference_mode():
            features = [network.encode(torch.randn(1, 3, 192, 384)).decoder_input]
            logits = segment_regions(network, torch.randn(1, 64, 1, 12, 24), features, readouts)[0, 0]
        assert (logits[:8, :8] == NOTHING).all() == both
        assert (logits[20:28, 80:88] == NOTHING).all() != both
