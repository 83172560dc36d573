"""What a person asks of a run over CVAT tasks."""

from collections.abc import Sequence
from dataclasses import dataclass

OUTPUTS = ("as-drawn", "mask", "polygon", "track", "rectangle", "one-track")
"""What results are written as; "polygon" and "rectangle" are shapes of each frame, "track" is a polygon track beside
what was drawn. "one-track" fills in drawn polygon tracks themselves, and is as "as-drawn" for all else."""

TRACKS = ("track", "one-track")
"""Those that are tracks."""

REVIEWS = ("none", "tag", "issue")
"""What is left on doubtful frames in CVAT."""


@dataclass(frozen=True)
class BulkSettings:
    """How tasks are propagated and what is written.

    Attributes:
        output: one of `OUTPUTS`.
        tolerance: of polygons, in pixels.
        direction: "forward", "backward" or "both", from the keyframes.
        max_gap: only frames this near to a keyframe; None: all.
        min_confidence: masks below it are not written, 0..1.
        labels: names of the labels to propagate; none: all.
        frames: ranges of task-relative frame numbers to write to; none: all.
        rectangles: rectangles are keyframes too.
        proposals: on how many frames a detector's shapes serve as keyframes; 0: on none.
        review: one of `REVIEWS`.
        review_label: name of the label of tags.
        doubt_below: confidence below which a frame is doubtful, 0..1.
    """

    output: str = "as-drawn"
    tolerance: float = 2.0
    direction: str = "both"
    max_gap: int | None = None
    min_confidence: float = 0.0
    labels: Sequence[str] = ()
    frames: Sequence[range] = ()
    rectangles: bool = False
    proposals: int = 0
    review: str = "none"
    review_label: str | None = None
    doubt_below: float = 0.5

    def wants(self, frame: int) -> bool:
        """Whether a frame may be written to."""
        return not self.frames or any(frame in r for r in self.frames)
