"""Frames of image and video tasks alike come in full quality, each chunk downloaded once."""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model.errors import InputError, UndecodableFrameError
from plugin.cvat.server.errors import CvatError
from plugin.cvat.task.chunk_store import ChunkStore, prune
from plugin.cvat.task.frames import TaskFrames
from plugin.cvat.task.layout import TaskLayout, read_task
from tests.cvat_server import FakeCvat, FakeJob, FakeLabel, FakeTask
from tests.plugin.cvat.program import TASK, Program, state_of


def pictures(count: int, height: int, width: int, seed: int = 1) -> np.ndarray:
    """Smooth pictures that a video keeps, each of its own brightness, with a bright column that tells the place."""
    random = np.random.default_rng(seed)
    ramp = np.linspace(0, 60, height)[:, None, None] + np.linspace(0, 40, width)[None, :, None] * [1, 0, 0.5]
    frames = np.stack([ramp + 20 + 100 * i / max(1, count - 1) for i in range(count)])
    frames += random.normal(0, 1, frames.shape)
    return frames.clip(0, 255).astype(np.uint8)


def noise(count: int, height: int = 24, width: int = 32) -> np.ndarray:
    return np.random.default_rng(2).integers(0, 256, (count, height, width, 3), np.uint8)


def task_of(frames: Sequence[np.ndarray], jobs: list[FakeJob] | None = None, **fields: Any) -> FakeTask:
    fields = {"chunk_size": 4, **fields}
    return FakeTask(TASK, frames, jobs or [FakeJob(7, 0, len(frames) - 1)], [FakeLabel(1, "car")], **fields)


@contextmanager
def opened(program: Program, layout: TaskLayout, numbers: Sequence[int] | None = None) -> Iterator[TaskFrames]:
    """A reader with stores of its own, as each run has them."""
    with ExitStack() as stack:
        stores = {m.path: ChunkStore(program.server, m, program.folder / "cache") for m in layout.media}
        for store in stores.values():
            stack.callback(store.close)
        frames = TaskFrames(layout, layout.sequences[0] if numbers is None else numbers, stores)
        stack.callback(frames.close)
        yield frames


def downloads(fake: FakeCvat) -> list[str]:
    return sorted(path for _, path in fake.log if "type=chunk" in path)


def cached(program: Program) -> list[Path]:
    return sorted((program.folder / "cache").glob("*/*"))


def difference(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a.astype(int) - b).mean())


@pytest.mark.parametrize("step", [1, -1])
def test_images_come_bit_for_bit_and_each_chunk_is_downloaded_once(program_for, step):
    images = noise(14)
    program = program_for(state_of(task_of(images)))
    layout = read_task(program.server, TASK)
    for _ in range(2):  # the second reader finds them on disk
        with opened(program, layout) as frames:
            assert len(frames) == 14 and frames.name(3) == "frame 3"
            for i in range(14)[::step]:
                np.testing.assert_array_equal(frames[i], images[i])
        asked = downloads(program.fake)
        assert len(asked) == len(set(asked)) == 4 and all("quality=original" in path for path in asked)


def test_16_bit_images_of_a_task_have_one_scale_whichever_are_read(program_for):
    wide = np.full((14, 24, 32), 4000, np.uint16)
    wide[:3] = 250  # dark
    wide[:, 5, 5] = 65535  # hot
    program = program_for(state_of(task_of(list(wide))))
    layout = read_task(program.server, TASK)
    for numbers in (range(14), [0, 1, 2], [13]):
        with opened(program, layout, numbers) as frames:
            assert [int(f[12, 12, 0]) for f in frames] == [250 // 16 if n < 3 else 250 for n in numbers]
    asked = downloads(program.fake)
    assert len(asked) == len(set(asked)) == 4


def test_frames_of_a_part_of_the_task_need_only_its_chunks(program_for):
    images = noise(30)
    program = program_for(state_of(task_of(images)))
    with opened(program, read_task(program.server, TASK), [9, 11, 12, 13]) as frames:
        for i, frame in enumerate((9, 11, 12, 13)):
            np.testing.assert_array_equal(frames[i], images[frame])
        assert frames.name(1) == "frame 11"
    numbers = {path.split("number=")[1].split("&")[0] for path in downloads(program.fake)}
    assert {"2", "3"} <= numbers <= {"2", "3", "4"}  # one more is fetched ahead


@pytest.mark.parametrize(("read", "ahead"), [([0], 1), ([4], 2), ([0, 4], 2), ([15, 11], 1)])
def test_the_next_chunk_in_the_same_direction_is_fetched_while_one_is_read(program_for, read, ahead):
    program = program_for(state_of(task_of(noise(16))))
    with opened(program, read_task(program.server, TASK)) as frames:
        for frame in read:
            frames[frame]
        deadline = time.monotonic() + 60
        while not any(f"number={ahead}&" in f"{path}&" for path in downloads(program.fake)):
            assert time.monotonic() < deadline
            time.sleep(0.005)


@pytest.mark.parametrize(("height", "width"), [(48, 64), (41, 61), (41, 64), (48, 61)])
def test_video_frames_are_close_to_the_originals_and_of_the_size_of_the_meta(program_for, height, width):
    """CVAT serves videos of odd size a pixel larger."""
    originals = pictures(10, height, width)
    program = program_for(state_of(task_of(originals, is_video=True)))
    with opened(program, read_task(program.server, TASK)) as frames:
        for i in reversed(range(10)):
            assert frames[i].shape == (height, width, 3) and frames[i].dtype == np.uint8
            assert difference(frames[i], originals[i]) < 2.5
        assert difference(frames[4], originals[5]) > 5  # neighbours are further apart


def test_large_videos_come_in_full_size(program_for):
    originals = pictures(3, 1080, 64)
    program = program_for(state_of(task_of(originals, is_video=True)))
    with opened(program, read_task(program.server, TASK)) as frames:
        assert frames[2].shape == (1080, 64, 3) and difference(frames[2], originals[2]) < 2.5


@pytest.mark.parametrize("is_video", [False, True])
def test_the_frames_of_jobs_are_read_through_the_jobs_where_the_task_is_forbidden(program_for, is_video):
    """Chunks of a job are counted from its own first frame."""
    originals = pictures(22, 24, 32)
    jobs = [FakeJob(7, 0, 5), FakeJob(8, 6, 15), FakeJob(9, 13, 21)]
    program = program_for(state_of(task_of(originals, jobs, is_video=is_video, forbidden=True)))
    layout = read_task(program.server, TASK, [8, 9])
    with opened(program, layout) as frames:
        assert frames.numbers == tuple(range(6, 22))
        for picture, number in zip(frames, frames.numbers):
            assert difference(picture, originals[number]) < 2.5
    assert {path.split("/data")[0] for path in downloads(program.fake)} == {"/api/jobs/8", "/api/jobs/9"}


def test_deleted_frames_do_not_shift_the_others(program_for):
    images = noise(10)
    program = program_for(state_of(task_of(images, deleted=(1, 5))))
    with opened(program, read_task(program.server, TASK)) as frames:
        assert frames.numbers == (0, 2, 3, 4, 6, 7, 8, 9)
        for picture, number in zip(frames, frames.numbers):
            np.testing.assert_array_equal(picture, images[number])


def test_frames_of_different_sizes_are_no_sequence(program_for):
    images = [*noise(3), *noise(3, 20, 20)]
    program = program_for(state_of(task_of(images)))
    layout = read_task(program.server, TASK)
    with opened(program, layout, layout.sequences[1]) as frames:
        np.testing.assert_array_equal(frames[1], images[4])
    with pytest.raises(InputError, match="size"):
        TaskFrames(layout, range(6), {})


@pytest.mark.parametrize("is_video", [False, True])
def test_a_chunk_that_the_server_cannot_give_names_its_frames(program_for, is_video):
    program = program_for(state_of(task_of(pictures(12, 24, 32), is_video=is_video, broken_chunks=(1,))))
    with opened(program, read_task(program.server, TASK)) as frames:
        assert frames[3].shape == (24, 32, 3)
        with pytest.raises(CvatError) as caught:
            frames[5]
        assert "frames 4 to 7" in str(caught.value) and "\n" not in str(caught.value)
        assert frames[8].shape == (24, 32, 3)  # the others can still be read


def with_byte(content: bytes, place: int, value: int) -> bytes:
    return content[:place] + bytes([value]) + content[place + 1 :]


def in_directory(content: bytes, place: int, value: int) -> bytes:
    """A zip with another byte in what its directory says of the third image."""
    return with_byte(
        content, [i for i in range(len(content)) if content.startswith(b"PK\x01\x02", i)][2] + place, value
    )


DAMAGES = {
    "garbage": lambda content: b"no image at all" * 50,
    "empty": lambda content: b"",
    "half": lambda content: content[: len(content) // 2],
    "garbage like a zip": lambda content: b"PK" + b"\x00" * 200,
    "hole": lambda content: content[:60] + bytes(len(content) // 2) + content[60 + len(content) // 2 :],
}
DAMAGED_ZIPS = {
    "encrypted": lambda content: in_directory(content, 8, 1),
    "compressed": lambda content: in_directory(content, 10, 8),
    "unknown compression": lambda content: in_directory(content, 10, 1),
}
DAMAGED = [
    pytest.param(is_video, damage, id=f"{'video' if is_video else 'images'}: {name}")
    for is_video, damages in ((False, DAMAGES | DAMAGED_ZIPS), (True, DAMAGES))
    for name, damage in damages.items()
]


@pytest.mark.parametrize(("is_video", "damage"), DAMAGED)
def test_a_damaged_file_of_the_cache_is_downloaded_anew(program_for, is_video, damage):
    originals = pictures(4, 24, 32)
    program = program_for(state_of(task_of(originals, is_video=is_video)))
    layout = read_task(program.server, TASK)
    with opened(program, layout) as frames:
        assert difference(frames[2], originals[2]) < 2.5
    (file,) = cached(program)
    file.write_bytes(damage(file.read_bytes()))
    with opened(program, layout) as frames:
        assert len(downloads(program.fake)) == 1
        for frame in (2, 3, 0):
            assert difference(frames[frame], originals[frame]) < 2.5
        assert len(downloads(program.fake)) == 2


def test_a_video_whose_metadata_alone_are_damaged_serves_as_well(program_for):
    originals = pictures(4, 24, 32)
    program = program_for(state_of(task_of(originals, is_video=True)))
    layout = read_task(program.server, TASK)
    with opened(program, layout) as frames:
        assert difference(frames[2], originals[2]) < 2.5
    (file,) = cached(program)
    file.write_bytes(with_byte(file.read_bytes(), 8, 0xFF))
    with opened(program, layout) as frames:
        assert difference(frames[2], originals[2]) < 2.5


@pytest.mark.parametrize("damage", [DAMAGES["garbage"], DAMAGES["half"]], ids=["garbage", "half"])
@pytest.mark.parametrize("is_video", [False, True])
def test_a_chunk_that_is_damaged_on_the_server_is_one_line_until_it_is_whole_again(program_for, is_video, damage):
    originals = pictures(4, 24, 32)
    program = program_for(state_of(task_of(originals, is_video=is_video)))
    layout = read_task(program.server, TASK)
    program.server.get_bytes(f"/api/tasks/{TASK}/data", type="chunk", number=0, quality="original")
    ((key, content),) = program.fake.chunks.items()
    program.fake.chunks[key] = damage(content)
    with opened(program, layout) as frames:
        with pytest.raises(CvatError) as caught:
            frames[2]
        text = str(caught.value)
        assert "\n" not in text and f"task {TASK}, frame 2" in text and str(program.folder) not in text
        asked = len(downloads(program.fake))
        with pytest.raises(UndecodableFrameError):
            frames[3]
        assert len(downloads(program.fake)) == asked == 3  # not once more for each of its frames
    program.fake.chunks[key] = content
    with opened(program, layout) as frames:
        assert difference(frames[2], originals[2]) < 2.5


@pytest.mark.parametrize("size", [(12, 16), (24, 31), (23, 32), (48, 64), (24, 34)])
def test_an_image_of_another_size_than_the_meta_says_is_one_line(program_for, size):
    """As after the images were replaced on disk: masks would land in the wrong place."""
    task = task_of(noise(4))
    program = program_for(state_of(task))
    layout = read_task(program.server, TASK)
    task.frames = noise(4, *size)
    with opened(program, layout) as frames, pytest.raises(CvatError) as caught:
        frames[1]
    text = str(caught.value)
    assert "\n" not in text and "frame 1" in text and f"{size[1]}x{size[0]}" in text and "32x24" in text


def test_tasks_do_not_share_the_files_of_their_chunks(program_for):
    first, second = task_of(noise(4)), task_of(pictures(4, 24, 32))
    second.id, second.jobs = TASK + 1, [FakeJob(8, 0, 3)]
    state = state_of(first)
    state.tasks[second.id], state.jobs[8] = second, (second, second.jobs[0])
    program = program_for(state)
    for task in (first, second):
        with opened(program, read_task(program.server, task.id)) as frames:
            np.testing.assert_array_equal(frames[0], task.frames[0])
    assert len(cached(program)) == 2


def test_no_half_file_stays_behind(program_for):
    program = program_for(state_of(task_of(noise(8), broken_chunks=(1,))))
    with opened(program, read_task(program.server, TASK)) as frames:
        frames[0]
        with pytest.raises(CvatError):
            frames[4]
    assert [file.name for file in cached(program)] == ["0.chunk"]


def test_a_cache_that_cannot_be_written_is_one_line(program_for):
    program = program_for(state_of(task_of(noise(4))))
    (program.folder / "cache").write_text("a file where a folder should be")
    with opened(program, read_task(program.server, TASK)) as frames, pytest.raises(InputError) as caught:
        frames[0]
    assert "\n" not in str(caught.value) and str(program.folder) in str(caught.value)


def test_pruning_removes_what_was_used_longest_ago(tmp_path):
    for name, age in (("a/0", 50), ("a/1", 10), ("b/0", 40), ("b/1", 20)):
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(bytes(100))
        os.utime(file, (time.time() - age, time.time() - age))
    prune(tmp_path, 400)
    assert len(list(tmp_path.glob("*/*"))) == 4
    prune(tmp_path, 250)
    assert {str(p.relative_to(tmp_path)) for p in tmp_path.glob("*/*")} == {"a/1", "b/1"}
    prune(tmp_path, 0)
    assert not list(tmp_path.glob("*/*"))
    prune(tmp_path / "not there", 0)


def test_reading_a_cached_chunk_saves_it_from_pruning(program_for):
    program = program_for(state_of(task_of(noise(12))))
    layout = read_task(program.server, TASK)
    with opened(program, layout) as frames:
        list(frames)
    files = cached(program)
    for age, file in zip((50, 40, 30), files):
        os.utime(file, (time.time() - age, time.time() - age))
    with opened(program, layout) as frames:
        frames[0]
    prune(program.folder / "cache", sum(file.stat().st_size for file in files) - 1)
    assert files[0].exists() and len(cached(program)) == 2
