"""A frame whose image is damaged on the server does not end a task's run."""

import io
import zipfile

import av
import numpy as np
import pytest

from tests.cvat_server import FakeCvat, FakeJob
from tests.plugin.cvat.program import HEIGHT, JOB, TASK, WIDTH, Program, blank_task, draw, mask_shape, square, state_of


def spoiled_image(chunk: bytes, place: int) -> bytes:
    """A chunk of images, one of which is cut off."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(chunk)) as old, zipfile.ZipFile(file, "w") as new:
        for number, name in enumerate(old.namelist()):
            content = old.read(name)
            new.writestr(name, content[: len(content) // 2] if number == place else content)
    return file.getvalue()


def spoiled_video(chunk: bytes, place: int) -> bytes:
    """A video chunk, one of whose packets is nothing but zeros."""
    with av.open(io.BytesIO(chunk)) as file:
        packet = [bytes(p) for p in file.demux(video=0) if p.size][place]
    assert chunk.count(packet) == 1
    return chunk.replace(packet, bytes(len(packet)))


def spoil(program: Program, spoilt: dict[int, list[int]], is_video: bool) -> None:
    """Damages frames, by place, in chunks, by number."""
    for number, places in spoilt.items():
        program.server.get_bytes(f"/api/tasks/{TASK}/data", type="chunk", number=number, quality="original")
        key = next(k for k in program.fake.chunks if k[2] == number)
        for place in places:
            program.fake.chunks[key] = (spoiled_video if is_video else spoiled_image)(program.fake.chunks[key], place)


def task(is_video: bool):
    made = blank_task(10, [FakeJob(JOB, 0, 9)], is_video=is_video)
    made.frames = np.random.default_rng(1).integers(0, 255, (10, HEIGHT, WIDTH, 3), np.uint8)
    state = state_of(made, version="2.73.0")
    draw(state, shapes=[mask_shape(0, square(2, 2)), mask_shape(7, square(8, 8))])
    return state


def written(state) -> dict[int, dict]:
    return {s["frame"]: s for s in state.jobs[JOB][1].shapes if s["source"] == "auto"}


def downloads(fake: FakeCvat) -> int:
    return sum("type=chunk" in path for _, path in fake.log)


@pytest.mark.parametrize("is_video", [False, True])
def test_a_damaged_frame_has_the_masks_of_its_neighbour_with_score_0(program_for, is_video):
    state = task(is_video)
    program = program_for(state)
    spoil(program, {1: [1]}, is_video)  # frame 5
    before = downloads(program.fake)
    outcome = program.propagate()
    shapes = written(state)
    assert sorted(shapes) == [1, 2, 3, 4, 5, 6, 8, 9]
    assert shapes[5]["score"] == 0 and shapes[5]["points"] == shapes[4]["points"]
    assert all(shapes[i]["score"] > 0 for i in shapes if i != 5)
    (warning,) = [w for w in outcome.warnings if "cannot be read" in w]
    assert "frame 5" in warning and "the masks of frame 4" in warning
    # The chunk comes once more in case that the copy is at fault, for the masks and for the report's pictures.
    assert downloads(program.fake) - before <= 3 + 4


def test_where_nothing_behind_it_is_readable_all_before_is_written_and_the_task_fails(program_for):
    state = task(False)
    program = program_for(state)
    spoil(program, {2: [0, 1]}, False)  # frames 8 and 9
    outcome = program.attempt()
    assert outcome.error is not None and "frame 8" in outcome.error and "Nothing behind it" in outcome.error
    assert sorted(written(state)) == [1, 2, 3, 4, 5, 6]
