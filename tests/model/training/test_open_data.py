"""What the open weights are trained from: the listed folders and nothing else."""

import os
from pathlib import Path

import pytest

from model.data.dataset_files import DatasetFiles

_ROOT = Path(__file__).resolve().parents[3]
_WEIGHTS = _ROOT / "model" / "weights"
_SHARED = Path(os.environ.get("PERCLIP_DATA", _ROOT.parent / "shared" / "data"))
_SOURCES = (_WEIGHTS / "open_sources.txt").read_text(encoding="utf-8").split()
_OPEN = {"chen-", "chair", "render-", "coco", "animals", "plates", "nuclei", "backgrounds", "cutouts"}
_CLOSED = ("davis", "people", "-nc", "horses", "caps", "01_dog", "02_cups", "03_blocks", "-val")


@pytest.mark.parametrize("source", _SOURCES)
def test_every_source_is_named_in_the_attribution(source):
    attribution = (_WEIGHTS / "ATTRIBUTION.md").read_text(encoding="utf-8")
    names = {name for name in _OPEN if f"`{name}" in attribution}
    assert names == _OPEN
    chosen = source.partition("::")[2]
    for name in filter(None, chosen.split(",")):
        assert name.startswith("!") or any(name.startswith(known) for known in _OPEN), name


@pytest.mark.skipif(not _SHARED.is_dir(), reason="the training data lies beside the repository only")
@pytest.mark.parametrize("source", _SOURCES)
def test_an_open_training_reads_no_closed_file(source):
    names = DatasetFiles(_SHARED / source).names
    assert names
    for name in names:
        assert not any(word in name for word in _CLOSED), name
        assert any(part.startswith(known) for part in Path(name).parts[:-1] for known in _OPEN), name
