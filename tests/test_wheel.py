"""Perclip as others install it: one package, `perclip`, in an environment that has its wheel and no checkout."""

import ast
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from plugin.cli import main
from tests.docs.pages import blocks

ROOT = Path(__file__).parents[1]
TOPS = ("model", "plugin", "serverless")
SOURCES = ("setup.py", "pyproject.toml", "README.md", "LICENSE", "requirements.txt", *TOPS)


def clean_environment() -> dict[str, str]:
    """Nothing of it leads to the checkout."""
    return {k: v for k, v in os.environ.items() if not k.startswith("PYTHON") and k != "VIRTUAL_ENV"}


def run(*command: object, cwd: Path) -> subprocess.CompletedProcess:
    words = [str(word) for word in command]
    return subprocess.run(words, capture_output=True, text=True, cwd=cwd, env=clean_environment(), timeout=300)


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """A copy of what is installed, alone in a folder."""
    folder = tmp_path_factory.mktemp("source")
    for name in SOURCES:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, folder / name, **({"ignore": shutil.ignore_patterns("__pycache__")} if name in TOPS else {}))
    return folder


@pytest.fixture(scope="module")
def wheel(source, tmp_path_factory) -> Path:
    """Built beside a source distribution, where an older build has left its rests."""
    folder, built = source, tmp_path_factory.mktemp("dist")
    rest = folder / "build" / "lib" / "model"
    rest.mkdir(parents=True)
    (rest / "old.py").touch()
    done = run(
        sys.executable, "-m", "build", "--no-isolation", "--sdist", "--wheel", folder, "--outdir", built, cwd=folder
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return next(built.glob("*.whl"))


def needed(requirements: list[str]) -> set[str]:
    """Names of the distributions that these need, and what those need, as far as they are installed here."""
    found: set[str] = set()
    waiting = [Requirement(line) for line in requirements]
    while waiting:
        requirement = waiting.pop()
        if requirement.name in found or (requirement.marker and not requirement.marker.evaluate({"extra": ""})):
            continue
        try:
            waiting += [Requirement(line) for line in distribution(requirement.name).requires or ()]
        except PackageNotFoundError:
            continue  # a marker of another machine
        found.add(requirement.name)
    return found


def install(wheel: Path, folder: Path) -> Path:
    """Makes an environment with a wheel and what it declares to need; returns the wheel's metadata folder."""
    venv.create(folder, with_pip=False, symlinks=True)
    packages = Path(sysconfig.get_path("purelib", "venv", {"base": str(folder), "platbase": str(folder)}))
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(packages)
    metadata = next(packages.glob("*.dist-info"))
    requirements = re.findall(r"^Requires-Dist: (.*)$", (metadata / "METADATA").read_text(encoding="utf-8"), re.M)
    for name in needed(requirements):
        files = distribution(name).files or ()
        for top in {file.parts[0] for file in files} - {"..", "__pycache__"}:
            if not (packages / top).exists():
                (packages / top).symlink_to(Path(distribution(name).locate_file(top)).resolve())
    return metadata


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """An environment that has the wheel and what it declares to need, and nothing else; returns its `bin`."""
    folder = tmp_path_factory.mktemp("environment")
    metadata = install(wheel, folder)
    name, module, function = re.search(
        r"^(\S+) = (\S+):(\S+)$", (metadata / "entry_points.txt").read_text(encoding="utf-8"), re.M
    ).groups()
    script = folder / "bin" / name
    script.write_text(
        f"#!{folder / 'bin' / 'python'} -I\nimport sys\nfrom {module} import {function}\nsys.exit({function}())\n"
    )
    script.chmod(0o755)
    return folder / "bin"


def test_a_wheel_holds_one_package_with_its_weights_page_and_licences(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        read = {name: archive.read(name) for name in names if name.endswith((".py", ".txt", "METADATA"))}
    (metadata,) = {name.split("/")[0] for name in names} - {"perclip"}
    assert metadata.endswith(".dist-info")
    assert read[f"{metadata}/top_level.txt"].split() == [b"perclip"]
    ours = {
        str(path.relative_to(ROOT))
        for top, inside in (("model", "**/*"), ("plugin", "**/*"), ("serverless", "**/*.py"))
        for path in (ROOT / top).glob(inside)
        if path.is_file() and "__pycache__" not in path.parts and "package" not in path.parts
    }
    assert {name.removeprefix("perclip/") for name in names if re.match("perclip/.*/", name)} == ours
    with tarfile.open(next(wheel.parent.glob("*.tar.gz"))) as archive:
        packed = {name.partition("/")[2] for name in archive.getnames()}
    assert {*ours, *SOURCES, "plugin/package/__main__.py"} <= packed
    licences = {name.removeprefix(f"{metadata}/licenses/") for name in names if "/licenses/" in name}
    cards = ("ATTRIBUTION.md", "MODEL_CARD.md", "MODEL_CARD_OPEN.md")
    assert licences == {"LICENSE", *(f"model/weights/{card}" for card in cards)}
    declared = set((ROOT / "requirements.txt").read_text(encoding="utf-8").split())
    assert set(re.findall(r"^Requires-Dist: (.*?)\r?$", read[f"{metadata}/METADATA"].decode(), re.M)) == declared


def test_without_the_checkout_the_program_gives_the_same_masks(installed, tmp_path):
    perclip, folder = installed / "perclip", tmp_path / "sample"
    shown = run(perclip, "--help", cwd=tmp_path)
    assert shown.returncode == 0 and "propagate" in shown.stdout, shown.stderr
    drawn = run(perclip, "sample", "--out", folder, "--frames", "6", cwd=tmp_path)
    assert drawn.returncode == 0, drawn.stderr
    words = [
        "propagate",
        folder / "sample.mp4",
        "--keyframe",
        f"0={folder / 'masks' / '00000.png'}",
        "--format",
        "none",
    ]
    words += ["--short-side", "96", "--dtype", "float32", "--device", "cpu", "--out"]
    there = run(perclip, *words, tmp_path / "there", cwd=tmp_path)
    assert there.returncode == 0, there.stderr
    assert main([*map(str, words), str(tmp_path / "here")]) == 0
    masks = {path.name: path.read_bytes() for path in (tmp_path / "here" / "masks").iterdir()}
    assert len(masks) == 6
    assert {path.name: path.read_bytes() for path in (tmp_path / "there" / "masks").iterdir()} == masks


def test_the_package_gives_the_public_api_and_leaves_other_names_alone(installed, tmp_path):
    program = (
        "import perclip, sys; assert 'torch' not in sys.modules; "
        "print(perclip.Keyframe.__module__, perclip.Propagator.__module__); "
        "assert [getattr(perclip, name) for name in perclip.__all__]; "
        "import perclip.plugin.aa_function, perclip.serverless.main; "
        f"assert not [m for m in sys.modules if m.split('.')[0] in {TOPS}]; "
        "import model"
    )
    done = run(installed / "python", "-I", "-c", program, cwd=tmp_path)
    assert done.stdout == "perclip.model.keyframe perclip.model.propagation.propagator\n", done.stderr
    assert done.stderr.endswith("ModuleNotFoundError: No module named 'model'\n")


def test_the_documents_examples_run_by_the_installed_names(installed, installed_source, tmp_path):
    """As docs/python-api.md tells: the same examples, each module of Perclip's below `perclip`."""
    page = ROOT / "docs" / "python-api.md"
    named = re.findall(r"`(from perclip\b[^`]*)`", page.read_text(encoding="utf-8"))
    assert len(named) == 3
    sample = "from perclip.plugin.local_run.sample import render_sample\n"
    sample += "render_sample('out/sample', frames=12, height=120, width=160)\n"
    examples = [installed_source(b.text.encode()).decode() for b in blocks(page) if b.language == "python"]
    done = run(installed / "python", "-I", "-c", sample + "\n".join([*named, *examples]), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "[5, 6, 7, 8, 9] True" in done.stdout.splitlines()


@pytest.mark.parametrize(
    "module",
    ["perclip", "perclip.model.training", "perclip.model.evaluate", "perclip.model.training.samples.training_samples"],
)
def test_programs_call_themselves_by_the_name_that_starts_them(installed, tmp_path, module):
    shown = run(installed / "python", "-I", "-m", module, "--help", cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.startswith(f"usage: {'' if module == 'perclip' else 'python -m '}{module}")
    assert not re.search(r"\bpython -m (?!perclip)", shown.stdout)


def test_an_editable_install_takes_the_checkout_under_its_own_names(source, tmp_path):
    build = "import sys, setuptools.build_meta as b; b.build_editable(sys.argv[1])"
    done = run(sys.executable, "-c", build, tmp_path, cwd=source)
    assert done.returncode == 0, done.stderr
    metadata = install(next(tmp_path.glob("*.whl")), tmp_path / "environment")
    program = "import perclip, model, plugin.sources, serverless; print(perclip.Keyframe.__module__, model.__file__)"
    python = tmp_path / "environment" / "bin" / "python"
    done = run(python, "-I", "-c", program, cwd=tmp_path)
    assert done.stdout == f"model.keyframe {source / 'model' / '__init__.py'}\n", done.stderr
    (point,) = re.findall(r"= (\S+):main$", (metadata / "entry_points.txt").read_text(encoding="utf-8"), re.M)
    assert run(python, "-I", "-c", f"from {point} import main", cwd=tmp_path).stderr == ""


@pytest.fixture(scope="module")
def installed_source():
    spec = importlib.util.spec_from_file_location("perclip_setup", ROOT / "setup.py")
    setup = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(setup)
    return setup.installed_source


def test_only_import_statements_of_our_packages_are_rewritten(installed_source):
    source = '''"""é from model import x"""
from model import a; from model.b import (
    c,
)
if True: import model, os, plugin as p, plugin.x as q
from  \\
  serverless.main import handler
from .model import d
from models import e
import modeling
text = "import model"  # from plugin import y
model.run(plugin=model)
'''
    wanted = '''"""é from model import x"""
from perclip.model import a; from perclip.model.b import (
    c,
)
if True: import perclip.model as model, os, perclip.plugin as p, perclip.plugin.x as q
from  \\
  perclip.serverless.main import handler
from .model import d
from models import e
import modeling
text = "import model"  # from plugin import y
model.run(plugin=model)
'''
    assert installed_source(source.encode()).decode() == wanted
    ast.parse(wanted)
    windows = source.replace("\n", "\r\n").encode()
    assert installed_source(windows) == wanted.replace("\n", "\r\n").encode()


@pytest.mark.parametrize("line", ["import plugin.cli", 'import_module("plugin.cli")', 'import_module(f"model.{name}")'])
def test_what_cannot_be_rewritten_is_refused(installed_source, line):
    with pytest.raises(SyntaxError, match=r"x\.py:1: write"):
        installed_source(line.encode(), "x.py")
