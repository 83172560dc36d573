"""docs/architecture.md says where each part of the papers and each of CVAT's requests is: all of them, and truly."""

import ast
import re

from tests.docs.rooms_table import PAGE
from tests.rooms import ROOT

_SECTION = re.compile(r"\b(?:PCVOS|STCN|STM|SWEM|Propose-Reduce)(?: \d\.\d|[^.\n]* eq\. \d)")


def rows(name: str) -> list[tuple[str, str, list[str]]]:
    """The lines of a table between two marks: its first cell, its second one, the files of the last one."""
    table = PAGE.read_text(encoding="utf-8").split(f"<!-- {name} -->\n")[1].split(f"<!-- end of {name} -->")[0]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]
    return [(first, second, re.findall(r"`(\w+/[^`]+)`", files)) for first, second, files in cells]


def text_of(file: str) -> str:
    return " ".join((ROOT / file).read_text(encoding="utf-8").split())


def test_the_files_name_the_sections_and_equations_that_the_table_says():
    wrong = [
        (cited, files)
        for _, where, files in rows("papers")
        for cited in where.split(", ")
        if not any(cited in text_of(file) for file in files)
    ]
    assert not wrong


def test_every_file_whose_head_names_a_section_is_in_the_table():
    listed = {file for *_, files in rows("papers") for file in files}
    heads = {
        path.relative_to(ROOT).as_posix(): ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        for path in (ROOT / "model").rglob("[!_]*.py")
    }
    assert {file for file, head in heads.items() if _SECTION.search(head)} <= listed


def test_every_request_to_cvat_is_in_the_table_with_its_file():
    listed = {
        (file, name)
        for requests, what, files in rows("calls")
        for file in files
        for name in re.findall(r"/api/(\w+)", requests + what)
    }
    made = {
        (path.relative_to(ROOT).as_posix(), name)
        for path in (ROOT / "plugin").rglob("*.py")
        for name in re.findall(r"/api/(\w+)", path.read_text(encoding="utf-8"))
    }
    assert made == listed
