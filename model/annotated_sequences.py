"""Annotated sequences on disk: DAVIS-style folders or zip archives of frames and palette masks."""

import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from model.errors import InputError


@dataclass(frozen=True, eq=False)
class AnnotatedSequence:
    """One annotated sequence, decoded.

    Attributes:
        name: of the sequence.
        frames: uint8 (H, W, 3) RGB each.
        label_maps: uint8 (H, W) each, value = object id, one per frame.
    """

    name: str
    frames: Sequence[np.ndarray]
    label_maps: Sequence[np.ndarray]


def read_sequences(path: Path) -> list[AnnotatedSequence]:
    """All sequences of `JPEGImages/<name>/<frame>.*` with `Annotations/<name>/<frame>.png`, in a folder or a zip.

    Frames without annotation are left out.

    Raises:
        InputError: nothing of that layout is there.
    """
    if path.is_dir():
        files = {str(f.relative_to(path)): f for f in path.rglob("*") if f.is_file()}
        return _decode(path, files, lambda name: files[name].read_bytes())
    if not zipfile.is_zipfile(path):
        raise InputError(f"{path} is neither a folder nor a zip archive: give a DAVIS-style data set")
    with zipfile.ZipFile(path) as archive:
        return _decode(path, archive.namelist(), archive.read)


def _decode(path: Path, names, read) -> list[AnnotatedSequence]:
    layout = re.compile(r"(?:.*/)?(JPEGImages|Annotations)/(?:480p/|Full-Resolution/)?([^/]+)/([^/]+)\.\w+$")
    found: dict[str, dict[str, dict[str, str]]] = {}
    for name in names:
        match = layout.match(name)
        if match:
            kind, sequence, stem = match.groups()
            found.setdefault(sequence, {}).setdefault(kind, {})[stem] = name
    sequences = []
    for sequence, kinds in tqdm(sorted(found.items()), desc=f"reading {path.name}", unit="sequence"):
        stems = sorted(set(kinds.get("JPEGImages", {})) & set(kinds.get("Annotations", {})))
        if stems:
            frames = [np.asarray(Image.open(BytesIO(read(kinds["JPEGImages"][s]))).convert("RGB")) for s in stems]
            masks = [np.array(Image.open(BytesIO(read(kinds["Annotations"][s])))) for s in stems]
            sequences.append(AnnotatedSequence(sequence, frames, masks))
    if not sequences:
        raise InputError(
            f"{path} has no JPEGImages/<sequence>/ with Annotations/<sequence>/: give a DAVIS-style data set"
        )
    return sequences
