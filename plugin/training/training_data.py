"""The data of `perclip train`: exported CVAT tasks and all that `python -m model.training` reads, mixed at will."""

from collections.abc import Sequence
from pathlib import Path

from model.data.annotated_sequences import AnnotatedSequence
from model.training.samples.sources import read_sources, read_videos
from model.training.samples.stills import Stills
from plugin.training.exported_tasks import read_exported_tasks


def read_training_data(paths: Sequence[Path]) -> tuple[list[AnnotatedSequence], Stills | None]:
    """Annotated videos and stills of several data sets; exported tasks come first.

    Raises:
        InputError: a data set is none of those that are understood, or a file is damaged.
    """
    sequences: list[AnnotatedSequence] = []
    others = []
    for path in paths:
        tasks = read_exported_tasks(path, preload=True)
        if tasks is None:
            others.append(path)
        else:
            sequences += tasks
    more, stills = read_sources(others)
    return sequences + more, stills


def read_validation_data(path: Path) -> list[AnnotatedSequence]:
    """The annotated videos of one data set, decoded when they are needed; raises InputError as above."""
    return read_exported_tasks(path) or read_videos(path)
