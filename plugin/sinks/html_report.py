"""One self-contained web page about a run."""

import io
import os
from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path
from urllib.parse import quote

import numpy as np
from PIL import Image

from model.errors import InputError
from plugin.sinks.doubt import Doubt, most_doubtful
from plugin.sinks.html_page import data_uri, facts_table, write_page
from plugin.sinks.mask_folder import AnyResult
from plugin.sinks.overlay import draw_overlay
from plugin.sources.frame_source import FrameSource

_DOUBTFUL = 20
_THUMBNAIL = (240, 240)  # box in pixels
_TYPES = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp"}


def write_html_report(
    path: Path | str,
    *,
    title: str,
    records: Iterable[AnyResult],
    object_names: Mapping[int, str],
    pictures: Mapping[str, Path],
    facts: Mapping[str, str],
    source: FrameSource | None = None,
    files: Iterable[Path] = (),
) -> None:
    """Write one HTML file that needs nothing else: pictures are inside it, it loads nothing from anywhere.

    It shows the facts, the pictures, a table of the 20 most doubtful frames with thumbnails, and links to other files.

    Args:
        path: the file to write.
        title: heading of the page.
        records: results in ascending order; gone through twice, so an iterator will not do.
        object_names: what to call the objects; `object 3` for those without a name.
        pictures: caption -> PNG, JPEG or WebP file, shown in this order.
        facts: name -> value, shown as a table in this order.
        source: the frames for the thumbnails; None draws the masks alone.
        files: further files, linked by their path relative to the page.

    Raises:
        InputError: a picture cannot be read, a frame cannot be read, or the page cannot be written.
    """
    path = Path(path)
    doubts = most_doubtful(records, _DOUBTFUL)
    thumbnails = _thumbnails(records, {doubt.index for doubt in doubts}, source)
    parts = [
        facts_table(facts),
        *(_picture(caption, Path(file)) for caption, file in pictures.items()),
        _doubt_table(doubts, thumbnails, object_names),
        _links(files, path.parent),
    ]
    write_page(path, title, parts)


def _picture(caption: str, file: Path) -> str:
    try:
        content = file.read_bytes()
    except OSError as error:
        raise InputError(f"{file}: the picture for the report cannot be read ({error.strerror})") from None
    kind = _TYPES.get(file.suffix.lower())
    if kind is None:
        raise InputError(f"{file}: the report shows PNG, JPEG and WebP pictures only")
    return f'<h2>{escape(caption)}</h2>\n<img src="{data_uri(content, kind)}" alt="{escape(caption)}">'


def _doubt_table(doubts: list[Doubt], thumbnails: Mapping[int, bytes], object_names: Mapping[int, str]) -> str:
    if not doubts:
        return ""
    rows = []
    for doubt in doubts:
        uri = data_uri(thumbnails[doubt.index], "image/jpeg")
        name = object_names.get(doubt.object_id, f"object {doubt.object_id}")
        rows.append(
            f'<tr><td><img src="{uri}" alt="frame {doubt.index}"></td><td class="number">{doubt.index}</td>'
            f'<td class="number">{doubt.confidence:.2f}</td><td>{escape(name)}</td></tr>\n'
        )
    head = "<tr><th></th><th>Frame</th><th>Confidence</th><th>Least certain object</th></tr>"
    return f"<h2>The most doubtful frames</h2>\n<table>\n<thead>{head}</thead>\n{''.join(rows)}</table>"


def _links(files: Iterable[Path], folder: Path) -> str:
    names = [Path(os.path.relpath(file, folder)).as_posix() for file in files]
    items = "".join(f'<li><a href="{quote(name)}">{escape(name)}</a></li>\n' for name in names)
    return f"<h2>Files</h2>\n<ul>\n{items}</ul>" if items else ""


def _thumbnails(records: Iterable[AnyResult], wanted: set[int], source: FrameSource | None) -> dict[int, bytes]:
    """Small JPEGs of the wanted frames: with the frame below the mask where there is a source."""
    thumbnails = {}
    for record in records:
        if record.index in wanted:
            frame = np.zeros((*record.masks.shape, 3), np.uint8) if source is None else source[record.index]
            pixels = draw_overlay(frame, record.masks)
            picture = Image.fromarray(pixels)
            picture.thumbnail(_THUMBNAIL, Image.Resampling.LANCZOS)
            content = io.BytesIO()
            picture.save(content, "JPEG", quality=85)
            thumbnails[record.index] = content.getvalue()
    return thumbnails
