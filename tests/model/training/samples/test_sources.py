"""Training data whose masks are black on white is told of, whatever it is made of."""

import numpy as np
import pytest
from PIL import Image

from model.training.samples.sources import read_sources, read_videos
from tests.model.training.data_sets import write_frame, write_labels


def masks_of(inverted: bool) -> np.ndarray:
    disk = np.zeros((20, 32), bool)
    disk[6:14, 8:20] = True
    return np.where(disk != inverted, 255, 0).astype(np.uint8)


@pytest.mark.parametrize("inverted", [True, False])
def test_videos_and_stills_with_masks_inside_out_are_told(tmp_path, capsys, inverted):
    for frame in range(2):
        for name in ("bear", "cow"):
            write_frame(tmp_path / "videos" / "JPEGImages" / name / f"{frame:05d}.jpg", frame)
            write_labels(tmp_path / "videos" / "Annotations" / name / f"{frame:05d}.png", masks_of(inverted), False)
    write_frame(tmp_path / "photos" / "cats" / "images" / "1.jpg")
    write_labels(tmp_path / "photos" / "cats" / "masks" / "1.png", masks_of(inverted), False)
    assert Image.open(tmp_path / "photos" / "cats" / "masks" / "1.png").mode == "L"
    read_sources([tmp_path / "videos", tmp_path / "photos"])
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning:")]
    read_videos(tmp_path / "videos")  # as those for validation are read
    again = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning:")]
    if not inverted:
        assert told == again == []
        return
    of_videos, of_photos = told
    assert "videos: bear, frame 0: object 1 covers" in of_videos and "invert the mask" in of_videos
    assert of_videos.endswith("There are 2 such masks") and again == [of_videos]
    assert "photos: cats/masks/1.png: object 1 covers" in of_photos and of_photos.endswith("no object")
