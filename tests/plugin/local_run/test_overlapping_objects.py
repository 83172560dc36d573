"""A helmet on a person through the command line: both come back whole, are kept whole and measured each by its own."""

import json
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from model.object_masks import ObjectMasks
from model.result import FrameResult
from plugin.cli import main
from plugin.keyframes import FrameFinder, read_coco
from plugin.sinks.coco_json import write_coco_json
from plugin.sinks.mask_folder import MaskFolder

FRAMES, SIZE = 9, (96, 128)
FINDER = FrameFinder(FRAMES, [f"{i:05d}.png" for i in range(FRAMES)], "frames")


def drawn(index: int) -> dict[str, np.ndarray]:
    """A person who walks, and the helmet on the head, bool (H, W); below it the head goes on."""
    person, helmet = np.zeros(SIZE, np.uint8), np.zeros(SIZE, np.uint8)
    centre = 45 + 2 * index
    cv2.ellipse(person, (centre, 70), (18, 24), 0, 0, 360, 1, -1)
    cv2.circle(person, (centre, 34), 18, 1, -1)
    cv2.ellipse(helmet, (centre, 32), (18, 16), 0, 180, 360, 1, -1)
    return {"person": person > 0, "helmet": helmet > 0}


@pytest.fixture(scope="module")
def scene(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("scene")
    ground = cv2.resize(np.random.default_rng(1).integers(40, 200, (8, 12, 3), dtype=np.uint8), SIZE[::-1])
    for name in ("frames", "person", "helmet"):
        (folder / name).mkdir()
    for i in range(FRAMES):
        picture, masks = ground.copy(), drawn(i)
        picture[masks["person"]], picture[masks["helmet"]] = (60, 80, 170), (240, 200, 30)
        Image.fromarray(picture).save(folder / "frames" / f"{i:05d}.png")
        for name, mask in masks.items():
            Image.fromarray(mask).save(folder / name / f"{i:05d}.png")
            if i == 0:
                Image.fromarray(mask).save(folder / f"{name}.png")
    return folder


def command(scene: Path, out: Path, *more: str) -> list[str]:
    both = [word for name in ("person", "helmet") for word in ("--keyframe", f"0={scene / name}.png")]
    fast = ["--short-side", "96", "--dtype", "float32", "--clip-length", "3", "--device", "cpu"]
    return ["propagate", str(scene / "frames"), *both, "--out", str(out), *fast, *more]


@pytest.fixture(scope="module")
def whole_run(scene, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("run") / "r"
    assert main(command(scene, out, "--format", "coco,cvat-images,overlay")) == 0
    return out


def true_annotations(scene: Path, path: Path) -> Path:
    """A COCO file of the true masks, in which the objects have other numbers than in the run."""
    frames = (ObjectMasks.of({1: drawn(i)["helmet"], 2: drawn(i)["person"]}) for i in range(FRAMES))
    results = (FrameResult(i, masks, {1: 1.0, 2: 1.0}, False) for i, masks in enumerate(frames))
    write_coco_json(results, path, frame_names=lambda i: f"{i:05d}.png", object_names={1: "Helmet", 2: "Person"})
    return path


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return np.count_nonzero(a & b) / np.count_nonzero(a | b)


def test_both_come_back_whole_and_the_keyframe_as_it_was_drawn(whole_run):
    results = {result.index: result for result in MaskFolder(whole_run)}
    assert sorted(results) == list(range(FRAMES))
    for object_id, name in enumerate(("person", "helmet"), 1):
        np.testing.assert_array_equal(results[0].masks.mask(object_id), drawn(0)[name])
        assert all(iou(result.masks.mask(object_id), drawn(i)[name]) > 0.7 for i, result in results.items())
    for i, result in results.items():
        under = result.masks.mask(1) & result.masks.mask(2)
        assert np.count_nonzero(under) > 0.8 * np.count_nonzero(drawn(i)["helmet"]), "no hole where the helmet is"
        with Image.open(whole_run / "masks" / f"{i:06d}.png") as picture:
            np.testing.assert_array_equal(np.array(picture) == 2, result.masks.mask(2)), "the helmet lies on top"


def test_the_person_is_told_once_where_whole_masks_are(scene, tmp_path, capsys):
    assert main([*command(scene, tmp_path / "r"), "--dry-run"]) == 0
    said = capsys.readouterr()
    (warning,) = (line for line in said.err.splitlines() if "overlap" in line)
    assert "1 (person)" in warning and "2 (helmet)" in warning and "--format coco" in warning
    assert "person.png, helmet.png -> frame 0 (00000.png), objects 1 (person), 2 (helmet)" in said.out
    Image.fromarray(np.uint8(1 * drawn(0)["person"] + drawn(0)["helmet"])).save(tmp_path / "m.png")
    apart = ["propagate", str(scene / "frames"), "--keyframe", f"0={tmp_path / 'm.png'}", "--dry-run"]
    assert main(apart) == 0 and "overlap" not in capsys.readouterr().err


def test_exports_are_whole_and_so_are_those_that_are_made_later(scene, whole_run, tmp_path):
    later = tmp_path / "later"
    shutil.copytree(whole_run, later)
    for name in ("instances.json", "cvat_images.xml"):
        (later / name).unlink()
    assert main(command(scene, later, "--resume", "--format", "coco,cvat-images")) == 0
    assert (later / "instances.json").read_bytes() == (whole_run / "instances.json").read_bytes()
    assert (later / "cvat_images.xml").read_bytes() == (whole_run / "cvat_images.xml").read_bytes()
    found = read_coco(later / "instances.json", FINDER, SIZE)
    assert found.object_names == {1: "person", 2: "helmet"}
    assert {k.index: k.masks for k in found.keyframes} == {r.index: r.masks for r in MaskFolder(whole_run)}
    heights = re.findall(r'label="(\w+)"[^>]* z_order="(\d)"', (later / "cvat_images.xml").read_text())
    assert set(heights) == {("person", "0"), ("helmet", "1")}


def test_a_resumed_run_equals_one_run(scene, whole_run, tmp_path):
    part = tmp_path / "part"
    assert main(command(scene, part, "--stop", "4", "--format", "none")) == 0
    before = {result.index: result.masks for result in MaskFolder(part)}
    assert main(command(scene, part, "--resume", "--format", "none")) == 0
    one, resumed = ({r.index: r.masks for r in MaskFolder(folder)} for folder in (whole_run, part))
    assert {i: resumed[i] for i in before} == before == {i: one[i] for i in before}
    assert resumed.keys() == one.keys()
    for i, masks in one.items():
        assert all(iou(masks.mask(o), resumed[i].mask(o)) > 0.97 for o in (1, 2))


def test_other_names_are_not_resumed_as_they_decide_what_excludes_what(scene, whole_run, tmp_path, capsys):
    other = tmp_path / "other"
    shutil.copytree(whole_run, other)
    assert main(command(scene, other, "--resume", "--objects", "1=part,2=part", "--format", "none")) == 2
    assert "other names of the objects" in capsys.readouterr().err


def test_a_picture_that_lost_what_lies_below_is_not_taken_for_whole(scene, whole_run, tmp_path, capsys):
    edited = tmp_path / "edited"
    shutil.copytree(whole_run, edited)
    with Image.open(edited / "masks" / "000003.png") as picture:
        pixels = np.array(picture)
    Image.fromarray(pixels).save(edited / "masks" / "000003.png")
    assert main(command(scene, edited, "--resume", "--format", "coco")) == 2
    assert re.search(r"000003\.png.*what objects share is lost.*remove it", capsys.readouterr().err)
    (edited / "masks" / "000003.png").unlink()
    assert main(command(scene, edited, "--resume", "--format", "coco")) == 0
    assert MaskFolder(edited).masks(3).overlapping


def test_results_serve_as_whole_keyframes_again(scene, whole_run, tmp_path):
    again = ["propagate", str(scene / "frames"), "--keyframe", str(whole_run / "masks"), "--out", str(tmp_path / "r")]
    assert main([*again, "--short-side", "96", "--format", "none"]) == 0
    assert [r.masks for r in MaskFolder(tmp_path / "r")] == [r.masks for r in MaskFolder(whole_run)]


@pytest.mark.parametrize("kind", ["folders", "folders in any order", "files", "results", "COCO"])
def test_each_is_measured_with_its_own_true_mask(scene, whole_run, tmp_path, capsys, kind):
    out = tmp_path / "r"
    shutil.copytree(whole_run, out)
    truth = {
        "folders": [scene / "person", scene / "helmet"],
        "folders in any order": [scene / "helmet", scene / "person"],
        "files": [f"{i}={scene / name / f'{i:05d}.png'}" for i in (2, 5) for name in ("person", "helmet")],
        "results": [whole_run / "masks"],
        "COCO": [true_annotations(scene, tmp_path / "true.json")],
    }[kind]
    arguments = [word for value in truth for word in ("--truth", str(value))]
    assert main(command(scene, out, "--resume", "--format", "none", *arguments)) == 0
    said = re.search(r"measured J\s+\S+ \(person ([\d.]+), helmet ([\d.]+)\) over (\d) frames", capsys.readouterr().out)
    results = {r.index: r.masks for r in MaskFolder(out) if not r.is_keyframe}
    for object_id, name in enumerate(("person", "helmet"), 1):
        frames = [2, 5] if kind == "files" else list(results)
        true = {i: results[i].mask(object_id) if kind == "results" else drawn(i)[name] for i in frames}
        expected = np.mean([iou(results[i].mask(object_id), true[i]) for i in frames])
        assert float(said[object_id]) == pytest.approx(expected, abs=6e-4) and int(said[3]) == len(frames)


def test_one_true_mask_is_that_of_the_object_it_is_called_after(scene, whole_run, tmp_path, capsys):
    out = tmp_path / "r"
    shutil.copytree(whole_run, out)
    assert main(command(scene, out, "--resume", "--format", "none", "--truth", str(scene / "helmet"))) == 0
    assert re.search(r"measured J\s+([\d.]+) \(helmet \1\) over 8 frames", capsys.readouterr().out)


def test_true_masks_that_contradict_each_other_are_refused_before_the_run(scene, tmp_path, capsys):
    shutil.copytree(scene / "helmet", tmp_path / "hat")
    shutil.copytree(scene / "person", tmp_path / "man")
    more = [word for name in ("man", "hat") for word in ("--truth", str(tmp_path / name))]
    assert main(command(scene, tmp_path / "r", *more)) == 2
    assert re.search(r"object 1 is given twice on frame 0.*person, helmet", capsys.readouterr().err)
    assert not (tmp_path / "r").exists()
    assert main(command(scene, tmp_path / "r", "--truth", f"99={scene / 'helmet.png'}")) == 2
    assert "no such frame" in capsys.readouterr().err


def test_true_annotations_of_other_things_are_refused(scene, tmp_path, capsys):
    path = true_annotations(scene, tmp_path / "true.json")
    renamed = path.read_text().replace('"Helmet"', '"hat"').replace('"Person"', '"man"')
    path.write_text(renamed.replace('"track_id": 1', '"track_id": 8').replace('"track_id": 2', '"track_id": 9'))
    assert main(command(scene, tmp_path / "r", "--truth", str(path))) == 2
    assert re.search(
        r"true\.json has hat, man, none of which is an object of this run \(person, helmet\)", capsys.readouterr().err
    )
    assert not (tmp_path / "r").exists()


def test_folders_of_earlier_versions_are_read(whole_run, tmp_path):
    """Their lines say nothing of overlaps, and their pictures are all there is."""
    old = tmp_path / "old"
    shutil.copytree(whole_run / "masks", old / "masks")
    lines = [json.loads(line) for line in (whole_run / "frames.jsonl").read_text().splitlines()]
    (old / "frames.jsonl").write_text(
        "".join(json.dumps({k: v for k, v in line.items() if k != "overlap"}) + "\n" for line in lines)
    )
    flat = {}
    for file in (old / "masks").iterdir():
        with Image.open(file) as picture:
            flat[int(file.stem)] = np.array(picture)
        Image.fromarray(flat[int(file.stem)]).save(file)
    for result in MaskFolder(old):
        np.testing.assert_array_equal(result.label_map, flat[result.index])
