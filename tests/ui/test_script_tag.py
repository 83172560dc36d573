"""How the page action gets into the stock page, and that a browser never gets modules of two versions."""

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
    return tmp_path


@pytest.fixture
def modules() -> Iterator[Path]:
    """The folder that is mounted, with modules that any user may read."""
    folder = Path(tempfile.mkdtemp())  # pytest's own folders are closed to other users
    folder.chmod(0o755)
    for name in ("entry.js", "shapes.js"):
        (folder / name).write_text(f"// {name} one\n")
        (folder / name).chmod(0o644)
    (folder / "README.md").write_text("no module")
    yield folder
    shutil.rmtree(folder)


def start(
    html: Path,
    modules: Path,
    *,
    path: str = "/usr/bin:/bin",
    shell: tuple[str, ...] = ("/bin/sh",),
    user: int | None = None,
    **settings: str,
) -> str:
    """A start of the container, as another user if need be; gives what it logs."""
    places = {"PERCLIP_HTML": str(html), "PERCLIP_MODULES": str(modules), "PERCLIP_NGINX": "/nowhere"}
    environment = {"PATH": path} | places | settings
    script = (_UI / "add-script-tag.sh").read_text()  # the other user may not see this folder
    other = {} if user is None else {"user": user, "group": user, "extra_groups": []}
    done = subprocess.run(
        [*shell, "-c", script], env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **other
    )
    assert done.returncode == 0  # CVAT always starts
    assert {path.name for path in html.iterdir()} <= {"index.html", "perclip"}
    assert all(re.fullmatch("[0-9a-f]{12}", path.name) for path in html.glob("perclip/*"))  # nothing half done
    return done.stdout


def tags(html: Path) -> list[str]:
    return re.findall(r"<script.*?</script>", (html / "index.html").read_text())


def address(tag: str) -> str:
    return re.search(r'src="(/perclip/[0-9a-f]{12}/entry\.js)"', tag)[1]


def texts(folder: Path) -> dict[str, str]:
    return {file.name: file.read_text() for file in folder.glob("*.js")}


def test_the_page_gets_one_tag_and_is_else_unchanged(html, modules):
    assert "added" in start(html, modules)
    [tag] = tags(html)
    assert re.fullmatch(r'<script type="module" src="/perclip/[0-9a-f]{12}/entry\.js"></script>', tag)
    assert (html / "index.html").read_text().replace(tag, "") == _PAGE
    assert (html / "index.html").stat().st_mode & 0o777 == 0o644
    served = (html / address(tag)[1:]).parent
    assert texts(served) == texts(modules) and not (served / "README.md").exists()
    assert all(file.stat().st_mode & 0o444 == 0o444 for file in served.iterdir())  # nginx's workers may read them


@pytest.mark.parametrize("shell", [("/bin/sh",), ("busybox", "sh")])
def test_restarts_change_nothing_and_an_update_gives_all_modules_new_addresses(html, modules, shell):
    if shutil.which(shell[0]) is None:
        pytest.skip(f"{shell[0]} is not installed")
    start(html, modules, shell=shell)
    first = (html / "index.html").read_text()
    start(html, modules, shell=shell)
    assert (html / "index.html").read_text() == first
    old = (html / address(tags(html)[0])[1:]).parent
    before = texts(old)
    (modules / "shapes.js").write_text("// two\n")  # one module is enough
    assert texts(old) == before  # a browser that is loading the old ones gets the old ones
    start(html, modules, shell=shell)
    [tag] = tags(html)
    new = (html / address(tag)[1:]).parent
    assert new != old and texts(new) == texts(modules) and texts(old) == before
    (modules / "more.js").write_text((modules / "shapes.js").read_text())
    (modules / "shapes.js").unlink()
    start(html, modules, shell=shell)
    assert (html / address(tags(html)[0])[1:]).parent not in (old, new)  # names count


def test_the_tag_of_a_perclip_of_one_file_is_replaced(html, modules):
    (html / "index.html").write_text(
        _PAGE.replace("</head>", '<script src="/perclip.js?v=1" data-x="1"></script></head>')
    )
    start(html, modules)
    [tag] = tags(html)
    assert address(tag) and (html / "index.html").read_text().replace(tag, "") == _PAGE


def test_settings_go_into_the_tag_and_odd_ones_do_not(html, modules):
    said = start(html, modules, PERCLIP_FUNCTION_ID="gpu-perclip", PERCLIP_KEY="Ctrl+F8", PERCLIP_SHORT_SIDE='4"><b>')
    assert 'data-function-id="gpu-perclip" data-propagate-key="Ctrl+F8"></script>' in tags(html)[0]
    assert "short-side" in said and "<b>" not in tags(html)[0]
    start(html, modules)
    assert "data-" not in tags(html)[0]


@pytest.mark.parametrize("broken", ["modules", "page", "head"])
def test_cvat_starts_with_its_own_page_where_something_is_missing(html, modules, broken):
    if broken == "modules":
        (modules / "entry.js").unlink()
    else:
        (html / "index.html").write_text("<html></html>" if broken == "head" else "")
    before = (html / "index.html").read_text()
    assert "CVAT starts without Perclip" in start(html, modules)
    assert (html / "index.html").read_text() == before


def test_for_an_nginx_before_cvat_it_writes_what_to_include(tmp_path):
    command = ["/bin/sh", str(_UI / "add-script-tag.sh"), "proxy"]
    environment = {"PATH": "/usr/bin:/bin", "PERCLIP_HTML": str(tmp_path), "PERCLIP_NGINX": str(tmp_path)}
    done = subprocess.run(command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert (done.returncode, done.stdout) == (0, "perclip: nginx adds it to the page\n")
    line = (tmp_path / "perclip.conf").read_text()
    assert "sub_filter '</head>'" in line and line.count("</head>") == 2
    assert texts((tmp_path / address(line)[1:]).parent) == texts(_UI / "perclip")
    nowhere = environment | {"PERCLIP_NGINX": str(tmp_path / "nowhere")}
    assert subprocess.run(command, env=nowhere, capture_output=True).returncode == 1


# ------------------------------------------------- CVAT's UI image since 2.44: nginx is uid 101, the page is root's


@pytest.fixture
def image(html: Path) -> Iterator[dict[str, Path]]:
    """Folders as in that image: `html` belongs to somebody else, `conf.d` to the user that nginx runs as."""
    folder = Path(tempfile.mkdtemp())  # pytest's own folders are closed to other users
    folder.chmod(0o755)
    shutil.copytree(html, folder / "html")
    (folder / "conf.d").mkdir()
    (folder / "html" / "perclip").mkdir()  # tmpfs in Compose, emptyDir in Helm
    (folder / "html" / "perclip").chmod(0o777)
    (folder / "html").chmod(0o555)
    if os.geteuid() == 0:
        os.chown(folder / "conf.d", 101, 101)
        (folder / "html").chmod(0o755)
    yield {"html": folder / "html", "conf": folder / "conf.d"}
    (folder / "html").chmod(0o755)
    shutil.rmtree(folder)


def start_image(image: dict[str, Path], modules: Path, **more: str) -> str:
    user = 101 if os.geteuid() == 0 else None  # else the folder's mode says the same
    return start(image["html"], modules, user=user, PERCLIP_NGINX=str(image["conf"]), **more)


def test_where_the_page_is_not_ours_nginx_adds_the_tag(image, modules):
    assert "nginx adds it" in start_image(image, modules, PERCLIP_FUNCTION_ID="gpu-perclip")
    assert (image["html"] / "index.html").read_text() == _PAGE
    first = (image["conf"] / "perclip.conf").read_text()
    assert "sub_filter '</head>'" in first and 'data-function-id="gpu-perclip"></script></head>' in first
    start_image(image, modules)
    assert "data-" not in (image["conf"] / "perclip.conf").read_text()  # settings that are gone are gone


def test_where_nothing_may_be_written_it_says_what_to_do(image, modules):
    (image["conf"]).chmod(0o555)
    if os.geteuid() == 0:
        os.chown(image["conf"], 0, 0)
    said = start_image(image, modules)
    assert "CVAT starts without Perclip" in said and 'user: "0"' in said
    assert (image["html"] / "index.html").read_text() == _PAGE


def test_where_the_modules_cannot_be_put_it_says_what_to_mount(image, modules):
    shutil.rmtree(image["html"] / "perclip")
    said = start_image(image, modules)
    assert "CVAT starts without Perclip" in said and "tmpfs, emptyDir" in said
    assert list(image["conf"].iterdir()) == []


def test_a_tag_that_was_put_into_the_page_as_root_is_replaced_on_the_way(image, modules):
    old = '<script type="module" src="/perclip/0123456789ab/entry.js" data-function-id="x"></script>'
    (image["html"] / "index.html").chmod(0o644)
    (image["html"] / "index.html").write_text(_PAGE.replace("</head>", old + "</head>"))
    assert "nginx adds it" in start_image(image, modules)
    line = (image["conf"] / "perclip.conf").read_text()
    assert f"sub_filter '{old}' '<script type=" in line and "</head>" not in line


def test_a_configuration_that_nginx_refuses_is_taken_out_again(image, modules):
    refusing = image["conf"] / "nginx"
    refusing.write_text(
        f'#!/bin/sh\n[ ! -e "{image["conf"]}/perclip.conf" ] || {{ echo "unknown sub_filter"; exit 1; }}\n'
    )
    refusing.chmod(0o755)
    said = start_image(image, modules, path=f"{image['conf']}:/usr/bin:/bin")
    assert "unknown sub_filter" in said and "CVAT starts without Perclip" in said
    assert list(image["conf"].iterdir()) == [refusing]


@pytest.mark.skipif(_NGINX is None, reason="nginx is not installed")
@pytest.mark.parametrize("is_root", [False, True])
def test_an_nginx_set_up_as_cvats_serves_the_page_with_the_tag(image, modules, is_root):
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
        start(image["html"], modules, path=path, PERCLIP_NGINX=str(image["conf"]))
        if is_root
        else start_image(image, modules, path=path)
    )
    assert ("added to the page" if is_root else "nginx adds it") in said
    other = {"user": 101, "group": 101, "extra_groups": []} if os.geteuid() == 0 and not is_root else {}
    nginx = subprocess.Popen([wrapper, "-g", "daemon off;"], stderr=subprocess.DEVNULL, **other)
    try:
        for _ in range(100):
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            time.sleep(0.1)
        for place in ("", "tasks/1/jobs/2"):
            page = requests.get(f"http://127.0.0.1:{port}/{place}", timeout=10).text
            [tag] = re.findall(r"<script.*?</script>", page)
            assert page.replace(tag, "") == _PAGE
            for name, text in texts(modules).items():
                source = address(tag).replace("entry.js", name)
                answer = requests.get(f"http://127.0.0.1:{port}{source}", timeout=10)
                assert answer.text == text
                assert answer.headers["Content-Type"] == "text/javascript"  # browsers refuse modules of another type
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
        "perclip": "/opt/perclip",
        "add-script-tag.sh": "/docker-entrypoint.d/90-perclip.sh",  # nginx runs *.sh in order, if executable
    }
    assert service["user"] == "0"  # the page in CVAT's image is root's
    assert service["tmpfs"] == ["/usr/share/nginx/html/perclip:mode=1777"]  # uid 101 may not write beside the page
    assert all((_UI / name).exists() for name in mounts)
    assert (_UI / "add-script-tag.sh").stat().st_mode & 0o111 == 0o111
    known = (_UI / "add-script-tag.sh").read_text()
    assert all(f"${{{name}:-}}" in known for name in service["environment"])
