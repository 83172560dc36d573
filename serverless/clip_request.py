"""A clip call as it was sent, checked field by field."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from model.keyframe import Keyframe
from model.mask_pile import MaskPile
from model.options import DIRECTIONS
from plugin.shapes.drawn_shape import SHAPE_TYPES
from serverless.call_error import CallError
from serverless.clip_frames import ClipFrames
from serverless.continuation import digest
from serverless.drawn_shapes import shape_points, shape_to_mask, shape_type
from serverless.fields import a_list, an_object, number, one_of, whole

VERSION = 1
_LARGEST_SIDE = 16384
_LARGEST_FRAME = 8192 * 8192
_MOST_FRAMES = 10_000
_MOST_KEYFRAME_PIXELS = 400_000_000  # label maps of all keyframes, a byte each; more of them where shapes overlap
_MOST_TOGETHER = 500  # objects times frames of a clip, which the network holds at once
_HIGHEST_NUMBER = 10**9


@dataclass(frozen=True, eq=False)
class ClipRequest:
    """A clip call.

    Attributes:
        height: of the frames in CVAT's pixels; images may be smaller.
        width: likewise.
        frames: all of the chain, with the images that came.
        keyframes: what people drew; `index` is a place in `frames`, objects are numbered 1, 2, ...
        names: the caller's id of each object, by our number.
        kinds: type of the first shape of each object, by our number.
        labels: what the objects are, as far as the caller says so, by our number.
        drawn: points of drawn polygons, by place and object.
        output: type of the shapes to answer with; None: as each object was drawn.
        tolerance: of polygons, in pixels.
        clip_length: frames that are segmented at once.
        direction: "forward", "backward" or "both".
        max_seconds: budget of the call; None: the function's own.
        learn: seconds to learn from the keyframes for, in the chain's first call; 0: not at all.
        chain: digest of all that the calls of a chain must have in common.
        continuation: the text of the answer before, unread; None in a chain's first call.
        warnings: what a person should know of the keyframes.
    """

    height: int
    width: int
    frames: ClipFrames
    keyframes: list[Keyframe]
    names: dict[int, int | str]
    kinds: dict[int, str]
    labels: dict[int, int | str]
    drawn: dict[tuple[int, int], list[float]]
    output: str | None
    tolerance: float
    clip_length: int
    direction: str
    max_seconds: float | None
    learn: float
    chain: str
    continuation: Any
    warnings: list[str]

    @classmethod
    def parse(cls, fields: Mapping[str, Any], network: str, clip_length: int, learn: float) -> "ClipRequest":
        """Reads the object `clip`.

        Args:
            fields: of the object, as they came.
            network: names the network that answers: a chain goes on with none but its own.
            clip_length: of calls that do not say one.
            learn: seconds, as they were asked for where that can be.

        Raises:
            CallError: names the first field that is wrong.
        """
        version = whole(fields, "version", 1, 10**6)
        if version != VERSION:
            raise CallError(f"clip version {version} is not known here, only {VERSION}", "bad_version")
        width = whole(fields, "width", 1, _LARGEST_SIDE)
        height = whole(fields, "height", 1, _LARGEST_SIDE)
        if width * height > _LARGEST_FRAME:
            raise CallError(f"frames of {width}x{height} pixels are too large: at most {_LARGEST_FRAME} are taken")
        drawn_keyframes = a_list(fields.get("keyframes"), "keyframes", _MOST_FRAMES)
        if len(drawn_keyframes) * width * height > _MOST_KEYFRAME_PIXELS:
            raise _too_many_pixels()
        images = _images(a_list(fields.get("frames"), "frames", _MOST_FRAMES))
        images |= {f: image for f, image in _images(drawn_keyframes, "keyframes").items() if image or f not in images}
        numbers = sorted(images)
        places = {frame: place for place, frame in enumerate(numbers)}
        frames = ClipFrames(numbers, {places[f]: image for f, image in images.items() if image is not None})
        reader = _KeyframeReader(frames, height, width, drawn_keyframes)
        read = [reader.read(item, places[int(item["frame"])]) for item in drawn_keyframes]
        keyframes = [keyframe for keyframe in read if keyframe is not None]
        if not any(keyframe.present for keyframe in keyframes):
            raise CallError("no shape of any keyframe has a pixel inside the frame: draw at least one", "no_keyframe")
        options = {
            "output": one_of(fields, "output", SHAPE_TYPES, None),
            "tolerance": number(fields, "polygon_tolerance", 0.0, 100.0, 2.0),
            "clip_length": whole(fields, "clip_length", 1, 50, clip_length),
            "direction": one_of(fields, "direction", DIRECTIONS, "both"),
        }
        longest = max(1, _MOST_TOGETHER // len(reader.names))
        if options["clip_length"] > longest:
            reader.warnings.append(f"{len(reader.names)} objects: {longest} frames instead of clip_length at once")
            options["clip_length"] = longest
        shapes = [
            [k["frame"], [[s["object"], s["type"], s.get("points")] for s in k["shapes"]]] for k in drawn_keyframes
        ]
        common: dict[str, Any] = {**options, **({"learn": learn} if learn else {})}
        labels = sorted(reader.labels.items())
        return cls(
            height,
            width,
            frames,
            keyframes,
            reader.names,
            reader.kinds,
            reader.labels,
            reader.drawn,
            warnings=reader.warnings,
            max_seconds=number(fields, "max_seconds", 0.0, 3600.0, None),
            learn=learn,
            chain=digest([VERSION, network, width, height, numbers, shapes, common, *([labels] if labels else [])]),
            continuation=fields.get("continue"),
            **options,
        )


def _too_many_pixels() -> CallError:
    return CallError("too many keyframes of this size for one call: send a shorter range", "too_large", 413)


def _images(items: Any, what: str = "frames") -> dict[int, str | None]:
    """Frame number -> image in base64, or None where only the frame is named."""
    images: dict[int, str | None] = {}
    for item in items:
        fields = an_object(item, f"an item of {what}")
        frame = whole(fields, "frame", 0, _HIGHEST_NUMBER)
        image = fields.get("image")
        if image is not None and not isinstance(image, str):
            raise CallError(f"the image of frame {frame} must be a base64 text", "bad_image")
        if frame in images:
            raise CallError(f"frame {frame} is in {what} twice")
        images[frame] = image
    return images


class _KeyframeReader:
    """Turns drawn keyframes into the engine's, and numbers the objects as they come."""

    def __init__(self, frames: ClipFrames, height: int, width: int, items: Sequence[Mapping[str, Any]]):
        self.names: dict[int, int | str] = {}
        self.kinds: dict[int, str] = {}
        self.labels: dict[int, int | str] = {}
        self.drawn: dict[tuple[int, int], list[float]] = {}
        self.warnings: list[str] = []
        self._frames, self._height, self._width = frames, height, width
        self._numbers: dict[int | str, int] = {}
        self._room = _MOST_KEYFRAME_PIXELS
        # All names first: a keyframe without shapes speaks for every object.
        for item in items:
            for shape in a_list(item.get("shapes"), f"shapes of keyframe {item['frame']}", 255):
                fields = an_object(shape, f"a shape of keyframe {item['frame']}")
                number = self._number(fields.get("object"))
                self.kinds.setdefault(number, shape_type(fields))
                if fields.get("label") is not None:
                    self.labels.setdefault(number, _name(fields["label"], "a shape's label"))
        if not self.names:
            raise CallError("no keyframe has a shape: send at least one that a person drew", "no_keyframe")

    def read(self, item: Mapping[str, Any], place: int) -> Keyframe | None:
        """One item of `keyframes`, later shapes above earlier ones; None where its shapes have no pixel."""
        pile = MaskPile((self._height, self._width))
        absent, drawn = set(), set()
        for shape in item["shapes"]:
            number, points = self._numbers[shape["object"]], shape_points(shape)
            if not points:
                absent.add(number)
                continue
            try:
                mask = shape_to_mask(shape["type"], points, self._height, self._width, lambda: self._frames[place])
            except CallError as error:
                raise CallError(f"keyframe {item['frame']}: {error.message}", error.code) from None
            pile.add(number, mask)
            if pile.pixels > self._room:
                raise _too_many_pixels()
            # Of an object in several polygons, none is the one to follow.
            if shape["type"] == "polygon" and number not in drawn:
                self.drawn[place, number] = points
            else:
                self.drawn.pop((place, number), None)
            drawn.add(number)
        self._room -= pile.pixels
        seen = set(pile.objects)
        for number in sorted(drawn - seen):
            self.warnings.append(f"keyframe {item['frame']}: {self.names[number]!r} has no pixel and was left out")
        objects = (drawn & seen) | (absent - drawn) if item["shapes"] else set(self.names)
        return Keyframe(place, pile.masks(), sorted(objects)) if objects else None

    def _number(self, name: Any) -> int:
        name = _name(name, "each keyframe shape needs `object`, which")
        if name not in self._numbers:
            if len(self._numbers) == 255:
                raise CallError("at most 255 objects are propagated in one call", "too_large", 413)
            self._numbers[name] = len(self._numbers) + 1
            self.names[self._numbers[name]] = name
        return self._numbers[name]


def _name(value: Any, what: str) -> int | str:
    if isinstance(value, bool) or not isinstance(value, (int, str)) or len(str(value)) > 100:
        raise CallError(f"{what} must be a number or a short text", "bad_shape")
    return value
