"""docs/architecture.md says where each formula of the papers and each of CVAT's requests is: all of them, and truly."""

import ast
import re

import pytest

from tests.docs.rooms_table import PAGE
from tests.rooms import ROOT

_SECTION = re.compile(r"\b(?:PCVOS|STCN|STM|SWEM|Propose-Reduce|ICCV 2021,|CVPR 2022,) \d\.\d")


def rows(name: str) -> list[tuple[str, str, str]]:
    """The cells of a table between two marks, line by line."""
    table = PAGE.read_text(encoding="utf-8").split(f"<!-- {name} -->\n")[1].split(f"<!-- end of {name} -->")[0]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]
    return [(first, second, last) for first, second, last in cells]


def quoted(cell: str) -> tuple[list[str], list[str]]:
    """The files of a cell, and the functions and classes."""
    words = re.findall(r"`([^`]+)`", cell)
    return [word for word in words if "/" in word], [word for word in words if "/" not in word]


def text_of(file: str) -> str:
    return " ".join((ROOT / file).read_text(encoding="utf-8").split())


@pytest.mark.parametrize("row", rows("papers"), ids=" ".join)
def test_a_file_names_the_sections_and_has_the_functions_that_the_table_says(row):
    _, where, code = row
    (file,), names = quoted(code)
    text = text_of(file)
    assert [cited for cited in where.split(", ") if cited not in text] == []
    assert [name for name in names if not re.search(rf"(?:def|class) {name}\b", text)] == []


def test_every_file_whose_head_names_a_section_is_in_the_table():
    listed = {file for *_, code in rows("papers") for file in quoted(code)[0]}
    heads = {
        path.relative_to(ROOT).as_posix(): ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        for path in (ROOT / "model").rglob("[!_]*.py")
    }
    assert {file for file, head in heads.items() if _SECTION.search(head)} <= listed


def test_every_request_to_cvat_is_in_the_table_with_its_file():
    listed = {
        (file, name)
        for requests, what, files in rows("calls")
        for file in quoted(files)[0]
        for name in re.findall(r"/api/(\w+)", requests + what)
    }
    made = {
        (path.relative_to(ROOT).as_posix(), name)
        for path in (ROOT / "plugin").rglob("*.py")
        for name in re.findall(r"/api/(\w+)", path.read_text(encoding="utf-8"))
    }
    assert made == listed
