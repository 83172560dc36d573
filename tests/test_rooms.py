"""Every package says in its docstring what others may use of it and what it uses itself; here that is checked."""

import ast
import functools
import re

import pytest

from tests.rooms import ROOMS, ROOT, TOPS, said


def room_of(module: str) -> str:
    """The package that a module lies in; of a package it is the package itself."""
    return module if module in ROOMS else module.rpartition(".")[0]


@functools.cache
def imports() -> list[tuple[str, str]]:
    """(importing module, imported module) of all of Perclip's own modules."""
    found = []
    for top in TOPS:
        for path in (ROOT / top).rglob("*.py"):
            module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in TOPS:
                    whole = [f"{node.module}.{a.name}" for a in node.names]
                    names = [w for w in whole if (ROOT / (w.replace(".", "/") + ".py")).exists()]
                    found += [(module, name) for name in names or [node.module]]
    return found


def listed(room: str, label: str) -> set[str]:
    """The names behind a label of a package's docstring."""
    line = said(room, label)
    assert line, f"{room}/__init__.py says nothing of its {label}"
    return set(re.findall(r"`([\w.]+)`", line)) | ({""} if "the package itself" in line else set())


@pytest.mark.parametrize("room", sorted(set(ROOMS) - {"model", "plugin"}))
def test_a_room_says_what_it_imports_and_what_others_may_import(room):
    used = {b.removeprefix(room).lstrip(".") for a, b in imports() if room_of(b) == room != room_of(a)}
    assert used <= listed(room, "Door"), "others import what is not at the door"
    own = {room_of(b) for a, b in imports() if room_of(a) == room != room_of(b)}
    assert own == listed(room, "Imports")
