"""The table of rooms in docs/architecture.md, from the packages' docstrings.

`python -m tests.docs.rooms_table` writes it anew, where a docstring has changed.
"""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "architecture.md"
BEGIN, END = "<!-- rooms -->\n", "<!-- end of rooms -->\n"


def rooms_table() -> str:
    """A line for each package: its name, its business, what it imports."""
    lines = ["| room | what it is for | what it imports |", "|---|---|---|"]
    for top in ("model", "plugin", "serverless"):
        for path in sorted((ROOT / top).rglob("__init__.py")):
            text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
            imports = re.search(r"^Imports: (.*?)\.$", text, re.MULTILINE | re.DOTALL)
            business = re.split(r"\n\n|(?<=\.)\n", text)[0].replace("\n", " ")
            told = "its own rooms" if imports is None else imports[1].replace("\n", " ")
            lines.append(f"| `{path.parent.relative_to(ROOT).as_posix()}/` | {business} | {told} |")
    return "\n".join(lines) + "\n"


def with_table(page: str) -> str:
    """The page with the table as it should be."""
    before, _, rest = page.partition(BEGIN)
    return before + BEGIN + rooms_table() + END + rest.partition(END)[2]


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
