"""A person's polygon track with Perclip's keyframes between the person's: one track per object.

The person's keyframes go back to the server as they came from it, whole. Perclip's carry the mark of
`plugin.shapes.keyframe_mark`; they repeat what the person's keyframe before them says of occlusion, z_order and
attributes, as CVAT's own interpolation does. A marked keyframe that says something else than the one before it, and is
not as the journal has it, was changed by a person and is theirs.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from model.evaluation.metrics import region_similarity
from plugin.cvat.task.annotations import AUTO, Shape, Track
from plugin.cvat.task.layout import Job, Label, TaskLayout
from plugin.digest import digest_of
from plugin.shapes.keyframe_mark import is_marked, mark_keyframe
from plugin.shapes.polygon import polygons_to_mask

_SAME_OBJECT = 0.5  # overlap of two keyframes on one frame


@dataclass(frozen=True)
class JointRecord:
    """A joint track as the journal knows it.

    Attributes:
        job: where.
        object: group number of the object it shows.
        digest: `joint_digest` of the track as it was sent.
        highest: the highest id of a track before it was sent.
        original: the drawn track as the server had it, JSON without ids.
        is_written: the server has it, as far as is known.
        id: in the journal.
    """

    job: int
    object: int
    digest: str
    highest: int
    original: Mapping[str, Any]
    is_written: bool = False
    id: int = 0


@dataclass(frozen=True)
class JointTrack:
    """A track on the server in which keyframes of Perclip lie among a person's.

    Attributes:
        track: all of it.
        person: the same with the person's keyframes alone; None where they have deleted all of these.
        perclips: frames of Perclip's keyframes, whoever wrote them, the page's action too.
        own: frames of those that the journal knows.
        record: the journal's, if the track is as it was sent.
        object: group number, as the journal has it; 0: it does not know the track.
    """

    track: Track
    person: Track | None
    perclips: frozenset[int]
    own: frozenset[int]
    record: JointRecord | None
    object: int


def keyframe_digest(keyframe: Shape) -> str:
    """Of the content of a keyframe."""
    return digest_of(["keyframe", *keyframe.content])


def joint_digest(track: Track) -> str:
    """Of the content of a joint track, to the last digit: a mark that is lost is a change."""
    return digest_of([track.digest, [k.points for k in track.keyframes]])


def split_track(track: Track, known: Mapping[str, Sequence[int]], record: JointRecord | None) -> JointTrack | None:
    """Tells Perclip's keyframes in a track from the person's; None where all are the person's.

    Args:
        track: from the server.
        known: digests of all keyframes that were written into tracks of its job -> objects that they show.
        record: the journal's, of a track of this content.
    """
    if track.source == AUTO and record is None:
        return None
    own: set[int] = set()
    perclips: set[int] = set()
    objects: Counter[int] = Counter()
    before: Shape | None = None
    for keyframe, following in zip(track.keyframes, [*track.keyframes[1:], None]):
        if keyframe.kind == "polygon" and is_marked(keyframe.points, keyframe.outside):
            shows = known.get(keyframe_digest(keyframe), ())
            beside = before or following
            if shows:
                own.add(keyframe.frame)
                objects.update(shows)
            if shows or beside is None or _flags(keyframe) == _flags(beside):
                perclips.add(keyframe.frame)
        before = keyframe
    if not perclips and record is None:
        return None
    obj = record.object if record is not None else max(sorted(objects), key=lambda o: objects[o], default=0)
    return JointTrack(track, without(track, perclips), frozenset(perclips), frozenset(own), record, obj)


def without(track: Track, frames: Collection[int]) -> Track | None:
    """A track without its keyframes on some frames; None where none is left."""
    kept = tuple(k for k in track.keyframes if k.frame not in frames)
    return replace(track, keyframes=kept) if kept else None


def fill_track(
    person: Track,
    kept: Sequence[Shape],
    fill: Mapping[int, Shape | None],
    elsewhere: Collection[int],
    layout: TaskLayout,
    job: Job,
) -> Track:
    """The drawn track with Perclip's keyframes.

    Behind the last of what is filled in, and of the person's keyframes, the track ends. Where Perclip says nothing CVAT
    interpolates, as before.

    Args:
        person: the drawn track.
        kept: Perclip's keyframes that are there and stay.
        fill: frame -> polygon, or None where the object is not to be seen.
        elsewhere: frames on which the person has the object outside this track, so that nothing is to be seen of it.
        layout: of the task.
        job: that holds the track.
    """
    drawn = {k.frame: k for k in person.keyframes}
    stay = {k.frame: k for k in kept}
    fill = {frame: shape for frame, shape in fill.items() if frame in job.frames}
    ends = [max(fill) + 1] if fill and max(fill) > max(drawn) else []
    found: list[Shape] = []

    def add(frame: int, points: Sequence[float], outside: bool) -> None:
        like = next((k for k in reversed(person.keyframes) if k.frame < frame), person.keyframes[0])
        marked = tuple(mark_keyframe(points, outside, layout.sizes[frame][1]))
        found.append(replace(like, frame=frame, points=marked, outside=outside, id=0, raw=None))

    for frame in sorted({*drawn, *stay, *fill, *elsewhere, *ends}):
        if frame in drawn or (frame in stay and frame not in fill and frame not in elsewhere):
            found.append(drawn.get(frame) or stay[frame])
            continue
        shape = fill.get(frame)
        if shape is not None:
            add(frame, shape.points, False)
        elif frame in job.frames and found and not found[-1].outside:
            add(frame, found[-1].points, True)
    perclips = [k.frame not in drawn for k in found]
    repeats = {
        k.frame
        for k, left, right, mine in zip(found, [None, *found], [*found[1:], None], perclips)
        if mine and left is not None and right is not None and _shows(left) == _shows(k) == _shows(right)
    }
    return replace(person, keyframes=tuple(k for k in found if k.frame not in repeats))


def drawn_json(track: Track, own: Collection[int]) -> dict[str, Any]:
    """A track of the server as JSON without ids, and without the keyframes on some frames."""
    raw = _without_id(track.raw)
    shapes = [_without_id(k.raw) for k in track.keyframes if k.frame not in own]
    frame = min((s["frame"] for s in shapes), default=track.frame) if own else raw["frame"]
    return {**raw, "frame": frame, "shapes": shapes}


def joint_json(track: Track, original: Mapping[str, Any], label: Label) -> dict[str, Any]:
    """The body that makes a joint track: the person's keyframes as they came, and Perclip's.

    Args:
        track: from `fill_track`.
        original: of `drawn_json`; what it says of the track itself is kept.
        label: of the track.
    """
    new = {s["frame"]: s for s in track.to_json(label)["shapes"]}
    shapes = [new[k.frame] if k.raw is None else _without_id(k.raw) for k in track.keyframes]
    return {**original, "frame": track.frame, "shapes": shapes}


def hidden_frames(track: Track, person: Track, last: int) -> Iterator[int]:
    """Frames on which a keyframe of the person, that is outside, hides the track, up to the next keyframe of any kind.

    Args:
        track: all of it.
        person: the person's part.
        last: frame of the job.
    """
    drawn = {k.frame for k in person.keyframes}
    for keyframe, following in zip(track.keyframes, [*track.keyframes[1:], None]):
        if keyframe.outside and keyframe.frame in drawn:
            yield from range(keyframe.frame, last + 1 if following is None else following.frame)


def supersedes(newer: Track, older: Track) -> bool:
    """Whether a track that has come since was saved by a page that had the older one: a keyframe is as it was.

    It has one on every frame on which the older one has one, so that nothing is lost with that.
    """
    contents, frames = [k.content for k in newer.keyframes], {k.frame for k in newer.keyframes}
    return all(k.frame in frames for k in older.keyframes) and any(k.content in contents for k in older.keyframes)


def resembles(newer: Track, older: Track, layout: TaskLayout) -> bool:
    """Whether two tracks show much the same on a frame on which both have a keyframe."""
    there = {k.frame: k for k in newer.keyframes}
    pairs = [(there[k.frame], k) for k in older.keyframes if k.frame in there]
    return any(_overlap(a, b, layout) for a, b in pairs)


def _overlap(a: Shape, b: Shape, layout: TaskLayout) -> bool:
    if a.outside or b.outside or {a.kind, b.kind} != {"polygon"} or a.frame not in layout.sizes:
        return False
    masks = [polygons_to_mask([s.points], *layout.sizes[a.frame]) for s in (a, b)]
    return region_similarity(*masks) >= _SAME_OBJECT


def _flags(keyframe: Shape) -> tuple[Any, ...]:
    return keyframe.occluded, keyframe.z_order, keyframe.rotation, keyframe.attributes


def _shows(keyframe: Shape) -> tuple[Any, ...]:
    return (keyframe.points, keyframe.outside, *_flags(keyframe))


def _without_id(fields: Mapping[str, Any] | None) -> dict[str, Any]:
    return {key: value for key, value in (fields or {}).items() if key != "id"}
