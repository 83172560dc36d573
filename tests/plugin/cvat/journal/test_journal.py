"""The journal survives what happens to files."""

import errno
import os
import sqlite3

import pytest

from model.errors import InputError
from plugin.cvat.journal.journal import Done, Item, Journal, journal_path
from tests.cvat_server import FakeJob
from tests.plugin.cvat.program import JOB, TASK, blank_task, draw, mask_shape, square, state_of

ITEM = Item(JOB, "shapes", "d", 3, 3, 1, 5, "stretch")


def test_what_was_noted_is_there_after_it_was_closed(tmp_path):
    with Journal(tmp_path / "j.sqlite") as journal:
        noted = journal.intend([ITEM, ITEM])
        journal.confirm(noted[0].id, 77)
        with journal.together():
            journal.finish([Done("stretch", 3, 5, 0.25)])
    with Journal(tmp_path / "j.sqlite") as journal:
        assert [(i.server_id, i.is_written) for i in journal.items(JOB)] == [(77, True), (0, False)]
        assert journal.done() == {"stretch": {3: 0.25}}


def test_changes_happen_together_or_not_at_all(tmp_path):
    with Journal(tmp_path / "j.sqlite") as journal:
        with pytest.raises(ZeroDivisionError), journal.together():
            journal.finish([Done("stretch", 3, 5, 0.25)])
            _ = 1 / 0
        assert journal.done() == {}


def test_a_frame_is_done_for_one_stretch_of_an_object(tmp_path):
    with Journal(tmp_path / "j.sqlite") as journal:
        journal.finish([Done("old", 3, 5, 0.25), Done("old", 4, 5, 0.5)])
        journal.finish([Done("new", 3, 5, 0.75)])
        assert journal.done() == {"new": {3: 0.75}, "old": {4: 0.5}}


def test_reading_leaves_no_trace(tmp_path):
    path = tmp_path / "deep" / "j.sqlite"
    with Journal(path, read_only=True) as journal:
        journal.intend([ITEM])
    assert not path.parent.exists()
    with Journal(path) as journal:
        journal.intend([ITEM])
    content = path.read_bytes()
    with Journal(path) as writer, Journal(path, read_only=True) as reader:  # beside a run
        reader.intend([ITEM])
        assert len(reader.items()) == 2 and len(writer.items()) == 1
    assert path.read_bytes() == content


def test_one_run_at_a_time(tmp_path):
    with Journal(tmp_path / "j.sqlite"), pytest.raises(InputError, match="another run of Perclip"):
        Journal(tmp_path / "j.sqlite")
    Journal(tmp_path / "j.sqlite").close()


@pytest.mark.parametrize("spoil", ["text", "version", "folder"])
def test_a_file_that_is_none_is_refused_in_one_line(tmp_path, spoil):
    path = tmp_path / "j.sqlite"
    if spoil == "text":
        path.write_text("no database, but long enough to be taken for one by its first page " * 20)
    elif spoil == "folder":
        path.mkdir()
    else:
        Journal(path).close()
        base = sqlite3.connect(path)
        base.execute("UPDATE fact SET value = '99'")
        base.commit()
        base.close()
    with pytest.raises(InputError, match=r"journal .*j\.sqlite") as refused:
        Journal(path)
    assert "\n" not in str(refused.value)


def test_journals_of_servers_and_tasks_are_apart(tmp_path):
    paths = {
        journal_path(tmp_path, url, task)
        for url in ("https://cvat.example.org", "https://cvat.example.org:8443", "http://localhost:8080")
        for task in (1, 2)
    }
    assert len(paths) == 6 and all(tmp_path in p.parents for p in paths)


def test_a_full_disk_ends_the_run_and_the_next_one_goes_on(program_for, monkeypatch):
    state = state_of(blank_task(300, [FakeJob(JOB, 0, 299)]))
    draw(state, shapes=[mask_shape(0, square(2, 2))])
    program = program_for(state)
    program.propagate(frames=[range(0, 2)])
    real = Journal._prepare

    def small(self):
        real(self)
        pages = self._base.execute("PRAGMA page_count").fetchone()[0]
        self._base.execute(f"PRAGMA max_page_count = {pages}")  # SQLite says what it says where a disk is full

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "_prepare", small)
        outcome = program.attempt()
    assert "free some space, then run again" in outcome.error and "\n" not in outcome.error
    program.propagate()
    assert sorted(s["frame"] for s in state.jobs[JOB][1].shapes) == list(range(300))


def test_a_cache_without_space_says_so(program_for, monkeypatch):
    state = state_of(blank_task())
    draw(state, shapes=[mask_shape(0, square(2, 2))])
    program = program_for(state)

    def replace(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr("plugin.cvat.task.chunk_store.os.replace", replace)
        outcome = program.attempt(TASK)
    assert "no space left" in outcome.error and "\n" not in outcome.error
    assert not list(program.folder.glob("cache/*/*"))
    program.propagate()
