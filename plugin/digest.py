"""Digests: short texts that differ where files, keyframes or JSON differ."""

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from model.errors import InputError
from model.keyframe import Keyframe

_FINGERPRINT_BYTES = 1 << 20  # at each end of a file


def digest_of(content: Any) -> str:
    """32 characters that differ where some JSON differs."""
    return hashlib.sha256(json.dumps(content, separators=(",", ":"), sort_keys=True).encode()).hexdigest()[:32]


def file_digest(path: Path) -> str:
    """Digest of a file's size and ends: tells another file at little cost; raises InputError if it cannot be read."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as content:
            size = content.seek(0, os.SEEK_END)
            digest.update(str(size).encode())
            for place in (0, max(0, size - _FINGERPRINT_BYTES)):
                content.seek(place)
                digest.update(content.read(_FINGERPRINT_BYTES))
    except OSError as error:
        raise _unreadable(path, error) from None
    return digest.hexdigest()


def _unreadable(file: Path, error: OSError) -> InputError:
    return InputError(f"{file} cannot be read ({error.strerror}): check the file")


def names_digest(files: Iterable[Path]) -> str:
    """Digest of many files' names and sizes; raises InputError if one is gone."""
    digest = hashlib.sha256()
    for file in files:
        try:
            digest.update(os.fsencode(file.name) + f" {file.stat().st_size}\n".encode())
        except OSError as error:
            raise _unreadable(file, error) from None
    return digest.hexdigest()


def keyframe_digest(keyframes: Sequence[Keyframe]) -> str:
    """Digest of frame numbers, objects and masks; where masks share pixels also of which lies on which."""
    digest = hashlib.sha256()
    for k in keyframes:
        digest.update(f"{k.index} {k.objects} {k.label_map.shape}".encode() + k.label_map.tobytes())
        if k.masks.overlapping:
            for i, mask in k.masks.items():
                digest.update(f" {i} ".encode() + np.packbits(mask).tobytes())
    return digest.hexdigest()
