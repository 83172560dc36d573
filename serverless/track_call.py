"""Answers a stock tracker call of CVAT: one image, with drawn shapes or with the states of the call before."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from model.errors import InputError
from model.findings import Evidence
from model.frame_tracker import EncodedFrame, FrameMemory, FrameTracker, frame_label_map
from model.framing import Framing
from model.prediction import Prediction, pack
from model.sweep import soft_masks
from serverless.bounded_cache import BoundedCache
from serverless.call_error import CallError
from serverless.drawn_shapes import mask_to_shape, shape_points, shape_to_mask, shape_type
from serverless.images import decode_base64_image, decode_image, encode_jpeg
from serverless.track_state import LARGEST, RememberedFrame, TrackState

_MOST_OBJECTS = 255
_REMEMBERED = 5  # frames: the drawn one, the last one, and others between
_KEPT_EVERY = 5  # calls; other frames are remembered only until the next one
_QUALITIES = (85, 75, 60, 40, 20)  # of JPEG
_LARGEST_IMAGE = 42_000  # bytes; five of them in base64, with their masks, are a state
_SURE = 127 / 16  # logit of what was drawn
_TOLERANCE = 2.0  # of polygons, in pixels


class TrackCalls:
    """Answers tracker calls. Keeps nothing between calls but a cache, which changes no answer."""

    def __init__(self, tracker: FrameTracker, network: str, cache: BoundedCache):
        """Takes a tracker, the digest of its network, and a cache."""
        self._tracker, self._network, self._cache = tracker, network, cache

    def answer(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to a call with `image` and `shapes` or `states`.

        Raises:
            CallError: it cannot be answered.
        """
        states, shapes = body.get("states"), body.get("shapes")
        for name, items in (("states", states), ("shapes", shapes)):
            if items is not None and (not isinstance(items, list) or len(items) > _MOST_OBJECTS):
                raise CallError(f"{name} must be a list of at most {_MOST_OBJECTS} items")
        try:
            image = decode_base64_image(body.get("image"))
        except InputError as error:
            raise CallError(str(error), "bad_image") from None
        if states:
            return self._go_on(image, states)
        return self._begin(image, shapes or [])

    def _begin(self, image: np.ndarray, shapes: Sequence[Any]) -> dict[str, Any]:
        """States of shapes that were drawn on the image; null where no shape came."""
        height, width = image.shape[:2]
        framing = self._tracker.framing(height, width)
        drawn = [None if shape is None else _drawn(shape) for shape in shapes]
        masks = {
            i: shape_to_mask(kind, points, height, width, lambda: image)
            for i, (kind, points) in ((i, d) for i, d in enumerate(drawn) if d is not None)
        }
        for i, mask in masks.items():
            if not mask.any():
                raise CallError(f"shape {i} has no pixel inside the {width}x{height} image: draw it there", "bad_shape")
        logits = {i: _drawn_logits(framing, mask) for i, mask in masks.items()}
        small = _as_remembered(_at_network_size(framing, image))
        states: list[Any] = [None] * len(shapes)
        for i in masks:
            kind, points = drawn[i]
            bare = isinstance(shapes[i], list)
            state = TrackState(kind, height, width, 0, [] if kind == "mask" else points, (), self._network, bare)
            others = _together([x for j, x in logits.items() if j != i])
            states[i] = _remember(state, 0, small, logits[i], others).to_json()
        return {"shapes": list(shapes), "states": states}

    def _go_on(self, image: np.ndarray, states: Sequence[Any]) -> dict[str, Any]:
        """Shapes of the objects in another frame, and their next states."""
        height, width = image.shape[:2]
        framing = self._tracker.framing(height, width)
        known = {
            i: TrackState.from_json(value, height, width, self._network)
            for i, value in enumerate(states)
            if value is not None
        }
        shapes: list[Any] = [None] * len(states)
        following: list[Any] = [None] * len(states)
        if not known:
            return {"shapes": shapes, "states": following}
        small = _as_remembered(_at_network_size(framing, image))
        frame = self._encoded(framing, small)
        try:
            memories = [self._memory(framing, state) for state in known.values()]
        except (InputError, ValueError) as error:
            raise CallError(f"a state is damaged ({error}): start tracking this object anew", "bad_state") from None
        logits = self._tracker.segment(framing, frame, memories)
        label_map = frame_label_map(framing, logits)
        for place, (i, state) in enumerate(known.items()):
            previous = state.shape if state.kind == "polygon" and len(state.shape) >= 6 else None
            shape = mask_to_shape(label_map == place + 1, state.kind, _TOLERANCE, previous)
            if shape is not None:
                last = [] if state.kind == "mask" else shape["points"]
                others = _together([x for j, x in enumerate(logits) if j != place])
                state = _remember(replace(state, shape=last), state.calls + 1, small, logits[place], others)
            else:
                # What is not seen teaches nothing; the object is looked for again with what is known of it.
                state = replace(state, calls=state.calls + 1)
                if state.kind == "rectangle":  # CVAT's page cannot take null for these
                    shape = {"type": "rectangle", "points": state.shape}
            shapes[i] = shape["points"] if state.bare else shape
            following[i] = state.to_json()
        return {"shapes": shapes, "states": following}

    def _encoded(self, framing: Framing, image: bytes) -> EncodedFrame:
        """A remembered or present frame; what is seen now is encoded as it will be remembered."""

        def encode() -> EncodedFrame:
            pixels = decode_image(image, max_pixels=framing.net_height * framing.net_width)
            if pixels.shape[:2] != (framing.net_height, framing.net_width):
                raise ValueError("an image is not of the network's size")
            return self._tracker.encode(framing, pixels)

        return self._cache.get(("frame", image), encode, lambda _: 250 * framing.tokens * 16)

    def _memory(self, framing: Framing, state: TrackState) -> list[FrameMemory]:
        return [self._remembered(framing, frame) for frame in state.memory]

    def _remembered(self, framing: Framing, remembered: RememberedFrame) -> FrameMemory:
        def memorise() -> FrameMemory:
            rows, columns = 4 * framing.grid[0], 4 * framing.grid[1]
            own = remembered.prediction(rows, columns).unpack().logits
            others = torch.full_like(own, -_SURE)
            if remembered.others:
                others = remembered.prediction(rows, columns, others=True).unpack().logits
            masks = soft_masks(torch.stack([own, others]))
            frame = self._encoded(framing, remembered.image)
            return self._tracker.memorise(remembered.name, frame, masks[0], masks[1])

        key = "memory", remembered.image, remembered.mask, remembered.others
        return self._cache.get(key, memorise, lambda memory: memory.key.nbytes + memory.value.nbytes)


def _drawn(shape: Any) -> tuple[str, list[float]]:
    """Type and points of a shape; servers before 2.40 send the bare points of a rectangle."""
    if isinstance(shape, list):
        return "rectangle", shape_points({"points": shape})
    if not isinstance(shape, dict):
        raise CallError("a shape must be an object with type and points", "bad_shape")
    return shape_type(shape), shape_points(shape)


def _at_network_size(framing: Framing, image: np.ndarray) -> np.ndarray:
    """The image as uint8 at the network's size."""
    size = framing.net_width, framing.net_height
    if image.shape[1::-1] == size:
        return image
    shrinks = framing.net_height < image.shape[0]
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)


def _drawn_logits(framing: Framing, mask: np.ndarray) -> Tensor:
    """Logits (padded H / 4, padded W / 4) that say what was drawn."""
    covered = torch.nn.functional.avg_pool2d(framing.masks(mask.astype(np.uint8), (1,)), 4)[0]
    return torch.logit(covered, eps=1e-4).clamp(-_SURE, _SURE)


def _together(logits: Sequence[Tensor]) -> Tensor | None:
    """Logits of the union of objects; None of none."""
    return torch.stack(list(logits)).amax(0) if logits else None


def _as_remembered(image: np.ndarray) -> bytes:
    """The image as JPEG, small enough for a state to hold a few."""
    for quality in _QUALITIES:
        data = encode_jpeg(image, quality)
        if len(data) <= _LARGEST_IMAGE:
            break
    return data


def _remember(state: TrackState, number: int, image: bytes, own: Tensor, others: Tensor | None) -> TrackState:
    """The state after a frame in which the object was seen."""
    seen = {1: Prediction(own, Evidence())} | ({} if others is None else {2: Prediction(others, Evidence())})
    packed = pack(seen)
    kept = list(state.memory)
    if len(kept) > 1 and kept[-1].number % _KEPT_EVERY:
        kept.pop()
    kept.append(RememberedFrame(number, image, packed[1].data, b"" if others is None else packed[2].data))
    following = replace(state, calls=number, memory=tuple(kept))
    while len(kept) > _REMEMBERED or (len(kept) > 2 and len(json.dumps(following.to_json())) > LARGEST):
        del kept[_most_crowded(kept)]
        following = replace(following, memory=tuple(kept))
    return following


def _most_crowded(frames: Sequence[RememberedFrame]) -> int:
    """The place of the frame, neither the first nor the last, whose neighbours are nearest to each other."""
    numbers = [f.number for f in frames]
    return min(range(1, len(frames) - 1), key=lambda i: numbers[i + 1] - numbers[i - 1])
