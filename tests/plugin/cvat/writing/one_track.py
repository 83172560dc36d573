"""What the tests of `--output one-track` share: reading, drawing and saving tracks."""

import copy
from typing import Any

import numpy as np

from plugin.shapes import polygons_to_mask
from plugin.shapes.keyframe_mark import is_marked
from tests.cvat_server import Attribute, FakeLabel
from tests.plugin.cvat.program import (
    HEIGHT,
    JOB,
    WIDTH,
    blank_task,
    content,
    polygon_track,
    square,
    state_of,
)

LENGTH = 31


def the_track(state: Any, job: int = JOB) -> dict[str, Any]:
    """The only annotation of the job, as the server gives it."""
    read = state.read(state.jobs[job][1])
    assert not read["shapes"] and len(read["tracks"]) == 1
    return read["tracks"][0]


def drawn_keyframes(track: dict[str, Any]) -> list[dict[str, Any]]:
    """The person's keyframes, without ids."""
    return [content(s) for s in track["shapes"] if not is_marked(s["points"], s["outside"])]


def perclips(track: dict[str, Any]) -> dict[int, dict[str, Any]]:
    return {s["frame"]: s for s in track["shapes"] if is_marked(s["points"], s["outside"])}


def shown(track: dict[str, Any], frame: int) -> np.ndarray | None:
    """What CVAT shows on a frame that has a keyframe, or none since one; None where the track is not to be seen."""
    before = [s for s in track["shapes"] if s["frame"] <= frame]
    if not before or before[-1]["outside"]:
        return None
    return polygons_to_mask([before[-1]["points"]], HEIGHT, WIDTH)


def keyframe(track: dict[str, Any], frame: int) -> dict[str, Any]:
    return next(s for s in track["shapes"] if s["frame"] == frame)


def save(state: Any, track: dict[str, Any], job: int = JOB, **changes: Any) -> dict[str, Any]:
    """A page saves a track that it has changed, under the id it knows."""
    with state.lock:
        return state.update(state.jobs[job][1], {"tracks": [{**copy.deepcopy(track), **changes}]})["tracks"][0]


def with_keyframe(track: dict[str, Any], frame: int, **changes: Any) -> list[dict[str, Any]]:
    """The keyframes of a track after a person has changed one, or made one where CVAT interpolated."""
    shapes = copy.deepcopy(track["shapes"])
    before = [s for s in shapes if s["frame"] <= frame][-1]
    if before["frame"] != frame:
        before = {**copy.deepcopy(before), "frame": frame}
        shapes.append(before)
    before.update(changes)
    return sorted(shapes, key=lambda s: s["frame"])


def polygon(mask: np.ndarray) -> list[float]:
    return polygon_track({0: mask})["shapes"][0]["points"]


ATTRIBUTES = [Attribute(11, "colour", default="red"), Attribute(12, "pose", mutable=True, default="left")]


def rich_task() -> Any:
    return state_of(blank_task(LENGTH, labels=[FakeLabel(1, "car", attributes=ATTRIBUTES), FakeLabel(2, "person")]))


def rich_track(**fields: Any) -> dict[str, Any]:
    """A track on which a person has set all that can be set."""
    track = polygon_track({5: square(2, 2), 15: square(4, 2), 25: square(6, 4)}, **fields)
    track["attributes"] = [{"spec_id": 11, "value": "blue"}]
    track["shapes"][1] |= {"occluded": True, "z_order": 3, "attributes": [{"spec_id": 12, "value": "right"}]}
    track["shapes"][2] |= {"z_order": 1, "attributes": [{"spec_id": 12, "value": "left"}]}
    track["shapes"][0]["points"] = [p + 0.123456789 for p in track["shapes"][0]["points"]]
    return track
