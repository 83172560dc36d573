"""What pyproject.toml cannot say: an installed Perclip is one package, `perclip`; in the checkout it is three.

A wheel holds `model`, `plugin` and `serverless` as `perclip.model` and so on, because their short names are other
people's too. Their absolute imports are rewritten while they are copied: only import statements, so nothing may name a
module of Perclip in a string (the build refuses `import_module("plugin.x")`; `import_module(".x", __package__)` works
in both). An editable install takes the files as they lie here, under their short names.
"""

import ast
import re
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py
from setuptools.command.editable_wheel import editable_wheel

NAME = "perclip"
TOPS = ("model", "plugin", "serverless")
FRONT = "plugin/package"
"""The folder that is the package `perclip` itself, in both kinds of install."""


def checkout_packages() -> list[str]:
    """The packages under the names that they have in the checkout."""
    return find_packages(include=[f"{top}{rest}" for top in TOPS for rest in ("", ".*")], exclude=["plugin.package"])


def _own(module: str | None) -> bool:
    return module is not None and module.partition(".")[0] in TOPS


def installed_source(source: bytes, path: str = "<source>") -> bytes:
    """Python source as it is installed: absolute imports of Perclip's packages begin with `perclip.`.

    Args:
        source: of a module, in UTF-8.
        path: for messages.

    Raises:
        SyntaxError: it is no Python, or imports a module in a way that cannot be rewritten.
    """
    lines = source.splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    insertions: dict[int, bytes] = {}
    for node in ast.walk(ast.parse(source, path)):
        if isinstance(node, ast.ImportFrom) and node.level == 0 and _own(node.module):
            start = starts[node.lineno - 1] + node.col_offset
            blank = re.compile(rb"from(?:\s|\\\r?\n)+").match(source, start)
            assert blank
            insertions[blank.end()] = f"{NAME}.".encode()
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if not _own(alias.name):
                    continue
                if "." in alias.name and alias.asname is None:
                    raise SyntaxError(f"{path}:{node.lineno}: write `from` instead of `import {alias.name}`")
                insertions[starts[alias.lineno - 1] + alias.col_offset] = f"{NAME}.".encode()
                if alias.asname is None:
                    assert alias.end_lineno is not None and alias.end_col_offset is not None
                    insertions[starts[alias.end_lineno - 1] + alias.end_col_offset] = f" as {alias.name}".encode()
        elif isinstance(node, ast.Call) and _own(_imported_by_name(node)):
            raise SyntaxError(f'{path}:{node.lineno}: write `import_module(".name", __package__)`')
    for place in sorted(insertions, reverse=True):
        source = source[:place] + insertions[place] + source[place:]
    return source


def _imported_by_name(call: ast.Call) -> str | None:
    """What a call of `import_module` or `__import__` names, as far as it stands there; None for other calls."""
    called = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", None)
    if called not in ("import_module", "__import__") or not call.args:
        return None
    name = call.args[0]
    if isinstance(name, ast.JoinedStr) and name.values:
        name = name.values[0]
    return name.value if isinstance(name, ast.Constant) and isinstance(name.value, str) else None


class BuildModules(build_py):
    """Copies the modules, with their imports rewritten."""

    def run(self) -> None:
        """Copy everything anew: what an earlier build left would be packed too."""
        if not self.editable_mode:
            for name in (NAME, *TOPS):
                shutil.rmtree(Path(self.build_lib) / name, ignore_errors=True)
        super().run()

    def build_module(self, module: str, module_file: str, package: str | list[str] | tuple[str, ...]):
        """Copy one module."""
        copied = super().build_module(module, module_file, package)
        Path(copied[0]).write_bytes(installed_source(Path(module_file).read_bytes(), module_file))
        return copied


class EditableInstall(editable_wheel):
    """Takes the modules from the checkout, under their short names."""

    def finalize_options(self) -> None:
        """Say where they lie before anything is looked for."""
        self.distribution.packages = [NAME, *checkout_packages()]
        self.distribution.package_dir = {NAME: FRONT}
        super().finalize_options()


if __name__ == "__main__":
    setup(
        packages=[NAME, *(f"{NAME}.{package}" for package in checkout_packages())],
        package_dir={NAME: FRONT, **{f"{NAME}.{top}": top for top in TOPS}},
        cmdclass={"build_py": BuildModules, "editable_wheel": EditableInstall},
    )
