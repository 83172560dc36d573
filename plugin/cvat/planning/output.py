"""As what an object is written: mask, polygon, rectangle or track."""

from model.errors import InputError
from plugin.cvat.planning.task_objects import TaskObject
from plugin.cvat.settings import TRACKS


def output_of(obj: TaskObject, wanted: str, takes_tracks: bool) -> str:
    """What an object is written as: one of `plugin.cvat.settings.OUTPUTS` but the first.

    Args:
        obj: with what was drawn of it.
        wanted: one of `plugin.cvat.settings.OUTPUTS`.
        takes_tracks: whether the task can have tracks.

    Raises:
        InputError: its label allows none of these.
    """
    first = next(d for d in obj.drawn if not d.shape.outside)
    output = wanted
    if wanted in ("as-drawn", "one-track"):
        is_track = first.track is not None and first.shape.kind == "polygon"
        output = ("one-track" if wanted == "one-track" else "track") if is_track else first.shape.kind
    if output in TRACKS and not takes_tracks:
        output = "polygon"
    allowed = obj.label.kind
    if allowed not in ("any", "polygon" if output in TRACKS else output):
        if allowed not in ("mask", "polygon", "rectangle"):
            raise InputError(f"the label {obj.label.name} takes {allowed} only: give it the type any, mask or polygon")
        output = allowed
    return output
