"""Where training data comes from: archives and folders of annotated videos or of stills."""

from collections.abc import Sequence
from pathlib import Path

from model.data.annotated_sequences import AnnotatedSequence, read_sequences
from model.data.dataset_files import DatasetFiles
from model.data.inside_out import first_masks
from model.training.samples.inverted_masks import tell_inverted
from model.training.samples.stills import Stills, holds_stills, read_stills


def read_sources(paths: Sequence[Path]) -> tuple[list[AnnotatedSequence], Stills | None]:
    """Annotated videos and stills of several data sets; which of both a data set holds is told by its folders.

    Small data sets are decoded at once, so that drawing samples costs no decoding. A path may choose among the folders
    of a data set, as `DatasetFiles` has it.

    Raises:
        InputError: a data set holds neither, or a file is damaged.
    """
    sequences: list[AnnotatedSequence] = []
    stills: Stills | None = None
    for path in paths:
        if holds_stills(DatasetFiles(path)):
            more = read_stills(path)
            stills = more if stills is None else stills.joined(more)
        else:
            sequences += read_videos(path, preload=True)
    return sequences, stills


def read_videos(path: Path, *, preload: bool = False) -> list[AnnotatedSequence]:
    """Annotated videos as `read_sequences` reads them; tells of those whose first mask seems to be inside out."""
    sequences = read_sequences(path, preload=preload)
    tell_inverted(path, first_masks(sequences))
    return sequences
