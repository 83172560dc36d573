"""Tracker calls and clip calls with SWEM through the real handler: its bases travel, a small network of its form."""

import copy
import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from model import Keyframe, PropagationOptions, Propagator, load_network
from model.inference.prepared_network import InferenceNetwork
from model.memory.packed_bases import pack_bases, unpack_bases
from model.network.checkpoint import save_network
from model.propagation.prediction import LOGIT_LIMIT
from model.propagation.run_record import RunRecord
from model.tracking.bounded_cache import BoundedCache
from model.tracking.frame_recall import FrameRecall, drawn_logits
from model.tracking.frame_tracker import FrameTracker, ObjectMemory, frame_masks
from plugin.shapes import decode_mask
from serverless.track_state import LARGEST
from tests.model.network.named_weights import named_network
from tests.serverless.calls import HEIGHT, WIDTH, Worker, mask_shape, sealed
from tests.serverless.test_clip_call import follow_chain, keyframe, masks
from tests.serverless.test_track_call import drawn, go_on, init

_SIZES = {"key_dim": 16, "value_dim": 32, "thin_dim": 32, "decoder_dims": (32, 16, 16)}
_SIDE = 64


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("swem") / "swem.safetensors"
    save_network(named_network("swem", **_SIZES), path)
    return path


@pytest.fixture(scope="module")
def workers(weights):
    """Two workers with the network, the second without a cache."""
    settings = Worker.settings(network="swem", weights=weights, short_side=_SIDE)
    return [Worker(settings), Worker(replace(settings, cache_megabytes=0))]


@pytest.fixture(scope="module")
def swem(workers):
    return workers[0]


@pytest.fixture(scope="module")
def network(weights):
    return load_network("swem", weights)


class OneRun:
    """The same objects followed in one go, written out: nothing is packed but by the rule of the bases' rounding."""

    def __init__(self, network):
        options = PropagationOptions(device="cpu", short_side=_SIDE)
        self._tracker = FrameTracker(InferenceNetwork(network, options), options)
        self._framing = self._tracker.framing(HEIGHT, WIDTH)
        self._recall = FrameRecall(self._tracker, BoundedCache(0))  # for the images as JPEG only
        self._memories, self._seen = [], []

    def _memorised(self, frame, logits, place):
        others = [x for other, x in enumerate(logits) if other != place]
        against = torch.stack(others).amax(0) if others else torch.full_like(logits[place], -LOGIT_LIMIT)
        mask, rest = self._framing.memory_masks(torch.stack([logits[place], against]))
        return self._tracker.memorise("", frame, mask, rest)

    def _encoded(self, image):
        return self._recall.encoded(self._framing, self._recall.small_image(self._framing, image))

    def draw(self, image, masks):
        logits = (torch.stack([drawn_logits(self._framing, m) for m in masks]) * 16).round() / 16
        frame = self._encoded(image)
        self._memories += [ObjectMemory([self._memorised(frame, logits, place)]) for place in range(len(masks))]
        self._seen += [0] * len(masks)

    def go_on(self, image):
        frame = self._encoded(image)
        logits = self._tracker.segment(self._framing, frame, self._memories)
        found = frame_masks(self._framing, logits, [0] * len(logits))
        for place, memory in enumerate(self._memories):
            self._seen[place] += 1
            if found.mask(place + 1).any():
                bases = self._tracker.absorbed(self._framing, memory, self._memorised(frame, logits, place))
                rounded = unpack_bases(pack_bases(bases, self._seen[place]), _SIZES["key_dim"], _SIZES["value_dim"])
                self._memories[place] = memory._replace(bases=rounded)
        return [found.mask(place + 1) for place in range(len(logits))]


def as_masks(shapes):
    return [
        np.zeros((HEIGHT, WIDTH), bool) if shape is None else decode_mask(shape["points"], HEIGHT, WIDTH)
        for shape in shapes
    ]


def test_a_chain_of_tracker_calls_is_one_run_wherever_it_is_split(workers, swem, network, squares, images):
    """Three objects, one of which comes later; each call may go to another worker, with or without a cache."""
    whole = OneRun(network)
    corner = np.zeros((HEIGHT, WIDTH), bool)
    corner[40:56, 4:40] = True
    shapes = [drawn(squares, "mask", obj=obj) for obj in (1, 2)]
    states = init(swem, images[0], shapes)
    whole.draw(squares.frames[0], [squares.labels[0] == obj for obj in (1, 2)])
    seen = 0
    for i in range(1, 6):
        found, states = go_on(workers[i % 2], images[i], json.loads(json.dumps(states)))
        expected = whole.go_on(squares.frames[i])
        for mask, other in zip(as_masks(found), expected, strict=True):
            np.testing.assert_array_equal(mask, other)
            seen += mask.any()
        if i == 2:
            states += init(swem, images[2], [mask_shape(corner)])
            whole.draw(squares.frames[2], [corner])
    assert seen >= 8
    assert all(len(state["memory"]) == 1 and len(json.dumps(state)) <= LARGEST for state in states)
    assert sum(bool(state["bases"]) for state in states) >= 2


def test_what_is_seen_changes_the_bases_and_the_bases_what_is_seen(swem, squares, images):
    states = init(swem, images[0], [drawn(squares, "mask")])
    assert states[0]["bases"] == ""
    history = []
    for i in range(1, 5):
        before = copy.deepcopy(states)
        shapes, states = go_on(swem, images[i], states)
        history.append(states[0]["bases"])
    assert len(set(history)) == 4
    bare = [sealed(before[0] | {"bases": ""})]
    assert go_on(swem, images[4], bare)[0] != shapes


@pytest.mark.parametrize("bases", ["", "AAAA", "no base64!", None, 7])
def test_states_of_another_network_or_with_damaged_bases_are_refused_in_one_line(worker, swem, squares, images, bases):
    def refused(by, state, message):
        status, answer = by.call({"image": images[1], "shapes": [None], "states": [state]})
        assert status == 400 and answer["error"]["code"] == "bad_state"
        assert message in answer["error"]["message"] and "\n" not in answer["error"]["message"]

    if bases == "":
        (lite,) = init(worker, images[0], [drawn(squares, "mask")])
        refused(swem, lite, "another network")
        (own,) = init(swem, images[0], [drawn(squares, "mask")])
        refused(worker, own, "another network")
        refused(swem, sealed(own | {"memory": own["memory"] * 2}), "start tracking this object anew")
        refused(swem, sealed({k: v for k, v in own.items() if k != "bases"}), "start tracking this object anew")
        refused(worker, sealed(lite | {"bases": "AAAA"}), "start tracking this object anew")
    else:
        (own,) = init(swem, images[0], [drawn(squares, "mask")])
        refused(swem, sealed(own | {"bases": bases}), "start tracking this object anew")


@pytest.mark.parametrize(("ends", "direction"), [([0], "forward"), ([1, 4], "both")])
def test_a_chain_of_clip_calls_is_one_run(workers, network, squares, images, ends, direction):
    keyframes = [keyframe(squares, ends[0], a=1, b=2), *(keyframe(squares, i, a=1) for i in ends[1:])]
    frames, calls = follow_chain(workers, squares, images[:6], keyframes, 2, direction=direction)
    assert calls > 2
    options = PropagationOptions(device="cpu", short_side=_SIDE)
    drawn_there = [Keyframe(i, squares.labels[i] if i == ends[0] else squares.labels[i] == 1, None) for i in ends]
    whole = Propagator(network, options).run(
        squares.frames[:6], drawn_there, direction=direction, record=RunRecord(), size=(HEIGHT, WIDTH)
    )
    found, seen = masks(frames), 0
    given = {100 + 2 * r.index: r for r in whole}
    assert sorted(found) == sorted(given)
    for number, result in given.items():
        spoken_for = next((k.objects for k in drawn_there if k.index == result.index), ())
        for name, obj in (("a", 1), ("b", 2)):
            expected = result.mask(obj) if obj not in spoken_for else np.zeros((HEIGHT, WIDTH), bool)
            np.testing.assert_array_equal(found[number].get(name, np.zeros((HEIGHT, WIDTH), bool)), expected)
            seen += expected.any()
    assert seen > 4
