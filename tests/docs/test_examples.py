"""The documents' examples are run, in their order, in a folder with small files of the names that they use."""

import doctest
import importlib.util
import os
import re
import shlex
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import torch

from model import evaluate
from model.network.checkpoint_files import shipped_path
from model.program.command_line import Parser
from model.training.arguments import add_arguments
from plugin.cli import cvat, main
from serverless.local_server import LocalServer
from tests.cvat_server import FakeCvat
from tests.cvat_server.server import TOKEN
from tests.docs.desk import cvat_tasks, lay_out
from tests.docs.pages import OWN, ROOT, Block, blocks, name_of

_SMALL = {
    ("propagate",): "--short-side 48 --clip-length 25 --device cpu",
    ("cvat", "propagate"): "--short-side 64 --device cpu",
    ("train",): "--device cpu --threads 1 --iterations 1 --crop 64 --batch 1 --clip-frames 1",
}
"""Options that make a command of an example cheap; of an option that is given twice the last one counts."""

_PRINTED = ("docs/python-api.md", "docs/function.md")
"""Pages whose examples are run by a test that looks at what they print."""

_ELSEWHERE = ("docker", "source", ".ci/run")
"""Commands that need another machine, or change nothing that could be checked."""


@pytest.fixture(scope="module")
def laid_out(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("desk")
    lay_out(folder)
    return folder


@pytest.fixture
def desk(laid_out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ExitStack]:
    """The folder that examples run in; what they start ends with it."""
    shutil.copytree(laid_out, tmp_path / "desk")
    monkeypatch.chdir(tmp_path / "desk")
    for name in ("XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))
    for name, value in (("PERCLIP_SHORT_SIDE", "96"), ("PERCLIP_DEVICE", "cpu"), ("CVAT_ACCESS_TOKEN", TOKEN)):
        monkeypatch.setenv(name, value)
    threads = torch.get_num_threads()
    with ExitStack() as stack:
        yield stack
    torch.set_num_threads(threads)


class Shell:
    """Runs the commands of a page; servers that they name are started when they are needed."""

    def __init__(self, started: ExitStack):
        self._started = started
        self._addresses: dict[str, str] = {}

    def serve(self, address: str) -> str:
        """A function on this machine, instead of one that an example calls."""
        if address not in self._addresses:
            server = LocalServer("127.0.0.1", 0)
            for part in (server.listen, server.work):
                threading.Thread(target=part, daemon=True).start()
            self._started.callback(server.shutdown)
            self._addresses[address] = f"http://127.0.0.1:{server.server_address[1]}"
        return self._addresses[address]

    def run(self, line: str) -> None:
        """One command; fails the test where it fails."""
        words = shlex.split(line.replace("$URL", self._cvat() if "$URL" in line else ""), comments=True)
        if not words:
            return
        actions: dict[str, Callable[[list[str]], None]] = {
            "perclip": self._perclip,
            "python": self._python,
            "make": self._make,
            "export": lambda settings: _settings(settings),
            "serverless/deploy.sh": self._deploy,
        }
        words = [word for word in words if not re.fullmatch(r"[A-Z_]+=\d+", word)]  # OMP_NUM_THREADS=1 python ...
        if words[0] not in _ELSEWHERE:
            assert words[0] in actions, f"nobody knows how to check: {line}"
            actions[words[0]](words[1:])

    def _cvat(self) -> str:
        if "$URL" not in self._addresses:
            self._addresses["$URL"] = self._started.enter_context(FakeCvat(cvat_tasks())).url
        return self._addresses["$URL"]

    def _perclip(self, words: list[str]) -> None:
        words = [re.sub(r"http://gpu\d:\d+", lambda m: self.serve(m[0]), word) for word in words]
        plain = {"--help", "--version", "--function-url"} & set(words)
        small = next((more for name, more in _SMALL.items() if words[: len(name)] == list(name)), "")
        if words[0] == "propagate" and "--format" not in words:
            small += " --format none"  # pictures and pages cost most, and one example makes all of them
        if "--learn" in words:
            small += " --learn 0.001"  # too short to learn anything, which it says
        if words[:2] == ["cvat", "learn"] or ("learned" in words and "cvat" in words):
            # Whether anything better is learned is not known beforehand: only the options are checked.
            parser = Parser(prog="perclip")
            cvat.add_arguments(parser)
            parser.parse_args(words[1:])
            return
        # No checkpoint of others ships: one that does takes its place.
        others = {"stcn": "perclip-lite", "stcn.pth": str(shipped_path("perclip-lite"))}
        words = [others.get(word, word) for word in words]
        assert _code(main, [*words, *([] if plain else small.split())]) == 0
        if "--dry-run" not in words:
            for option in {"--out", "--report"} & set(words):
                assert Path(words[words.index(option) + 1]).exists()

    def _python(self, words: list[str]) -> None:
        assert words[0] == "-m"
        module, rest = words[1], words[2:]
        assert module == "pytest" or importlib.util.find_spec(module)
        if module == "pytest":
            assert all((ROOT / path).exists() for path in rest)
        elif module == "model.evaluate":
            assert _code(evaluate.main, [*rest, "--short-side", "96", "--device", "cpu"]) == 0
        elif (
            module == "model.training" and "--help" not in rest
        ):  # its data does not ship: only the options are checked
            parser = Parser(prog=module)
            add_arguments(parser)
            parser.parse_args(rest)

    @staticmethod
    def _make(words: list[str]) -> None:
        makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
        for word in words:
            name = word.partition("=")[0]
            assert re.search(rf"^{name}:" if "=" not in word else rf"\$\({name}\)", makefile, re.MULTILINE), word

    @staticmethod
    def _deploy(words: list[str]) -> None:
        script = (ROOT / "serverless" / "deploy.sh").read_text(encoding="utf-8")
        assert words[0] in ("gpu", "cpu") and all(word in script for word in words[1:])


def _settings(words: list[str]) -> None:
    """`export NAME=value`: only what is not set is taken over."""
    for word in words:
        name, equals, value = word.partition("=")
        assert equals
        os.environ.setdefault(name, value)


def _code(program: Callable[[list[str]], int], words: list[str]) -> int:
    try:
        return program(words)
    except SystemExit as left:  # --help, and what argparse refuses
        return left.code or 0


def _commands(block: Block) -> list[str]:
    return block.text.replace("\\\n", " ").splitlines()


def _check_console(shell: Shell, block: Block, capsys: pytest.CaptureFixture[str]) -> None:
    """Commands behind `$ `, each with what it prints."""
    for command, expected in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block.text, re.MULTILINE):
        capsys.readouterr()
        shell.run(command)
        said = capsys.readouterr().out
        assert doctest.OutputChecker().check_output(expected, said, doctest.ELLIPSIS), said


@pytest.mark.parametrize("page", [page for page in OWN if blocks(page) and name_of(page) not in _PRINTED], ids=name_of)
def test_the_examples_run(page, desk, capsys):
    shell, names = Shell(desk), {}
    for block in blocks(page):
        if block.language == "bash":
            for line in _commands(block):
                shell.run(line)
        elif block.language == "console":
            _check_console(shell, block, capsys)
        else:
            assert block.language == "python"
            code = re.sub(r"http://127\.0\.0\.1:8070", lambda m: shell.serve(m[0]), block.text)
            exec(compile("\n" * (block.line - 1) + code, str(page), "exec"), names)


def test_what_the_python_examples_print(desk, capsys):
    shell, names = Shell(desk), {}
    page = blocks(ROOT / "docs" / "python-api.md")
    first, overlapping, repaired, refused = [b.text for b in page if b.language == "python"]
    exec(first, names)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [str(i) for i in range(10)] and "[0 1 2]" in lines[0]
    exec(overlapping, names)
    assert capsys.readouterr().out == "".join(f"{i} True True\n" for i in range(3))
    exec(repaired, names)
    assert capsys.readouterr().out == "[5, 6, 7, 8, 9] True\n"
    exec(refused, names)
    assert "draw it at the frames' size" in capsys.readouterr().out
    (call,) = [b.text for b in blocks(ROOT / "docs" / "function.md") if b.language == "python"]
    exec(call.replace("http://127.0.0.1:8070", shell.serve("")), {})
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["0", "1", "2"] and "ball" in lines[-1]


def test_an_example_that_is_wrong_is_found(desk, capsys):
    shell = Shell(desk)
    for line in (
        "perclip propagate clip.mp4 --keyframe 0=gone.png --out result",
        "perclip propagate clip.mp4 --no-such-option",
        "perclip cvat propagate --url $URL --task 99",
        "python -m model.training --no-such-option 3",
        "python -m benchmarks.gone",
        "make gone",
        "serverless/deploy.sh gpu --gone",
        "something --else",
    ):
        with pytest.raises((AssertionError, SystemExit)):
            shell.run(line)
    with pytest.raises(AssertionError):
        _check_console(shell, Block("console", "$ perclip --version\nperclip 9.9\n", 1), capsys)
