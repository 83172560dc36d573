"""Answers a stock tracker call of CVAT: one image, with drawn shapes or with the states of the call before."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from model.errors import InputError
from model.inference.framing import Framing
from model.tracking.bounded_cache import BoundedCache
from model.tracking.frame_recall import FrameRecall, drawn_logits
from model.tracking.frame_tracker import FrameTracker, frame_masks
from model.tracking.remembered_frames import Remembered, RememberedFrame, without_most_crowded
from plugin.shapes.polygon_track import DEFAULT_TOLERANCE
from serverless.call_error import CallError
from serverless.drawn_shapes import mask_to_shape, shape_points, shape_to_mask, shape_type
from serverless.images import decode_base64_image
from serverless.track_state import LARGEST, TrackState, kept_points

_MOST_OBJECTS = 255


class TrackCalls:
    """Answers tracker calls. Keeps nothing between calls but a cache, which changes no answer."""

    def __init__(self, tracker: FrameTracker, network: str, cache: BoundedCache):
        """Takes a tracker, a name of its network that no other has, and a cache."""
        self._tracker, self._network = tracker, network
        self._recall = FrameRecall(tracker, cache)

    def answer(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to a call with `image` and `shapes` or `states`; where both come, a shape without a state begins.

        Raises:
            CallError: it cannot be answered.
        """
        for name in ("states", "shapes"):
            items = body.get(name)
            if items is not None and (not isinstance(items, list) or len(items) > _MOST_OBJECTS):
                raise CallError(f"{name} must be a list of at most {_MOST_OBJECTS} items")
        states, shapes = body.get("states") or [], body.get("shapes") or []
        try:
            picture = decode_base64_image(body.get("image"))
        except InputError as error:
            raise CallError(str(error), "bad_image") from None
        states = [*states, *[None] * (len(shapes) - len(states))]
        new = [shape if state is None else None for shape, state in zip(shapes, states, strict=False)]
        new += [None] * (len(states) - len(new))
        height, width = picture.values.shape[:2]
        known = {
            i: TrackState.from_json(value, height, width, self._network)
            for i, value in enumerate(states)
            if value is not None
        }
        # A call sees one picture: the scale of 16-bit grays is that of the brightest one so far.
        depth = max((d for d in (picture.depth, *(s.depth for s in known.values())) if d is not None), default=None)
        image = picture.rgb(depth)
        begun, further = self._begin(image, new, depth), self._go_on(image, known, len(states), depth)
        return {
            name: [b if f is None else f for b, f in zip(begun[name], further[name], strict=True)]
            for name in ("shapes", "states")
        }

    def _begin(self, image: np.ndarray, shapes: Sequence[Any], depth: int | None) -> dict[str, Any]:
        """States of shapes that were drawn on the image, of a scale; null where no shape came."""
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
        logits = {i: drawn_logits(framing, mask) for i, mask in masks.items()}
        states: list[Any] = [None] * len(shapes)
        if not masks:
            return {"shapes": list(shapes), "states": states}
        small = self._recall.small_image(framing, image)
        first = [RememberedFrame.of(0, small, x) for x in logits.values()]
        layers = dict(zip(logits, self._recall.layers(framing, first)))
        for i, shape in enumerate(drawn):
            if shape is None:
                continue
            kind, points = shape
            bare = isinstance(shapes[i], list)
            others = _together([x for j, x in logits.items() if j != i and layers[j] == layers[i]])
            memory = Remembered((RememberedFrame.of(0, small, logits[i], others),))
            state = TrackState(kind, height, width, 0, kept_points(kind, points), memory, self._network, bare, depth)
            states[i] = state.to_json()
        return {"shapes": list(shapes), "states": states}

    def _go_on(self, image: np.ndarray, known: dict[int, TrackState], count: int, depth: int | None) -> dict[str, Any]:
        """Shapes of the objects in another frame, of a scale, and their next states."""
        framing = self._tracker.framing(*image.shape[:2])
        shapes: list[Any] = [None] * count
        following: list[Any] = [None] * count
        if not known:
            return {"shapes": shapes, "states": following}
        small = self._recall.small_image(framing, image)
        frame = self._recall.encoded(framing, small)
        try:
            known = {i: self._at_depth(framing, state, depth) for i, state in known.items()}
            memories = [self._recall.memory(framing, state.memory) for state in known.values()]
            layers = self._recall.layers(framing, [state.memory.frames[0] for state in known.values()])
        except (InputError, ValueError) as error:
            raise CallError(f"a state is damaged ({error}): start tracking this object anew", "bad_state") from None
        logits = self._tracker.segment(framing, frame, memories)
        masks = frame_masks(framing, logits, layers)
        for place, (i, state) in enumerate(known.items()):
            previous = (state.shape or None) if state.kind == "polygon" else None
            shape = mask_to_shape(masks.mask(place + 1), state.kind, DEFAULT_TOLERANCE, previous)
            calls = state.calls + 1
            if shape is not None:
                last = kept_points(state.kind, shape["points"])
                rivals = [j for j, layer in enumerate(layers) if layer == layers[place] and j != place]
                others = _together([logits[j] for j in rivals])
                seen = RememberedFrame.of(calls, small, logits[place], others)
                memory = self._recall.remember(framing, state.memory, memories[place], seen, frame)
                state = _fit_to_travel(replace(state, calls=calls, shape=last, memory=memory))
            else:
                # The object is looked for again with what is known of it.
                state = replace(state, calls=calls)
                if state.kind == "rectangle":  # CVAT's page cannot take null for these
                    shape = {"type": "rectangle", "points": state.shape}
            shapes[i] = shape["points"] if state.bare and shape is not None else shape
            following[i] = state.to_json()
        return {"shapes": shapes, "states": following}

    def _at_depth(self, framing: Framing, state: TrackState, depth: int | None) -> TrackState:
        """A state whose remembered frames have this scale, which is none of fewer bits."""
        if depth is None or state.depth is None or state.depth == depth:
            return replace(state, depth=depth)
        return replace(state, depth=depth, memory=self._recall.darkened(framing, state.memory, depth - state.depth))


def _drawn(shape: Any) -> tuple[str, list[float]]:
    """Type and points of a shape; servers before 2.40 send the bare points of a rectangle."""
    if isinstance(shape, list):
        return "rectangle", shape_points({"points": shape})
    if not isinstance(shape, dict):
        raise CallError("a shape must be an object with type and points", "bad_shape")
    return shape_type(shape), shape_points(shape)


def _together(logits: Sequence[Tensor]) -> Tensor | None:
    """Logits of the union of objects; None of none."""
    return torch.stack(list(logits)).amax(0) if logits else None


def _fit_to_travel(state: TrackState) -> TrackState:
    """The state with as few frames forgotten as it takes to be small enough."""
    while len(state.memory.frames) > 2 and len(json.dumps(state.to_json())) > LARGEST:
        frames = without_most_crowded(state.memory.frames)
        state = replace(state, memory=replace(state.memory, frames=frames))
    return state
