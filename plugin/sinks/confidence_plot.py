"""A plot of every object's confidence over the frames."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from PIL import Image, ImageDraw

from model.errors import InputError
from model.program.atomic_write import atomic_write
from plugin.sinks.lettering import INK, font
from plugin.sinks.mask_folder import AnyResult
from plugin.sinks.palette import colour

_WIDTH, _PLOT_HEIGHT = 1800, 520  # pixels; about twice what a page shows, for sharp screens
_LEFT, _RIGHT, _TOP, _BOTTOM = 130, 40, 34, 110  # margins around the axes
_TEXT = 26
_LEGEND_ROW = 46
_KEYFRAMES = 0  # stands for the keyframe mark among the object ids of the legend
_LEVELS = (0, 0.25, 0.5, 0.75, 1)
_SMOOTH = 2  # lines are drawn this much larger and scaled down, as Pillow's are jagged
_GRID = (222, 222, 218)
_MARK = (150, 150, 146)

_Point = tuple[float, float]
_Confidences = list[tuple[int, dict[int, float], bool]]  # frame number, confidence of every object, is it a keyframe


def write_confidence_plot(
    records: Iterable[AnyResult], path: Path | str, object_names: Mapping[int, str] | None = None
) -> None:
    """Write a PNG: frame number to the right, confidence 0..1 upwards, one line per object in its palette colour.

    Keyframes are marked by ticks along the upper edge; lines are interrupted where frames have no result.

    Args:
        records: results in ascending order; their masks are not read.
        path: the file to write.
        object_names: what to call the objects in the legend; `object 3` for those without a name.

    Raises:
        InputError: there are no results, or the file cannot be written.
    """
    path = Path(path)
    rows: _Confidences = [(record.index, dict(record.confidence), record.is_keyframe) for record in records]
    if not rows:
        raise InputError(f"cannot write {path}: there are no results to plot; propagate first")
    ids = sorted({object_id for _, confidence, _ in rows for object_id in confidence})
    names = {object_id: (object_names or {}).get(object_id, f"object {object_id}") for object_id in ids}
    legend = _lay_out_legend(names)
    axes = _Axes(first=rows[0][0], last=rows[-1][0], top=_TOP + _LEGEND_ROW * (1 + legend[-1][0]))

    size = (_WIDTH, axes.bottom + _BOTTOM)
    lines = Image.new("RGB", (size[0] * _SMOOTH, size[1] * _SMOOTH), "white")
    _draw_lines(ImageDraw.Draw(lines), axes, rows, ids)
    picture = lines.resize(size, Image.Resampling.LANCZOS)
    _draw_numbers(picture, axes)
    draw = ImageDraw.Draw(picture)
    for row, x, object_id in legend:
        y = _TOP + _LEGEND_ROW * row
        if object_id == _KEYFRAMES:
            draw.rectangle((x + 20, y - 9, x + 24, y + 9), fill=_MARK)
        else:
            draw.rounded_rectangle((x, y - 5, x + 44, y + 5), radius=5, fill=colour(object_id))
        draw.text((x + 56, y), names.get(object_id, "keyframe"), font=font(_TEXT), fill=INK, anchor="lm")
    with atomic_write(path) as temporary:
        picture.save(temporary)


@dataclass(frozen=True)
class _Axes:
    """Where frames `first`..`last` and confidences 0..1 lie on the picture; `top` is the row of confidence 1."""

    first: int
    last: int
    top: int

    @property
    def bottom(self) -> int:
        return self.top + _PLOT_HEIGHT

    def place(self, frame: float, confidence: float) -> _Point:
        """The pixel (x, y) of a confidence on a frame."""
        x = _LEFT + (frame - self.first) / max(1, self.last - self.first) * (_WIDTH - _RIGHT - _LEFT)
        return x, self.bottom - min(1.0, max(0.0, confidence)) * _PLOT_HEIGHT

    def frame_ticks(self, most: int = 12) -> list[int]:
        """About `most` frame numbers at most, multiples of 1, 2 or 5 times a power of ten."""
        steps = (factor * 10**power for power in count() for factor in (1, 2, 5))
        step = next(step for step in steps if (self.last - self.first) / step <= most)
        return list(range(-(-self.first // step) * step, self.last + 1, step))


def _draw_lines(draw: ImageDraw.ImageDraw, axes: _Axes, rows: _Confidences, ids: list[int]) -> None:
    """Everything but the lettering."""
    right = _WIDTH - _RIGHT
    for level in _LEVELS:
        y = axes.place(axes.first, level)[1]
        _line(draw, [(_LEFT, y), (right, y)], _GRID, 2)
    for frame in axes.frame_ticks():
        x, y = axes.place(frame, 0)
        _line(draw, [(x, y), (x, y + 10)], INK, 2)
    for frame in (frame for frame, _, is_keyframe in rows if is_keyframe):
        x, y = axes.place(frame, 1)
        _line(draw, [(x, y - 20), (x, y - 4)], _MARK, 5)
    for object_id in ids:
        for run in _runs(rows, object_id):
            _line(draw, [axes.place(*point) for point in run], colour(object_id), 4)
    _line(draw, [(_LEFT, axes.top), (_LEFT, axes.bottom), (right, axes.bottom)], INK, 2)


def _draw_numbers(picture: Image.Image, axes: _Axes) -> None:
    """The numbers along the axes, and what they are."""
    draw = ImageDraw.Draw(picture)
    for level in _LEVELS:
        x, y = axes.place(axes.first, level)
        draw.text((_LEFT - 14, y), f"{level:g}", font=font(_TEXT), fill=INK, anchor="rm")
    for frame in axes.frame_ticks():
        x, y = axes.place(frame, 0)
        draw.text((x, y + 18), str(frame), font=font(_TEXT), fill=INK, anchor="mt")
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    draw.text((middle, picture.height - 14), "frame", font=font(_TEXT), fill=INK, anchor="mb")
    upward = Image.new("RGB", (round(font(_TEXT).getlength("confidence")) + 4, round(1.5 * _TEXT)), "white")
    ImageDraw.Draw(upward).text((2, upward.height / 2), "confidence", font=font(_TEXT), fill=INK, anchor="lm")
    upward = upward.rotate(90, expand=True)
    picture.paste(upward, (8, (axes.top + axes.bottom - upward.height) // 2))


def _lay_out_legend(names: Mapping[int, str]) -> list[tuple[int, float, int]]:
    """Row, left edge and object id of every legend entry."""
    entries, row, x = [], 0, float(_LEFT)
    for object_id, name in [*names.items(), (_KEYFRAMES, "keyframe")]:
        width = 56 + font(_TEXT).getlength(name) + 44
        if x > _LEFT and x + width > _WIDTH - _RIGHT:
            row, x = row + 1, float(_LEFT)
        entries.append((row, x, object_id))
        x += width
    return entries


def _runs(rows: _Confidences, object_id: int) -> list[list[_Point]]:
    """The object's confidences as lists of (frame, confidence) on consecutive frames."""
    runs: list[list[_Point]] = []
    for frame, confidence, _ in rows:
        if object_id in confidence:
            if not runs or runs[-1][-1][0] != frame - 1:
                runs.append([])
            runs[-1].append((frame, confidence[object_id]))
    return runs


def _line(draw: ImageDraw.ImageDraw, points: list[_Point], ink: tuple[int, int, int], width: int) -> None:
    """Draw a polyline given in final pixels; a single point becomes a dot."""
    scaled = [(x * _SMOOTH, y * _SMOOTH) for x, y in points]
    if len(scaled) == 1:
        draw.circle(scaled[0], width * _SMOOTH, fill=ink)
    else:
        draw.line(scaled, fill=ink, width=width * _SMOOTH, joint="curve")
