"""How the script gets into the stock page."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

_UI = Path(__file__).parents[2] / "plugin" / "ui"
_PAGE = "<!doctype html><html><head><title>CVAT</title></head><body><div id='root'></div></body></html>\n"


@pytest.fixture
def html(tmp_path: Path) -> Path:
    (tmp_path / "index.html").write_text(_PAGE)
    (tmp_path / "index.html").chmod(0o644)
    (tmp_path / "perclip.js").write_text("one")
    return tmp_path


def start(html: Path, **settings: str) -> str:
    """A start of the container; gives what it logs."""
    environment = {"PATH": "/usr/bin:/bin", "PERCLIP_HTML": str(html)} | settings
    script = str(_UI / "add-script-tag.sh")
    done = subprocess.run([script], env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == 0  # CVAT always starts
    assert sorted(path.name for path in html.iterdir()) in (["index.html", "perclip.js"], ["index.html"])
    return done.stdout


def tags(html: Path) -> list[str]:
    return re.findall(r"<script.*?</script>", (html / "index.html").read_text())


def test_the_page_gets_one_tag_and_is_else_unchanged(html):
    assert "added" in start(html)
    [tag] = tags(html)
    assert re.fullmatch(r'<script src="/perclip\.js\?v=[0-9a-f]{8}"></script>', tag)
    assert (html / "index.html").read_text().replace(tag, "") == _PAGE
    assert (html / "index.html").stat().st_mode & 0o777 == 0o644


def test_restarts_change_nothing_and_a_new_script_has_a_new_address(html):
    start(html)
    first = (html / "index.html").read_text()
    start(html)
    assert (html / "index.html").read_text() == first
    (html / "perclip.js").write_text("two")
    start(html)
    assert len(tags(html)) == 1 and tags(html) != re.findall(r"<script.*?</script>", first)


def test_settings_go_into_the_tag_and_odd_ones_do_not(html):
    said = start(html, PERCLIP_FUNCTION_ID="gpu-perclip", PERCLIP_KEY="Ctrl+F8", PERCLIP_SHORT_SIDE='4"><b>')
    assert 'data-function-id="gpu-perclip" data-propagate-key="Ctrl+F8"></script>' in tags(html)[0]
    assert "short-side" in said and "<b>" not in tags(html)[0]
    start(html)
    assert "data-" not in tags(html)[0]


@pytest.mark.parametrize("broken", ["script", "page", "head"])
def test_cvat_starts_with_its_own_page_where_something_is_missing(html, broken):
    if broken == "script":
        (html / "perclip.js").unlink()
    else:
        (html / "index.html").write_text("<html></html>" if broken == "head" else "")
    before = (html / "index.html").read_text()
    assert "CVAT starts without Perclip" in start(html)
    assert (html / "index.html").read_text() == before


def test_compose_mounts_what_is_there():
    compose = yaml.safe_load((_UI / "docker-compose.perclip.yml").read_text())
    service = compose["services"]["cvat_ui"]
    mounts = dict(
        re.fullmatch(r"\$\{PERCLIP_UI[^}]*\}/([\w.-]+):(\S+):ro", volume).groups() for volume in service["volumes"]
    )
    assert mounts == {
        "perclip.js": "/usr/share/nginx/html/perclip.js",
        "add-script-tag.sh": "/docker-entrypoint.d/90-perclip.sh",  # nginx runs *.sh in order, if executable
    }
    assert all((_UI / name).is_file() for name in mounts)
    assert (_UI / "add-script-tag.sh").stat().st_mode & 0o111 == 0o111
    known = (_UI / "add-script-tag.sh").read_text()
    assert all(f"${{{name}:-}}" in known for name in service["environment"])
