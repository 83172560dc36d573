"""The documents, as tests read them."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
OWN = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")] + sorted((ROOT / "docs").glob("*.md"))
"""The documents of this project but for the operators' pages and the weights' cards."""
ALL = [
    *OWN,
    ROOT / "serverless" / "README.md",
    ROOT / "plugin" / "ui" / "README.md",
    *sorted((ROOT / "model" / "weights").glob("*.md")),
]


def name_of(page: Path) -> str:
    """A page as it is called in the repository."""
    return page.relative_to(ROOT).as_posix()


@dataclass(frozen=True)
class Block:
    """A fenced block of a page; `line` is the number of its first line."""

    language: str
    text: str
    line: int


def blocks(page: Path) -> list[Block]:
    """All fenced blocks, in their order."""
    text = page.read_text(encoding="utf-8")
    found = re.finditer(r"^```([^\n]*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [Block(b[1].strip(), b[2], text.count("\n", 0, b.start(2)) + 1) for b in found]


def prose(page: Path) -> str:
    """A page without its fenced blocks; lines keep their numbers."""
    text = page.read_text(encoding="utf-8")
    return re.sub(r"^```.*?^```$", lambda b: "\n" * b[0].count("\n"), text, flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """What a link to a heading may say behind its `#`, as GitHub makes it."""
    found: dict[str, int] = {}
    names = set()
    for heading in re.findall(r"^#{1,6} (.+)$", prose(page), re.MULTILINE):
        shown = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        anchor = re.sub(r"[^\w\- ]", "", shown.strip().lower()).replace(" ", "-")
        names.add(anchor if anchor not in found else f"{anchor}-{found[anchor]}")
        found[anchor] = found.get(anchor, 0) + 1
    return names
