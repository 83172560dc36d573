"""For which frame Perclip wrote a mask: a note in the PNG, or the folder of results that the mask lies in.

Results are called by the frame's place, `000012.png`, which must not be taken for a picture's own name or number when
they are read back. A mask that was renamed since goes by its new name.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, PngImagePlugin

_KEY = "Perclip"


@dataclass(frozen=True)
class MaskOrigin:
    """The frame that a mask was written for.

    Attributes:
        frame: its number, 0-based.
        picture: its own name; None where it had none, as in a video, or where that is not known.
    """

    frame: int
    picture: str | None = None


def mask_file_name(frame: int) -> str:
    """What Perclip calls the mask of a frame."""
    return f"{frame:06d}.png"


def origin_note(origin: MaskOrigin) -> PngImagePlugin.PngInfo:
    """The note, for Pillow's `save`."""
    note = PngImagePlugin.PngInfo()
    note.add_text(_KEY, json.dumps({"frame": origin.frame, "picture": origin.picture}))
    return note


def is_own(picture: Image.Image) -> bool:
    """Whether an open picture is as Perclip writes masks: a palette's indices are ids, whatever they look like."""
    return picture.format == "PNG" and picture.mode == "P" and _KEY in picture.info


def read_origin(path: Path) -> MaskOrigin | None:
    """Where Perclip had a mask from; None if Perclip did not write it under this name."""
    if re.fullmatch(r"[0-9]{6,9}\.png", path.name) is None:
        return None
    origin: MaskOrigin | None
    try:
        with Image.open(path) as picture:
            note = json.loads(picture.info.get(_KEY, "{}"))
        origin = MaskOrigin(int(note["frame"]), None if note["picture"] is None else str(note["picture"]))
    except (OSError, ValueError, SyntaxError, KeyError, TypeError, Image.DecompressionBombError):
        # No note: of an earlier version, or lost in an editor. The folder of results tells it too.
        is_result = path.parent.name == "masks" and (path.parent.parent / "frames.jsonl").is_file()
        origin = MaskOrigin(int(path.stem)) if is_result else None
    return origin if origin is not None and mask_file_name(origin.frame) == path.name else None
