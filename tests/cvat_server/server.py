"""The HTTP side of the fake CVAT."""

import json
import re
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.cvat_server.media import mp4_chunk, zip_chunk
from tests.cvat_server.state import CvatState, FakeJob, FakeTask, RefusedError

TOKEN = "secret-token"
USER, PASSWORD = "anna", "pass word"
_ANONYMOUS_PER_MINUTE = 100

Fault = Callable[[str, str], str | int | None]
"""Asked with method and path of each request: None: all is well; a status; "before" or "after": the connection is
closed before or after the request is carried out."""


class FakeCvat:
    """A server on a free port; use as a context.

    Attributes:
        state: what it knows.
        log: method and path of all requests so far.
        fault: what goes wrong.
        read_only: the access token may change nothing.
    """

    def __init__(self, state: CvatState):
        self.state = state
        self.log: list[tuple[str, str]] = []
        self.fault: Fault = lambda method, path: None
        self.read_only = False
        self.anonymous: list[float] = []
        self.sessions: set[str] = set()
        self.chunks: dict[tuple[int, int, int, str], bytes] = {}
        handler = type("Handler", (_Handler,), {"cvat": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> "FakeCvat":
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    cvat: FakeCvat
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self) -> None:
        parts = urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.cvat.log.append((self.command, self.path))
        fault = self.cvat.fault(self.command, self.path)
        if fault == "before":
            self.close_connection = True
            return
        if isinstance(fault, int):
            self._send(fault, b'{"detail": "fault"}')
            return
        try:
            status, content = self._route(parts.path.rstrip("/"), query, json.loads(body) if body else None)
            if not isinstance(content, bytes):
                content = json.dumps(content, allow_nan=False).encode()  # poisoned points: 500, as the real one
        except RefusedError as refused:
            status, content = refused.status, json.dumps({"detail": str(refused)}).encode()
            self._retry_after = refused.retry_after
        except (ValueError, OverflowError):
            status, content = 500, b"<html><h1>Server Error (500)</h1></html>"
        if fault == "after":
            self.close_connection = True
            return
        self._send(status, content)

    do_GET = do_POST = do_PATCH = do_DELETE = do_PUT = _answer  # noqa: N815

    def _send(self, status: int, content: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        if status == 429:
            self.send_header("Retry-After", getattr(self, "_retry_after", "1"))
        for name, value in (*(headers or {}).items(), *getattr(self, "_cookies", ())):
            self.send_header(name, value)
        self._cookies: list[tuple[str, str]] = []
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _route(self, path: str, query: dict[str, str], body: Any) -> tuple[int, Any]:
        cvat = self.cvat
        if path == "/api/auth/login":
            return self._log_in(body)
        self._check_login()
        if path == "/api/server/about":
            return 200, {"version": cvat.state.version, "name": "CVAT"}
        if path == "/api/users/self":
            return 200, {"id": 1, "username": USER}
        if path == "/api/auth/access_tokens/self":
            return 200, self._token()
        if path == "/api/auth/logout":
            return 200, {"detail": "ok"}
        with cvat.state.lock:
            for pattern, method, answer in _ROUTES:
                match = re.fullmatch(pattern, path)
                if match and method == self.command:
                    return 200, answer(self, query, body, *map(int, match.groups()))
        raise RefusedError(404, "Not found.")

    def _log_in(self, body: Any) -> tuple[int, Any]:
        self._throttle()
        if (body.get("username"), body.get("password")) != (USER, PASSWORD):
            raise RefusedError(400, "Unable to log in with provided credentials.")
        session = f"session{len(self.cvat.sessions)}"
        self.cvat.sessions.add(session)
        self._cookies = [("Set-Cookie", f"sessionid={session}"), ("Set-Cookie", "csrftoken=csrf")]
        return 200, {"key": "k"}

    def _throttle(self) -> None:
        now = time.monotonic()
        recent = [t for t in self.cvat.anonymous if now - t < 60]
        self.cvat.anonymous[:] = [*recent, now]
        if len(recent) >= _ANONYMOUS_PER_MINUTE:
            raise RefusedError(429, "Request was throttled.")

    def _check_login(self) -> None:
        if self._is_by_token():
            if self.cvat.read_only and self.command not in ("GET", "HEAD"):
                raise RefusedError(403, "You do not have permission to perform this action.")
            return
        session = re.search(r"sessionid=(\w+)", self.headers.get("Cookie") or "")
        if session and session[1] in self.cvat.sessions:
            if self.command not in ("GET", "HEAD") and self.headers.get("X-CSRFToken") != "csrf":
                raise RefusedError(403, "CSRF Failed")
            return
        self._throttle()
        raise RefusedError(401, "Authentication credentials were not provided.")

    def _is_by_token(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def _token(self) -> Any:
        """What a token says of itself, since 2.48; without one there is nothing."""
        if tuple(map(int, self.cvat.state.version.split(".")[:2])) < (2, 48) or not self._is_by_token():
            raise RefusedError(404, "Not found.")
        return {"id": 1, "name": "t", "read_only": self.cvat.read_only}

    def _task(self, number: int) -> FakeTask:
        task = self.cvat.state.tasks.get(number)
        if task is None or task.organization != self.headers.get("X-Organization"):
            raise RefusedError(404, "Not found.")
        if task.forbidden:
            raise RefusedError(403, "You do not have permission.")
        return task

    def _job(self, number: int) -> tuple[FakeTask, FakeJob]:
        found = self.cvat.state.jobs.get(number)
        if found is None or found[0].organization != self.headers.get("X-Organization"):
            raise RefusedError(404, "Not found.")
        task, job = found
        if job.forbidden:
            raise RefusedError(403, "You do not have permission.")
        return task, job

    def task(self, query: dict[str, str], body: Any, number: int) -> Any:
        return _task_fields(self._task(number))

    def tasks(self, query: dict[str, str], body: Any) -> Any:
        found = [t for t in self.cvat.state.tasks.values() if t.project == int(query["project_id"])]
        return _page([_task_fields(t) for t in found], query)

    def project(self, query: dict[str, str], body: Any, number: int) -> Any:
        if number not in self.cvat.state.projects:
            raise RefusedError(404, "Not found.")
        return {"id": number, "name": "project"}

    def job(self, query: dict[str, str], body: Any, number: int) -> Any:
        return _job_fields(*self._job(number))

    def jobs(self, query: dict[str, str], body: Any) -> Any:
        task = self._task(int(query["task_id"]))
        return _page([_job_fields(task, job) for job in reversed(task.jobs)], query)  # not in order

    def labels(self, query: dict[str, str], body: Any) -> Any:
        task = self._task(int(query["task_id"])) if "task_id" in query else self._job(int(query["job_id"]))[0]
        items = [
            {
                "id": label.id,
                "name": label.name,
                "type": label.kind,
                "attributes": [
                    {"id": a.id, "name": a.name, "mutable": a.mutable, "input_type": "text", "default_value": a.default}
                    for a in label.attributes
                ],
            }
            for label in task.labels
        ]
        return _page(items, query)

    def task_meta(self, query: dict[str, str], body: Any, number: int) -> Any:
        task = self._task(number)
        return _meta(task, range(len(task.frames)))

    def job_meta(self, query: dict[str, str], body: Any, number: int) -> Any:
        task, job = self._job(number)
        return _meta(task, range(job.start, job.stop + 1))

    def task_data(self, query: dict[str, str], body: Any, number: int) -> bytes:
        task = self._task(number)
        return self._chunk(task, 0, range(len(task.frames)), int(query["number"]), query)

    def job_data(self, query: dict[str, str], body: Any, number: int) -> bytes:
        task, job = self._job(number)
        return self._chunk(task, job.id, range(job.start, job.stop + 1), int(query["index"]), query)

    def _chunk(self, task: FakeTask, place: int, frames: range, number: int, query: dict[str, str]) -> bytes:
        if query.get("type") != "chunk":
            raise RefusedError(400, "type")
        inside = frames[number * task.chunk_size : (number + 1) * task.chunk_size]
        if not inside or number in task.broken_chunks:
            raise RefusedError(400 if not inside else 500, "chunk")
        quality = query.get("quality", "compressed")
        if task.slow_chunks.get(number):
            task.slow_chunks[number] -= 1
            raise RefusedError(429, "The chunk is being prepared.", retry_after=task.retry_after)
        key = task.id, place, number, quality
        if key not in self.cvat.chunks:
            make = mp4_chunk if task.is_video else zip_chunk
            self.cvat.chunks[key] = make([task.frames[i] for i in inside], quality)
        return self.cvat.chunks[key]

    def validation(self, query: dict[str, str], body: Any, number: int) -> Any:
        task = self._task(number)
        honeypots = [frame for job in task.jobs for frame in job.honeypots]
        return {"mode": task.validation_mode, "honeypot_frames": honeypots, "honeypot_real_frames": honeypots}

    def job_validation(self, query: dict[str, str], body: Any, number: int) -> Any:
        task, job = self._job(number)
        if task.validation_mode != "gt_pool":
            raise RefusedError(400, "no honeypots here")
        return {"honeypot_count": len(job.honeypots), "honeypot_frames": list(job.honeypots)}

    def annotations(self, query: dict[str, str], body: Any, number: int) -> Any:
        return self.cvat.state.read(self._job(number)[1])

    def patch(self, query: dict[str, str], body: Any, number: int) -> Any:
        job = self._job(number)[1]
        if job.read_only:
            raise RefusedError(403, "You do not have permission to perform this action.")
        actions = {"create": self.cvat.state.create, "update": self.cvat.state.update, "delete": self.cvat.state.delete}
        return actions[query["action"]](job, body)

    def patch_task(self, query: dict[str, str], body: Any, number: int) -> Any:
        if query["action"] != "create":
            raise RefusedError(400, "only create is needed here")
        return self.cvat.state.create_in_task(self._task(number), body)

    def issues(self, query: dict[str, str], body: Any) -> Any:
        found = [i for i in self.cvat.state.issues.values() if i["job"] == int(query["job_id"])]
        hidden = [{**i, "comments": {"count": len(i["comments"])}} for i in found]
        return _page(hidden, query)

    def comments(self, query: dict[str, str], body: Any) -> Any:
        issue = self.cvat.state.issues[int(query["issue_id"])]
        return _page([{"id": n, "message": text} for n, text in enumerate(issue["comments"])], query)

    def make_issue(self, query: dict[str, str], body: Any) -> Any:
        number = self.cvat.state.fresh_id()
        issue = {key: body[key] for key in ("job", "frame", "position")}
        self.cvat.state.issues[number] = {"id": number, **issue, "resolved": False, "comments": [body["message"]]}
        return {"id": number, **issue}

    def drop_issue(self, query: dict[str, str], body: Any, number: int) -> Any:
        if self.cvat.state.issues.pop(number, None) is None:
            raise RefusedError(404, "Not found.")
        return {}


_ROUTES: list[tuple[str, str, Callable[..., Any]]] = [
    (r"/api/tasks", "GET", _Handler.tasks),
    (r"/api/tasks/(\d+)", "GET", _Handler.task),
    (r"/api/tasks/(\d+)/data/meta", "GET", _Handler.task_meta),
    (r"/api/tasks/(\d+)/data", "GET", _Handler.task_data),
    (r"/api/tasks/(\d+)/validation_layout", "GET", _Handler.validation),
    (r"/api/tasks/(\d+)/annotations", "PATCH", _Handler.patch_task),
    (r"/api/projects/(\d+)", "GET", _Handler.project),
    (r"/api/jobs", "GET", _Handler.jobs),
    (r"/api/jobs/(\d+)", "GET", _Handler.job),
    (r"/api/jobs/(\d+)/data/meta", "GET", _Handler.job_meta),
    (r"/api/jobs/(\d+)/data", "GET", _Handler.job_data),
    (r"/api/jobs/(\d+)/validation_layout", "GET", _Handler.job_validation),
    (r"/api/jobs/(\d+)/annotations", "GET", _Handler.annotations),
    (r"/api/jobs/(\d+)/annotations", "PATCH", _Handler.patch),
    (r"/api/labels", "GET", _Handler.labels),
    (r"/api/issues", "GET", _Handler.issues),
    (r"/api/issues", "POST", _Handler.make_issue),
    (r"/api/issues/(\d+)", "DELETE", _Handler.drop_issue),
    (r"/api/comments", "GET", _Handler.comments),
]


def _page(items: list[Any], query: dict[str, str]) -> dict[str, Any]:
    size, page = int(query.get("page_size", 10)), int(query.get("page", 1))
    more = page * size < len(items)
    return {
        "count": len(items),
        "next": "there is more" if more else None,
        "results": items[(page - 1) * size : page * size],
    }


def _task_fields(task: FakeTask) -> dict[str, Any]:
    return {
        "id": task.id,
        "name": task.name,
        "dimension": task.dimension,
        "mode": "interpolation" if task.is_video else "annotation",
        "size": len(task.frames),
        "data_chunk_size": task.chunk_size,
        "project_id": task.project,
        "subset": task.subset,
        **({"validation_mode": task.validation_mode} if task.validation_mode else {}),
    }


def _job_fields(task: FakeTask, job: FakeJob) -> dict[str, Any]:
    return {
        "id": job.id,
        "task_id": task.id,
        "task_name": task.name,
        "dimension": task.dimension,
        "type": job.kind,
        "state": job.state,
        "stage": job.stage,
        "start_frame": job.start,
        "stop_frame": job.stop,
        "frame_count": job.stop - job.start + 1,
        "data_chunk_size": task.chunk_size,
    }


def _meta(task: FakeTask, frames: range) -> dict[str, Any]:
    """Of a video ONE entry; start and stop are numbers of the original video."""
    described = [task.frames[frames[0]]] if task.is_video else [task.frames[i] for i in frames]
    return {
        "chunks_updated_date": "2026-01-01T00:00:00Z",
        "chunk_size": task.chunk_size,
        "size": len(frames),
        "start_frame": task.start_frame + frames[0] * task.step,
        "stop_frame": task.start_frame + frames[-1] * task.step,
        "frame_filter": f"step={task.step}" if task.step != 1 else "",
        "deleted_frames": sorted(set(task.deleted) & set(frames)),
        "frames": [{"name": "f", "height": f.shape[0], "width": f.shape[1]} for f in described],
    }
