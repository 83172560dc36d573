"""Photos, cut-outs and backgrounds are found by their folders; a path may choose among them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model.data.dataset_files import DatasetFiles
from model.errors import InputError
from model.training.samples.sources import read_sources
from model.training.samples.stills import read_stills
from tests.model.training.data_sets import RED, moving_squares, write_davis, write_frame, write_labels, zipped


def _photo(image: Path, mask: Path, value: int = 3) -> None:
    write_frame(image, 30)
    write_labels(mask, np.full((20, 32), value, np.uint8))


def _tree(root: Path) -> Path:
    _photo(root / "cars/images/1.png", root / "cars/masks/1.png", 7)
    _photo(root / "stills/people/1.webp", root / "stills/people/1.png")
    _photo(root / "stills/nuclei/2.jpg", root / "stills/nuclei/2.png")
    write_frame(root / "stills/people/without.webp")
    write_frame(root / "backgrounds/v/0.webp", 40)
    (root / "cutouts").mkdir()
    Image.new("RGBA", (9, 9), (1, 2, 3, 255)).save(root / "cutouts/a.webp", lossless=True)
    return root


@pytest.mark.parametrize("archive", [False, True])
def test_every_kind_is_found_by_its_folder(tmp_path, archive):
    path = _tree(tmp_path / "data")
    stills = read_stills(zipped(path, tmp_path / "data.zip") if archive else path)
    assert {name: len(photos) for name, photos in stills.photos.items()} == {
        "cars": 1,
        "stills/nuclei": 1,
        "stills/people": 1,
    }
    (car,), (person,) = stills.photos["cars"], stills.photos["stills/people"]
    assert (car.ids == 7).all() and not car.of_parts and (person.ids == 3).all() and person.of_parts
    assert [c.shape for c in stills.cutouts] == [(9, 9, 4)] and len(stills.backgrounds) == 1


def test_a_path_chooses_folders_and_leaves_some_out(tmp_path):
    path = zipped(_tree(tmp_path / "data"), tmp_path / "data.zip")
    some = read_stills(Path(f"{path}::stills,backgrounds,!people"))
    assert list(some.photos) == ["stills/nuclei"] and len(some.backgrounds) == 1 and not some.cutouts
    assert len(read_stills(Path(f"{path}::!v")).backgrounds) == 0
    with pytest.raises(InputError, match=r"data\.zip has no folder horses: check the names"):
        read_stills(Path(f"{path}::horses"))


def test_single_sequences_of_an_archive_are_chosen(tmp_path):
    for name in ("bear", "bus", "chen-a"):
        write_davis(tmp_path / "davis", moving_squares(name, {1: RED}, length=3, size=(40, 32), side=8))
    _photo(tmp_path / "photos/images/1.jpg", tmp_path / "photos/masks/1.png")
    path = zipped(tmp_path / "davis", tmp_path / "davis.zip")
    sequences, stills = read_sources([Path(f"{path}::b*,!bus"), tmp_path / "photos"])
    assert [s.name for s in sequences] == ["bear"] and len(stills.photos) == 1


def test_two_colons_in_a_name_that_is_there_are_no_choice(tmp_path):
    write_frame(tmp_path / "a::b/backgrounds/0.png")
    assert DatasetFiles(tmp_path / "a::b").names == ["backgrounds/0.png"]


def test_masks_of_another_size_and_empty_sets_are_refused(tmp_path):
    write_frame(tmp_path / "s/images/1.jpg", size=(40, 30))
    write_labels(tmp_path / "s/masks/1.png", np.ones((20, 32), np.uint8))
    with pytest.raises(InputError, match=r"masks/1\.png has another size than images/1\.jpg"):
        read_stills(tmp_path / "s")
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    (tmp_path / "s/images/1.jpg").unlink()
    with pytest.raises(InputError, match="no photos with masks"):
        read_stills(tmp_path)


def test_a_single_mask_whose_rim_looks_soft_stops_no_training_and_many_do(tmp_path):
    """A bowl around its soup, among many; and a set that somebody has smoothed."""
    ring = np.zeros((60, 60), np.uint8)
    ring[10:50, 10:50], ring[12:48, 12:48] = 1, 2
    for i in range(60):
        write_frame(tmp_path / f"food/images/{i}.png", 30, size=(60, 60))
        write_labels(tmp_path / f"food/masks/{i}.png", np.where(ring > 0, 3, 0).astype(np.uint8))
    write_labels(tmp_path / "food/masks/7.png", ring)
    with pytest.raises(InputError, match="soft edges"):
        DatasetFiles(tmp_path / "food").label_map("masks/7.png")
    photos = read_stills(tmp_path).photos["food"]
    assert sum((photo.ids == ring).all() for photo in photos) == 1
    for i in range(5):
        write_labels(tmp_path / f"food/masks/{i}.png", ring)
    with pytest.raises(InputError, match="soft edges"):
        read_stills(tmp_path)
