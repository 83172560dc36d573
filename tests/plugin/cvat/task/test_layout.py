"""What of a task is worked on: which jobs, which frames belong together, and what is left alone."""

import numpy as np
import pytest

from model.errors import InputError
from plugin.cvat.server.errors import CvatError
from plugin.cvat.task.chunk_store import ChunkStore
from plugin.cvat.task.frames import TaskFrames
from plugin.cvat.task.layout import TaskLayout, read_task
from tests.cvat_server import Attribute, FakeJob, FakeLabel, FakeTask
from tests.plugin.cvat.program import TASK, blank_task, state_of


@pytest.fixture
def read(program_for):
    """Reads a task as the program does; `read.fake` is the server afterwards."""

    def read_it(task: FakeTask, *jobs: int, **filters) -> TaskLayout:
        program = program_for(state_of(task))
        read_it.fake, read_it.server = program.fake, program.server
        return read_task(program.server, TASK, jobs or None, **filters)

    return read_it


def sized_task(sizes: str, **fields) -> FakeTask:
    """An image task; each letter is a frame, of the size that the letter stands for."""
    shapes = {"a": (24, 32), "b": (30, 20)}
    task = blank_task(len(sizes), **fields)
    task.frames = [np.zeros((*shapes[size], 3), np.uint8) for size in sizes]
    return task


def job_ids(layout: TaskLayout) -> list[int]:
    return [job.id for job in layout.jobs]


def test_frames_of_touching_and_overlapping_jobs_are_one_sequence(read):
    layout = read(blank_task(15, [FakeJob(7, 0, 4), FakeJob(8, 5, 10), FakeJob(9, 9, 14)]))
    assert layout.sequences == [list(range(15))]
    assert [job.id for job in layout.jobs_with(10)] == [8, 9]


def test_a_gap_between_the_chosen_jobs_breaks_the_sequence(read):
    layout = read(blank_task(15, [FakeJob(7, 0, 4), FakeJob(8, 5, 9), FakeJob(9, 10, 14)]), 7, 9)
    assert layout.sequences == [[0, 1, 2, 3, 4], [10, 11, 12, 13, 14]]


def test_another_size_breaks_the_sequence(read):
    layout = read(sized_task("aabba"))
    assert layout.sequences == [[0, 1], [2, 3], [4]]
    assert layout.sizes == {0: (24, 32), 1: (24, 32), 2: (30, 20), 3: (30, 20), 4: (24, 32)}


def test_deleted_frames_are_left_out_and_break_nothing(read):
    assert read(blank_task(8, deleted=(0, 3, 4, 7))).sequences == [[1, 2, 5, 6]]


@pytest.mark.parametrize(
    ("sizes", "deleted", "sequences"),
    [
        ("aabaa", (2,), [[0, 1, 3, 4]]),  # a picture of another size that somebody has deleted
        ("aabbb", (2,), [[0, 1], [3, 4]]),
        ("baaaa", (0,), [[1, 2, 3, 4]]),
    ],
)
def test_deleted_frames_of_another_size_break_nothing(read, sizes, deleted, sequences):
    assert read(sized_task(sizes, deleted=deleted)).sequences == sequences


def test_a_gap_breaks_the_sequence_even_if_deleted_frames_are_beside_it(read):
    jobs = [FakeJob(7, 0, 4), FakeJob(8, 5, 9), FakeJob(9, 10, 14)]
    assert read(blank_task(15, jobs, deleted=(4, 10)), 7, 9).sequences == [[0, 1, 2, 3], [11, 12, 13, 14]]


def test_jobs_come_by_their_first_frame_whatever_the_order(read):
    jobs = [FakeJob(9, 0, 4), FakeJob(7, 10, 14), FakeJob(8, 5, 9)]
    assert job_ids(read(blank_task(15, jobs))) == [9, 8, 7]
    assert job_ids(read(blank_task(15, jobs), 7, 9, 7)) == [9, 7]


def test_more_jobs_than_a_page_holds_are_all_found(read):
    jobs = [FakeJob(1000 + i, i, i) for i in range(130)]
    assert job_ids(read(blank_task(130, jobs))) == list(range(1000, 1130))


def test_ground_truth_and_replicas_are_left_alone_and_it_is_said(read):
    kinds = {7: "annotation", 8: "ground_truth", 9: "replica", 10: "replica"}
    layout = read(blank_task(10, [FakeJob(job, 0, 9, kind) for job, kind in kinds.items()]))
    assert job_ids(layout) == [7]
    truth, replicas = layout.left_out
    assert "ground truth" in truth and "8" in truth
    assert "replica" in replicas and "9" in replicas and "10" in replicas


def test_the_ground_truth_cannot_be_asked_for(read):
    with pytest.raises(InputError, match="ground truth"):
        read(blank_task(10, [FakeJob(7, 0, 9), FakeJob(8, 0, 9, "ground_truth")]), 8)


def test_a_replica_can_be_asked_for_but_not_beside_its_original(read):
    task = blank_task(10, [FakeJob(7, 0, 9), FakeJob(8, 0, 9, "replica")])
    layout = read(task, 8)
    assert job_ids(layout) == [8] and layout.sequences == [list(range(10))]
    with pytest.raises(InputError, match="one of them"):
        read(task, 7, 8)


@pytest.mark.parametrize("forbidden", [False, True])
def test_a_point_cloud_is_refused_in_one_line(read, forbidden):
    with pytest.raises(InputError) as caught:
        read(blank_task(dimension="3d", forbidden=forbidden), 7)
    assert "3-D" in str(caught.value) and "\n" not in str(caught.value)


def test_a_task_that_is_not_there_is_one_line(read):
    with pytest.raises(CvatError) as caught:
        read(blank_task(organization="theirs"))
    text = str(caught.value)
    assert "\n" not in text and read.fake.url in text and f"/{TASK}" in text and caught.value.status == 404


def test_rights_on_the_task_are_needed_where_no_job_is_named(read):
    with pytest.raises(CvatError) as caught:
        read(blank_task(forbidden=True))
    assert caught.value.status == 403 and "rights" in str(caught.value)


def test_a_forbidden_job_is_one_line(read):
    with pytest.raises(CvatError) as caught:
        read(blank_task(10, [FakeJob(7, 0, 9, forbidden=True)], forbidden=True), 7)
    assert caught.value.status == 403 and "/7" in str(caught.value) and "\n" not in str(caught.value)


def test_rights_on_jobs_alone_are_enough(read, tmp_path):
    """As of a freelancer who is assigned to jobs: meta, labels and images of these jobs are all that can be read."""
    task = blank_task(20, [FakeJob(7, 0, 4), FakeJob(8, 5, 12), FakeJob(9, 13, 19)], deleted=(6, 14), forbidden=True)
    task.frames = np.arange(20, dtype=np.uint8)[:, None, None, None].repeat(24, 1).repeat(32, 2).repeat(3, 3)
    task.labels = [FakeLabel(5, "car", "mask", [Attribute(1, "colour", True, "red")])]
    layout = read(task, 9, 8)
    assert (layout.name, job_ids(layout)) == ("clip", [8, 9])
    assert layout.sequences == [[f for f in range(5, 20) if f not in (6, 14)]]
    label = layout.labels[5]
    assert (label.name, label.kind, dict(label.mutable), dict(label.defaults)) == ("car", "mask", {1: True}, {1: "red"})
    stores = {media.path: ChunkStore(read.server, media, tmp_path) for media in layout.media}
    frames = TaskFrames(layout, layout.sequences[0], stores)
    assert [picture[0, 0, 0] for picture in frames] == layout.sequences[0]
    for store in stores.values():
        store.close()
    tried = {path.split("?")[0] for _, path in read.fake.log if path.startswith("/api/tasks")}
    assert tried == {f"/api/tasks/{TASK}"}


@pytest.mark.parametrize("forbidden", [False, True])
def test_honeypots_are_unused_and_take_no_tracks(read, forbidden):
    """There another image is shown than the sequence has in that place."""
    jobs = [FakeJob(7, 0, 4, honeypots=(1, 3)), FakeJob(8, 5, 9, honeypots=(6,))]
    task = blank_task(10, jobs, validation_mode="gt_pool", deleted=(9,), forbidden=forbidden)
    layout = read(task, 7, 8)
    assert layout.unused == {1, 3, 6, 9} and not layout.takes_tracks
    assert layout.sequences == [[0, 2, 4, 5, 7, 8]]


def test_a_task_with_separate_ground_truth_takes_tracks(read):
    layout = read(blank_task(10, validation_mode="gt"))
    assert layout.takes_tracks and not layout.unused


@pytest.mark.parametrize(
    ("filters", "kept"),
    [
        ({}, [7, 8, 9]),
        ({"states": ["new"]}, [7]),
        ({"states": ["new", "completed"]}, [7, 8, 9]),
        ({"stages": ["acceptance"]}, [9]),
        ({"states": ["completed"], "stages": ["annotation"]}, [8]),
        ({"states": ["rejected"]}, []),
    ],
)
def test_jobs_are_chosen_by_state_and_stage_and_the_others_are_named(read, filters, kept):
    first, second, third = FakeJob(7, 0, 3), FakeJob(8, 4, 7), FakeJob(9, 8, 11)
    second.state = third.state = "completed"
    third.stage = "acceptance"
    layout = read(blank_task(12, [first, second, third]), **filters)
    assert job_ids(layout) == kept
    missing = [job for job in (7, 8, 9) if job not in kept]
    assert [sentence.split(" is ")[0] for sentence in sorted(layout.left_out)] == [f"job {job}" for job in missing]
    assert sum(map(len, layout.sequences)) == 4 * len(kept)


def test_a_video_has_one_size_for_all_frames_whatever_its_start_and_step(read):
    layout = read(blank_task(10, is_video=True, start_frame=100, step=5))
    assert layout.sequences == [list(range(10))] and set(layout.sizes.values()) == {(24, 32)}
    (media,) = layout.media
    assert media.chunks == 3 and media.chunk_of(9) == 2 and media.chunk_frames(2) == range(8, 10)


def test_a_task_without_images_or_jobs_says_so(read):
    task = blank_task(4)
    task.jobs = []
    with pytest.raises(InputError, match="no jobs"):
        read(task)
