"""Where people have an object without a keyframe, so that nothing may be written; where their tracks are to be seen."""

from collections.abc import Collection, Iterator, Mapping

from plugin.cvat.journal.ownership import Ownership
from plugin.cvat.planning.task_objects import TaskObject
from plugin.cvat.task.annotations import KINDS, Annotation, Shape, Tag, Track
from plugin.cvat.task.drawn import collect_drawn
from plugin.cvat.task.layout import TaskLayout
from plugin.shapes.drawn_shape import SHAPE_TYPES


def blocked_frames(
    obj: TaskObject, owned: Mapping[int, Ownership], layout: TaskLayout, object_of: Mapping[str, int]
) -> set[int]:
    """Frames on which people have the object without a keyframe: a rectangle in its group, or an edited track.

    A group may hold several objects: what has another label, or is another object's keyframe, is not this one.

    Args:
        obj: the object.
        owned: annotations by owner, by job.
        layout: of the task.
        object_of: digest of a drawn shape -> group number of its object.
    """
    groups = {obj.group, *(d.shape.group for d in obj.drawn)} - {0}
    drawn = {d.digest for d in obj.drawn if d.track is not None}
    found: set[int] = set()
    for job, o in owned.items():
        edited = {id(annotation) for annotation in o.edited}
        for annotation in o.human:
            if isinstance(annotation, Tag) or annotation.group not in groups:
                continue
            is_edited = id(annotation) in edited
            if annotation.label != obj.label.id:
                # With another label, what was written of the object and edited still is the object.
                if obj.group not in o.edited_from.get((KINDS[type(annotation)], annotation.id), ()):
                    continue
            elif _is_another(annotation, obj.group, object_of):
                continue
            # A track that a person drew may be filled in; one that they edited is theirs wherever it is to be seen.
            if isinstance(annotation, Shape) or (not is_edited and is_of(annotation, drawn)):
                found |= {shape.frame for shape in shapes_in(annotation)}
            else:
                found |= set(visible_frames(annotation, layout.last_frame(job)))
    return found - set(obj.frames)


def is_of(track: Track, drawn: Collection[str]) -> bool:
    """Whether one of a track's keyframes has one of these digests; its id changes whenever it is saved."""
    return any(digest in drawn for digest in drawn_digests(track))


def _is_another(annotation: Shape | Track, group: int, object_of: Mapping[str, int]) -> bool:
    objects = {object_of[digest] for digest in drawn_digests(annotation) if digest in object_of}
    return bool(objects) and group not in objects


def drawn_digests(annotation: Shape | Track) -> Iterator[str]:
    """Digests of the keyframes that an annotation is, or has."""
    shapes = annotation.keyframes if isinstance(annotation, Track) else (annotation,)
    frames = {shape.frame for shape in shapes}
    return (d.digest for d in collect_drawn(0, [annotation], frames, SHAPE_TYPES))


def visible_frames(track: Track, last: int) -> Iterator[int]:
    """The frames on which CVAT shows a track, up to the last frame of its job."""
    return (frame for frame, _ in shown_keyframes(track, last))


def seen_tracks(
    owned: Mapping[int, Ownership], layout: TaskLayout, frames: Collection[int]
) -> dict[tuple[int, int], set[int]]:
    """Job and id of each track of people -> those of some frames on which CVAT shows it, with Perclip's keyframes.

    Args:
        owned: annotations by owner, by job.
        layout: of the task.
        frames: that count.
    """
    found = {}
    for job, o in owned.items():
        whole = {joint.track.id: joint.track for joint in o.joint}
        for track in o.human:
            if isinstance(track, Track):
                shown = visible_frames(whole.get(track.id, track), layout.last_frame(job))
                found[job, track.id] = set(shown).intersection(frames)
    return found


def shown_keyframes(track: Track, last: int) -> Iterator[tuple[int, Shape]]:
    """As `visible_frames`, each with the keyframe on it or before it."""
    for keyframe, following in zip(track.keyframes, [*track.keyframes[1:], None]):
        if not keyframe.outside:
            for frame in range(keyframe.frame, last + 1 if following is None else following.frame):
                yield frame, keyframe


def shapes_in(annotation: Annotation) -> list[Shape]:
    """A shape, or the keyframes of a track that show something; of a tag none."""
    if isinstance(annotation, Shape):
        return [annotation]
    return [k for k in getattr(annotation, "keyframes", ()) if not k.outside]
