"""The table of rooms in docs/architecture.md, from the packages' docstrings.

`python -m tests.docs.rooms_table` writes it anew, where a docstring has changed.
"""

import re

from tests.rooms import ROOMS, ROOT, docstring, said

PAGE = ROOT / "docs" / "architecture.md"
BEGIN, END = "<!-- rooms -->\n", "<!-- end of rooms -->\n"


def rooms_table() -> str:
    """A line for each package: its name, its business, what it imports."""
    lines = ["| room | what it is for | what it imports |", "|---|---|---|"]
    for room in ROOMS:
        business = re.split(r"\n\n|(?<=\.)\n", docstring(room))[0].replace("\n", " ")
        lines.append(f"| `{room.replace('.', '/')}/` | {business} | {said(room, 'Imports') or 'its own rooms'} |")
    return "\n".join(lines) + "\n"


def with_table(page: str) -> str:
    """The page with the table as it should be."""
    before, _, rest = page.partition(BEGIN)
    return before + BEGIN + rooms_table() + END + rest.partition(END)[2]


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
