"""plugin/ui/perclip: its types, its modules in node, and the whole action in Chromium before the real function."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

_HERE = Path(__file__).parent
_CHROMIUM = [os.environ.get("CHROMIUM", "chromium"), "chromium-browser", "google-chrome"]


def _node(*arguments: str, seconds: float) -> subprocess.CompletedProcess[str]:
    """What node says; PYTHON names the interpreter for servers that the tests start."""
    environment = os.environ | {"PYTHON": sys.executable}
    return subprocess.run(
        ["node", *arguments],
        cwd=_HERE,
        env=environment,
        timeout=seconds,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def _needs(*packages: str, chromium: bool = False) -> None:
    if shutil.which("node") is None:
        pytest.skip("the page action was not tested: node is not installed")
    for package in packages:
        if not (_HERE / "node_modules" / package).is_dir():
            pytest.skip(f"{package} is not installed: npm is missing, or could not install it")
    if chromium and not any(shutil.which(name) for name in _CHROMIUM):
        pytest.skip("the page action was not tested in a browser: Chromium is not installed")


def test_types_are_right():
    _needs("typescript", "@types/node")
    checked = _node("node_modules/typescript/bin/tsc", "-p", ".", seconds=120)
    assert checked.returncode == 0, checked.stdout


def test_modules():
    _needs()
    files = sorted(str(file.relative_to(_HERE)) for file in (_HERE / "modules").glob("*.test.mjs"))
    tested = _node("--test", "--test-reporter=spec", *files, seconds=120)
    assert tested.returncode == 0, tested.stdout
    assert "fail 0" in tested.stdout and "pass 0" not in tested.stdout


def test_in_a_browser():
    _needs("playwright-core", chromium=True)
    tested = _node("--test", "--test-reporter=spec", "browser.test.mjs", seconds=600)
    assert tested.returncode == 0, tested.stdout
    assert "fail 0" in tested.stdout and "pass 0" not in tested.stdout
