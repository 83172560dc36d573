"""The command line as a person uses it: real processes, real files."""

import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from plugin.cli import main
from plugin.local_run.sample import render_sample
from plugin.sinks.mask_folder import MaskFolder

FRAMES = 16


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    return render_sample(tmp_path_factory.mktemp("sample"), frames=FRAMES, height=120, width=160)


@pytest.fixture(scope="module")
def folder(sample):
    return sample.video.parent


def command(folder: Path, out: Path, *more: str) -> list[str]:
    return [
        *("propagate", str(folder / "sample.mp4"), "--keyframe", f"0={folder / 'masks' / '00000.png'}"),
        *("--out", str(out), "--short-side", "120", "--dtype", "float32", *more),
    ]


def run(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-m", "plugin.cli", *arguments], capture_output=True, text=True, timeout=120)


def image_folder(folder: Path, names: list[str]) -> Path:
    """A folder of small images, with a mask of their size, `m.png`, beside it."""
    frames = folder / "frames"
    frames.mkdir()
    random = np.random.default_rng(0)
    for name in names:
        Image.fromarray(random.integers(0, 255, (60, 80, 3), dtype=np.uint8)).save(frames / name)
    mask = np.zeros((60, 80), np.uint8)
    mask[10:40, 20:60] = 1
    Image.fromarray(mask).save(folder / "m.png")
    return frames


def masks(out: Path) -> dict[int, np.ndarray]:
    return {int(p.stem): np.array(Image.open(p)) for p in sorted((out / "masks").glob("*.png"))}


def test_one_command_gives_masks_pictures_and_a_measured_overlap(folder, tmp_path):
    done = run(*command(folder, tmp_path / "r", "--format", "all", "--truth", str(folder / "masks")))
    assert done.returncode == 0, done.stderr
    assert sorted(masks(tmp_path / "r")) == list(range(FRAMES))
    measured = float(re.search(r"measured J\s+([\d.]+)", done.stdout)[1])
    assert measured > 0.75
    for name in (
        "overlay.mp4",
        "instances.json",
        "cvat_video.xml",
        "cvat_images.xml",
        "contact_sheet.png",
        "report.html",
    ):
        assert (tmp_path / "r" / name).stat().st_size > 1000, name
    assert "report.html" in done.stdout and "100%" in done.stderr
    np.testing.assert_array_equal(masks(tmp_path / "r")[0], np.array(Image.open(folder / "masks" / "00000.png")))


def test_exported_annotations_serve_as_keyframes_again(folder, tmp_path):
    assert main(command(folder, tmp_path / "a", "--stop", "6", "--format", "coco,cvat-video,cvat-images")) == 0
    for name in ("instances.json", "cvat_video.xml", "cvat_images.xml"):
        out = tmp_path / name.replace(".", "_")
        again = ["propagate", str(folder / "sample.mp4"), "--keyframe", str(tmp_path / "a" / name), "--out", str(out)]
        assert main([*again, "--stop", "6", "--format", "none", "--short-side", "120"]) == 0
        expected, found = masks(tmp_path / "a"), masks(out)
        for i in range(6):
            np.testing.assert_array_equal(found[i] > 0, expected[i] > 0)


def test_an_interrupted_run_leaves_valid_frames_and_resumes(folder, tmp_path, capsys):
    out = tmp_path / "r"
    arguments = command(folder, out, "--clip-length", "1", "--format", "none")
    process = subprocess.Popen(
        [sys.executable, "-m", "plugin.cli", *arguments],
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # ignored where tests run in the background
    )
    deadline = time.time() + 60
    while len(list((out / "masks").glob("0*.png"))) < 3 and time.time() < deadline and process.poll() is None:
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    error = process.communicate(timeout=60)[1]
    assert process.returncode == 130, error
    assert "--resume" in error and "Traceback" not in error
    before = {result.index: result.label_map for result in MaskFolder(out)}  # a mask alone is not a finished frame
    assert 0 < len(before) < FRAMES

    assert main(arguments) == 2 and "add --resume" in capsys.readouterr().err
    assert main(command(folder, out, "--clip-length", "2", "--resume")) == 2
    assert "with clip_length 1" in capsys.readouterr().err
    assert main([*arguments, "--resume", "--truth", str(folder / "masks")]) == 0
    after = masks(out)
    assert sorted(after) == list(range(FRAMES))
    for i, mask in before.items():
        np.testing.assert_array_equal(after[i], mask)
    assert float(re.search(r"measured J\s+([\d.]+)", capsys.readouterr().out)[1]) > 0.75


def test_a_killed_run_resumes(folder, tmp_path):
    out = tmp_path / "r"
    arguments = command(folder, out, "--clip-length", "1", "--format", "none")
    process = subprocess.Popen([sys.executable, "-m", "plugin.cli", *arguments], stderr=subprocess.DEVNULL)
    deadline = time.time() + 60
    while len(list((out / "masks").glob("0*.png"))) < 3 and time.time() < deadline and process.poll() is None:
        time.sleep(0.005)
    process.kill()
    process.wait()
    assert main([*arguments, "--resume"]) == 0
    assert sorted(masks(out)) == list(range(FRAMES))


def test_objects_can_be_chosen_named_and_declared_absent(folder, tmp_path):
    out = tmp_path / "r"
    assert main(command(folder, out, "--objects", "2=barrel", "--absent", "10=2", "--format", "coco")) == 0
    found = masks(out)
    assert {int(v) for m in found.values() for v in np.unique(m)} == {0, 2}
    assert not any(m.any() for i, m in found.items() if i >= 10)
    content = json.loads((out / "instances.json").read_text())
    assert [c["name"] for c in content["categories"]] == ["barrel"]


def test_a_folder_of_images_is_a_source(folder, tmp_path):
    frames = image_folder(tmp_path, [f"img{i + 8}.png" for i in range(4)])
    arguments = ["propagate", str(frames), "--keyframe", f"3={tmp_path / 'm.png'}", "--out", str(tmp_path / "r")]
    assert main([*arguments, "--format", "none"]) == 0
    assert sorted(masks(tmp_path / "r")) == [0, 1, 2, 3]


def test_what_perclip_wrote_lands_where_it_came_from(tmp_path, capsys):
    """The hardest folder: a result's name, 000002.png, is that of the picture before its own."""
    names = [f"{i:06d}.jpg" for i in range(1, 7)]
    frames, out = image_folder(tmp_path, names), tmp_path / "r"
    (tmp_path / "fix").mkdir()
    (tmp_path / "m.png").rename(tmp_path / "fix" / "000003.png")
    small = ["--short-side", "64", "--dtype", "float32"]
    first = ["propagate", str(frames), "--keyframe", str(tmp_path / "fix"), "--out", str(out), *small]
    assert main([*first, "--format", "coco,cvat-video,cvat-images"]) == 0
    assert "keyframes: 000003.png -> frame 2 (000003.jpg), object 1" in capsys.readouterr().out
    assert main([*first, "--format", "none", "--resume", "--truth", str(out / "masks")]) == 0
    assert re.search(r"none new(.|\n)*measured J +1.000 .* over 5 frames", capsys.readouterr().out)
    shutil.copytree(out / "masks", tmp_path / "copied")
    shutil.copytree(out, tmp_path / "edited")
    for file in (tmp_path / "edited" / "masks").iterdir():  # as an editor saves it: without our note
        Image.fromarray(np.array(Image.open(file))).save(file)
    for what in (
        *(out / name for name in ("masks", "instances.json", "cvat_video.xml", "cvat_images.xml")),
        *(tmp_path / "copied", tmp_path / "edited" / "masks"),
    ):
        again = tmp_path / f"again-{what.parent.name}-{what.name}"
        assert (
            main(["propagate", str(frames), "--keyframe", str(what), "--out", str(again), "--format", "none", *small])
            == 0
        )
        table = capsys.readouterr().out
        shown = {i: mask for i, mask in masks(out).items() if mask.any()}  # an empty mask is no keyframe
        assert {1, 2} <= shown.keys()
        assert all(f"-> frame {i} ({names[i]})" in table for i in shown), table
        for i, mask in shown.items():
            np.testing.assert_array_equal(masks(again)[i], mask)
    # A result that a person called after its picture goes by that name.
    (tmp_path / "renamed").mkdir()
    shutil.copy(out / "masks" / "000000.png", tmp_path / "renamed" / "000006.png")
    assert main(["propagate", str(frames), "--keyframe", str(tmp_path / "renamed"), "--dry-run"]) == 0
    assert "000006.png -> frame 5 (000006.jpg)" in capsys.readouterr().out


def test_a_dry_run_shows_the_whole_table_and_writes_nothing(folder, tmp_path, capsys):
    shutil.copytree(folder / "masks", tmp_path / "masks")
    arguments = ["propagate", str(folder / "sample.mp4"), "--keyframe", str(tmp_path / "masks"), "--stop", "9"]
    before = sorted(tmp_path.rglob("*"))
    assert main([*arguments, "--dry-run", "--out", str(tmp_path / "r"), "--truth", str(tmp_path / "masks")]) == 0
    said = capsys.readouterr().out
    assert all(f"{i:05d}.png -> frame {i}, objects 1, 2\n" in said for i in range(FRAMES)), said
    assert "9 would get masks, frame 0 to frame 8" in said and sorted(tmp_path.rglob("*")) == before
    assert main([*arguments, "--dry-run", "--stop", "99"]) == 2
    assert main(arguments) == 2 and "give --out DIR" in capsys.readouterr().err


def test_true_masks_are_found_by_name_too(tmp_path, capsys):
    frames, truth = image_folder(tmp_path, [f"{i:05d}.jpg" for i in range(1, 4)]), tmp_path / "truth"
    truth.mkdir()
    arguments = ["propagate", str(frames), "--keyframe", f"0={tmp_path / 'm.png'}", "--dry-run", "--truth", str(truth)]
    shutil.copy(tmp_path / "m.png", truth / "00003.png")
    assert main(arguments) == 0 and "00003.png -> frame 2 (00003.jpg)" in capsys.readouterr().out
    shutil.copy(tmp_path / "m.png", truth / "00000.png")
    assert main(arguments) == 2
    assert re.search(r"truth/00000\.png matches no picture of .*00001.jpg ... 00003.jpg", capsys.readouterr().err)


def test_models_are_listed(capsys):
    assert main(["models"]) == 0
    listing = capsys.readouterr().out
    assert re.search(r"perclip-lite \(default\)\s+ready", listing) and re.search(r"pcvos\s+needs --weights", listing)


@pytest.mark.parametrize(
    "arguments", [["--help"], ["propagate", "--help"], ["models", "--help"], ["sample", "--help"], ["train", "--help"]]
)
def test_help_teaches_and_needs_no_torch(arguments):
    code = (
        f"import sys; from plugin.cli import main\ntry: main({arguments})\nfinally: assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0 and "usage: perclip" in done.stdout, done.stderr
    if arguments[0] == "propagate":
        assert "--keyframe 0=first.png" in done.stdout and "exit codes" in done.stdout


def test_a_mistyped_path_is_told_before_torch_is_loaded():
    arguments = ["propagate", "nowhere.mp4", "--keyframe", "0=m.png", "--dry-run"]
    code = f"import sys; from plugin.cli import main; assert main({arguments}) == 2; assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and "nowhere.mp4" in done.stderr, done.stderr


def bad_size(tmp_path):
    Image.fromarray(np.ones((50, 50), np.uint8)).save(tmp_path / "bad.png")


def bad_empty(tmp_path):
    Image.fromarray(np.zeros((120, 160), np.uint8)).save(tmp_path / "bad.png")


def bad_many_ids(tmp_path):
    ids = np.arange(120 * 160, dtype=np.uint16).reshape(120, 160) % 300
    Image.fromarray(ids).save(tmp_path / "bad.png")


BAD_MASKS = {bad_size: "50x50", bad_empty: "empty|no object", bad_many_ids: "300|299"}


@pytest.mark.parametrize("make", BAD_MASKS)
def test_bad_masks_are_refused_in_one_line(folder, tmp_path, capsys, make):
    make(tmp_path)
    out = tmp_path / "r"
    arguments = ["propagate", str(folder / "sample.mp4"), "--keyframe", f"0={tmp_path / 'bad.png'}", "--out", str(out)]
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("perclip: error: ") and error.count("\n") == 1
    assert re.search(BAD_MASKS[make], error), error
    assert not out.exists()


def test_bad_input_is_refused_in_one_line(folder, tmp_path, capsys):
    video, mask, out = str(folder / "sample.mp4"), f"0={folder / 'masks' / '00000.png'}", str(tmp_path / "r")
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "cut.mp4").write_bytes((folder / "sample.mp4").read_bytes()[:4000])
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").touch()
    (tmp_path / "bad.pth").write_bytes(b"nothing")
    good = ["propagate", video, "--keyframe", mask, "--out", out]
    (tmp_path / "file").touch()
    cases = {
        "file": [*good[:-1], str(tmp_path / "file")],
        "nothere": [*good, "--truth", str(tmp_path / "nothere")],
        "no frame is left": [*good, "--start", "5", "--stop", "5"],
        "no frame is left to segment": [*good, "--start", "3", "--direction", "backward"],
        "tolerance": [*good, "--tolerance", "nan"],
        "short_side must be at most": [*good, "--short-side", "10000000"],
        "memory_tokens=5": [*good, "--memory", "bounded", "--memory-tokens", "5"],
        "unknown device 'meta'": [*good, "--device", "meta"],
        "nowhere.mp4": ["propagate", str(tmp_path / "nowhere.mp4"), "--keyframe", mask, "--out", out],
        "empty.mp4": ["propagate", str(tmp_path / "empty.mp4"), "--keyframe", mask, "--out", out],
        "cut.mp4": ["propagate", str(tmp_path / "cut.mp4"), "--keyframe", mask, "--out", out],
        f"0..{FRAMES - 1}": ["propagate", video, "--keyframe", mask.replace("0=", "99=", 1), "--out", out],
        "not empty": [*good[:-1], str(tmp_path / "full")],
        "--format": [*good, "--format", "gif"],
        "--objects": [*good, "--objects", "one"],
        "object 9": [*good, "--objects", "9"],
        "--absent": [*good, "--absent", "12"],
        "object 5": [*good, "--absent", "12=5"],
        "has a mask on that very frame": [*good, "--absent", "0=1"],
        "clip_length": [*good, "--clip-length", "0"],
        "bad.pth": [*good, "--model", "stcn", "--weights", str(tmp_path / "bad.pth")],
        "no weights of 'pcvos'": [*good, "--model", "pcvos"],
        "device": [*good, "--device", "quantum"],
        "start 9 and stop 4": [*good, "--start", "9", "--stop", "4"],
        "--frames": ["sample", "--out", out, "--frames", "0"],
    }
    for says, arguments in cases.items():
        assert main(arguments) == 2, says
        error = capsys.readouterr().err
        assert error.startswith("perclip: error: ") and error.count("\n") == 1 and says in error, (says, error)
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize(
    "arguments", [["propagate"], ["paint"], [], ["propagate", "a", "--keyframe", "b", "--out", "c", "--stop", "soon"]]
)
def test_wrong_usage_is_one_line_too(capsys, arguments):
    with pytest.raises(SystemExit) as leaving:
        main(arguments)
    error = capsys.readouterr().err
    assert leaving.value.code == 2
    assert error.startswith("perclip: error: ") and error.count("\n") == 1 and "--help" in error


def test_resume_refuses_another_video_of_the_same_size(folder, tmp_path, capsys):
    video = tmp_path / "clip.mp4"
    video.write_bytes((folder / "sample.mp4").read_bytes())
    mask, out = f"0={folder / 'masks' / '00000.png'}", str(tmp_path / "r")
    arguments = ["propagate", str(video), "--keyframe", mask, "--out", out, "--stop", "2", "--format", "none"]
    assert main(arguments) == 0
    render_sample(tmp_path / "other", frames=FRAMES, height=120, width=160, seed=9)
    video.write_bytes((tmp_path / "other" / "sample.mp4").read_bytes())
    assert main([*arguments, "--resume"]) == 2
    assert "with another source" in capsys.readouterr().err


def test_results_inside_an_image_folder_do_not_hinder_resuming(tmp_path):
    frames = image_folder(tmp_path, [f"{i}.png" for i in range(3)])
    arguments = ["propagate", str(frames), "--keyframe", f"0={tmp_path / 'm.png'}", "--out", str(frames / "result")]
    assert main([*arguments, "--format", "none", "--stop", "2"]) == 0
    assert main([*arguments, "--format", "none", "--resume"]) == 0
    assert sorted(masks(frames / "result")) == [0, 1, 2]


def test_coloured_true_masks_keep_their_objects(folder, tmp_path, capsys):
    truth = tmp_path / "truth"
    truth.mkdir()
    colours = np.array([[0, 0, 0], [200, 0, 0], [0, 200, 0]], np.uint8)
    for i in range(5):
        label_map = np.array(Image.open(folder / "masks" / f"{i:05d}.png"))
        if i == 3:
            label_map[label_map == 1] = 0  # object 2 alone must not become object 1
        Image.fromarray(colours[label_map]).save(truth / f"{i}.png")
    assert main(command(folder, tmp_path / "r", "--stop", "5", "--format", "none", "--truth", str(truth))) == 0
    scores = re.search(r"object 1 ([\d.]+), object 2 ([\d.]+)", capsys.readouterr().out)
    assert float(scores[2]) > 0.8 and 0.6 < float(scores[1]) < 0.78


def test_true_masks_may_be_empty(folder, tmp_path, capsys):
    truth = tmp_path / "truth"
    truth.mkdir()
    Image.fromarray(np.zeros((120, 160), np.uint8)).save(truth / "00003.png")
    assert main(command(folder, tmp_path / "r", "--stop", "5", "--format", "none", "--truth", str(truth))) == 0
    assert re.search(r"measured J\s+0.000 .* over 1 frames", capsys.readouterr().out)


def test_void_of_true_masks_is_not_measured(folder, tmp_path, capsys):
    truth = tmp_path / "truth"
    truth.mkdir()
    label_map = np.full((120, 160), 255, np.uint8)
    label_map[np.array(Image.open(folder / "masks" / "00003.png")) == 1] = 1
    label_map[0, 0] = 2  # all else is void
    Image.fromarray(label_map).save(truth / "00003.png")
    assert main(command(folder, tmp_path / "r", "--stop", "5", "--format", "none", "--truth", str(truth))) == 0
    # Nothing can be painted where it does not belong.
    assert float(re.search(r"object 1 ([\d.]+)", capsys.readouterr().out)[1]) > 0.93


def test_a_reader_that_goes_away_is_no_error():
    pipe = f"{sys.executable} -m plugin.cli models | true"
    done = subprocess.run(["bash", "-c", f"set -o pipefail; {pipe}"], capture_output=True, text=True, timeout=60)
    assert done.stderr == ""


def test_a_full_disk_is_said_in_one_line_and_the_run_resumes(folder, tmp_path, capsys, monkeypatch):
    out = tmp_path / "r"
    replace = os.replace

    def full_after_seven_frames(source, target):
        if str(target).endswith("000007.png"):
            raise OSError(errno.ENOSPC, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", full_after_seven_frames)
    assert main(command(folder, out, "--format", "none")) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("perclip: error: ") and "no space left" in error and "--resume" in error
    assert sorted(masks(out)) == list(range(7))
    monkeypatch.undo()
    assert main(command(folder, out, "--format", "none", "--resume")) == 0
    assert sorted(masks(out)) == list(range(FRAMES))
