"""The results on one page: evenly spaced frames, then the most doubtful ones."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from PIL import Image, ImageDraw

from model.errors import InputError
from model.program.atomic_write import atomic_write
from plugin.sinks.doubt import LOW_CONFIDENCE, doubt_of, most_doubtful
from plugin.sinks.lettering import ATTENTION, INK, KEYFRAME, PAPER, font, tag
from plugin.sinks.mask_folder import AnyResult
from plugin.sinks.overlay import draw_overlay
from plugin.sources.frame_source import FrameSource

_GAP = 14
_CAPTION = 24
_HEADING = 40
_TEXT = 15


def write_contact_sheet(
    source: FrameSource,
    records: Iterable[AnyResult],
    path: Path | str,
    object_names: Mapping[int, str] | None = None,
    *,
    columns: int = 4,
    evenly: int = 16,
    doubtful: int = 4,
    thumbnail: int = 320,
) -> None:
    """Write a PNG with `evenly` frames spread over all results and the `doubtful` least certain ones, overlays drawn.

    Under each frame are its number and its lowest confidence with the object that has it.

    Args:
        source: the frames.
        records: results in ascending order; gone through twice, so an iterator will not do.
        path: the file to write.
        object_names: what to call the objects; `object 3` for those without a name.
        columns: thumbnails in a row.
        evenly: how many evenly spaced frames.
        doubtful: how many of the most doubtful frames, none of them near another.
        thumbnail: longer side of a thumbnail in pixels.

    Raises:
        InputError: there are no results, sizes differ, a frame cannot be read, or the file cannot be written.
    """
    path = Path(path)
    numbers = [record.index for record in records]
    if not numbers:
        raise InputError(f"cannot write {path}: there are no results to show; propagate first")
    count = min(evenly, len(numbers))
    spread = sorted({numbers[round(i * (len(numbers) - 1) / max(1, count - 1))] for i in range(count)})
    doubts = sorted(d.index for d in most_doubtful(records, doubtful, apart=max(3, len(numbers) // 20)))
    sections = [("Evenly spaced frames", spread)]
    if doubts:
        sections.append(("The most doubtful frames", doubts))

    scale = thumbnail / max(source.height, source.width)
    width, height = max(1, round(source.width * scale)), max(1, round(source.height * scale))
    rows = [-(-len(section) // columns) for _, section in sections]
    cell = (width + _GAP, height + _CAPTION + _GAP)
    sheet = Image.new("RGB", (_GAP + columns * cell[0], _GAP + sum(_HEADING + r * cell[1] for r in rows)), PAPER)

    shown: dict[int, list[tuple[int, int]]] = {}  # frame number -> corners where it goes
    top = _GAP
    draw = ImageDraw.Draw(sheet)
    for (heading, section), row_count in zip(sections, rows):
        draw.text((_GAP, top + _HEADING / 2 - 4), heading, font=font(20), fill=INK, anchor="lm")
        for position, number in enumerate(section):
            row, column = divmod(position, columns)
            corner = (_GAP + column * cell[0], top + _HEADING + row * cell[1])
            shown.setdefault(number, []).append(corner)
        top += _HEADING + row_count * cell[1]
    for record in records:
        if record.index in shown:
            overlay = Image.fromarray(draw_overlay(source[record.index], record.masks))
            picture = overlay.resize((width, height), Image.Resampling.LANCZOS)
            for corner in shown[record.index]:
                _paste(sheet, picture, corner, record, object_names or {})
    with atomic_write(path) as temporary:
        sheet.save(temporary)


def _paste(
    sheet: Image.Image,
    picture: Image.Image,
    corner: tuple[int, int],
    record: AnyResult,
    object_names: Mapping[int, str],
) -> None:
    """Put one thumbnail with its caption on the sheet."""
    left, top = corner
    sheet.paste(picture, corner)
    draw = ImageDraw.Draw(sheet, "RGBA")
    if record.is_keyframe:
        tag(draw, left + 6, top + 6, "KEYFRAME", 12, ink=INK, fill=KEYFRAME)
    middle = top + picture.height + _CAPTION / 2 + 1
    draw.text((left, middle), f"frame {record.index}", font=font(_TEXT), fill=INK, anchor="lm")
    doubt = doubt_of(record)
    if doubt is None:
        return
    is_low = doubt.confidence < LOW_CONFIDENCE
    if is_low:
        box = (left - 3, top - 3, left + picture.width + 2, top + picture.height + 2)
        draw.rectangle(box, outline=ATTENTION, width=3)
    name = object_names.get(doubt.object_id, f"object {doubt.object_id}")
    text = f"{doubt.confidence:.2f}  {name}"
    right = (left + picture.width, middle)
    draw.text(right, text, font=font(_TEXT), fill=ATTENTION if is_low else INK, anchor="rm")
