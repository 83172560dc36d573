"""The packages of Perclip, and what their docstrings say of them."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
TOPS = ("model", "plugin", "serverless")
_FOUND = [p for top in TOPS for p in sorted((ROOT / top).rglob("__init__.py"))]
ROOMS = {".".join(p.parent.relative_to(ROOT).parts): p for p in _FOUND}


def docstring(room: str) -> str:
    """Of a package; empty where it has none."""
    return ast.get_docstring(ast.parse(ROOMS[room].read_text(encoding="utf-8"))) or ""


def said(room: str, label: str) -> str | None:
    """What stands behind a label ("Door", "Imports") of a package's docstring, on one line; None without it."""
    found = re.search(rf"^{label}: (.*?)\.$", docstring(room), re.MULTILINE | re.DOTALL)
    return None if found is None else found[1].replace("\n", " ")
