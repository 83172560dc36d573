"""The store of finished masks: durable, resumable, in any order."""

import errno
import json
import os
import resource

import numpy as np
import pytest
from PIL import Image

from model.errors import InputError
from model.object_masks import ObjectMasks
from model.result import FrameResult
from plugin.sinks.mask_folder import MaskFolder
from plugin.sinks.palette import PALETTE, colour


def result(index, object_id=1, confidence=0.75, is_keyframe=False):
    label_map = np.zeros((20, 30), np.uint8)
    label_map[5:15, 5 : 10 + index % 10] = object_id
    return FrameResult(index, label_map, {object_id: confidence, 200: 1.0}, is_keyframe)


def test_what_is_added_is_there_in_the_same_run_and_the_next(tmp_path):
    first = MaskFolder(tmp_path / "run")
    first.add(result(7, is_keyframe=True))
    for folder in (first, MaskFolder(tmp_path / "run")):
        assert folder.finished() == {7}
        record = folder.read(7)
        assert (record.index, record.confidence, record.is_keyframe) == (7, {1: 0.75, 200: 1.0}, True)
        np.testing.assert_array_equal(record.label_map, result(7).label_map)
        assert record.label_map.dtype == np.uint8
        with pytest.raises(KeyError):
            folder.read(8)


def test_masks_are_palette_pngs_and_lines_are_json(tmp_path):
    MaskFolder(tmp_path).add(result(123, confidence=0.98))
    with Image.open(tmp_path / "masks" / "000123.png") as picture:
        assert picture.mode == "P"
        assert picture.getpalette()[:6] == [0, 0, 0, 128, 0, 0]
    line = json.loads((tmp_path / "frames.jsonl").read_text())
    assert line == {"frame": 123, "confidence": {"1": 0.98, "200": 1.0}, "keyframe": False}


def test_results_come_in_any_order_and_are_iterated_ascending_again_and_again(tmp_path):
    folder = MaskFolder(tmp_path)
    for index in (9, 8, 7, 20, 3):
        folder.add(result(index))
    for _ in range(2):
        assert [record.index for record in folder] == [3, 7, 8, 9, 20]
    for record in folder:
        np.testing.assert_array_equal(record.label_map, result(record.index).label_map)


def test_the_latest_result_of_a_frame_wins(tmp_path):
    folder = MaskFolder(tmp_path)
    folder.add(result(5, object_id=1, confidence=0.2))
    folder.add(result(5, object_id=9, confidence=0.9, is_keyframe=True))
    for opened in (folder, MaskFolder(tmp_path)):
        assert opened.finished() == {5}
        assert opened.read(5).confidence == {9: 0.9, 200: 1.0}
        assert opened.read(5).is_keyframe
        assert opened.read(5).label_map.max() == 9


def test_masks_that_share_pixels_are_kept_whole_until_a_later_result_has_none(tmp_path):
    masks = ObjectMasks.of({1: np.ones((20, 30), bool), 4: result(0).masks.mask(1)}, order=(4, 1))
    folder = MaskFolder(tmp_path)
    folder.add(FrameResult(3, masks, {1: 0.5, 4: 0.5}, False))
    assert '"overlap": true' in (tmp_path / "frames.jsonl").read_text()
    for opened in (folder, MaskFolder(tmp_path)):
        assert opened.masks(3) == masks and opened.read(3).masks.order == (4, 1)
    folder.add(result(3))
    for opened in (folder, MaskFolder(tmp_path)):
        assert opened.masks(3) == result(3).masks


def test_finished_masks_are_a_lazy_mapping(tmp_path):
    folder = MaskFolder(tmp_path)
    for index in (4, 2):
        folder.add(result(index))
    maps = folder.finished_masks()
    folder.add(result(3))
    assert list(maps) == [2, 3, 4]
    assert len(maps) == 3
    assert 3 in maps
    assert 5 not in maps
    assert maps.get(5) is None
    np.testing.assert_array_equal(maps[2].label_map, result(2).label_map)
    os.remove(folder.mask_path(4))
    assert sorted(maps) == [2, 3, 4]  # nothing is read before it is asked for
    with pytest.raises(InputError, match=r"000004\.png"):
        maps[4]


def test_a_killed_run_can_be_resumed(tmp_path):
    folder = MaskFolder(tmp_path)
    for index in range(4):
        folder.add(result(index))
    with (tmp_path / "frames.jsonl").open("a") as journal:
        journal.write('{"frame": 4, "confid')  # killed while writing the line
    (tmp_path / "masks" / "000004.png").write_bytes(folder.mask_path(3).read_bytes())
    (tmp_path / "masks" / "000005.part.png").write_bytes(b"\x89PNG")  # killed while writing the mask
    whole = folder.mask_path(2).read_bytes()
    folder.mask_path(2).write_bytes(whole[:-20])  # lost in a power cut
    os.remove(folder.mask_path(1))

    resumed = MaskFolder(tmp_path)
    assert resumed.finished() == {0, 3}
    assert not list(tmp_path.glob("masks/*.part.png"))
    for index in (5, 4, 2, 1):
        resumed.add(result(index))
    assert MaskFolder(tmp_path).finished() == {0, 1, 2, 3, 4, 5}
    assert all(json.loads(line) for line in (tmp_path / "frames.jsonl").read_text().splitlines())


def test_lines_that_make_no_sense_leave_their_frames_unfinished(tmp_path):
    folder = MaskFolder(tmp_path)
    folder.add(result(1))
    folder.add(result(2))
    lines = (tmp_path / "frames.jsonl").read_text().splitlines()
    (tmp_path / "frames.jsonl").write_text(
        "\n".join(["[3]", "{}", "nonsense", '{"frame": 1, "confidence": 3}', lines[1], ""])
    )
    assert MaskFolder(tmp_path).finished() == {2}


def test_a_full_disk_while_writing_a_mask_leaves_the_store_as_it_was(tmp_path, monkeypatch):
    folder = MaskFolder(tmp_path)
    folder.add(result(1, confidence=0.3))

    def save(self, path, **options):
        with open(path, "wb") as file:
            file.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Image.Image, "save", save)
        for index in (1, 2):
            with pytest.raises(InputError, match=r"cannot write .*no space left.*--resume") as caught:
                folder.add(result(index))
    assert "\n" not in str(caught.value)
    assert [file.name for file in (tmp_path / "masks").iterdir()] == ["000001.png"]
    for opened in (folder, MaskFolder(tmp_path)):
        assert opened.finished() == {1}
        assert opened.read(1).confidence[1] == 0.3


def test_a_full_disk_while_writing_a_line_leaves_no_half_line(tmp_path):
    folder = MaskFolder(tmp_path)
    for index in range(40):
        folder.add(result(index))
    journal = tmp_path / "frames.jsonl"
    before = journal.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 9, hard))  # room for nine more bytes
    try:
        with pytest.raises(InputError, match=r"frames\.jsonl"):
            folder.add(result(40))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert journal.read_bytes() == before
    folder.add(result(40))
    assert MaskFolder(tmp_path).finished() == set(range(41))


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file"):
        MaskFolder(tmp_path / "file" / "run")


def test_the_palette_is_that_of_davis():
    known = {0: (0, 0, 0), 1: (128, 0, 0), 2: (0, 128, 0), 3: (128, 128, 0), 7: (128, 128, 128), 8: (64, 0, 0)}
    known |= {15: (192, 128, 128), 19: (128, 192, 0), 255: (224, 224, 192)}
    assert {object_id: colour(object_id) for object_id in known} == known
    assert len(np.unique(PALETTE, axis=0)) == 256
