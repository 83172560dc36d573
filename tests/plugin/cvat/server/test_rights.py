"""Who may read but not write: told before anything is computed, and nothing is computed that cannot be written."""

import threading
import time
from dataclasses import replace

import pytest

from plugin.cvat.open_task import Workplace
from plugin.cvat.run.bulk import BulkRun, Target, TargetFilter
from plugin.cvat.run.concurrent_work import run_concurrently
from plugin.cvat.run.task_writer import TaskWriter
from plugin.cvat.server.patience import AskedWaits
from plugin.cvat.settings import BulkSettings
from tests.cvat_server import FakeJob
from tests.plugin.cvat.program import JOB, NearestKeyframe, blank_task, draw, mask_shape, square, state_of

THIRD = 9


def three_jobs(read_only=(), keyframes=(0,)):
    """Jobs of six frames each."""
    task = blank_task(18, [FakeJob(JOB, 0, 5), FakeJob(8, 6, 11), FakeJob(THIRD, 12, 17)])
    for job in task.jobs:
        job.read_only = job.id in read_only
    state = state_of(task)
    for frame in keyframes:
        job = next(job for job in task.jobs if job.start <= frame <= job.stop)
        draw(state, job.id, shapes=[mask_shape(frame, square(2, 2))])
    return state


def written(state, job):
    return [s["frame"] for s in state.jobs[job][1].shapes if s["source"] == "auto"]


@pytest.mark.parametrize(
    ("version", "words"), [("2.80.0", "token is read-only: make"), ("2.42.0", "whether the access token is read-only")]
)
def test_a_read_only_token_is_noticed_before_the_first_frame(program_for, version, words):
    state = three_jobs()
    state.version = version  # old servers do not say it of a token, only when something is to be changed
    program = program_for(state)
    program.fake.read_only = True
    outcome = program.attempt()
    assert words in outcome.error and "\n" not in outcome.error
    assert program.engine.runs == [] and outcome.frames == 0
    assert len(program.told) == 1 and "jobs 7, 8, 9" in program.told[0] and words in program.told[0]
    program.fake.read_only = False
    program.server = program.log_in(patience=1e9)
    program.propagate()
    assert [written(state, job) for job in (JOB, 8, THIRD)] == [[1, 2, 3, 4, 5], [*range(6, 12)], [*range(12, 18)]]


def test_a_read_only_token_does_not_wait_for_the_network_to_tell_shapes_apart(program_for):
    state = three_jobs()
    draw(state, shapes=[mask_shape(f, square(20, 12)) for f in (0, 4)])
    draw(state, shapes=[mask_shape(4, square(2, 2))])
    program = program_for(state)
    program.fake.read_only = True
    assert "read-only" in program.attempt().error and program.engine.runs == []


def test_what_needs_no_writing_needs_no_right(program_for):
    state = three_jobs()
    program = program_for(state)
    program.propagate()
    program.fake.read_only = True
    assert program.propagate().frames == 0


def test_nothing_is_computed_for_a_job_that_refuses(program_for):
    state = three_jobs(read_only=(THIRD,))
    program = program_for(state)
    outcome = program.attempt()
    assert program.engine.runs == [(1, 11, (1,))]
    assert written(state, JOB) + written(state, 8) == list(range(1, 12))
    assert "job 9" in outcome.error and "job 7" not in outcome.error and "may not write" in outcome.error
    state.jobs[THIRD][1].read_only = False
    program.propagate()
    assert program.engine.runs[1:] == [(12, 17, (1,))] and written(state, THIRD) == list(range(12, 18))


def test_frames_of_a_job_that_refuses_are_computed_only_where_others_need_them(program_for):
    """Between keyframes of its own it is left out."""
    program = program_for(three_jobs(read_only=(8,), keyframes=(0, 5, 6, 11, 12)))
    program.attempt()
    assert program.engine.runs == [(1, 4, (1,)), (1, 5, (1,))]
    assert program.engine.lengths == [6, 6]


def test_a_job_that_refuses_between_others_is_passed_through(program_for):
    state = three_jobs(read_only=(8,))
    program_for(state).attempt()
    assert written(state, THIRD) == list(range(12, 18)) and written(state, 8) == []


class SlowNetwork(NearestKeyframe):
    """Waits until what it has given is written, or refused."""

    def __init__(self, program):
        super().__init__()
        self.seen: list[int] = []
        self._program = program

    def run(self, frames, keyframes, start=0, stop=None, direction="both", labels=None):
        for result in super().run(frames, keyframes, start, stop, direction):
            self.seen.append(result.index)
            yield result
            self._program.wait_for_writes()


@pytest.fixture
def writes_at_once(monkeypatch):
    monkeypatch.setattr("plugin.cvat.run.task_writer._LEAST_SECONDS", 0.0)
    monkeypatch.setattr("plugin.cvat.run.task_writer._PATIENCE", 0.0)


def run_with_rights_taken_away(program_for, jobs, monkeypatch):
    """Rights to some jobs are lost when the run is under way; gives state, outcome and program."""
    state = three_jobs()
    program = program_for(state)
    queues = []
    monkeypatch.setattr("plugin.cvat.run.task_run.TaskWriter", _recording(queues))
    program.wait_for_writes = lambda: queues[-1].wait_until_idle()
    program.engine = SlowNetwork(program)

    def fault(method, path):
        if method == "PATCH" and program.engine.seen and any(f"/jobs/{job}/" in path for job in jobs):
            return 403
        return None

    program.fake.fault = fault
    outcome = program.attempt()
    return state, outcome, program


def _recording(queues):
    class Recorded(TaskWriter):
        def __init__(self, *args, **options):
            self.handled = 0
            self.put_so_far = 0
            super().__init__(*args, **options)
            queues.append(self)

        def put(self, frame):
            self.put_so_far += 1
            super().put(frame)

        def _flush(self, everything):
            super()._flush(everything)
            self.handled += 1  # once for each frame, with `writes_at_once`

        def wait_until_idle(self):
            deadline = time.monotonic() + 20
            while self.handled < self.put_so_far and self.error is None and not self._stopped:
                assert time.monotonic() < deadline
                time.sleep(0.002)

    return Recorded


def test_a_run_ends_at_once_when_all_that_is_left_is_refused(program_for, monkeypatch, writes_at_once):
    state, outcome, program = run_with_rights_taken_away(program_for, (JOB, 8, THIRD), monkeypatch)
    # One frame of each job is enough to know that it is refused.
    assert len(program.engine.seen) < 16 and written(state, JOB) == []
    assert [f"job {job}" in outcome.error for job in (JOB, 8, THIRD)] == [True, True, True]
    assert len(program.told) == 3 and all("read-only" in line for line in program.told)


def test_the_last_job_that_is_refused_is_not_computed_any_more(program_for, monkeypatch, writes_at_once):
    state, outcome, program = run_with_rights_taken_away(program_for, (THIRD,), monkeypatch)
    assert max(program.engine.seen) <= 13
    assert written(state, JOB) + written(state, 8) == list(range(1, 12)) and "job 9" in outcome.error
    assert len(program.told) == 1 and "job 9" in program.told[0]


def test_a_dry_run_sends_nothing_and_warns_of_a_read_only_token(program_for):
    state = three_jobs()
    state.version = "2.80.0"
    program = program_for(state)
    program.fake.read_only = True
    outcome = program.propagate(dry=True)
    assert any("token is read-only" in text for text in outcome.warnings) and outcome.frames == 17
    assert {method for method, _ in program.fake.log} == {"GET"}


def test_a_login_that_expires_ends_the_task(program_for, monkeypatch, writes_at_once):
    state = three_jobs()
    program = program_for(state)
    program.fake.fault = lambda method, path: 401 if method == "PATCH" else None
    outcome = program.attempt()
    assert "log in again" in outcome.error and program.engine.runs == []


def busy(path_part, answers_between=()):
    """Rights and changes are put off for ever, but for the questions of these numbers."""
    asked = []

    def fault(method, path):
        if method != "PATCH" or path_part not in path:
            return None
        asked.append(path)
        return None if len(asked) in answers_between else 429

    return fault


def test_a_server_that_puts_off_all_questions_for_rights_is_waited_for_half_an_hour_in_all(program_for):
    state = three_jobs()
    program = program_for(state)
    program.fake.fault = busy("/annotations")
    outcome = program.attempt()
    assert 1700 < sum(program.pauses) <= 1800
    assert program.engine.runs == [] and outcome.failed == {}
    assert "busy with the rights of job 7" in outcome.error and outcome.error.count("busy") == 1
    assert program.told and all("busy with the rights of job 7: waiting 1 s" in line for line in program.told)
    program.fake.fault = lambda method, path: None
    program.propagate()
    assert [written(state, job) for job in (JOB, 8, THIRD)] == [[1, 2, 3, 4, 5], [*range(6, 12)], [*range(12, 18)]]


def test_an_answer_begins_the_half_hour_anew(program_for):
    """1000 s for the first job, which is told at last; then 1800 s for the second one."""
    program = program_for(three_jobs())
    program.fake.fault = busy("/annotations", answers_between=(1001,))
    outcome = program.attempt()
    assert 1000 + 1700 < sum(program.pauses) <= 1000 + 1800
    assert "busy with the rights of job 8" in outcome.error and "job 7" not in outcome.error


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_whoever_was_waited_for_in_vain_has_not_allowed_anything(program_for, status):
    program = program_for(three_jobs())
    program.server = program.log_in(patience=0.0)
    program.fake.fault = lambda method, path: status if method == "PATCH" else None
    outcome = program.attempt()
    assert f"status {status}" in outcome.error and "job 7" in outcome.error.replace("jobs/7", "job 7")
    assert program.engine.runs == [] and outcome.error.count("status") == 1


def test_a_busy_server_is_not_waited_for_once_for_each_task(program_for):
    """What is asked of it in between is put off as well."""
    program = program_for(three_jobs())
    program.fake.state.tasks[13] = replace(program.fake.state.tasks[12], id=13)
    began = []

    def fault(method, path):
        began.append(method == "PATCH")
        return 429 if any(began) else None

    program.fake.fault = fault
    place = Workplace(program.server, program.folder / "cache", program.folder / "journal")
    bulk = BulkRun(place, program.engine, BulkSettings(), TargetFilter())
    outcomes = bulk.run([Target(12), Target(13)])
    assert sum(program.pauses) <= 1800 and outcomes[1].error == "not begun"


@pytest.mark.parametrize(("review", "most"), [("none", 3), ("issue", 5)])
def test_changes_that_are_put_off_are_waited_for_half_an_hour_in_all(program_for, review, most):
    """Though the server answers questions in between: of three jobs no change is carried out after the first ones."""
    program, changes = program_for(three_jobs()), []

    def fault(method, path):
        if method == "GET":
            return None
        changes.append(path)
        return 429 if len(changes) > most else None

    program.fake.fault = fault
    outcome = program.attempt(review=review)
    assert 1700 < sum(program.pauses) <= 1800 and "job 9" in outcome.error
    program.fake.fault = lambda method, path: None
    program.propagate(review=review)
    assert [written(program.fake.state, job) for job in (JOB, 8, THIRD)] == [
        [1, 2, 3, 4, 5],
        [*range(6, 12)],
        [*range(12, 18)],
    ]


def test_waiting_side_by_side_counts_once():
    budget, ends = AskedWaits(most=200), threading.Barrier(4)

    def wait():
        for _ in range(4):
            with budget.waiting(20, 20, ValueError()):
                ends.wait(20)

    run_concurrently([wait] * 4, 4, lambda: None)  # 320 s one after the other
    with pytest.raises(ValueError), budget.waiting(190, 190, ValueError()):
        pass
    budget.refill()
    with budget.waiting(190, 190, ValueError()):
        pass
