"""The results as a video to look at."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from model.errors import InputError
from plugin.sinks.doubt import LOW_CONFIDENCE, doubt_of
from plugin.sinks.lettering import ATTENTION, INK, KEYFRAME, tag
from plugin.sinks.mask_folder import AnyResult
from plugin.sinks.overlay import draw_overlay
from plugin.sinks.palette import colour
from plugin.sinks.video_writer import video_writer
from plugin.sources.frame_source import FrameSource

_MAX_BARS = 8


def write_overlay_video(
    source: FrameSource,
    records: Iterable[AnyResult],
    path: Path | str,
    *,
    fps: float | None = None,
    opacity: float = 0.45,
) -> None:
    """Write an mp4 of all frames that have a result: objects filled and outlined, with what is known about the frame.

    Every frame bears its number, a badge if it is a keyframe, one confidence bar per object (the first 8), and a border
    where a confidence is below 0.5. Frames are read, drawn and written one at a time.

    Args:
        source: the frames.
        records: results in ascending order.
        path: the file to write.
        fps: frames per second; None takes the source's own, or 25 where it has none.
        opacity: of the fills, 0..1.

    Raises:
        InputError: there are no results, sizes differ, a frame cannot be read, or the file cannot be written.
    """
    path = Path(path)
    empty = True
    with video_writer(path, source.height, source.width, fps or source.fps or 25.0) as append:
        for record in records:
            append(draw_result(source[record.index], record, opacity))
            empty = False
        if empty:
            raise InputError(f"cannot write {path}: there are no results to show; propagate first")


def draw_result(frame: np.ndarray, record: AnyResult, opacity: float = 0.45) -> np.ndarray:
    """One frame of the overlay video, uint8 (H, W, 3) RGB: the overlay with number, badge, bars and border."""
    picture = Image.fromarray(draw_overlay(frame, record.masks, opacity))
    draw = ImageDraw.Draw(picture, "RGBA")
    size = max(10, round(min(picture.size) / 26))
    doubt = doubt_of(record)
    if doubt is not None and doubt.confidence < LOW_CONFIDENCE:
        draw.rectangle((0, 0, picture.width - 1, picture.height - 1), outline=ATTENTION, width=max(3, size // 4))
    right = tag(draw, 0.5 * size, 0.5 * size, str(record.index), size)
    if record.is_keyframe:
        tag(draw, right + 0.4 * size, 0.5 * size, "KEYFRAME", size, ink=INK, fill=KEYFRAME)
    _draw_bars(draw, record, picture.height, size)
    return np.asarray(picture)


def _draw_bars(draw: ImageDraw.ImageDraw, record: AnyResult, height: int, size: int) -> None:
    """One horizontal bar per object at the lower left: full is a confidence of 1."""
    shown = sorted(record.confidence.items())[:_MAX_BARS]
    length, thickness, step = 4 * size, 0.45 * size, 0.8 * size
    left, top = 0.5 * size, height - 0.5 * size - (len(shown) + 0.25) * step
    if shown:
        plate = (left, top, left + length + 0.8 * size, height - 0.5 * size)
        draw.rounded_rectangle(plate, radius=0.35 * size, fill=(0, 0, 0, 150))
    for row, (object_id, confidence) in enumerate(shown):
        x, y = left + 0.4 * size, top + 0.3 * size + row * step
        draw.rectangle((x, y, x + length, y + thickness), fill=(255, 255, 255, 70))
        light = tuple(channel // 2 + 127 for channel in colour(object_id))
        draw.rectangle((x, y, x + length * min(1, max(0, confidence)), y + thickness), fill=light)
