"""Data sets on disk: layouts, sparse annotation, void, and errors that name the file."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from model.data.annotated_sequences import read_sequences
from model.errors import InputError
from tests.model.training.data_sets import labels, write_frame, write_labels, zipped

_ROOT = str(Path(__file__).parents[3])


def _davis(root: Path, sequence: str = "bear", frames: int = 3, below: str = "") -> Path:
    for t in range(frames):
        write_frame(root / "JPEGImages" / below / sequence / f"{t:05}.png", 10 + t)
        write_labels(root / "Annotations" / below / sequence / f"{t:05}.png", labels(1, 2, 255))
    return root


def _error(path: Path, **options) -> str:
    with pytest.raises(InputError) as caught:
        for sequence in read_sequences(path, progress=False, **options):
            list(sequence.frames)
            list(sequence.label_maps)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("outer", ["", "DAVIS", "some/where/DAVIS"])
@pytest.mark.parametrize("below", ["", "480p", "Full-Resolution"])
@pytest.mark.parametrize("archive", [False, True])
def test_davis_layout_in_folders_and_archives(tmp_path, outer, below, archive):
    _davis(tmp_path / "set" / outer, below=below)
    path = zipped(tmp_path / "set", tmp_path / "set.zip") if archive else tmp_path / "set"
    (sequence,) = read_sequences(path)
    assert sequence.name == "bear"
    assert [int(f[0, 0, 0]) for f in sequence.frames] == [10, 11, 12]
    assert sequence.frames[0].shape == (20, 32, 3)
    assert all(np.array_equal(m, labels(1, 2, 255)) and m.dtype == np.uint8 for m in sequence.label_maps)


@pytest.mark.parametrize("suffix", ["jpg", "JPG", "webp"])
def test_frames_of_each_format(tmp_path, suffix):
    write_frame(tmp_path / "JPEGImages" / "a" / f"0.{suffix}", 60)
    write_labels(tmp_path / "Annotations" / "a" / "0.png", labels(1))
    assert abs(int(read_sequences(tmp_path)[0].frames[0][0, 0, 0]) - 60) < 12


def test_of_two_resolutions_480p_is_taken(tmp_path):
    _davis(tmp_path, below="480p")
    for kind in ("JPEGImages", "Annotations"):
        (tmp_path / kind / "Full-Resolution" / "bear").mkdir(parents=True)
    write_frame(tmp_path / "JPEGImages/Full-Resolution/bear/00000.png", 99, (64, 40))
    write_labels(tmp_path / "Annotations/Full-Resolution/bear/00000.png", labels(1, size=(64, 40)))
    (sequence,) = read_sequences(tmp_path)
    assert [f.shape for f in sequence.frames] == [(20, 32, 3)] * 3


def test_sparse_annotation_of_youtube_vos(tmp_path):
    for t in range(12):
        write_frame(tmp_path / "train" / "JPEGImages" / "0a1b" / f"{t:05}.jpg", t)
        if t % 5 == 0:
            write_labels(tmp_path / "train" / "Annotations" / "0a1b" / f"{t:05}.png", labels(3))
    (sequence,) = read_sequences(tmp_path)
    assert len(sequence.frames) == len(sequence.label_maps) == 12
    assert [t for t, m in enumerate(sequence.label_maps) if m is not None] == [0, 5, 10]
    assert sequence.annotated == (0, 5, 10)


def test_sequences_of_one_name_in_two_splits_stay_apart(tmp_path):
    _davis(tmp_path / "train")
    _davis(tmp_path / "valid", frames=2)
    assert {s.name: len(s.frames) for s in read_sequences(tmp_path)} == {"train/bear": 3, "valid/bear": 2}


def test_frames_are_in_the_order_of_their_numbers(tmp_path):
    for t in (9, 10, 100):
        write_frame(tmp_path / "JPEGImages" / "a" / f"{t}.png", t)
        write_labels(tmp_path / "Annotations" / "a" / f"{t}.png", labels(1))
    assert [int(f[0, 0, 0]) for f in read_sequences(tmp_path)[0].frames] == [9, 10, 100]


def test_frames_can_be_sliced(tmp_path):
    (sequence,) = read_sequences(_davis(tmp_path))
    assert [int(f[0, 0, 0]) for f in sequence.frames[1:]] == [11, 12]
    assert int(sequence.frames[-1][0, 0, 0]) == 12


def test_preloaded_is_decoded_once_and_equal(tmp_path):
    _davis(tmp_path, frames=4)
    (tmp_path / "Annotations/bear/00002.png").unlink()
    (lazy,), (loaded,) = read_sequences(tmp_path), read_sequences(tmp_path, preload=True, progress=False)
    assert loaded.frames[1] is loaded.frames[1]
    assert lazy.frames[1] is not lazy.frames[1]
    assert loaded.annotated == lazy.annotated == (0, 1, 3)
    for t in range(4):
        assert np.array_equal(lazy.frames[t], loaded.frames[t])
        assert np.array_equal(lazy.label_maps[t], loaded.label_maps[t])


def test_beyond_the_budget_nothing_is_preloaded(tmp_path):
    _davis(tmp_path)  # 3 frames of 20 x 32 x 4 bytes
    for budget, kept in ((3 * 20 * 32 * 4, True), (3 * 20 * 32 * 4 - 1, False)):
        (sequence,) = read_sequences(tmp_path, preload=True, budget=budget, progress=False)
        assert (sequence.frames[0] is sequence.frames[0]) == kept


def test_binary_masks_of_davis_2016_are_one_object(tmp_path):
    for t, ids in enumerate([(255,), ()]):
        write_frame(tmp_path / "JPEGImages" / "a" / f"{t}.png")
        write_labels(tmp_path / "Annotations" / "a" / f"{t}.png", labels(*ids), palette=False)
    (sequence,) = read_sequences(tmp_path)
    assert np.array_equal(sequence.label_maps[0], labels(1))
    assert not sequence.label_maps[1].any()


def test_grey_annotation_is_ids_and_void_stays_void(tmp_path):
    write_frame(tmp_path / "JPEGImages" / "a" / "0.png")
    write_labels(tmp_path / "Annotations" / "a" / "0.png", labels(1, 7, 255), palette=False)
    assert np.array_equal(read_sequences(tmp_path)[0].label_maps[0], labels(1, 7, 255))


# A program of its own: what other tests left behind in this process must not be forked with it.
_READING_IN_CHILDREN = """
import multiprocessing, pickle, sys
from pathlib import Path
from model.data.annotated_sequences import read_sequences
from model.errors import InputError

def read_in_child(sequence, answer):
    # Many times, so that processes that share a position in the archive would read each other's files.
    try:
        answer.put({tuple(int(frame[0, 0, 0]) for frame in sequence.frames) for _ in range(150)})
    except InputError as error:
        answer.put(str(error))

if __name__ == "__main__":
    (sequence,) = read_sequences(Path(sys.argv[1]))
    assert int(sequence.frames[0][0, 0, 0]) == 10  # the parent has the archive open
    assert int(pickle.loads(pickle.dumps(sequence)).frames[2][0, 0, 0]) == 12
    context = multiprocessing.get_context(sys.argv[2])
    answer = context.Queue()
    children = [context.Process(target=read_in_child, args=(sequence, answer)) for _ in range(2)]
    for child in children:
        child.start()
    print([answer.get(timeout=100) for _ in children])
"""


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_an_archive_is_read_from_worker_processes(tmp_path, method):
    _davis(tmp_path / "set")
    archive = zipped(tmp_path / "set", tmp_path / "set.zip")
    program = tmp_path / "reading.py"
    program.write_text(_READING_IN_CHILDREN)
    command = [sys.executable, str(program), str(archive), method]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, env=os.environ | {"PYTHONPATH": _ROOT})
    assert done.stdout == "[{(10, 11, 12)}, {(10, 11, 12)}]\n", done.stderr


@pytest.mark.parametrize("preload", [False, True])
@pytest.mark.parametrize("file", ["JPEGImages/bear/00001.png", "Annotations/bear/00002.png"])
@pytest.mark.parametrize("left", [0, 20, 120])
def test_a_damaged_file_is_named(tmp_path, preload, file, left):
    path = _davis(tmp_path) / file
    path.write_bytes(path.read_bytes()[:left])
    message = _error(tmp_path, preload=preload)
    assert file in message and "BytesIO" not in message


def test_a_damaged_file_of_an_archive_is_named(tmp_path):
    _davis(tmp_path / "set")
    archive = zipped(tmp_path / "set", tmp_path / "set.zip")
    content = (tmp_path / "set/JPEGImages/bear/00001.png").read_bytes()
    raw = archive.read_bytes()
    place = raw.index(content) + len(content) // 2
    archive.write_bytes(raw[:place] + bytes([raw[place] ^ 255]) + raw[place + 1 :])
    assert "JPEGImages/bear/00001.png" in _error(archive)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0)])
def test_a_colour_is_one_object_of_a_sequence_in_whatever_order_it_is_read(tmp_path, order):
    _davis(tmp_path)
    colours = np.array([(0, 0, 0), (9, 200, 9), (200, 9, 9), (9, 9, 200)], np.uint8)
    drawn = [labels(1), labels(2, 1), labels(3, 2)]
    for t, ids in enumerate(drawn):
        Image.fromarray(colours[ids]).save(tmp_path / f"Annotations/bear/{t:05}.png")
    (sequence,) = read_sequences(tmp_path)
    for t in order:
        assert np.array_equal(sequence.label_maps[t], drawn[t])


@pytest.mark.parametrize("linked", ["JPEGImages/bear", "Annotations/bear", "JPEGImages", "JPEGImages/bear/00001.png"])
def test_links_to_folders_and_files_are_followed(tmp_path, linked):
    _davis(tmp_path / "set")
    (tmp_path / "set" / linked).rename(tmp_path / "elsewhere")
    (tmp_path / "set" / linked).symlink_to(tmp_path / "elsewhere")
    (tmp_path / "set" / "loop").symlink_to(tmp_path / "set")
    (sequence,) = read_sequences(tmp_path / "set")
    assert [int(f[0, 0, 0]) for f in sequence.frames] == [10, 11, 12] and sequence.annotated == (0, 1, 2)


@pytest.mark.parametrize("broken", ["JPEGImages/cat", "Annotations/bear/00001.png"])
def test_a_link_that_leads_nowhere_is_named(tmp_path, broken):
    path = _davis(tmp_path) / broken
    path.unlink(missing_ok=True)
    path.symlink_to(tmp_path / "gone")
    assert broken in _error(tmp_path) and "gone" in _error(tmp_path)


def test_frames_of_other_formats_are_frames(tmp_path):
    _davis(tmp_path, frames=4)
    for t, suffix in ((1, "bmp"), (2, "tif")):
        path = tmp_path / f"JPEGImages/bear/{t:05}.png"
        Image.open(path).save(path.with_suffix(f".{suffix}"))
        path.unlink()
    (sequence,) = read_sequences(tmp_path)
    assert [int(f[0, 0, 0]) for f in sequence.frames] == [10, 11, 12, 13]


def test_a_frame_that_is_there_twice_is_refused(tmp_path):
    path = _davis(tmp_path) / "JPEGImages/bear/00001.png"
    Image.open(path).save(path.with_suffix(".bmp"))
    message = _error(tmp_path)
    assert "00001.png" in message and "00001.bmp" in message


def test_16_bit_frames_have_one_scale_that_neither_a_dark_frame_nor_a_hot_pixel_decides(tmp_path):
    _davis(tmp_path)
    for t, level in enumerate((250, 4000, 2000)):
        wide = np.full((20, 32), level, np.uint16)
        wide[3, 4] = 65535
        Image.fromarray(wide).save(tmp_path / f"JPEGImages/bear/{t:05}.png")
    (sequence,) = read_sequences(tmp_path)
    assert [int(f[10, 10, 0]) for f in sequence.frames] == [15, 250, 125]


def test_an_export_of_cvat_is_sent_to_its_command(tmp_path):
    _davis(tmp_path / "set")
    (tmp_path / "set" / "annotations.xml").write_text("<annotations/>")
    assert "perclip train" in _error(zipped(tmp_path / "set", tmp_path / "set.zip"))


def test_frames_and_annotations_of_different_size(tmp_path):
    write_frame(tmp_path / "JPEGImages" / "a" / "0.png", size=(64, 40))
    write_labels(tmp_path / "Annotations" / "a" / "0.png", labels(1))
    message = _error(tmp_path)
    assert "32x20" in message and "64x40" in message


def test_annotations_that_no_frame_fits(tmp_path):
    write_frame(tmp_path / "JPEGImages" / "a" / "0.png")
    write_labels(tmp_path / "Annotations" / "a" / "frame0.png", labels(1))
    assert "Annotations/a/frame0.png" in _error(tmp_path)


def test_a_mask_without_a_frame_beside_others_is_refused(tmp_path):
    _davis(tmp_path)
    write_labels(tmp_path / "Annotations" / "bear" / "00003.png", labels(1))  # masks from 1, frames from 0
    (tmp_path / "Annotations" / "bear" / "00000.png").unlink()
    message = _error(tmp_path)
    assert "bear/00003.png has no frame of its name" in message and "00002.png" in message


@pytest.mark.parametrize("kind", ["missing", "text", "empty"])
def test_what_is_no_data_set(tmp_path, kind):
    path = tmp_path / "data"
    if kind == "text":
        path.write_text("hello")
    elif kind == "empty":
        path.mkdir()
    assert str(path) in _error(path)


@pytest.mark.parametrize("orientation", [3, 6])
def test_frames_are_turned_as_their_exif_says(tmp_path, orientation):
    pixels = np.zeros((8, 12, 3), np.uint8)
    pixels[:4, :6] = 200
    exif = Image.Exif()
    exif[0x0112] = orientation
    _davis(tmp_path)
    for t in range(3):
        file = tmp_path / "JPEGImages/bear" / f"{t:05}.png"
        Image.fromarray(pixels).save(file, exif=exif)
        with Image.open(file) as picture:
            upright = np.asarray(ImageOps.exif_transpose(picture))
        write_labels(tmp_path / "Annotations/bear" / f"{t:05}.png", np.ones(upright.shape[:2], np.uint8))
    (sequence,) = read_sequences(tmp_path, progress=False)
    np.testing.assert_array_equal(sequence.frames[1], upright)
    assert sequence.label_maps[1].shape == upright.shape[:2]
