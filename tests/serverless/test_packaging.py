"""The function's two configurations, and the script that deploys them, with stand-ins for docker and nuctl."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parents[2]
GPU, CPU = ROOT / "function.yaml", ROOT / "serverless" / "function-cpu.yaml"
DEPLOY = ROOT / "serverless" / "deploy.sh"
TWINS = pytest.mark.parametrize("path", [GPU, CPU], ids=["gpu", "cpu"])
NGINX_SECONDS = 60
LARGEST_STOCK_CALL = 31 << 20  # bytes, a 4K frame as PNG in base64

FAKE_DOCKER = """#!/bin/sh
echo "docker $*" >>"$RECORD"
case "$1" in
  info) [ -z "$DOCKER_DOWN" ] && echo "Runtimes: runc $RUNTIMES" ;;
  network) [ "$3" = cvat_cvat ] ;;
esac
"""
FAKE_NUCTL = """#!/bin/sh
echo "nuctl $*" >>"$RECORD"
if [ "$1" = get ]; then
  echo " NAMESPACE | NAME | DISPLAY NAME "
  echo "$PROJECT_ROW"
elif [ "$1" = deploy ]; then
  for word in "$@"; do
    [ "$before" != --path ] || folder="$word"
    before="$word"
  done
  for link in $(find "$folder" -type l); do
    # As Nuclio's builder does, which cannot copy these either.
    if [ -d "$link" ]; then echo "read $link: is a directory"; exit 1; fi
    if [ ! -e "$link" ]; then echo "$link: no such file or directory"; exit 1; fi
  done
  [ -f "$folder/function.yaml" ] && [ -f "$folder/model/weights/perclip-lite.safetensors" ]
elif [ "$1" = version ]; then
  printf 'Client version:\nLabel: %s, OS: linux\n' "${NUCTL_VERSION:-1.13.0}"
fi
"""
TOOLS = ("bash", "cat", "chmod", "cp", "dirname", "env", "find", "grep", "head", "ls", "mkdir", "mktemp", "rm", "sort")


def read(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def environment(function: dict[str, Any]) -> dict[str, str]:
    return {entry["name"]: entry["value"] for entry in function["spec"]["env"]}


def leaves(node: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every value of a configuration with its path; lists count as one value, `env` by its names."""
    for key, value in node.items():
        if key == "env":
            value = {entry["name"]: entry["value"] for entry in value}
        if isinstance(value, dict):
            yield from leaves(value, f"{path}{key}.")
        else:
            yield path + key, value


def pins(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").split()


# ---- the configurations


@TWINS
def test_cvat_finds_a_tracker_of_masks_polygons_and_rectangles(path):
    metadata = read(path)["metadata"]
    notes = metadata["annotations"]
    assert (metadata["name"], metadata["namespace"]) == ("pth-perclip", "cvat")
    assert (notes["name"], notes["type"], notes["framework"]) == ("Perclip", "tracker", "pytorch")
    assert notes["spec"] in (None, "")
    assert {s.strip() for s in notes["supported_shape_types"].split(",")} == {"mask", "polygon", "rectangle"}
    assert int(notes["version"]) >= 1 and isinstance(notes["version"], str)  # Nuclio's annotations are strings


@TWINS
def test_nuclio_finds_all_that_it_needs(path):
    spec = read(path)["spec"]
    trigger = spec["triggers"]["myHttpTrigger"]
    assert spec["description"]
    assert spec["build"]["image"].startswith("cvat.pth.perclip:")
    assert trigger["kind"] == "http" and trigger["numWorkers"] >= 1
    assert 1 <= spec["minReplicas"] <= spec["maxReplicas"]
    assert spec["platform"]["attributes"] == {"restartPolicy": {"name": "always"}}  # Nuclio reads no more than that
    assert all(isinstance(value, str) for value in environment(read(path)).values())


@TWINS
def test_the_python_versions_agree(path):
    spec = read(path)["spec"]
    version = spec["runtime"].removeprefix("python:")
    assert spec["build"]["baseImage"].startswith(f"python:{version}")
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["requires-python"]
    assert SpecifierSet(declared).contains(version)


@TWINS
def test_a_clip_call_ends_before_each_limit_behind_it(path):
    spec = read(path)["spec"]
    budget = float(environment(read(path))["PERCLIP_MAX_SECONDS"])
    wait = spec["triggers"]["myHttpTrigger"]["workerAvailabilityTimeoutMilliseconds"] / 1000
    stuck = float(spec["eventTimeout"].removesuffix("s"))
    # Nuclio looks once per eventTimeout: a worker is restarted after one to two of them.
    assert 1.25 * budget < stuck and 2 * stuck < NGINX_SECONDS
    assert wait + budget < NGINX_SECONDS


@TWINS
def test_the_largest_stock_call_fits(path):
    attributes = read(path)["spec"]["triggers"]["myHttpTrigger"]["attributes"]
    assert attributes["maxRequestBodySize"] > 1.5 * LARGEST_STOCK_CALL


@TWINS
def test_the_image_installs_the_staged_requirements_and_nothing_else(path):
    directives = read(path)["spec"]["build"]["directives"]["preCopy"]
    copies = [d["value"].split() for d in directives if d["kind"] == "COPY"]
    installs = [d["value"] for d in directives if d["kind"] == "RUN"]
    assert len(copies) == len(installs) == 1
    assert copies[0][0].endswith("/requirements.txt")
    assert installs[0].endswith(f" -r {copies[0][1]}")


def test_the_twins_differ_only_where_they_must():
    gpu, cpu = dict(leaves(read(GPU))), dict(leaves(read(CPU)))
    differing = {key for key in gpu.keys() | cpu.keys() if gpu.get(key) != cpu.get(key)}
    assert differing == {
        "spec.env.PERCLIP_DEVICE",
        "spec.env.OMP_NUM_THREADS",
        "spec.env.GOMP_SPINCOUNT",
        "spec.build.image",
        "spec.build.directives.preCopy",  # the driver's capabilities
        "spec.triggers.myHttpTrigger.numWorkers",
        "spec.resources.limits.nvidia.com/gpu",
    }
    assert gpu["spec.resources.limits.nvidia.com/gpu"] == 1
    assert (gpu["spec.env.PERCLIP_DEVICE"], cpu["spec.env.PERCLIP_DEVICE"]) == ("cuda", "cpu")


@TWINS
def test_the_handler_is_there(path):
    """Nuclio looks for `init_context` in the module that defines the handler, so both must be defined there."""
    module, _, entry = read(path)["spec"]["handler"].partition(":")
    source = ROOT.joinpath(*module.split(".")).with_suffix(".py")
    assert source.is_file(), f"{source} is missing"
    functions = {
        node.name: [argument.arg for argument in node.args.args]
        for node in ast.parse(source.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef)
    }
    assert len(functions.get(entry, [])) == 2, f"{source} defines no {entry}(context, event)"
    assert len(functions.get("init_context", [])) == 1, f"{source} defines no init_context(context)"


# ---- deploy.sh


class Bench:
    """Runs deploy.sh with stand-ins on an otherwise bare PATH, and reads what they were called with."""

    def __init__(self, folder: Path):
        self.bin, self.temporary, self.record = folder / "bin", folder / "tmp", folder / "record"
        for made in (self.bin, self.temporary):
            made.mkdir()
        self.record.touch()
        for tool in TOOLS:
            (self.bin / tool).symlink_to(str(shutil.which(tool)))
        self.install("docker", FAKE_DOCKER)
        self.install("nuctl", FAKE_NUCTL)
        self.settings = {"RUNTIMES": "nvidia", "PROJECT_ROW": " nuclio | cvat | "}

    def install(self, name: str, script: str) -> None:
        (self.bin / name).write_text(script, encoding="utf-8")
        (self.bin / name).chmod(0o755)

    def deploy(self, *arguments: str, root: Path = ROOT) -> subprocess.CompletedProcess[str]:
        return self.run(str(root / DEPLOY.relative_to(ROOT)), *arguments)

    def run(self, *arguments: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
        """A script, or `-c` and commands, in bash."""
        variables = {"PATH": str(self.bin), "TMPDIR": str(self.temporary), "RECORD": str(self.record), **self.settings}
        command = [str(self.bin / "bash"), *arguments]
        return subprocess.run(
            command, cwd=folder, env=variables, capture_output=True, text=True, timeout=300, check=False
        )

    def stage(self, twin: str) -> Path:
        """The folder that a dry run has put together."""
        done = self.deploy(twin, "--dry-run")
        assert done.returncode == 0, done.stderr
        (folder,) = self.temporary.iterdir()
        return folder

    def changes(self) -> list[str]:
        """The calls of nuctl and docker that change something."""
        calls = self.record.read_text(encoding="utf-8").splitlines()
        return [c for c in calls if not re.match(r"docker (info|network inspect)|nuctl (get|version)", c)]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.mark.parametrize(("twin", "source"), [("gpu", GPU), ("cpu", CPU)], ids=["gpu", "cpu"])
def test_only_what_the_function_needs_is_staged(bench, twin, source):
    folder = bench.stage(twin)
    assert (folder / "function.yaml").read_bytes() == source.read_bytes()
    files = {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}
    assert {"model/weights/perclip-lite.safetensors", "plugin/shapes/rle.py", "requirements.txt", "LICENSE"} <= files
    assert {name.split("/")[0] for name in files} == {
        *("function.yaml", "requirements.txt", "LICENSE", "model", "plugin", "serverless"),
    }
    assert not [name for name in files if re.search(r"__pycache__|\.sh$|^plugin/(?!__init__|shapes/)", name)]
    assert all(file.stat().st_mode & 0o004 for file in folder.rglob("*"))


def test_the_staged_requirements_are_the_pinned_ones(bench):
    staged = pins(bench.stage("cpu") / "requirements.txt")
    assert set(staged) <= set(pins(ROOT / "requirements.txt"))
    assert {pin.partition("==")[0] for pin in staged} >= {"torch", "numpy", "opencv-python-headless", "safetensors"}


PROBE = """
import ast, json, sys
from importlib.metadata import packages_distributions
import serverless.main
from model import PropagationOptions, Propagator, load_network  # lazy: make them load
import plugin.shapes
Propagator(load_network("perclip-lite"), PropagationOptions(device="cpu"))
ours = {"model", "plugin", "serverless"}
files = [m.__file__ for name, m in list(sys.modules.items()) if name.split(".")[0] in ours]
imported = set()
for file in files:
    tree = ast.parse(open(file, encoding="utf-8").read())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING":
            node.body = []  # never imported
    for node in ast.walk(tree):
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and not node.level:
            names = [node.module]
        imported |= {name.split(".")[0] for name in names}
foreign = imported - ours - set(sys.stdlib_module_names) - {"nuclio_sdk"}  # Nuclio brings its own
owners = packages_distributions()
print(json.dumps([files, sorted(owners[name][0].lower() for name in foreign)]))
"""


def test_the_handler_runs_from_the_staged_folder_alone(bench, tmp_path):
    folder = bench.stage("cpu")
    variables = {"PYTHONPATH": str(folder), "PATH": os.defpath, "HOME": str(tmp_path), "PERCLIP_DEVICE": "cpu"}
    done = subprocess.run(
        [sys.executable, "-c", PROBE], cwd=tmp_path, env=variables, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    files, packages = yaml.safe_load(done.stdout.splitlines()[-1])
    assert all(Path(file).is_relative_to(folder) for file in files)
    assert set(packages) <= {pin.partition("==")[0] for pin in pins(folder / "requirements.txt")}


@pytest.fixture
def used_clone(tmp_path: Path) -> Path:
    """A clone with what work leaves in it: a virtual environment, and links to large files that lie elsewhere."""
    clone = tmp_path / "clone"
    for name in ("model", "plugin", "serverless"):
        shutil.copytree(ROOT / name, clone / name, ignore=shutil.ignore_patterns("__pycache__", "ui"))
    for name in ("function.yaml", "LICENSE", "requirements.txt"):
        shutil.copy(ROOT / name, clone)
    (clone / ".venv" / "lib").mkdir(parents=True)
    (clone / ".venv" / "lib64").symlink_to("lib")
    (clone / "model" / "weights").rename(tmp_path / "weights")
    (clone / "model" / "weights").symlink_to(tmp_path / "weights")
    (tmp_path / "tuned.safetensors").touch()
    (tmp_path / "weights" / "tuned.safetensors").symlink_to(tmp_path / "tuned.safetensors")
    return clone


@pytest.mark.parametrize("twin", ["gpu", "cpu"])
def test_the_script_deploys_from_a_used_clone(bench, used_clone, twin):
    done = bench.deploy(twin, root=used_clone)
    assert done.returncode == 0, done.stderr + done.stdout


def test_the_readmes_way_by_hand_deploys_from_a_used_clone(bench, used_clone):
    text = (ROOT / "serverless" / "README.md").read_text(encoding="utf-8")
    (commands,) = re.findall(r"By hand the same is done by\n\n```bash\n(.*?)```", text, re.DOTALL)
    done = bench.run("-ec", commands, folder=used_clone)
    assert done.returncode == 0, done.stderr + done.stdout
    assert any(call.startswith("nuctl deploy ") for call in bench.changes())
    assert (used_clone / "perclip-function" / "model" / "weights" / "tuned.safetensors").is_file()


def test_a_dry_run_changes_nothing_and_prints_the_commands(bench):
    bench.settings["PROJECT_ROW"] = ""
    done = bench.deploy("gpu", "--dry-run")
    assert done.returncode == 0 and done.stderr == ""
    assert bench.changes() == []
    assert [line for line in done.stdout.splitlines() if line.startswith("+ nuctl create project cvat")]
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("+ nuctl deploy")]
    assert line.endswith(""" --platform-config '{"attributes": {"network": "cvat_cvat"}}\'""")


def test_deploying_calls_nuctl_as_cvat_does_and_tidies_up(bench):
    done = bench.deploy("gpu")
    assert done.returncode == 0, done.stderr
    (call,) = bench.changes()
    folder = re.search(r"--path (\S+)", call)[1]
    assert call == (
        f"nuctl deploy --project-name cvat --path {folder} --file {folder}/function.yaml --platform local "
        '--platform-config {"attributes": {"network": "cvat_cvat"}}'
    )
    assert list(bench.temporary.iterdir()) == []
    assert f"nuctl get function {read(GPU)['metadata']['name']} " in done.stdout


@pytest.mark.parametrize("row", ["", " nuclio | cvat-test | ", " cvat | other | "])
def test_the_project_is_made_where_it_is_missing(bench, row):
    bench.settings["PROJECT_ROW"] = row
    assert bench.deploy("cpu").returncode == 0
    created, deployed = bench.changes()
    assert created == "nuctl create project cvat --platform local"
    assert deployed.startswith("nuctl deploy ")


def test_a_failing_nuctl_ends_the_script_with_its_code(bench):
    bench.install("nuctl", FAKE_NUCTL + '[ "$1" != deploy ] || exit 7\n')
    done = bench.deploy("cpu")
    assert done.returncode == 7
    assert "Perclip runs" not in done.stdout
    assert list(bench.temporary.iterdir()) == []


def test_a_base_image_of_ones_own_is_passed_on(bench):
    assert bench.deploy("cpu", "--base-image", "mine:1").returncode == 0
    assert bench.changes()[-1].endswith("--base-image mine:1")


def test_staging_alone_needs_neither_docker_nor_nuctl(bench, tmp_path):
    for tool in ("docker", "nuctl"):
        (bench.bin / tool).unlink()
    target = tmp_path / "new" / "folder"
    assert bench.deploy("gpu", "--stage", str(target)).returncode == 0
    assert (target / "function.yaml").read_bytes() == GPU.read_bytes()
    again = bench.deploy("gpu", "--stage", str(target))
    assert again.returncode == 2 and "not empty" in again.stderr


def without(*tools: str) -> Callable[[Bench], None]:
    return lambda bench: [(bench.bin / tool).unlink() for tool in tools]


def with_settings(**settings: str) -> Callable[[Bench], None]:
    return lambda bench: bench.settings.update(settings)


@pytest.mark.parametrize(
    ("arguments", "prepare", "named"),
    [
        (("cpu",), without("docker", "nuctl"), ["docker is not installed", "nuctl is not installed"]),
        (("gpu", "--dry-run"), without("docker", "nuctl"), ["docker is not installed", "nuctl is not installed"]),
        (("gpu",), with_settings(DOCKER_DOWN="1"), ["docker does not answer"]),
        (("gpu",), with_settings(RUNTIMES="runc"), ["NVIDIA Container Toolkit"]),
        (("cpu", "--network", "other"), without(), ["no docker network other"]),
        (("gpu", "--network", "other"), with_settings(RUNTIMES=""), ["no docker network other", "NVIDIA Container"]),
        (("cpu",), with_settings(NUCTL_VERSION="1.11.24"), ["nuctl is 1.11.24: Perclip needs 1.13.0"]),
        (("gpu",), with_settings(NUCTL_VERSION="1.12.16"), ["nuctl is 1.12.16: Perclip needs 1.13.0"]),
        ((), without(), ["say which twin"]),
        (("tpu",), without(), ["no such argument: tpu"]),
        (("gpu", "--network"), without(), ["--network needs a value"]),
    ],
)
def test_what_is_missing_is_named_line_by_line_and_nothing_changes(bench, arguments, prepare, named):
    prepare(bench)
    done = bench.deploy(*arguments)
    assert done.returncode == 2
    lines = done.stderr.splitlines()
    assert len(lines) == len(named)
    for line, words in zip(lines, named):
        assert line.startswith("perclip: error: ") and words in line
    assert bench.changes() == []
    assert list(bench.temporary.iterdir()) == []


def test_the_cpu_twin_asks_for_no_gpu(bench):
    bench.settings["RUNTIMES"] = ""
    assert bench.deploy("cpu").returncode == 0
