"""The state of one object between two tracker calls: all that a worker without any memory of its own needs to go on."""

import base64
import binascii
import hashlib
import json
from dataclasses import dataclass
from typing import Any

from model.errors import InputError
from model.tracking.remembered_frames import Remembered, RememberedFrame
from plugin.shapes.drawn_shape import SHAPE_TYPES
from plugin.shapes.polygon import polygons_to_mask
from plugin.shapes.polygon_track import MOST_VERTICES
from serverless.call_error import CallError
from serverless.drawn_shapes import shape_points

VERSION = 2
LARGEST = 400_000
"""Characters of a state as JSON at most."""

_MOST_FRAMES = 16
_LARGEST_SIDE = 16384
_REFUSAL = "start tracking this object anew from a frame on which it is drawn"


@dataclass(frozen=True)
class TrackState:
    """What travels with an object from call to call.

    Attributes:
        kind: of its shapes: "mask", "polygon" or "rectangle".
        height: of the frames in pixels.
        width: of the frames in pixels.
        calls: answered since the object was drawn.
        shape: points of the last shape that was seen, for what must go on from it; empty for masks, and for polygons
            with too many vertices to travel.
        memory: what is remembered of the object.
        network: names the network that the logits come from.
        bare: shapes travel as bare points of rectangles, as servers before 2.40 have it.
        depth: bits of the scale of the remembered frames, where they are grays of more than 8 bits; None: they are not.
    """

    kind: str
    height: int
    width: int
    calls: int
    shape: list[float]
    memory: Remembered
    network: str
    bare: bool = False
    depth: int | None = None

    def to_json(self) -> dict[str, Any]:
        """As JSON, with a checksum."""
        fields = {
            "perclip": VERSION,
            "kind": self.kind,
            "size": [self.width, self.height],
            "calls": self.calls,
            "shape": self.shape,
            "memory": [
                [f.number, *(base64.b64encode(data).decode() for data in (f.image, f.mask, f.others))]
                for f in self.memory.frames
            ],
            "bases": base64.b64encode(self.memory.bases).decode(),
            "network": self.network,
            "bare": self.bare,
        }
        if self.depth is not None:
            fields["depth"] = self.depth
        return fields | {"sum": _checksum(fields)}

    @classmethod
    def from_json(cls, value: Any, height: int, width: int, network: str) -> "TrackState":
        """A state as it came back.

        Args:
            value: JSON.
            height: of the frame that it came with.
            width: of that frame.
            network: names the network of this worker.

        Raises:
            CallError: it is none of ours, damaged, of another version or network, or of frames of another size.
        """
        if not isinstance(value, dict) or "perclip" not in value:
            raise CallError(f"a state is not one of Perclip's: {_REFUSAL}", "bad_state")
        if value["perclip"] != VERSION:
            raise CallError(f"a state is of another version of Perclip: {_REFUSAL}", "bad_state")
        fields = {name: content for name, content in value.items() if name != "sum"}
        try:
            if _checksum(fields) != value.get("sum"):
                raise CallError(f"a state is damaged: {_REFUSAL}", "bad_state")
            state = cls._parse(fields)
        except (KeyError, TypeError, ValueError, RecursionError, OverflowError, InputError):
            raise CallError(f"a state has not the form of Perclip's: {_REFUSAL}", "bad_state") from None
        if (state.height, state.width) != (height, width):
            raise CallError(
                f"a state is of {state.width}x{state.height} frames, but this one is {width}x{height}: {_REFUSAL}",
                "bad_state",
            )
        if state.network != network:
            raise CallError(f"a state comes from another network: {_REFUSAL}", "bad_state")
        return state

    @classmethod
    def _parse(cls, fields: dict[str, Any]) -> "TrackState":
        width, height = (_whole(v, 1, _LARGEST_SIDE) for v in fields["size"])
        kind, items = fields["kind"], fields["memory"]
        if kind not in SHAPE_TYPES or not isinstance(items, list) or not 1 <= len(items) <= _MOST_FRAMES:
            raise ValueError
        frames = tuple(
            RememberedFrame(_whole(number, 0, 2**31), *(_bytes(text) for text in (image, mask, others)))
            for number, image, mask, others in items
        )
        memory = Remembered(frames, _bytes(fields["bases"]))
        shape = _points_of(kind, fields["shape"])
        network = str(fields["network"])[:64]
        calls = _whole(fields["calls"], 0, 2**31)
        bare = fields["bare"] is True
        if bare and kind != "rectangle":
            raise ValueError
        depth = _whole(fields["depth"], 8, 32) if "depth" in fields else None
        return cls(kind, height, width, calls, shape, memory, network, bare, depth)


def kept_points(kind: str, points: list[float]) -> list[float]:
    """The points of a seen shape as a state keeps them."""
    return points if kind == "rectangle" or (kind == "polygon" and len(points) <= 2 * MOST_VERTICES) else []


def _points_of(kind: str, value: Any) -> list[float]:
    """Points as `kept_points` gives them; ValueError or InputError for others."""
    points = shape_points({"points": value})
    if kept_points(kind, points) != points or (kind == "rectangle" and len(points) != 4):
        raise ValueError
    if kind == "polygon" and points:
        polygons_to_mask([points], 0, 0)  # refuses what is no polygon
    return points


def _whole(value: Any, low: int, high: int) -> int:
    if type(value) is not int or not low <= value <= high:
        raise ValueError
    return value


def _bytes(text: Any) -> bytes:
    if not isinstance(text, str) or len(text) > LARGEST:
        raise ValueError
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise ValueError from None


def _checksum(fields: dict[str, Any]) -> str:
    # CVAT's server parses a state and writes it again: the order of keys and the spaces may change on the way.
    return hashlib.sha256(json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()).hexdigest()[:32]
