"""What all of Perclip's web pages share: one file that needs nothing else and loads nothing from anywhere."""

import base64
from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path

from model.program.atomic_write import atomic_write
from model.program.printable import SHOW_BYTES

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 75rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2.5rem; }
img { max-width: 100%; height: auto; border-radius: 6px; vertical-align: middle; }
table { border-collapse: collapse; }
th { white-space: nowrap; }
th, td { text-align: left; padding: .35rem 1.2rem .35rem .4rem; border-bottom: 1px solid var(--line); }
thead th { background: var(--soft); }
svg { width: 100%; background: var(--soft); border-radius: 6px; }
svg .tick { stroke: var(--line); stroke-width: 3; } svg .middle { stroke: var(--line); stroke-dasharray: 4 6; }
.cells { display: grid; grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr)); gap: 1rem; }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
"""


def write_page(path: Path, title: str, parts: Iterable[str]) -> None:
    """Writes a page.

    Args:
        path: of the file.
        title: plain text; the page's heading.
        parts: HTML, empty ones are left out.

    Raises:
        InputError: the file cannot be written.
    """
    page = (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n<link rel="icon" href="data:,">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<h1>{escape(title)}</h1>\n"
        + "\n".join(part for part in parts if part)
        + "\n</body>\n</html>\n"
    )
    with atomic_write(path) as temporary:
        temporary.write_text(page, encoding="utf-8", errors=SHOW_BYTES)


def facts_table(facts: Mapping[str, str]) -> str:
    """Name -> value as a table; empty for none."""
    rows = "".join(f"<tr><th>{escape(str(k))}</th><td>{escape(str(v))}</td></tr>\n" for k, v in facts.items())
    return f"<table>\n{rows}</table>" if rows else ""


def data_uri(content: bytes, kind: str) -> str:
    """A file inside a page; `kind` is its media type."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
