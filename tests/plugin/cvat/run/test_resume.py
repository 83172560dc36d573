"""Killed at any moment, or cut off from the server, a further run ends as an uninterrupted one would have."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cvat_server import FakeCvat, FakeJob
from tests.cvat_server.state import RefusedError
from tests.plugin.cvat.program import (
    JOB,
    TASK,
    Program,
    blank_task,
    content,
    draw,
    mask_shape,
    polygon_shape,
    square,
    state_of,
)

LENGTH = 40


def fresh_state():
    state = state_of(blank_task(LENGTH, [FakeJob(JOB, 0, 24), FakeJob(8, 20, LENGTH - 1)]))
    draw(state, shapes=[mask_shape(0, square(2, 2)), polygon_shape(3, square(20, 2), label=2)])
    draw(state, 8, shapes=[mask_shape(30, square(12, 12))])
    return state


def everything(state):
    """All annotations but their ids, in an order of their own."""
    return sorted(
        repr((job.id, name, content(item)))
        for _, job in state.jobs.values()
        for name in ("shapes", "tracks")
        for item in getattr(job, name)
    )


def slow_run(fake: FakeCvat, folder: Path, output: str, seconds: float) -> subprocess.Popen:
    command = [sys.executable, "-m", "tests.plugin.cvat.run.slow_run", fake.url, str(folder), output, str(seconds)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """What one run of each output leaves on the server."""
    found = {}
    for output in ("as-drawn", "track"):
        state = fresh_state()
        with FakeCvat(state) as fake:
            Program(fake, tmp_path_factory.mktemp(output)).propagate(output=output)
        found[output] = everything(state)
    return found


@pytest.mark.parametrize("output", ["as-drawn", "track"])
def test_killed_at_any_moment_it_goes_on(tmp_path, uninterrupted, output):
    state = fresh_state()
    chance = random.Random(output)
    with FakeCvat(state) as fake:
        kills = 0
        for _ in range(3):
            before = len(fake.log)
            process = slow_run(fake, tmp_path, output, 0.02)
            while len(fake.log) == before and process.poll() is None:  # it takes a while until it starts
                time.sleep(0.01)
            time.sleep(chance.uniform(0.05, 0.9))
            if process.poll() is None:
                os.kill(process.pid, signal.SIGKILL)
                kills += 1
            process.wait()
        assert kills
        process = slow_run(fake, tmp_path, output, 0.0)
        text, _ = process.communicate()
        assert process.returncode == 0, text
        assert everything(state) == uninterrupted[output]
        program = Program(fake, tmp_path)
        with program.journal() as journal:
            assert all(item.is_written and item.server_id > 0 for item in journal.items())
        program.undo()
        assert len(everything(state)) == 3


class KilledError(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("output", ["as-drawn", "track"])
@pytest.mark.parametrize("moment", ["before", "after"])
def test_killed_at_each_request_it_goes_on(tmp_path, uninterrupted, moment, output, monkeypatch):
    """Every single request that changes something is the last one of a run: sent or not, answered or not."""
    from plugin.cvat.server.client import Server

    state = fresh_state()
    real = Server.patch
    with FakeCvat(state) as fake:
        for number in range(60):
            count = 0

            def patch(self, *args, number=number, **options):
                nonlocal count
                count += 1
                if count == number + 1 and moment == "before":
                    raise KilledError
                reply = real(self, *args, **options)
                if count == number + 1:
                    raise KilledError
                return reply

            monkeypatch.setattr(Server, "patch", patch)
            monkeypatch.setattr("plugin.cvat.run.task_writer._LEAST_SECONDS", 0.0)
            monkeypatch.setattr("plugin.cvat.run.task_writer._PATIENCE", 0.0)
            try:
                Program(fake, tmp_path).propagate(output=output)
                break
            except KilledError:
                continue
        assert 0 < number < 59
        assert everything(state) == uninterrupted[output]
        with Program(fake, tmp_path).journal() as journal:
            assert all(item.is_written and item.server_id > 0 for item in journal.items())


@pytest.mark.parametrize("lost", ["before", "after", 502, 504])
def test_a_lost_connection_does_no_harm(program_for, uninterrupted, lost):
    state = fresh_state()
    program = program_for(state)
    chance = random.Random(str(lost))
    program.fake.fault = lambda method, path: lost if chance.random() < 0.3 else None
    program.propagate()
    assert everything(state) == uninterrupted["as-drawn"]
    assert program.pauses


@pytest.mark.parametrize("lost", ["before", "after", 504])
def test_whether_a_lost_creation_was_carried_out_is_looked_up(program_for, uninterrupted, lost):
    """Each creation is lost once: the chance above may spare them all. No double is made, not even for a moment."""
    state = fresh_state()
    program, creations, made = program_for(state), [], 0
    create = state.create

    def counted(job, body):
        nonlocal made
        made += len(body["shapes"])
        return create(job, body)

    state.create = counted

    def fault(method, path):
        if method != "PATCH" or "action=create" not in path:
            return None
        creations.append(path)
        return lost if len(creations) % 2 else None

    program.fake.fault = fault
    program.propagate()
    assert everything(state) == uninterrupted["as-drawn"]
    assert made == len(everything(state)) - 3 and len(creations) >= 4 and program.pauses
    program.fake.fault = lambda method, path: None
    program.undo()
    assert len(everything(state)) == 3


def test_a_request_that_is_carried_out_late_leaves_no_doubles(program_for, uninterrupted):
    """The gateway gives up, the program sends again, and then the server does what it was asked first."""
    state = fresh_state()
    program = program_for(state)
    create, late = state.create, []

    def slow(job, body):
        if not late:
            late.append((job, body))
            raise RefusedError(504, "gateway")
        made = create(job, body)
        if len(late) == 1:
            late.append(create(*late[0]))
        return made

    state.create = slow
    program.propagate()
    assert len(late) == 2 and everything(state) == uninterrupted["as-drawn"]
    program.undo()
    assert len(everything(state)) == 3


def test_what_is_finished_is_written_though_the_rest_cannot_be_read(program_for):
    state = fresh_state()
    state.tasks[TASK].broken_chunks = (9,)  # the last frames
    program = program_for(state)
    assert "frames 36 to 39 cannot be had" in program.attempt().error
    frames = {s["frame"] for s in state.jobs[8][1].shapes}
    assert {20, 29} <= frames
    state.tasks[TASK].broken_chunks = ()
    program.propagate()
    assert {s["frame"] for s in state.jobs[8][1].shapes} == set(range(20, LENGTH))


def test_a_server_that_is_gone_ends_the_run_and_the_next_one_goes_on(program_for, uninterrupted):
    state = fresh_state()
    program = program_for(state)
    program.server = program.log_in(patience=0.0)
    program.fake.fault = lambda method, path: "before" if method == "PATCH" else None
    outcome = program.attempt()
    assert "no connection" in outcome.error and "run again" in outcome.error and "\n" not in outcome.error
    program.fake.fault = lambda method, path: None
    program.propagate()
    assert everything(state) == uninterrupted["as-drawn"]


def test_only_one_run_works_on_a_task(program_for):
    state = fresh_state()
    program = program_for(state)
    with program.journal():
        outcome = program.attempt()
    assert "another run of Perclip works on this task" in outcome.error


def test_a_resumed_run_is_planned_as_the_interrupted_one_was(tmp_path, monkeypatch):
    """Stretches that are finished do not change what the network is given for the others."""
    monkeypatch.setattr("plugin.cvat.run.task_writer._LEAST_SECONDS", 0.0)
    monkeypatch.setattr("plugin.cvat.run.task_writer._PATIENCE", 0.0)
    state = state_of(blank_task(LENGTH))
    cars, people = [mask_shape(f, square(2, 2)) for f in (0, 30)], [mask_shape(f, square(20, 9), 2) for f in (0, 20)]
    draw(state, shapes=[*cars, *people])
    lengths = []
    with FakeCvat(state) as fake:
        for _ in range(30):
            fake.fault = lambda method, path: None
            program = Program(fake, tmp_path)
            left = [4]
            fake.fault = lambda method, path, left=left: _fails_after(left, method)
            program.server = program.log_in(patience=0.0)
            outcome = program.attempt()
            lengths += program.engine.lengths
            if outcome.error is None:
                break
    assert len(lengths) > 3 and set(lengths) == {LENGTH}
    assert len(state.jobs[JOB][1].shapes) == 2 * LENGTH


def _fails_after(left: list[int], method: str) -> str | None:
    left[0] -= method == "PATCH"
    return "after" if left[0] < 0 else None
