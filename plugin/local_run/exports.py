"""Writes finished results in the formats that were asked for."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from model.errors import InputError
from plugin.local_run.formats import FORMATS
from plugin.shapes.polygon import DEFAULT_TOLERANCE
from plugin.sinks.coco_json import write_coco_json
from plugin.sinks.confidence_plot import write_confidence_plot
from plugin.sinks.contact_sheet import write_contact_sheet
from plugin.sinks.cvat_xml import ShapeKind, write_cvat_images_xml, write_cvat_video_xml
from plugin.sinks.html_report import write_html_report
from plugin.sinks.mask_folder import MaskFolder
from plugin.sinks.overlay_video import write_overlay_video
from plugin.sources import FrameSource


@dataclass(frozen=True)
class ExportShapes:
    """How masks become CVAT's shapes.

    Attributes:
        kind: "mask" keeps every pixel; "polygon" gives outlines that are easy to edit.
        tolerance: how far a polygon may stray from the mask, in pixels, 0 or more.

    Raises:
        InputError: the tolerance is out of its range.
    """

    kind: ShapeKind = "mask"
    tolerance: float = DEFAULT_TOLERANCE

    def __post_init__(self) -> None:
        if not 0 <= self.tolerance < float("inf"):
            raise InputError(f"the tolerance of polygons must be 0 pixels or more, not {self.tolerance}")


def write_formats(
    formats: Sequence[str],
    folder: Path,
    source: FrameSource,
    results: MaskFolder,
    object_names: Mapping[int, str],
    facts: Mapping[str, str],
    shapes: ExportShapes,
) -> dict[str, Path]:
    """Write finished results into a folder.

    Args:
        formats: names from `plugin.local_run.formats.FORMATS`.
        folder: where the files go, under the names that `FORMATS` gives them.
        source: the frames.
        results: what was propagated; at least one frame.
        object_names: label of every object id.
        facts: what the report says of the run, name -> value.
        shapes: of the CVAT files.

    Returns:
        The files written, by format; the report comes last, as it shows and links the others.

    Raises:
        InputError: a file cannot be written, or a frame cannot be read.
    """
    size = (source.height, source.width)
    cvat: dict[str, Any] = {
        "shape": shapes.kind,
        "tolerance": shapes.tolerance,
        "object_names": object_names,
        "frame_count": len(source),
        "frame_size": size,
    }
    writers: dict[str, Callable[[Path], None]] = {
        "overlay": lambda path: write_overlay_video(source, results, path),
        "coco": lambda path: write_coco_json(results, path, frame_names=source.name, object_names=object_names),
        "cvat-video": lambda path: write_cvat_video_xml(results, path, **cvat),
        "cvat-images": lambda path: write_cvat_images_xml(results, path, frame_names=source.name, **cvat),
        "contact-sheet": lambda path: write_contact_sheet(source, results, path, object_names),
        "confidence": lambda path: write_confidence_plot(results, path, object_names),
    }
    # The report shows the two pictures, so they are made along with it.
    wanted = [n for n in writers if n in formats or ("report" in formats and n in ("contact-sheet", "confidence"))]
    written: dict[str, Path] = {}
    for name in tqdm(wanted, unit="file", desc="writing", leave=False, dynamic_ncols=True, disable=not wanted):
        writers[name](folder / FORMATS[name])
        written[name] = folder / FORMATS[name]
    if "report" in formats:
        path = folder / FORMATS["report"]
        write_html_report(
            path,
            title=f"Perclip: {facts['source']}",
            records=results,
            object_names=object_names,
            pictures={"Frames": written["contact-sheet"], "Confidence": written["confidence"]},
            facts=facts,
            source=source,
            files=written.values(),
        )
        written["report"] = path
    return written
