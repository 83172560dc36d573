"""Encoding most frames of a clip only around the objects."""

import dataclasses

import numpy as np
import pytest
import torch

from model import Keyframe, PropagationOptions, Propagator, load_network
from model.inference import InferenceNetwork
from model.metrics import region_similarity
from model.pcvos import PCVOS
from model.region import Region

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
    assert min(found(*meadow, direction)) > 0.8
    whole = 256 * 448
    assert encoded.count(whole) == 1 + 3  # the keyframe, and the end of each clip
    assert sum(encoded) < 0.6 * 12 * whole


def test_no_frame_is_encoded_twice_where_an_object_goes_fast_or_away(meadow, encoded):
    whole = 256 * 448
    fast = moved(meadow, {t: (0, 18 * t) for t in range(12)})  # 24 pixels from frame to frame
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
    scene = moved(meadow, shifts)
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


def test_a_clip_is_the_same_whatever_room_it_is_put_into(meadow):
    """Features of earlier clips lie there."""
    frames, labels = meadow
    propagator, results = Propagator(load_network("perclip-lite"), OPTIONS), []
    for _ in range(2):
        results.append([r.label_map for r in propagator.run(frames, [Keyframe(0, labels[0])])])
    np.testing.assert_array_equal(*results)
