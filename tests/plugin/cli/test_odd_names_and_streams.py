"""The command line beside files with any name and with any standard streams: results are written whole."""

import json
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from model.evaluate import main as evaluate
from plugin.cli import main
from plugin.local_run.formats import FORMATS
from plugin.local_run.sample import render_sample

CAFE = os.fsdecode(b"caf\xe9")  # no UTF-8
SHOWN = r"caf\xe9"


def pictures(folder: Path, name: str, count: int = 3) -> None:
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    for i in range(count):
        Image.fromarray(random.integers(0, 255, (48, 64, 3), dtype=np.uint8)).save(folder / f"{name}{i}.png")


def mask(path: Path) -> Path:
    label_map = np.zeros((48, 64), np.uint8)
    label_map[10:30, 20:50] = 1
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(label_map).save(path)
    return path


def propagate(source: Path, keyframe: Path, out: Path, *more: str) -> list[str]:
    arguments = ["propagate", str(source), "--keyframe", f"0={keyframe}", "--out", str(out), "--short-side", "48"]
    return [*arguments, "--dtype", "float32", *more]


@pytest.mark.parametrize(
    "streams", [">&- 2>&- <&-", ">/dev/full 2>/dev/full", "2>&1 | true"], ids=["closed", "full", "gone"]
)
def test_names_that_are_no_utf8_and_any_streams_give_whole_results(tmp_path, streams):
    pictures(tmp_path / CAFE / "frames", CAFE)
    keyframe, out = mask(tmp_path / CAFE / f"{CAFE}.png"), tmp_path / CAFE / "out"
    command = propagate(tmp_path / CAFE / "frames", keyframe, out, "--format", "all", "--objects", f"1=é{CAFE}")
    done = subprocess.run(
        ["bash", "-c", f'"$@" {streams}; exit ${{PIPESTATUS[0]}}', "-", sys.executable, "-m", "plugin.cli", *command],
        capture_output=True,
        timeout=120,
        env={**os.environ, "PYTHONIOENCODING": "ascii", "LC_ALL": "C"},
    )
    assert done.returncode == 0 and b"Traceback" not in done.stderr
    assert sorted(p.name for p in (out / "masks").iterdir()) == [f"00000{i}.png" for i in range(3)]
    assert {*FORMATS.values()} <= {p.name for p in out.iterdir()}
    coco = json.loads((out / "instances.json").read_bytes())
    assert [i["file_name"] for i in coco["images"]] == [f"{SHOWN}{i}.png" for i in range(3)]
    assert [c["name"] for c in coco["categories"]] == [f"é{SHOWN}"]
    images = ElementTree.parse(out / "cvat_images.xml").iter("image")
    assert [i.get("name") for i in images] == [f"{SHOWN}{i}.png" for i in range(3)]
    assert SHOWN in (out / "report.html").read_text(encoding="utf-8")
    assert main([*command, "--resume"]) == 0


def test_a_video_and_weights_in_a_folder_whose_name_is_no_utf8(tmp_path):
    sample = render_sample(tmp_path / CAFE, frames=3, height=48, width=64)
    weights = tmp_path / CAFE / f"{CAFE}.safetensors"
    weights.write_bytes((Path(__file__).parents[3] / "model/weights/perclip-lite.safetensors").read_bytes())
    assert main(propagate(sample.video, sample.masks[0], tmp_path / "r", "--weights", str(weights))) == 0


def test_an_evaluation_of_sequences_whose_names_are_no_utf8(tmp_path, capsys):
    data = tmp_path / CAFE
    pictures(data / "JPEGImages" / CAFE, CAFE)
    for i in range(3):
        mask(data / "Annotations" / CAFE / f"{CAFE}{i}.png")
    table, worst = tmp_path / CAFE / "table.csv", tmp_path / CAFE / "worst"
    arguments = [str(data), "--sequences", CAFE, "--csv", str(table), "--worst", str(worst), "--short-side", "48"]
    assert evaluate([*arguments, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert list(answer["sequences"]) == [SHOWN] and answer["settings"]["data"].endswith(SHOWN)
    assert SHOWN in table.read_text(encoding="utf-8") and len(list(worst.iterdir())) == 1
