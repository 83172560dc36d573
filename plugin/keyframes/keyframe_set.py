"""The keyframes of one run, with the names of their objects."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from model.errors import InputError
from model.keyframe import Keyframe


@dataclass(frozen=True)
class KeyframeSet:
    """What the annotator gave.

    Attributes:
        keyframes: at most one per frame, ascending by frame.
        object_names: for every object id that a keyframe speaks for, its label; "object 3" where the source has none.
            Objects of one kind share a label.
        origins: what each keyframe was read from, by frame: files and the pictures in them, for people to check.
        warnings: what was left out because it could not be used, one line each.
        is_pictures: read from mask pictures, which number their objects and do not name them.
    """

    keyframes: tuple[Keyframe, ...]
    object_names: dict[int, str]
    origins: dict[int, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    is_pictures: bool = False


def with_origins(
    keyframes: KeyframeSet, origins: Mapping[int, str], path: Path, elsewhere: Sequence[str]
) -> KeyframeSet:
    """What was read from a file, with where it stood there.

    Args:
        origins: what each frame's picture is called.
        path: the file.
        elsewhere: annotated pictures of the file that belong to other videos.
    """
    warnings = list(keyframes.warnings)
    if elsewhere:
        warnings.append(f"{len(elsewhere)} annotated pictures of other folders are left out, {elsewhere[0]} the first")
    return replace(
        keyframes,
        origins={keyframe.index: origins[keyframe.index] for keyframe in keyframes.keyframes},
        warnings=tuple(f"{path}: {warning}" for warning in warnings),
    )


def default_name(object_id: int) -> str:
    """The label of an object whose source has no labels."""
    return f"object {object_id}"


def check_size(where: str | Path, size: tuple[int, int], frame_size: tuple[int, int] | None) -> None:
    """Refuse a mask that is not as large as the frames.

    Args:
        where: names the mask in the error.
        size, frame_size: (H, W) in pixels; None as `frame_size` allows every size.

    Raises:
        InputError: the sizes differ.
    """
    if frame_size is not None and tuple(size) != tuple(frame_size):
        raise InputError(
            f"{where} is {size[1]}x{size[0]} but the video is {frame_size[1]}x{frame_size[0]}: "
            "export the mask at the video's size"
        )


def merge_keyframe_sets(sources: Sequence[tuple[str, KeyframeSet]]) -> KeyframeSet:
    """Join keyframes of several sources. Object ids mean the same object in all of them.

    Args:
        sources: pairs of a name for errors and the keyframes, all of one size; where masks overlap, those of the later
            source lie on those of the earlier, and each stays whole.

    Raises:
        InputError: two sources speak for one object on one frame, or name one object differently.
    """
    by_frame: dict[int, list[tuple[str, Keyframe]]] = {}
    names: dict[int, tuple[str, str]] = {}
    for source, keyframe_set in sources:
        for keyframe in keyframe_set.keyframes:
            by_frame.setdefault(keyframe.index, []).append((source, keyframe))
        for object_id, name in keyframe_set.object_names.items():
            other_source, other = names.get(object_id, (source, default_name(object_id)))
            if default_name(object_id) not in (name, other) and name != other:
                raise InputError(
                    f"object {object_id} is {other!r} in {other_source} but {name!r} in {source}: "
                    "put all keyframes into one file"
                )
            if object_id not in names or other == default_name(object_id):
                names[object_id] = source, name
    origins = {
        index: ", ".join(keyframe_set.origins[index] for _, keyframe_set in sources if index in keyframe_set.origins)
        for index in sorted(by_frame)
    }
    return KeyframeSet(
        tuple(_merge_frame(by_frame[index]) for index in sorted(by_frame)),
        {object_id: names[object_id][1] for object_id in sorted(names)},
        origins,
        tuple(warning for _, keyframe_set in sources for warning in keyframe_set.warnings),
    )


def _merge_frame(parts: Iterable[tuple[str, Keyframe]]) -> Keyframe:
    """One keyframe from the keyframes that several sources give for a frame."""
    (first_source, merged), *others = parts
    owner = dict.fromkeys(merged.objects, first_source)
    for source, keyframe in others:
        for object_id in keyframe.objects:
            if object_id in owner:
                raise InputError(
                    f"object {object_id} is given twice on frame {keyframe.index}, "
                    f"by {owner[object_id]} and by {source}: keep one, or give what is another object another id"
                )
            owner[object_id] = source
        merged = Keyframe(keyframe.index, keyframe.masks.above(merged.masks), owner)
    return merged
