"""Where training data comes from: archives and folders of annotated videos or of stills."""

from collections.abc import Sequence
from pathlib import Path

from model.annotated_sequences import AnnotatedSequence, read_sequences
from model.dataset_files import DatasetFiles
from model.training.still_clips import Stills, read_stills


def read_sources(paths: Sequence[Path]) -> tuple[list[AnnotatedSequence], Stills | None]:
    """Annotated videos and stills of several data sets; which of both a data set holds is told by its folders.

    Small data sets are decoded at once, so that drawing samples costs no decoding.

    Raises:
        InputError: a data set holds neither, or a file is damaged.
    """
    sequences: list[AnnotatedSequence] = []
    stills: Stills | None = None
    for path in paths:
        if any("/people/" in f"/{name}" for name in DatasetFiles(path).names):
            more = read_stills(path)
            stills = more if stills is None else _joined(stills, more)
        else:
            sequences += read_sequences(path, preload=True)
    return sequences, stills


def _joined(a: Stills, b: Stills) -> Stills:
    return Stills(a.people + b.people, a.nuclei + b.nuclei, a.backgrounds + b.backgrounds)
