"""True masks that results are measured against."""

import numpy as np
import pytest
from PIL import Image

from plugin.cli import main


@pytest.mark.parametrize("inverted", [True, False])
def test_true_masks_that_seem_to_be_inside_out_are_told(tmp_path, capsys, inverted):
    (tmp_path / "frames").mkdir()
    (tmp_path / "truth").mkdir()
    square = np.zeros((32, 48), bool)
    square[8:24, 10:30] = True
    Image.fromarray(square).save(tmp_path / "m.png")
    for i in range(3):
        Image.fromarray(np.where(square[..., None], (200, 60, 40), (20, 90, 60)).astype(np.uint8)).save(
            tmp_path / "frames" / f"{i}.png"
        )
        Image.fromarray(np.where(square != inverted, 255, 0).astype(np.uint8)).save(tmp_path / "truth" / f"{i}.png")
    words = ["propagate", str(tmp_path / "frames"), "--keyframe", f"0={tmp_path / 'm.png'}", "--format", "none"]
    words += ["--truth", str(tmp_path / "truth"), "--out", str(tmp_path / "r"), "--device", "cpu"]
    assert main(words) == 0
    said = capsys.readouterr()
    assert "measured J" in said.out
    wanted = f"warning: {tmp_path / 'truth' / '0.png'}: object 1 covers"
    assert (wanted in said.err) == inverted
    assert ("There are 3 such masks" in said.err) == inverted
