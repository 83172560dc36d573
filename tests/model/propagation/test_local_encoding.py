"""Encoding most frames of a clip only around the objects."""

import dataclasses

import cv2
import numpy as np
import pytest
import torch

from model import Keyframe, PropagationOptions, Propagator, load_network
from model.consistency.pass_observer import PassObserver
from model.evaluation.metrics import region_similarity
from model.inference import prepared_network
from model.inference.prepared_network import InferenceNetwork
from model.inference.region import Region
from model.network.decoder import DecoderInput
from model.network.pcvos import PCVOS

OPTIONS = PropagationOptions(clip_length=5, short_side=None, device="cpu")


@pytest.fixture
def encoded(monkeypatch):
    """Pixels of every image, or part of one, that a network encodes."""
    pixels, encode = [], PCVOS.encode

    def watched(self, images, *more):
        pixels.extend([images.shape[2] * images.shape[3]] * len(images))
        return encode(self, images, *more)

    monkeypatch.setattr(PCVOS, "encode", watched)
    return pixels


def moved(meadow, shifts: dict[int, tuple[int, int] | None]) -> tuple[np.ndarray, np.ndarray]:
    """The meadow with its object moved down and to the right in some frames, by so many pixels; None: not there."""
    frames, labels = meadow[0].copy(), meadow[1].copy()
    ground = np.where(meadow[1][0][..., None] == 1, meadow[0][-1], meadow[0][0])  # the object has moved on by then
    for t, shift in shifts.items():
        here = meadow[1][t] == 1
        frames[t], labels[t] = ground, 0
        if shift is not None:
            there = np.roll(here, shift, (0, 1))
            frames[t][there], labels[t][there] = meadow[0][t][here], 1
    return frames, labels


def found(frames: np.ndarray, labels: np.ndarray, direction: str = "forward", focus: bool = True) -> np.ndarray:
    """J of every frame."""
    first = 0 if direction == "forward" else len(frames) - 1
    options = dataclasses.replace(OPTIONS, focus=focus)
    propagator = Propagator(load_network("perclip-lite"), options)
    results = propagator.run(frames, [Keyframe(first, labels[first])], direction=direction)
    masks = {r.index: r.label_map == 1 for r in results}
    return np.array([region_similarity(masks[t], labels[t] == 1) for t in range(len(frames))])


@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_less_is_encoded_and_the_object_found(meadow, encoded, direction):
    assert min(found(*meadow, direction)) > 0.75
    whole = 256 * 448
    assert encoded.count(whole) == 1 + 3  # the keyframe, and the end of each clip
    assert sum(encoded) < 0.6 * 12 * whole


def test_no_frame_is_encoded_twice_where_an_object_goes_fast_or_away(meadow, encoded):
    whole = 256 * 448
    fast = moved(meadow, {t: (0, 12 * t) for t in range(12)})  # 18 pixels from frame to frame
    assert found(*fast).mean() > 0.6
    assert encoded.count(whole) == 1 + 3 and len(encoded) == 12
    encoded.clear()
    gone = found(*moved(meadow, dict.fromkeys(range(4, 12))))
    assert min(gone[4:]) == 1 and encoded == [whole] * 12


@pytest.mark.parametrize(
    "shifts",
    [
        {5: None},  # it hides at the end of the clip
        {1: None, 2: None, 3: None},
        {2: (80, 0), 3: (80, 0)},  # partly outside of the regions
        {2: (0, 96), 3: (0, 96)},
        {2: (-40, 330), 3: (-40, 330)},  # far away
        {4: (0, 200), 5: (0, 200), 6: (0, 200), 7: (0, 200)},
    ],
)
def test_what_an_object_does_within_a_clip_is_seen_as_in_whole_frames(meadow, shifts):
    scene = [part[:9] for part in moved(meadow, shifts)]
    np.testing.assert_allclose(found(*scene), found(*scene, focus=False), atol=0.15)


@pytest.mark.parametrize("refined", [True, False])
def test_a_region_has_features_of_its_own_and_the_rest_those_of_another_frame(refined):
    network = InferenceNetwork(
        load_network("perclip-lite"), PropagationOptions(device="cpu", dtype="float32", refinement=refined)
    )
    random = torch.Generator().manual_seed(1)
    images = [
        torch.randn(3, 24, 32, generator=random).repeat_interleave(8, 1).repeat_interleave(8, 2) for _ in range(3)
    ]
    with torch.inference_mode():
        wholes = [network.encode_clip([image]) for image in images]
        clip = network.repeated(network.encode_clip(images[2:], []), 2, [])
        region = Region(0, 8, 4, 16)  # at the upper right
        network.encode_regions(clip, [1], images.__getitem__, [region])
    own = torch.zeros(12, 16, dtype=torch.bool)
    region.of(own)[:] = True
    assert clip.own.tolist() == [[False] * 192, own.flatten().tolist(), [True] * 192]
    for t, inside in ((0, 2), (1, 1), (2, 2)):
        pairs = [(clip.keys[t].T.unflatten(1, (12, 16)), [w.keys[0].T.unflatten(1, (12, 16)) for w in wholes], 1)]
        for i, scale in enumerate((1, 2, 4)):
            pairs.append((clip.decoding[t][i][0], [w.decoding[0][i][0] for w in wholes], scale))
        if refined:
            pairs.append((clip.local_keys[0, :, t], [w.local_keys[0, :, 0] for w in wholes], 1))
        for got, expected, scale in pairs:
            away = ~own.repeat_interleave(scale, 0).repeat_interleave(scale, 1)
            torch.testing.assert_close(got[:, away], expected[2][:, away])
            # Inside it is like the frame itself, though nothing is known of what lies around, and not like another.
            near, far = ((region.of(got - e, scale)).square().mean() for e in (expected[inside], expected[0]))
            assert near < 0.7 * far
        # What tells the place does not depend on what is around.
        torch.testing.assert_close(clip.keys[t, :, -12:], wholes[t].keys[0, :, -12:])


def test_a_clip_is_the_same_whatever_room_it_is_put_into(meadow, monkeypatch):
    """Features of earlier clips lie there."""
    frames, labels = meadow
    propagator, results = Propagator(load_network("perclip-lite"), OPTIONS), []
    for put in (prepared_network._put, lambda image, room: DecoderInput(*map(torch.clone, image))):
        monkeypatch.setattr(prepared_network, "_put", put)
        results.append([r.label_map for r in propagator.run(frames, [Keyframe(0, labels[0])])])
    np.testing.assert_array_equal(*results)


def test_where_objects_fill_most_of_the_frame_all_of_it_is_encoded_once(encoded):
    frames, labels = np.full((6, 256, 448, 3), 60, np.uint8), np.zeros((6, 256, 448), np.uint8)
    frames[:, 40:220, 120:370] = np.random.default_rng(3).integers(150, 255, (180, 250, 3))
    labels[:, 40:220, 120:370] = 1
    assert min(found(frames, labels)) > 0.8
    assert encoded == [256 * 448] * 6


def test_an_object_that_leaves_a_trace_behind_is_looked_for_elsewhere():
    """Of what was there the memory still reads a little in the two frames of each clip in which it is elsewhere."""
    random = np.random.default_rng(1)

    def texture(height: int, width: int, mean: object, deviation: float, grain: int) -> np.ndarray:
        coarse = random.normal(mean, deviation, (-(-height // grain), -(-width // grain), 3)).astype(np.float32)
        return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)

    ground = texture(288, 512, 110, 30, 16) + texture(288, 512, 0, 12, 4)
    skin, disc = texture(40, 40, (190, 70, 50), 25, 4), np.hypot(*np.mgrid[-20:20, -20:20] + 0.5) < 19
    frames, labels = np.empty((16, 288, 512, 3), np.uint8), np.zeros((16, 288, 512), np.uint8)
    for t in range(16):
        place = np.s_[100:140, (left := 60 + (0, 40, 130, 130, 60)[t % 5]) : left + 40]
        frame = ground + random.normal(0, 4, ground.shape)
        frame[place][disc], labels[t][place][disc] = skin[disc], 1
        frames[t] = frame.clip(0, 255)
    np.testing.assert_allclose(found(frames, labels), found(frames, labels, focus=False), atol=0.1)


def test_breaks_between_frames_are_looked_for_where_both_were_encoded(meadow, monkeypatch):
    shares, observe = [], PassObserver.observe
    spied = lambda self, keys, own, *more: (shares.append(own.float().mean(1)), observe(self, keys, own, *more))[1]  # noqa: E731
    monkeypatch.setattr(PassObserver, "observe", spied)
    found(*meadow)
    assert [len(share) for share in shares] == [5, 5, 1]
    assert all(share[-1] == 1 and (share[:-1] < 0.6).all() for share in shares)
