"""Annotations of a job as the server has them, and what tells one from another."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from plugin.cvat.server.errors import CvatError
from plugin.cvat.task.layout import Label
from plugin.digest import digest_of

AUTO = "auto"
"""Source of what a program wrote."""

_DIGITS = 2  # of coordinates that count


@dataclass(frozen=True)
class Shape:
    """A shape on one frame, or one keyframe of a track.

    Attributes:
        frame: task-relative number.
        kind: "mask", "polygon", "rectangle", ...
        points: as the server has them.
        label: its id.
        group: 0: none.
        z_order: higher covers lower.
        occluded: as set in CVAT.
        outside: True in a track says that the object is absent from here on.
        rotation: of rectangles, in degrees.
        attributes: (spec_id, value) that are not at their default, ascending.
        source: who made it; "" in a track.
        id: on the server; 0 before it is there.
        score: confidence 0..1, or None.
    """

    frame: int
    kind: str
    points: tuple[float, ...]
    label: int
    group: int = 0
    z_order: int = 0
    occluded: bool = False
    outside: bool = False
    rotation: float = 0.0
    attributes: tuple[tuple[int, str], ...] = ()
    source: str = AUTO
    id: int = 0
    score: float | None = None
    raw: Mapping[str, Any] | None = field(default=None, compare=False, repr=False)

    @cached_property
    def digest(self) -> str:
        """Equal for equal content, whatever the ids: it changes when a person changes anything but the score."""
        return digest_of(["shape", self.label, self.group, *self.content])

    @property
    def content(self) -> list[Any]:
        """What a person can change of a shape or of a track's keyframe, as JSON."""
        points = [round(float(p), _DIGITS) + 0.0 for p in self.points]
        return [
            self.frame,
            self.kind,
            points,
            self.z_order,
            self.occluded,
            self.outside,
            round(self.rotation, _DIGITS) + 0.0,
            [list(a) for a in self.attributes],
        ]

    def to_json(self, label: Label) -> dict[str, Any]:
        """The body that makes it, with all attributes of its label."""
        body = {
            "type": self.kind,
            "frame": self.frame,
            "label_id": self.label,
            "points": list(self.points),
            "group": self.group,
            "source": self.source,
            "attributes": _complete(self.attributes, label.defaults),
            "occluded": self.occluded,
            "outside": self.outside,
            "z_order": self.z_order,
            "rotation": self.rotation,
            "elements": [],
        }
        return body if self.score is None else body | {"score": self.score}


@dataclass(frozen=True)
class Track:
    """A track.

    Attributes:
        label: its id.
        keyframes: ascending by frame.
        group: 0: none.
        attributes: those that do not change inside it, not at their default, (spec_id, value), ascending.
        source: who made it.
        id: on the server; 0 before it is there.
    """

    label: int
    keyframes: tuple[Shape, ...]
    group: int = 0
    attributes: tuple[tuple[int, str], ...] = ()
    source: str = AUTO
    id: int = 0
    raw: Mapping[str, Any] | None = field(default=None, compare=False, repr=False)

    @property
    def frame(self) -> int:
        """Of its first keyframe."""
        return self.keyframes[0].frame

    @cached_property
    def digest(self) -> str:
        """As that of a shape."""
        attributes = [list(a) for a in self.attributes]
        return digest_of(["track", self.label, self.group, attributes, [k.content for k in self.keyframes]])

    def to_json(self, label: Label) -> dict[str, Any]:
        """The body that makes it, with all attributes of its label: a keyframe without one would repeat the last."""
        fixed = {i: value for i, value in label.defaults.items() if not label.mutable[i]}
        mutable = {i: value for i, value in label.defaults.items() if label.mutable[i]}
        keys = ("type", "frame", "points", "occluded", "outside", "z_order", "rotation")
        keyframes = [
            {key: body[key] for key in keys} | {"attributes": _complete(k.attributes, mutable)}
            for k, body in ((k, k.to_json(label)) for k in self.keyframes)
        ]
        return {
            "frame": self.frame,
            "label_id": self.label,
            "group": self.group,
            "source": self.source,
            "attributes": _complete(self.attributes, fixed),
            "elements": [],
            "shapes": keyframes,
        }


@dataclass(frozen=True)
class Tag:
    """A tag on a frame.

    Attributes:
        frame: task-relative number.
        label: its id.
        source: who made it.
        id: on the server; 0 before it is there.
    """

    frame: int
    label: int
    source: str = AUTO
    id: int = 0
    raw: Mapping[str, Any] | None = field(default=None, compare=False, repr=False)

    @cached_property
    def digest(self) -> str:
        """As that of a shape."""
        return digest_of(["tag", self.label, self.frame])

    def to_json(self, label: Label) -> dict[str, Any]:
        """The body that makes it."""
        return {"frame": self.frame, "label_id": self.label, "group": 0, "source": self.source, "attributes": []}


Annotation = Shape | Track | Tag
KINDS: Mapping[type, str] = {Shape: "shapes", Track: "tracks", Tag: "tags"}
"""Under which name the API has them."""


@dataclass(frozen=True)
class JobAnnotations:
    """All annotations of a job."""

    shapes: tuple[Shape, ...] = ()
    tracks: tuple[Track, ...] = ()
    tags: tuple[Tag, ...] = ()

    @property
    def all(self) -> list[Annotation]:
        """Of every kind."""
        return [*self.shapes, *self.tracks, *self.tags]


def parse_annotations(content: Any, where: str, labels: Mapping[int, Label]) -> JobAnnotations:
    """Annotations from the server's JSON.

    Args:
        content: as the API gives it.
        where: names it in the error, as "job 7".
        labels: of the task, by id.

    Raises:
        CvatError: it has another form than this version knows.
    """
    try:
        return JobAnnotations(
            tuple(_shape(s, s["label_id"], labels) for s in content["shapes"]),
            tuple(_track(t, labels) for t in content["tracks"] if t["shapes"]),
            tuple(Tag(t["frame"], t["label_id"], t.get("source") or "", t["id"], t) for t in content["tags"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise CvatError(
            f"the annotations of {where} have a form that this version of Perclip does not know "
            f"({type(error).__name__}: {error}): update Perclip"
        ) from None


def _shape(fields: Mapping[str, Any], label: int, labels: Mapping[int, Label], group: int | None = None) -> Shape:
    if not all(type(p) in (int, float) for p in fields["points"]):
        raise ValueError("points that are no numbers")
    points = tuple(map(float, fields["points"]))
    return Shape(
        frame=int(fields["frame"]),
        kind=str(fields["type"]),
        points=points,
        label=label,
        group=(fields.get("group") or 0) if group is None else group,
        z_order=fields.get("z_order") or 0,
        occluded=bool(fields.get("occluded")),
        outside=bool(fields.get("outside")),
        rotation=float(fields.get("rotation") or 0.0),
        attributes=_attributes(fields, labels.get(label)),
        source=str(fields.get("source") or ""),
        id=fields.get("id") or 0,
        score=fields.get("score"),
        raw=fields,
    )


def _track(fields: Mapping[str, Any], labels: Mapping[int, Label]) -> Track:
    label, group = fields["label_id"], fields.get("group") or 0
    keyframes = sorted((_shape(s, label, labels, group) for s in fields["shapes"]), key=lambda s: s.frame)
    attributes = _attributes(fields, labels.get(label))
    return Track(label, tuple(keyframes), group, attributes, str(fields.get("source") or ""), fields["id"], fields)


def _attributes(fields: Mapping[str, Any], label: Label | None) -> tuple[tuple[int, str], ...]:
    # The server adds defaults when it is read: whether one was sent must not tell two shapes apart.
    defaults = {} if label is None else label.defaults
    given = ((a["spec_id"], str(a["value"])) for a in fields.get("attributes") or ())
    return tuple(sorted((i, value) for i, value in given if defaults.get(i) != value))


def _complete(attributes: tuple[tuple[int, str], ...], defaults: Mapping[int, str]) -> list[dict[str, Any]]:
    values = {**defaults, **{i: value for i, value in attributes if i in defaults}}
    return [{"spec_id": i, "value": value} for i, value in values.items()]
