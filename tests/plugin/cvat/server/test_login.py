"""Logging in: secrets come from safe places and are never shown; whatever fails is one line that names the server."""

import socket
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from io import StringIO

import pytest

from model.errors import InputError, PerclipError
from plugin.cvat.server.client import Server
from plugin.cvat.server.errors import ConnectionLostError, CvatError
from plugin.cvat.server.login import Login, read_login
from plugin.cvat.task.layout import read_task
from tests.cvat_server import FakeCvat
from tests.cvat_server.server import PASSWORD, TOKEN, USER
from tests.plugin.cvat.program import JOB, TASK, blank_task, state_of

URL = "https://cvat.example.org"


@pytest.fixture
def fake() -> Iterator[FakeCvat]:
    with FakeCvat(state_of(blank_task())) as server:
        yield server


@contextmanager
def web_site(status: int, page: bytes) -> Iterator[str]:
    """A server that is no CVAT: it answers everything with one page."""

    class Site(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(status)
            self.send_header("Content-Length", str(len(page)))
            self.end_headers()
            self.wfile.write(page)

        do_GET = do_POST = answer  # noqa: N815

    with HTTPServer(("127.0.0.1", 0), Site) as site:
        threading.Thread(target=site.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{site.server_address[1]}"
        site.shutdown()


def refused_login(login: Login, *secrets: str, patience: float = 0) -> CvatError:
    """The error of a login that fails: one line that names the server, and no secret in its whole traceback."""
    with pytest.raises(CvatError) as caught:
        Server(login, patience, pause=lambda seconds: None, tell=lambda line: None)
    text = str(caught.value)
    assert "\n" not in text and f"{login.url}" in text
    shown = "".join(traceback.format_exception(caught.value))
    assert not [secret for secret in secrets if secret in shown]
    return caught.value


def paths(fake: FakeCvat, start: str) -> list[str]:
    return [path for _, path in fake.log if path.startswith(start)]


def test_the_token_comes_from_the_environment():
    login = read_login(URL, None, None, "org", environment={"CVAT_ACCESS_TOKEN": "t0ken"})
    assert (login.token, login.user, login.organization) == ("t0ken", None, "org")


def test_the_token_comes_from_the_first_line_of_a_file(tmp_path, capsys):
    file = tmp_path / "token"
    file.write_text(" t0ken \nmade in May\n")
    login = read_login(URL, f"@{file}", None, None, environment={"CVAT_ACCESS_TOKEN": "other"})
    assert login.token == "t0ken" and capsys.readouterr().err == ""


def test_a_token_on_the_command_line_works_and_is_warned_of(capsys):
    login = read_login(URL, "t0ken", None, None, environment={"CVAT_ACCESS_TOKEN": "other"})
    notice = capsys.readouterr().err
    assert login.token == "t0ken"
    assert "list of processes" in notice and "CVAT_ACCESS_TOKEN" in notice and "t0ken" not in notice


@pytest.mark.parametrize("content", [None, b"", b"\n", b"\xff\xfe\x00"], ids=["missing", "empty", "blank", "binary"])
def test_a_token_file_without_a_token_is_an_error(tmp_path, content):
    file = tmp_path / "token"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_login(URL, f"@{file}", None, None, environment={})
    assert "\n" not in str(caught.value)


def test_a_token_that_would_break_the_header_is_an_error_that_does_not_show_it():
    with pytest.raises(InputError) as caught:
        read_login(URL, None, None, None, environment={"CVAT_ACCESS_TOKEN": "t0ken\r\nX-Evil: 1"})
    assert "t0ken" not in str(caught.value)


def test_the_password_comes_from_the_environment_and_a_user_goes_before_its_token():
    secrets = {"CVAT_PASSWORD": "pa ss", "CVAT_ACCESS_TOKEN": "t0ken"}
    login = read_login(URL, None, "anna", None, environment=secrets)
    assert (login.user, login.password, login.token) == ("anna", "pa ss", None)


def test_without_a_terminal_nobody_is_asked_for_a_password(monkeypatch):
    monkeypatch.setattr("sys.stdin", StringIO("typed\n"))
    with pytest.raises(InputError, match="CVAT_PASSWORD"):
        read_login(URL, None, "anna", None, environment={"CVAT_ACCESS_TOKEN": "t0ken"})


def test_at_a_terminal_the_password_is_asked_for_without_echo(monkeypatch):
    class Terminal:
        def isatty(self) -> bool:
            return True

    asked = []
    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setattr("getpass.getpass", lambda prompt, stream: asked.append(prompt) or "pa ss")
    login = read_login(URL, None, "anna", None, environment={})
    assert login.password == "pa ss" and len(asked) == 1 and "anna" in asked[0] and URL in asked[0]


def test_nobody_and_two_at_once_cannot_log_in():
    with pytest.raises(InputError, match="CVAT_ACCESS_TOKEN"):
        read_login(URL, None, None, None, environment={})
    with pytest.raises(InputError, match="not both"):
        read_login(URL, "t0ken", "anna", None, environment={"CVAT_PASSWORD": "pa ss"})


def test_a_login_never_shows_its_secrets():
    shown = f"{Login(URL, 't0ken')!r} {Login(URL, None, 'anna', 'pa ss')}"
    assert "anna" in shown and URL in shown
    assert "t0ken" not in shown and "pa ss" not in shown


def test_a_wrong_token_is_one_line_without_the_token(fake):
    error = refused_login(Login(fake.url, "wr0ng-t0ken"), "wr0ng-t0ken")
    assert "token" in str(error) and error.status == 401


def test_a_wrong_password_is_one_line_without_the_password(fake):
    error = refused_login(Login(fake.url, None, USER, "wr0ng"), "wr0ng")
    assert USER in str(error) and "password" in str(error)
    assert len(paths(fake, "/api/auth/login")) == 1  # a wrong one is never tried again: that locks people out


def test_user_and_password_log_in_once_and_out_at_the_end(fake):
    with Server(Login(fake.url, None, USER, PASSWORD)) as server:
        assert read_task(server, TASK).id == TASK
        server.patch(f"/api/jobs/{JOB}/annotations", {"shapes": []}, repeatable=True, action="create")
    assert len(paths(fake, "/api/auth/login")) == len(paths(fake, "/api/auth/logout")) == 1


def test_a_throttled_login_waits_as_the_server_says(fake):
    fake.anonymous[:] = [time.monotonic()] * 100
    waits = []

    def pause(seconds: float) -> None:
        waits.append(seconds)
        fake.anonymous.clear()

    with Server(Login(fake.url, None, USER, PASSWORD), pause=pause):
        assert waits == [1.0]
    assert len(fake.sessions) == 1 and len(paths(fake, "/api/auth/login")) == 2


def test_a_login_that_stays_throttled_gives_up(fake):
    fake.anonymous[:] = [time.monotonic()] * 100
    error = refused_login(Login(fake.url, None, USER, PASSWORD), PASSWORD)
    assert "busy" in str(error) and error.status == 429 and "run again later" in str(error)


def test_the_organization_decides_which_tasks_are_seen():
    with FakeCvat(state_of(blank_task(organization="org"))) as fake:
        with Server(Login(fake.url, TOKEN, organization="org")) as server:
            assert read_task(server, TASK).id == TASK
        with Server(Login(fake.url, TOKEN)) as server, pytest.raises(CvatError, match="--organization"):
            read_task(server, TASK)


@pytest.mark.parametrize("secrets", [("t0ken", None, None), (None, USER, PASSWORD)], ids=["token", "password"])
def test_a_server_that_is_not_there_is_one_line(secrets):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        login = Login(f"http://127.0.0.1:{free.getsockname()[1]}", *secrets)
    error = refused_login(login, "t0ken", PASSWORD)
    assert isinstance(error, ConnectionLostError) and "no connection" in str(error)


@pytest.mark.parametrize("secrets", [("t0ken", None, None), (None, USER, PASSWORD)], ids=["token", "password"])
@pytest.mark.parametrize("status", [404, 200])
def test_a_site_that_is_no_cvat_is_called_so(secrets, status):
    with web_site(status, b"<html>\n<h1>Welcome</h1>\n</html>") as url:
        assert "CVAT" in str(refused_login(Login(url, *secrets), "t0ken", PASSWORD))


@pytest.mark.parametrize("url", ["", "http://", "ftp://cvat.example.org", "http://cvat example.org:99999"])
def test_an_address_that_is_none_is_one_line(url):
    with pytest.raises(PerclipError) as caught:
        Server(Login(url, TOKEN), patience=0)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_reading_is_tried_again_when_the_server_is_busy(fake, status):
    waits = []
    with Server(Login(fake.url, TOKEN), pause=waits.append) as server:
        fake.log.clear()
        fake.fault = lambda method, path: status if len(fake.log) <= 2 else None
        assert server.get(f"/api/tasks/{TASK}")["id"] == TASK
        assert len(fake.log) == 3 and len(waits) == 2 and all(0 < wait < 5 for wait in waits)


class SlowAnswers:
    """Stands for clock and sleep: every answer takes as long as a gateway allows, and waiting takes its time."""

    def __init__(self, fake: FakeCvat, monkeypatch: pytest.MonkeyPatch, answer: float = 50.0):
        self.now, self.waits = 0.0, []
        self._answer = answer
        monkeypatch.setattr("plugin.cvat.server.patience.time.monotonic", lambda: self.now)
        self._fault, fake.fault = fake.fault, self._take_time

    def _take_time(self, method: str, path: str) -> str | int | None:
        self.now += self._answer
        return self._fault(method, path)

    def pause(self, seconds: float) -> None:
        self.now += seconds
        self.waits.append(seconds)


def test_who_asks_to_be_waited_for_is_waited_for_however_long_the_answers_take(fake, monkeypatch):
    """A chunk that is being made: 429 after 50 s, several times, each of them a sign of life."""
    told = []
    with Server(Login(fake.url, TOKEN), patience=60, tell=told.append) as server:
        clock = SlowAnswers(fake, monkeypatch)
        server.pause = clock.pause
        fake.state.tasks[TASK].slow_chunks = {0: 5}
        assert server.get_bytes(f"/api/tasks/{TASK}/data", "frames 0 to 3", type="chunk", number=0)
    assert clock.waits == [10.0] * 5
    assert len(told) == 1 and "preparing frames 0 to 3" in told[0] and "10 s" in told[0]


def test_a_server_that_asks_to_be_waited_for_for_ever_is_given_up(fake):
    told, waits = [], []
    with Server(Login(fake.url, TOKEN), 60, waits.append, told.append) as server:
        fake.state.tasks[TASK].slow_chunks = {0: 10**6}
        with pytest.raises(CvatError, match=r"busy.*run again later"):
            server.get_bytes(f"/api/tasks/{TASK}/data", type="chunk", number=0)
    assert 1000 < sum(waits) <= 1800 and 10 < len(told) < 40  # now and then, as a night is long


@pytest.mark.parametrize("fault", ["before", 502])
def test_patience_lasts_from_the_last_sign_of_life(fake, monkeypatch, fault):
    """Faults that come again and again, with a server in between that says that it works."""
    with Server(Login(fake.url, TOKEN), patience=60, tell=lambda line: None) as server:
        clock = SlowAnswers(fake, monkeypatch)
        server.pause = clock.pause
        fake.state.tasks[TASK].slow_chunks = {0: 4}
        faults = iter([fault, None] * 4)
        clock._fault = lambda method, path: next(faults, None)
        assert server.get_bytes(f"/api/tasks/{TASK}/data", type="chunk", number=0)


@pytest.mark.parametrize("asked", ["date", "7", ""])
def test_both_forms_of_retry_after_are_understood(fake, asked):
    in_five_minutes = datetime.now(UTC) + timedelta(seconds=300)
    fake.state.tasks[TASK].retry_after = format_datetime(in_five_minutes, usegmt=True) if asked == "date" else asked
    waits = []
    with Server(Login(fake.url, TOKEN), 60, waits.append, lambda line: None) as server:
        fake.state.tasks[TASK].slow_chunks = {0: 1}
        server.get_bytes(f"/api/tasks/{TASK}/data", type="chunk", number=0)
    assert len(waits) == 1 and {"date": 290 <= waits[0] <= 300, "7": waits[0] == 7, "": waits[0] == 10}[asked]


def test_a_request_that_fails_after_its_patience_has_run_out_is_still_tried_again(fake, monkeypatch):
    """Patience is for silence: the time that a first answer took does not count."""
    with Server(Login(fake.url, TOKEN), patience=5) as server:
        clock = SlowAnswers(fake, monkeypatch)
        server.pause = clock.pause
        broken = iter(["before"])
        clock._fault = lambda method, path: next(broken, None)
        assert server.get(f"/api/tasks/{TASK}")["id"] == TASK


@pytest.mark.parametrize("status", [400, 403, 404, 500])
def test_a_refusal_is_final(fake, status):
    with Server(Login(fake.url, TOKEN), pause=lambda seconds: None) as server:
        fake.log.clear()
        fake.fault = lambda method, path: status
        with pytest.raises(CvatError) as caught:
            server.get(f"/api/tasks/{TASK}")
        assert caught.value.status == status and "\n" not in str(caught.value) and fake.url in str(caught.value)
        assert len(fake.log) == 1


@pytest.mark.parametrize("fault", ["before", "after"])
def test_reading_goes_on_when_the_connection_comes_back(fake, fault):
    with Server(Login(fake.url, TOKEN), pause=lambda seconds: None) as server:
        fake.log.clear()
        fake.fault = lambda method, path: fault if len(fake.log) == 1 else None
        assert server.get(f"/api/tasks/{TASK}")["id"] == TASK


@pytest.mark.parametrize("fault", ["before", "after", 502, 504])
def test_what_may_have_been_done_is_not_sent_twice(fake, fault):
    with Server(Login(fake.url, TOKEN), pause=lambda seconds: None) as server:
        fake.log.clear()
        fake.fault = lambda method, path: fault
        with pytest.raises(ConnectionLostError):
            server.patch(f"/api/jobs/{JOB}/annotations", {"shapes": []}, repeatable=False, action="create")
        assert [method for method, _ in fake.log] == ["PATCH"]


def test_what_may_be_repeated_is_sent_again(fake):
    with Server(Login(fake.url, TOKEN), pause=lambda seconds: None) as server:
        fake.log.clear()
        fake.fault = lambda method, path: "after" if len(fake.log) == 1 else None
        server.patch(f"/api/jobs/{JOB}/annotations", {"shapes": []}, repeatable=True, action="delete")
        assert [method for method, _ in fake.log] == ["PATCH", "PATCH"]
