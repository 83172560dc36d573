"""Whatever becomes of standard input, output and error, a program does its work and its names can be read."""

import json
import os
import subprocess
import sys
import threading
from xml.etree import ElementTree
from xml.sax.saxutils import quoteattr

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.program.printable import printable
from model.program.standard_streams import _Bytes

MODELS = f"{sys.executable} -m plugin.cli models"


def shell(command: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        ["bash", "-c", command], capture_output=True, timeout=120, env={**os.environ, **environment}, errors="replace"
    )


@pytest.mark.parametrize(
    "streams", [">&-", "2>&-", ">&- 2>&- <&-", ">/dev/full", ">/dev/full 2>/dev/full", "| true", "2>&1 | true"]
)
def test_a_command_ends_well_whatever_its_streams_are(streams):
    done = shell(f"{MODELS} {streams}; exit ${{PIPESTATUS[0]}}")
    assert done.returncode == 0 and "Traceback" not in done.stderr and "Exception ignored" not in done.stderr


@pytest.mark.parametrize("streams", ["2>&-", ">/dev/full 2>/dev/full", ">&- 2>&-"])
def test_bad_input_is_told_by_the_exit_code_whatever_the_streams_are(streams):
    assert shell(f"{sys.executable} -m plugin.cli nothing {streams}").returncode == 2


def test_what_a_full_disk_swallows_is_told():
    done = shell(f"{MODELS} >/dev/full")
    assert done.stderr == "perclip: warning: what was printed is not whole (No space left on device)\n"


def test_a_file_that_is_opened_later_never_gets_what_is_printed(tmp_path):
    code = (
        "import sys, os; from model.program.standard_streams import settle_streams; settle_streams()\n"
        f"file = open({str(tmp_path / 'file')!r}, 'w'); os.write(1, b'noise'); os.write(2, b'noise')\n"
        "print('noise'); print('noise', file=sys.stderr); sys.stdin.read(); file.write('result')"
    )
    assert shell(f'{sys.executable} -c "$CODE" >&- 2>&- <&-', CODE=code).returncode == 0
    assert (tmp_path / "file").read_text() == "result"


@pytest.mark.parametrize("encoding", ["ascii", "ascii:strict", "latin-1", "utf-8", ""])
def test_names_that_the_output_cannot_show_are_escaped(tmp_path, encoding):
    name = os.fsdecode(b"caf\xe9 \xe4\xb8\xad.mp4")
    done = subprocess.run(
        [sys.executable, "-m", "plugin.cli", "propagate", tmp_path / name, "--keyframe", "0=m", "--out", tmp_path],
        capture_output=True,
        timeout=120,
        env={**os.environ, "PYTHONIOENCODING": encoding, "LC_ALL": "C"},
    )
    assert done.returncode == 2 and done.stderr.count(b"\n") == 1
    assert rb"caf\xe9 " in done.stderr


def test_an_output_that_is_not_ready_is_waited_for():
    """Whoever shares a pipe may have made it one that does not wait."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    received = bytearray()

    def read() -> None:
        while piece := os.read(reader, 65536):
            received.extend(piece)

    content = os.urandom(1 << 20)
    thread = threading.Thread(target=read)
    thread.start()
    rest, raw = memoryview(content), _Bytes(writer)
    while rest:
        rest = rest[raw.write(rest) :]
    os.close(writer)
    thread.join()
    os.close(reader)
    assert bytes(received) == content


@given(st.text(st.characters(codec=None)))
def test_printable_text_can_be_written_anywhere(text):
    shown = printable(text)
    assert shown.encode("utf-8").decode("utf-8") == shown == printable(shown)
    assert "\n" not in shown and len((shown + "x").splitlines()) == 1
    assert ElementTree.fromstring(f"<a b={quoteattr(shown)}/>").get("b") == shown
    assert json.loads(json.dumps(shown)) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain.jpg", "plain.jpg"),
        ("été 中 😀", "été 中 😀"),
        (os.fsdecode(b"\xe9t\xe90.jpg"), r"\xe9t\xe90.jpg"),
        ("été".encode().decode("ascii", "surrogateescape"), "été"),  # read where the locale is C
        ("a\nb\x00", r"a\x0ab\x00"),
        ("\ud800", r"\ud800"),
    ],
)
def test_names_are_shown_as_people_know_them(text, shown):
    assert printable(text) == shown
