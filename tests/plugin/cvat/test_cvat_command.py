"""`perclip cvat` as people run it."""

import re
import threading
import time

import numpy as np
import pytest

from plugin.cli import main
from plugin.cvat.open_task import Workplace
from plugin.cvat.run.bulk import BulkRun, Target, TargetFilter, find_targets
from plugin.cvat.server.client import Server
from plugin.cvat.server.errors import ConnectionLostError
from plugin.cvat.server.login import Login
from plugin.cvat.settings import BulkSettings
from tests.cvat_server import CvatState, FakeCvat, FakeJob, FakeLabel, FakeTask
from tests.cvat_server.server import PASSWORD, TOKEN, USER
from tests.plugin.cvat.program import HEIGHT, WIDTH, NearestKeyframe, draw, mask_shape, square


def squares_task(squares, number=12, job=7, **fields):
    task = FakeTask(number, squares.frames, [FakeJob(job, 0, 23)], [FakeLabel(1, "square")], chunk_size=10, **fields)
    return task


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("CVAT_ACCESS_TOKEN", TOKEN)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def cvat(fake, *arguments):
    return main(["cvat", arguments[0], "--url", fake.url, *arguments[1:]])


@pytest.mark.parametrize("is_video", [False, True])
def test_a_task_from_keyframe_to_report_and_back(place, squares, capsys, is_video):
    state = CvatState([squares_task(squares, is_video=is_video)])
    draw(state, shapes=[mask_shape(0, squares.labels[0] == i) for i in (1, 2)])
    with FakeCvat(state) as fake:
        assert cvat(fake, "propagate", "--task", "12", "--short-side", "96", "--report", "r.html") == 0
        out = capsys.readouterr().out
        assert "23 frames propagated, 46 annotations written" in out
        job = state.jobs[7][1]
        assert len(job.shapes) == 48
        page = (place / "r.html").read_text()
        assert f'href="{fake.url}/tasks/12/jobs/7?frame=' in page and "data:image/jpeg" in page
        assert page.count("<svg") == 2 and "<polyline" in page and "network" in page
        assert not re.findall(r'(?:src|href)="http(?!://127)', page)
        assert cvat(fake, "review", "--task", "12", "--doubt", "1", "--report", "r2.html") == 0
        assert f"{fake.url}/tasks/12/jobs/7?frame=" in capsys.readouterr().out
        assert cvat(fake, "undo", "--task", "12", "--dry-run") == 0 and len(job.shapes) == 48
        assert cvat(fake, "undo", "--task", "12") == 0 and len(job.shapes) == 2
        assert "46 of Perclip's own deleted, 0 kept" in capsys.readouterr().out


def test_logged_in_by_password_which_nobody_sees(place, squares, capsys, monkeypatch, caplog):
    monkeypatch.delenv("CVAT_ACCESS_TOKEN")
    monkeypatch.setenv("CVAT_PASSWORD", PASSWORD)
    state = CvatState([squares_task(squares)])
    draw(state, shapes=[mask_shape(0, squares.labels[0] == 1)])
    caplog.set_level(0)
    with FakeCvat(state) as fake:
        assert cvat(fake, "propagate", "--task", "12", "--short-side", "96", "--user", USER, "--frames", "1-3") == 0
        assert [m for m in fake.log if "login" in m[1]] == [("POST", "/api/auth/login")]
    said = capsys.readouterr()
    assert PASSWORD not in said.out + said.err + caplog.text
    assert len(state.jobs[7][1].shapes) == 4


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["propagate", "--task", "99"], "it is not there, or you may not see it"),
        (["propagate", "--job", "99"], "it is not there, or you may not see it"),
        (["propagate", "--project", "99"], "it is not there, or you may not see it"),
        (["propagate"], "Give --task, --job or --project"),
        (["propagate", "--task", "x"], "are no numbers"),
        (["propagate", "--task", "12", "--frames", "9-3"], "no frames like 0-99"),
        (["propagate", "--task", "12", "--min-confidence", "2"], "from 0 to 1"),
        (["propagate", "--task", "12", "--max-gap", "0"], "1 or more"),
        (["propagate", "--task", "12", "--clip-length", "0"], "clip_length must be at least 1"),
        (["propagate", "--task", "12", "--weights", "none.safetensors"], "cannot be read"),
        (["propagate", "--task", "12", "--function-url", "http://127.0.0.1:9/"], "is the function running"),
        (["propagate", "--task", "12"], "has no keyframe"),
        (["propagate", "--task", "12", "--report", "/dev/null/r.html"], "cannot write"),
        (["review", "--task", "12"], "Perclip has written nothing here"),
        (["undo", "--task", "12"], "Perclip has written nothing here"),
    ],
)
def test_errors_take_one_line(place, squares, capsys, monkeypatch, arguments, words):
    monkeypatch.setattr("plugin.cvat.engine.function_engine._PATIENCE", 0.0)
    with FakeCvat(CvatState([squares_task(squares)])) as fake:
        try:
            code = cvat(fake, *arguments)
        except SystemExit as left:
            code = left.code
    said = capsys.readouterr()
    assert code == 2 and words in said.err and "Traceback" not in said.err
    assert len([line for line in said.err.splitlines() if "error:" in line]) == 1


def many(state_tasks):
    frames = np.zeros((6, HEIGHT, WIDTH, 3), np.uint8)
    return [
        FakeTask(n, frames, [FakeJob(10 * n, 0, 5)], [FakeLabel(1, "car")], chunk_size=4, name=name, project=3, **more)
        for n, name, more in state_tasks
    ]


def run(fake, program_folder, targets, engine, parallel=1):
    server = Server(Login(fake.url, TOKEN), patience=0.0)
    settings, folder = BulkSettings(), program_folder
    engine.parallel = parallel
    bulk = BulkRun(Workplace(server, folder / "c", folder / "j"), engine, settings, TargetFilter())
    return bulk.run(targets)


def test_a_project_is_its_tasks_but_for_filters(tmp_path):
    tasks = many(
        [(1, "day", {}), (2, "night", {"subset": "train"}), (3, "night 2", {}), (4, "pcd", {"dimension": "3d"})]
    )
    with FakeCvat(CvatState(tasks, projects=[3])) as fake:
        server = Server(Login(fake.url, TOKEN))

        def found(**chosen):
            return [t.task for t in find_targets(server, [], [], [3], TargetFilter(**chosen))[0]]

        assert found() == [1, 2, 3] and found(name="night") == [2, 3] and found(subset="train") == [2]
        assert found(limit=2) == [1, 2]
        targets, refused = find_targets(server, [3], [10, 30, 99], [3, 4], TargetFilter())
        assert [(t.task, t.jobs) for t in targets] == [(3, None), (1, (10,)), (2, None)]
        assert len(refused) == 2 and all("not there" in why for why in refused)


@pytest.mark.parametrize("parallel", [1, 3])
def test_a_task_that_fails_does_not_stop_the_others(tmp_path, parallel):
    state = CvatState(many([(n, f"t{n}", {}) for n in range(1, 6)]))
    for n in (1, 2, 4, 5):
        draw(state, 10 * n, shapes=[mask_shape(0, square(2, 2))])
    state.tasks[4].broken_chunks = (0,)
    with FakeCvat(state) as fake:
        outcomes = run(fake, tmp_path, [Target(n, None, 6) for n in range(1, 6)], NearestKeyframe(), parallel)
    assert [bool(o.error) for o in outcomes] == [False, False, False, True, False]
    assert "has no keyframe" in outcomes[2].warnings[0]
    assert [len(state.jobs[10 * n][1].shapes) for n in range(1, 6)] == [6, 6, 0, 1, 6]


def test_tasks_run_side_by_side_where_there_are_functions(tmp_path):
    state = CvatState(many([(n, f"t{n}", {}) for n in (1, 2)]))
    for n in (1, 2):
        draw(state, 10 * n, shapes=[mask_shape(0, square(2, 2))])
    together = threading.Barrier(2, timeout=20)

    class Meeting(NearestKeyframe):
        def run(self, *args, **options):
            together.wait()
            return super().run(*args, **options)

    with FakeCvat(state) as fake:
        outcomes = run(fake, tmp_path, [Target(1, None, 6), Target(2, None, 6)], Meeting(), parallel=2)
    assert [o.error for o in outcomes] == [None, None]


def test_the_stretches_of_one_task_run_side_by_side_too(tmp_path):
    state = CvatState(many([(1, "t", {})]))
    draw(state, 10, shapes=[mask_shape(f, square(2 + 5 * f, 2)) for f in (0, 3)])
    together = threading.Barrier(2, timeout=20)

    class Meeting(NearestKeyframe):
        parallel = 2

        def run(self, *args, **options):
            together.wait()
            return super().run(*args, **options)

    with FakeCvat(state) as fake:
        outcomes = run(fake, tmp_path, [Target(1, None, 6)], Meeting(), parallel=2)
    assert outcomes[0].error is None and outcomes[0].frames == 4
    assert sorted(s["frame"] for s in state.jobs[10][1].shapes) == list(range(6))


@pytest.mark.parametrize("parallel", [1, 2])
def test_a_server_that_is_gone_ends_the_whole_run(tmp_path, parallel):
    state = CvatState(many([(n, f"t{n}", {}) for n in (1, 2, 3, 4)]))
    with FakeCvat(state) as fake:

        class Cut(NearestKeyframe):
            def run(self, *args, **options):
                fake.fault = lambda method, path: "before"
                raise ConnectionLostError("no connection: run again to go on")

        for n in (1, 2, 3, 4):
            draw(state, 10 * n, shapes=[mask_shape(0, square(2, 2))])
        outcomes = run(fake, tmp_path, [Target(n, None, 6) for n in (1, 2, 3, 4)], Cut(), parallel)
    assert "no connection" in outcomes[0].error and outcomes[3].error == "not begun"


@pytest.mark.parametrize("parallel", [1, 2])
def test_ctrl_c_keeps_what_is_written_and_the_next_run_goes_on(tmp_path, parallel):
    state = CvatState(many([(n, f"t{n}", {}) for n in (1, 2)]))
    for n in (1, 2):
        draw(state, 10 * n, shapes=[mask_shape(0, square(2, 2))])

    class Interrupted(NearestKeyframe):
        def run(self, *args, **options):
            for number, result in enumerate(super().run(*args, **options)):
                if number == 3:
                    raise KeyboardInterrupt
                yield result

    targets = [Target(1, None, 6), Target(2, None, 6)]
    with FakeCvat(state) as fake:
        with pytest.raises(KeyboardInterrupt):
            run(fake, tmp_path, targets, Interrupted(), parallel)
        run(fake, tmp_path, targets, NearestKeyframe())
    assert [len(state.jobs[10 * n][1].shapes) for n in (1, 2)] == [6, 6]


def test_a_lost_answer_in_one_task_does_not_end_the_others(tmp_path):
    state = CvatState(many([(n, f"t{n}", {}) for n in (1, 2)]))
    for n in (1, 2):
        draw(state, 10 * n, shapes=[mask_shape(0, square(2, 2))])
    with FakeCvat(state) as fake:
        fake.fault = lambda method, path: "before" if method == "PATCH" and "/jobs/10/" in path else None
        outcomes = run(fake, tmp_path, [Target(1, None, 6), Target(2, None, 6)], NearestKeyframe())
    assert "no connection" in outcomes[0].error and outcomes[1].error is None


@pytest.mark.parametrize("parallel", [1, 2])
def test_ctrl_c_is_heard_though_a_function_hangs(tmp_path, parallel):
    state = CvatState(many([(n, f"t{n}", {}) for n in (1, 2)]))
    for n in (1, 2):
        draw(state, 10 * n, shapes=[mask_shape(0, square(2, 2))])
    hanging: list[threading.Thread] = []
    is_over = threading.Event()

    class Hangs(NearestKeyframe):
        def run(self, *args, **options):
            if parallel == 2 and threading.current_thread() is not threading.main_thread() and not hanging:
                hanging.append(threading.current_thread())
                is_over.wait(120)
            raise KeyboardInterrupt

    with FakeCvat(state) as fake:
        began = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            run(fake, tmp_path, [Target(1, None, 6), Target(2, None, 6)], Hangs(), parallel)
        assert time.monotonic() - began < 100
        # A run leaves behind what hangs, with all that it has in use; the tests behind this one shall not meet it.
        is_over.set()
        for thread in hanging:
            thread.join()


def test_jobs_are_chosen_by_state_and_stage_and_unknown_words_are_refused(place, squares, capsys):
    task = squares_task(squares)
    task.jobs[0].state = "completed"
    state = CvatState([task])
    draw(state, shapes=[mask_shape(0, squares.labels[0] == 1)])
    with FakeCvat(state) as fake:
        for more in (["--state", "new,in progress"], ["--stage", "acceptance"]):
            cvat(fake, "propagate", "--task", "12", "--short-side", "48", *more)
            assert len(state.jobs[7][1].shapes) == 1, "the job is not among them"
        chosen = ["--state", "rejected, completed", "--stage", "annotation", "--frames", "0-2"]
        assert cvat(fake, "propagate", "--task", "12", "--short-side", "48", *chosen) == 0
        assert len(state.jobs[7][1].shapes) > 1
        capsys.readouterr()
        for more in (["--state", "complete"], ["--stage", "review"], ["--state", ","]):
            with pytest.raises(SystemExit) as left:
                cvat(fake, "propagate", "--task", "12", *more)
            error = capsys.readouterr().err
            assert left.value.code == 2 and len(error.splitlines()) == 1 and more[0] in error
