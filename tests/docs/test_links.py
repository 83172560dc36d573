"""What the documents point to is there, and they keep the form that they promise."""

import re
from collections import defaultdict
from pathlib import Path

import pytest

from tests.docs.pages import ALL, OWN, ROOT, anchors, blocks, name_of, prose
from tests.docs.rooms_table import PAGE, with_table

_FOLDERS = {path.name for path in ROOT.iterdir() if path.is_dir() and path.name not in ("out", "build")} | {".ci"}
_LINK = re.compile(r"\]\(\s*<?([^)\s>]+)>?[^)]*\)|^\[[^\]]+\]:\s*<?([^\s>]+)", re.MULTILINE)


def broken_links(page: Path) -> list[str]:
    """Links of a page to files or headings that do not exist."""
    broken = []
    for match in _LINK.finditer(re.sub(r"`[^`\n]*`", "", prose(page))):
        target = match[1] or match[2]
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        there = (page.parent / file).resolve() if file else page
        lost = file and (not there.exists() or ROOT not in (there, *there.parents))
        if lost or (anchor and (there.suffix != ".md" or anchor not in anchors(there))):
            broken.append(target)
    return broken


def missing_paths(page: Path) -> list[str]:
    """Paths and own modules in backticks that the repository does not have."""
    missing = []
    for code in re.findall(r"`([^`\n]+)`", prose(page)):
        for word in code.split():
            first, slash, _ = word.partition("/")
            if slash and first in _FOLDERS and re.fullmatch(r"[\w./*-]+", word) and not list(ROOT.glob(word)):
                missing.append(word)
        module = re.fullmatch(r"(?:python -m )?((?:model|plugin|serverless|benchmarks|tests)(?:\.\w+)+)", code)
        if module and not _is_module_or_name(module[1]):
            missing.append(module[1])
    return missing


def _is_module_or_name(dotted: str) -> bool:
    """Whether a module is there; its last part may be a name in it."""
    parts = dotted.split(".")
    whole = ROOT.joinpath(*parts)
    if whole.is_dir() or whole.with_suffix(".py").is_file():
        return True
    around = ROOT.joinpath(*parts[:-1])
    file = around / "__init__.py" if around.is_dir() else around.with_suffix(".py")
    return file.is_file() and re.search(rf"\b{parts[-1]}\b", file.read_text(encoding="utf-8")) is not None


@pytest.mark.parametrize("page", ALL, ids=name_of)
def test_links_lead_somewhere(page):
    assert broken_links(page) == []


@pytest.mark.parametrize("page", ALL, ids=name_of)
def test_paths_in_backticks_exist(page):
    assert missing_paths(page) == []


def test_a_broken_link_anchor_picture_path_or_module_is_found(monkeypatch):
    page = ROOT / "docs" / "no-such-page.md"
    text = (
        "# A\n![p](pictures/none.webp) [a](#a) [b](#b) [c](../README.md#nowhere) [d](../README.md) [e](gone.md)\n"
        "`model/gone.py` `model/errors.py` `model.gone` `python -m benchmarks.gone` `model.Keyframe` `docs/*.gone`\n"
        "```\n[no](link.md)\n```\n[f]: lost.md\n"
    )
    read = Path.read_text
    monkeypatch.setattr(Path, "read_text", lambda path, **how: text if path == page else read(path, **how))
    assert broken_links(page) == ["pictures/none.webp", "#b", "../README.md#nowhere", "gone.md", "lost.md"]
    assert missing_paths(page) == ["model/gone.py", "model.gone", "benchmarks.gone", "docs/*.gone"]


@pytest.mark.parametrize("page", [page for page in OWN if page.name != "README.md"], ids=name_of)
def test_a_page_begins_with_its_purpose(page):
    title, blank, purpose = page.read_text(encoding="utf-8").split("\n")[:3]
    assert title.startswith("# ") and not blank
    assert re.match(r"This page (tells|lists|gives) .*", purpose)


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


def test_every_page_can_be_reached_from_the_readme():
    seen, todo = set(), [ROOT / "README.md"]
    while todo:
        page = todo.pop()
        if page in seen:
            continue
        seen.add(page)
        targets = [(m[1] or m[2]).partition("#")[0] for m in _LINK.finditer(prose(page))]
        todo += [there for t in targets if (there := (page.parent / t).resolve()).suffix == ".md" and there.exists()]
    assert set(ALL) <= seen


def test_no_sentence_stands_on_two_pages():
    places = defaultdict(set)
    for page in (page for page in ALL if page.parent.name != "weights"):  # the two cards are one form, filled in
        for paragraph in re.split(r"\n\s*\n|\n(?=[*|#-] |\|)|\|", prose(page)):
            for sentence in re.split(r"(?<=[.:;!?])\s+", " ".join(paragraph.split())):
                plain = re.sub(r"\[([^\]]*)\]\([^)]*\)|[*`]", r"\1", sentence).strip(" *-|").lower()
                if len(plain.split()) >= 7:
                    places[plain].add(name_of(page))
    assert {sentence: pages for sentence, pages in places.items() if len(pages) > 1} == {}


def test_the_table_of_rooms_is_what_the_rooms_say():
    page = PAGE.read_text(encoding="utf-8")
    assert page == with_table(page), "run `python -m tests.docs.rooms_table`"


def test_blocks_have_a_language():
    assert [f"{name_of(page)}:{b.line}" for page in ALL for b in blocks(page) if not b.language] == []
