"""How the script gets into the stock page."""

import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import requests
import yaml

_UI = Path(__file__).parents[2] / "plugin" / "ui"
_NGINX = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin")
_PAGE = "<!doctype html><html><head><title>CVAT</title></head><body><div id='root'></div></body></html>\n"


@pytest.fixture
def html(tmp_path: Path) -> Path:
    (tmp_path / "index.html").write_text(_PAGE)
    (tmp_path / "index.html").chmod(0o644)
    (tmp_path / "perclip.js").write_text("one")
    (tmp_path / "perclip.js").chmod(0o644)
    return tmp_path


def start(html: Path, *, path: str = "/usr/bin:/bin", user: int | None = None, **settings: str) -> str:
    """A start of the container, as another user if need be; gives what it logs."""
    environment = {"PATH": path, "PERCLIP_HTML": str(html), "PERCLIP_NGINX": "/nowhere"} | settings
    script = (_UI / "add-script-tag.sh").read_text()  # the other user may not see this folder
    other = {} if user is None else {"user": user, "group": user, "extra_groups": []}
    done = subprocess.run(
        ["/bin/sh", "-c", script], env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **other
    )
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


@pytest.mark.parametrize("broken", ["script", "unreadable", "page", "head"])
def test_cvat_starts_with_its_own_page_where_something_is_missing(html, broken):
    if broken == "script":
        (html / "perclip.js").unlink()
    elif broken == "unreadable":
        (html / "perclip.js").chmod(0o600)  # the script may read it as root, nginx's workers may not
    else:
        (html / "index.html").write_text("<html></html>" if broken == "head" else "")
    before = (html / "index.html").read_text()
    assert "CVAT starts without Perclip" in start(html)
    assert (html / "index.html").read_text() == before


# ------------------------------------------------- CVAT's UI image since 2.44: nginx is uid 101, the page is root's


@pytest.fixture
def image(html: Path) -> Iterator[dict[str, Path]]:
    """Folders as in that image: `html` belongs to somebody else, `conf.d` to the user that nginx runs as."""
    folder = Path(tempfile.mkdtemp())  # pytest's own folders are closed to other users
    folder.chmod(0o755)
    shutil.copytree(html, folder / "html")
    (folder / "conf.d").mkdir()
    (folder / "html").chmod(0o555)
    if os.geteuid() == 0:
        os.chown(folder / "conf.d", 101, 101)
        (folder / "html").chmod(0o755)
    yield {"html": folder / "html", "conf": folder / "conf.d"}
    (folder / "html").chmod(0o755)
    shutil.rmtree(folder)


def start_image(image: dict[str, Path], **more: str) -> str:
    user = 101 if os.geteuid() == 0 else None  # else the folder's mode says the same
    return start(image["html"], user=user, PERCLIP_NGINX=str(image["conf"]), **more)


def test_where_the_page_is_not_ours_nginx_adds_the_tag(image):
    assert "nginx adds it" in start_image(image, PERCLIP_FUNCTION_ID="gpu-perclip")
    assert (image["html"] / "index.html").read_text() == _PAGE
    first = (image["conf"] / "perclip.conf").read_text()
    assert "sub_filter '</head>'" in first and 'data-function-id="gpu-perclip"></script></head>' in first
    start_image(image)
    assert "data-" not in (image["conf"] / "perclip.conf").read_text()  # settings that are gone are gone


def test_where_nothing_may_be_written_it_says_what_to_do(image):
    (image["conf"]).chmod(0o555)
    if os.geteuid() == 0:
        os.chown(image["conf"], 0, 0)
    said = start_image(image)
    assert "CVAT starts without Perclip" in said and 'user: "0"' in said
    assert (image["html"] / "index.html").read_text() == _PAGE


def test_a_page_that_was_changed_as_root_gets_no_second_tag(image):
    (image["html"] / "index.html").chmod(0o644)
    (image["html"] / "index.html").write_text(
        _PAGE.replace("</head>", '<script src="/perclip.js?v=1"></script></head>')
    )
    assert "since an earlier start" in start_image(image)
    assert not (image["conf"] / "perclip.conf").exists()


def test_a_configuration_that_nginx_refuses_is_taken_out_again(image):
    refusing = image["conf"] / "nginx"
    refusing.write_text(
        f'#!/bin/sh\n[ ! -e "{image["conf"]}/perclip.conf" ] || {{ echo "unknown sub_filter"; exit 1; }}\n'
    )
    refusing.chmod(0o755)
    said = start_image(image, path=f"{image['conf']}:/usr/bin:/bin")
    assert "unknown sub_filter" in said and "CVAT starts without Perclip" in said
    assert list(image["conf"].iterdir()) == [refusing]


@pytest.mark.skipif(_NGINX is None, reason="nginx is not installed")
@pytest.mark.parametrize("is_root", [False, True])
def test_an_nginx_set_up_as_cvats_serves_the_page_with_the_tag(image, is_root):
    """With CVAT's kind of server block, as uid 101, and as root as the compose file has it."""
    if is_root and os.geteuid() != 0:
        pytest.skip("not root")
    folder = image["conf"].parent
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (folder / "tmp").mkdir()
    (folder / "tmp").chmod(0o777)
    temporary = "".join(f"{kind}_temp_path {folder}/tmp/{kind};" for kind in ("proxy", "fastcgi", "uwsgi", "scgi"))
    (folder / "nginx.conf").write_text(
        f"pid {folder}/tmp/nginx.pid; error_log {folder}/tmp/error.log; events {{}} http {{ access_log off; "
        f"{temporary} client_body_temp_path {folder}/tmp/client; types {{ text/html html; text/javascript js; }} "
        f"include {folder}/conf.d/*.conf; }}"
    )
    (image["conf"] / "default.conf").write_text(
        f"server {{ listen 127.0.0.1:{port}; root {folder}/html; gzip on; location / {{ "
        'try_files $uri $uri/ /index.html; add_header Cache-Control "no-cache, no-store, must-revalidate"; } }'
    )
    (image["conf"] / "default.conf").chmod(0o644)
    wrapper = folder / "nginx"
    wrapper.write_text(f'#!/bin/sh\nexec {_NGINX} -c {folder}/nginx.conf "$@"\n')
    wrapper.chmod(0o755)
    path = f"{folder}:/usr/bin:/bin"
    said = (
        start(image["html"], path=path, PERCLIP_NGINX=str(image["conf"])) if is_root else start_image(image, path=path)
    )
    assert ("added to the page" if is_root else "nginx adds it") in said
    other = {"user": 101, "group": 101, "extra_groups": []} if os.geteuid() == 0 and not is_root else {}
    nginx = subprocess.Popen([wrapper, "-g", "daemon off;"], stderr=subprocess.DEVNULL, **other)
    try:
        for _ in range(100):
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            time.sleep(0.1)
        for address in ("", "tasks/1/jobs/2"):
            page = requests.get(f"http://127.0.0.1:{port}/{address}", timeout=10).text
            [tag] = re.findall(r"<script.*?</script>", page)
            assert page.replace(tag, "") == _PAGE
            source = re.search(r'src="(.*?)"', tag)[1]
            assert requests.get(f"http://127.0.0.1:{port}{source}", timeout=10).text == "one"
    finally:
        nginx.terminate()
        nginx.wait()


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
    assert service["user"] == "0"  # the page in CVAT's image is root's
    assert all((_UI / name).is_file() for name in mounts)
    assert (_UI / "add-script-tag.sh").stat().st_mode & 0o111 == 0o111
    known = (_UI / "add-script-tag.sh").read_text()
    assert all(f"${{{name}:-}}" in known for name in service["environment"])
