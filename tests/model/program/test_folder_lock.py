"""One run at a time works in a folder, a kill lets others in, and a removed folder is noticed."""

import errno
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from model.errors import InputError
from model.program import folder_lock
from model.program.folder_lock import LOCK_FILE, FolderLock

HOLDER = """
import os, sys, time
from pathlib import Path
from model.program.folder_lock import FolderLock
lock = FolderLock(Path(sys.argv[1]))
if len(sys.argv) > 2:  # as the workers of a training, which may outlive it for a while
    ready, told = os.pipe()
    if os.fork() == 0:
        os.write(told, b"!")
        time.sleep(60)
    os.read(ready, 1)
print("held", flush=True)
time.sleep(60)
"""


def never(seconds: float) -> None:
    raise AssertionError("a run of this machine is not waited for")


def write_mark(folder: Path, **mark: object) -> None:
    folder.mkdir(exist_ok=True)
    (folder / LOCK_FILE).write_text(json.dumps({"host": "far", "pid": 7, "machine": "another", "beat": 1} | mark))


def test_a_second_run_is_refused_until_the_first_has_ended(tmp_path):
    with FolderLock(tmp_path / "a") as lock:
        with pytest.raises(InputError, match=f"another run works in .*process {os.getpid()} on ") as caught:
            FolderLock(tmp_path / "a")
        assert "\n" not in str(caught.value)
        with FolderLock(tmp_path / "b"):
            lock.check()
    assert not (tmp_path / "a" / LOCK_FILE).exists()
    with FolderLock(tmp_path / "a"):
        pass


@pytest.mark.parametrize("forked", [(), ("forked",)])
def test_a_kill_lets_others_in(tmp_path, forked):
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path), *forked], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(InputError, match=f"process {holder.pid} on "):
            FolderLock(tmp_path, never)
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        with FolderLock(tmp_path, never) as lock:
            lock.check()
    finally:
        holder.kill()
        holder.stdout.close()


def test_a_run_of_another_machine_that_gives_no_sign_of_life_was_killed(tmp_path):
    write_mark(tmp_path)
    waited = []
    with FolderLock(tmp_path, waited.append) as lock:
        lock.check()
    assert sum(waited) == folder_lock._SILENCE


@pytest.mark.parametrize("locks", [True, False])
def test_a_run_of_another_machine_that_lives_is_not_disturbed(tmp_path, monkeypatch, locks):
    """On a network folder whose locks hold on each machine alone, or not at all."""
    if not locks:
        monkeypatch.setattr(fcntl, "flock", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOLCK, "no locks")))
    write_mark(tmp_path)
    with pytest.raises(InputError, match="process 7 on far"):
        FolderLock(tmp_path, lambda seconds: write_mark(tmp_path, beat=2))
    assert json.loads((tmp_path / LOCK_FILE).read_text())["pid"] == 7


def test_without_locks_signs_of_life_tell_on_one_machine_too(tmp_path, monkeypatch):
    monkeypatch.setattr(fcntl, "flock", lambda *_: (_ for _ in ()).throw(OSError(errno.EOPNOTSUPP, "no locks")))
    with FolderLock(tmp_path) as lock:
        with pytest.raises(InputError, match=f"process {os.getpid()}"):
            FolderLock(tmp_path, lambda seconds: lock._beat())
        lock.check()


@pytest.mark.parametrize("content", [b"", b"\xff", b"[]", b"null", b"{}", b'{"beat": 1'])
def test_what_stands_in_a_left_lock_file_hinders_nobody(tmp_path, content):
    (tmp_path / LOCK_FILE).write_bytes(content)
    with FolderLock(tmp_path, never) as lock:
        lock.check()


@pytest.mark.parametrize("made_again", [False, True])
def test_a_removed_folder_is_noticed(tmp_path, made_again):
    with FolderLock(tmp_path / "a") as lock:
        shutil.rmtree(tmp_path / "a")
        if made_again:
            (tmp_path / "a").mkdir()
        with pytest.raises(InputError, match="removed while the run worked"):
            lock.check()
    assert (tmp_path / "a").exists() == made_again


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be used"):
        FolderLock(tmp_path / "file")
