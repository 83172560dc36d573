"""The fake server is as unkind as the real one was measured to be, also to its real client."""

import io
import json
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import av
import cvat_sdk
import numpy as np
import pytest
from cvat_sdk import models
from cvat_sdk.api_client.exceptions import ApiException
from PIL import Image

from tests.cvat_server import Attribute, CvatState, FakeCvat, FakeJob, FakeLabel, FakeTask
from tests.cvat_server.server import PASSWORD, TOKEN, USER

TASK = 12
BOX = [1.0, 1.0, 9.0, 9.0]


def task_of(*jobs: FakeJob, size: tuple[int, int] = (24, 32), **fields: Any) -> FakeTask:
    jobs = list(jobs or [FakeJob(7, 0, 9)])
    labels = [
        FakeLabel(1, "car", attributes=[Attribute(11, "colour", False, "red"), Attribute(12, "door", True, "shut")])
    ]
    frames = np.zeros((max(job.stop for job in jobs) + 1, *size, 3), np.uint8)
    return FakeTask(TASK, frames, jobs, labels, **{"chunk_size": 4, **fields})


@pytest.fixture
def serve() -> Iterator[Callable[..., tuple[FakeCvat, cvat_sdk.Client]]]:
    """Starts a server with a task, and logs the real client in."""
    with ExitStack() as stack:

        def start(task: FakeTask, **fields: Any) -> tuple[FakeCvat, cvat_sdk.Client]:
            fake = stack.enter_context(FakeCvat(CvatState([task], **fields)))
            return fake, stack.enter_context(cvat_sdk.make_client(fake.url, access_token=TOKEN))

        yield start


def box(frame: int, **fields: Any) -> models.LabeledShapeRequest:
    return models.LabeledShapeRequest(type="rectangle", frame=frame, label_id=1, points=BOX, **fields)


def send(fake: FakeCvat, path: str, body: str | None = None) -> Any:
    """A request as a program without the SDK sends it."""
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    data = None if body is None else body.encode()
    request = urllib.request.Request(f"{fake.url}{path}", data, headers, method="GET" if body is None else "PATCH")
    with urllib.request.urlopen(request, timeout=10) as response:
        return json.loads(response.read())


def create(fake: FakeCvat, job: int, **lists: Any) -> Any:
    return send(fake, f"/api/jobs/{job}/annotations/?action=create", json.dumps(lists))


def save(client: cvat_sdk.Client, action: str, job: int, **lists: Any) -> None:
    """The real client's request; its objects of whole tasks and jobs need fields that the fake server leaves out."""
    body = models.PatchedLabeledDataRequest(**lists)
    client.api_client.jobs_api.partial_update_annotations(action, job, patched_labeled_data_request=body)


def frames_of(job: FakeJob) -> list[int]:
    return [shape["frame"] for shape in job.shapes]


def test_the_client_logs_in_with_a_token_or_with_user_and_password(serve):
    fake, client = serve(task_of())
    assert client.users.retrieve_current_user().username == USER
    with cvat_sdk.make_client(fake.url, credentials=(USER, PASSWORD)) as other:
        assert other.users.retrieve_current_user().username == USER
        save(other, "create", 7, shapes=[box(3)])
    assert frames_of(fake.state.jobs[7][1]) == [3]
    assert sum(path.startswith("/api/auth/login") for _, path in fake.log) == 1


@pytest.mark.parametrize(
    "login", [{"access_token": "wrong"}, {"credentials": (USER, "wrong")}], ids=lambda d: next(iter(d))
)
def test_a_wrong_login_is_refused(serve, login):
    fake, _ = serve(task_of())
    with pytest.raises(ApiException) as caught, cvat_sdk.make_client(fake.url, **login) as client:
        client.users.retrieve_current_user()
    assert caught.value.status == (401 if "access_token" in login else 400)


def test_logins_are_throttled_with_all_that_is_anonymous(serve):
    fake, _ = serve(task_of())
    while len(fake.anonymous) < 100:
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(f"{fake.url}/api/users/self", timeout=10)
    body = json.dumps({"username": USER, "password": PASSWORD}).encode()
    login = urllib.request.Request(f"{fake.url}/api/auth/login", body, {"Content-Type": "application/json"})
    with pytest.raises(urllib.error.HTTPError, match="429") as caught:
        urllib.request.urlopen(login, timeout=10)
    assert caught.value.headers["Retry-After"] == "1" and not fake.sessions
    assert send(fake, f"/api/tasks/{TASK}")["id"] == TASK  # who has a token is not


def test_what_is_written_into_a_task_is_dropped_outside_of_all_jobs_and_doubled_where_they_overlap(serve):
    first, second = FakeJob(7, 0, 5), FakeJob(8, 4, 9)
    _, client = serve(task_of(first, second))
    body = models.PatchedLabeledDataRequest(shapes=[box(frame) for frame in (0, 4, 8, 10, 99)])
    client.api_client.tasks_api.partial_update_annotations("create", TASK, patched_labeled_data_request=body)
    assert (frames_of(first), frames_of(second)) == ([0, 4], [4, 8])


def test_what_is_written_into_a_job_is_stored_whatever_it_is(serve):
    """Frames outside of the job, boxes outside of the image, masks with wrong counts, any source, mask tracks."""
    job = FakeJob(7, 0, 5)
    fake, _ = serve(task_of(job, FakeJob(8, 6, 9)))
    shape = {"label_id": 1, "type": "rectangle", "points": BOX}
    bad = [
        {**shape, "frame": 99},
        {**shape, "frame": 3, "points": [-50, -50, 5000, 5000]},
        {**shape, "frame": 3, "type": "mask", "points": [7, 1, 0, 0, 1, 1]},
        {**shape, "frame": 3, "type": "polygon", "points": []},
        {**shape, "frame": 3, "source": "magic"},
    ]
    track = {"label_id": 1, "frame": 0, "shapes": [{"type": "mask", "frame": 0, "points": [0, 4, 0, 0, 1, 1]}]}
    answer = create(fake, 7, shapes=bad, tracks=[track])
    assert (len(answer["shapes"]), len(answer["tracks"])) == (5, 1)
    read = send(fake, "/api/jobs/7/annotations")
    assert [s["points"] for s in read["shapes"]] == [list(map(float, s["points"])) for s in bad]
    assert read["shapes"][4]["source"] == "magic" and read["tracks"][0]["shapes"][0]["type"] == "mask"


@pytest.mark.parametrize("fields", [{"label_id": 99}, {"type": "blob"}, {"attributes": [{"spec_id": 99, "value": ""}]}])
def test_the_little_that_is_checked_is_refused_as_a_whole(serve, fields):
    job = FakeJob(7, 0, 5)
    fake, _ = serve(task_of(job))
    shape = {"label_id": 1, "type": "rectangle", "points": BOX, "frame": 1}
    with pytest.raises(urllib.error.HTTPError, match="400"):
        create(fake, 7, shapes=[shape, {**shape, **fields}])
    assert job.shapes == []


def test_an_update_of_an_unknown_id_inserts_and_a_known_one_gets_a_new_id(serve):
    """As does one that somebody else has deleted meanwhile: it is there again."""
    job = FakeJob(7, 0, 9)
    _, client = serve(task_of(job))
    save(client, "create", 7, shapes=[box(1)])
    first = job.shapes[0]["id"]
    save(client, "update", 7, shapes=[box(2, id=first), box(3, id=4711)])
    assert frames_of(job) == [2, 3] and first not in {shape["id"] for shape in job.shapes}


def test_deleting_an_unknown_id_does_no_harm(serve):
    job = FakeJob(7, 0, 9)
    fake, client = serve(task_of(job))
    create(fake, 7, shapes=[{"label_id": 1, "type": "rectangle", "points": BOX, "frame": 1}])
    save(client, "delete", 7, shapes=[box(1, id=4711)])
    assert frames_of(job) == [1]
    save(client, "delete", 7, shapes=[box(1, id=job.shapes[0]["id"])])
    assert frames_of(job) == []


def test_ids_are_never_given_twice(serve):
    job = FakeJob(7, 0, 9)
    fake, _ = serve(task_of(job))
    shape = {"label_id": 1, "type": "rectangle", "points": BOX, "frame": 1}
    seen = []
    for _ in range(3):
        made = create(fake, 7, shapes=[shape])
        seen += [s["id"] for s in made["shapes"]]
        send(fake, "/api/jobs/7/annotations/?action=delete", json.dumps(made))
    assert len(set(seen)) == 3 and not job.shapes


def test_an_infinite_point_breaks_every_later_reading(serve):
    job = FakeJob(7, 0, 9)
    fake, client = serve(task_of(job))
    body = '{"shapes": [{"type": "polygon", "frame": 1, "label_id": 1, "points": [1, 1, 1e400, 1, 9, 9]}]}'
    with pytest.raises(urllib.error.HTTPError, match="500"):
        send(fake, "/api/jobs/7/annotations/?action=create", body)
    assert len(job.shapes) == 1
    for _ in range(2):
        with pytest.raises(ApiException) as caught:
            client.api_client.jobs_api.retrieve_annotations(7)
        assert caught.value.status == 500
    assert send(fake, "/api/jobs/7")["id"] == 7


@pytest.mark.parametrize(("version", "score"), [("2.42.0", None), ("2.55.3", None), ("2.56.0", 0.25), ("2.70.1", 0.25)])
def test_scores_are_kept_by_new_servers_alone(serve, version, score):
    fake, _ = serve(task_of(), version=version)
    shape = {"label_id": 1, "type": "rectangle", "points": BOX, "frame": 1, "score": 0.25}
    create(fake, 7, shapes=[shape])
    (read,) = send(fake, "/api/jobs/7/annotations")["shapes"]
    assert read.get("score") == score


def test_attributes_come_back_with_their_defaults(serve):
    """Those of a track by whether they may change; a keyframe without one repeats the one before."""
    fake, client = serve(task_of())
    shape = {"label_id": 1, "type": "rectangle", "points": BOX, "attributes": [{"spec_id": 11, "value": "blue"}]}
    keyframes = [{"type": "polygon", "points": [1, 1, 9, 1, 9, 9], "frame": frame} for frame in (2, 4, 6)]
    keyframes[1]["attributes"] = [{"spec_id": 12, "value": "open"}]
    create(fake, 7, shapes=[{**shape, "frame": 1}], tracks=[{"label_id": 1, "frame": 2, "shapes": keyframes}])
    read, _ = client.api_client.jobs_api.retrieve_annotations(7)

    def values(item: Any) -> dict[int, str]:
        return {a.spec_id: a.value for a in item.attributes}

    assert values(read.shapes[0]) == {11: "blue", 12: "shut"}
    assert values(read.tracks[0]) == {11: "red"}
    assert [values(keyframe) for keyframe in read.tracks[0].shapes] == [{12: "shut"}, {12: "open"}, {12: "open"}]


def test_tracks_are_refused_where_there_are_honeypots(serve):
    job = FakeJob(7, 0, 9, honeypots=(3,))
    fake, _ = serve(task_of(job, validation_mode="gt_pool"))
    keyframe = {"type": "polygon", "points": [1, 1, 9, 1, 9, 9], "frame": 2}
    shape = {"label_id": 1, "type": "rectangle", "points": BOX, "frame": 1}
    with pytest.raises(urllib.error.HTTPError, match="400"):
        create(fake, 7, shapes=[shape], tracks=[{"label_id": 1, "frame": 2, "shapes": [keyframe]}])
    assert not job.tracks and not job.shapes
    create(fake, 7, shapes=[shape])
    assert send(fake, f"/api/tasks/{TASK}/validation_layout")["honeypot_frames"] == [3]


# --- media ---


def chunk(client: cvat_sdk.Client, quality: str, number: int = 0) -> bytes:
    _, response = client.api_client.tasks_api.retrieve_data(
        TASK, type="chunk", quality=quality, number=number, _parse_response=False
    )
    return response.data


def decoded(content: bytes) -> list[np.ndarray]:
    with av.open(io.BytesIO(content)) as video:
        return [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]


@pytest.mark.parametrize(
    ("size", "original", "compressed"),
    [((1080, 64), (1080, 64), (540, 32)), ((720, 64), (720, 64), (720, 64)), ((41, 61), (42, 62), (42, 62))],
    ids=str,
)
def test_compressed_video_of_1080_lines_is_halved_and_odd_sizes_are_padded(serve, size, original, compressed):
    fake, client = serve(task_of(FakeJob(7, 0, 1), size=size, is_video=True))
    for quality, expected in (("original", original), ("compressed", compressed)):
        frames = decoded(chunk(client, quality))
        assert [frame.shape[:2] for frame in frames] == [expected] * 2
    meta = send(fake, f"/api/tasks/{TASK}/data/meta")
    assert [(frame["height"], frame["width"]) for frame in meta["frames"]] == [size] and meta["size"] == 2


def test_images_come_in_zips_of_a_chunk_and_only_original_ones_are_exact(serve):
    task = task_of()
    task.frames = np.random.default_rng(1).integers(0, 256, (10, 24, 32, 3), np.uint8)
    _, client = serve(task)
    for number, count in ((0, 4), (2, 2)):
        for quality in ("original", "compressed"):
            with zipfile.ZipFile(io.BytesIO(chunk(client, quality, number))) as file:
                pictures = [np.asarray(Image.open(file.open(name))) for name in sorted(file.namelist())]
            assert len(pictures) == count
            exact = [np.array_equal(p, task.frames[number * 4 + i]) for i, p in enumerate(pictures)]
            assert exact == [quality == "original"] * count
    with pytest.raises(ApiException) as caught:
        chunk(client, "original", 3)
    assert caught.value.status == 400


def test_chunks_of_a_job_count_from_its_first_frame(serve):
    task = task_of(FakeJob(7, 0, 4), FakeJob(8, 3, 9))
    task.frames = np.arange(10, dtype=np.uint8)[:, None, None, None] * np.ones((24, 32, 3), np.uint8)
    _, client = serve(task)
    _, response = client.api_client.jobs_api.retrieve_data(
        8, type="chunk", quality="original", index=1, _parse_response=False
    )
    with zipfile.ZipFile(io.BytesIO(response.data)) as file:
        assert [np.asarray(Image.open(file.open(name)))[0, 0, 0] for name in sorted(file.namelist())] == [7, 8, 9]


def test_jobs_come_in_no_order_and_in_pages(serve):
    fake, _ = serve(task_of(*(FakeJob(100 + i, i, i) for i in range(25))))
    pages = [send(fake, f"/api/jobs?task_id={TASK}&page={page}") for page in (1, 2, 3)]
    found = [job["id"] for page in pages for job in page["results"]]
    assert sorted(found) == list(range(100, 125)) and found != sorted(found)
    assert [len(page["results"]) for page in pages] == [10, 10, 5]
    assert [bool(page["next"]) for page in pages] == [True, True, False]


def test_the_meta_counts_frames_of_the_original_video_and_jobs_those_of_the_task(serve):
    fake, _ = serve(task_of(FakeJob(7, 0, 4), FakeJob(8, 5, 9), is_video=True, start_frame=100, step=3, deleted=[6]))
    meta = send(fake, "/api/jobs/8/data/meta")
    assert [meta[name] for name in ("start_frame", "stop_frame", "size", "deleted_frames")] == [115, 127, 5, [6]]
    assert len(meta["frames"]) == 1
    job = send(fake, "/api/jobs/8")
    assert (job["start_frame"], job["stop_frame"]) == (5, 9)
