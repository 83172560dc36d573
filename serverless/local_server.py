"""The function over plain HTTP without Nuclio: the very same handler, for laptops, tests and the bulk program."""

import json
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, wait
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Empty, Queue
from types import SimpleNamespace
from typing import Any

from serverless import main

LARGEST_BODY = 64 * 2**20
"""Bytes of a request at most, as `maxRequestBodySize` of function.yaml."""

_WAITING = 8  # calls that may wait for the worker; more are told to come again
_PATIENCE = 30  # seconds to wait, as `workerAvailabilityTimeoutMilliseconds` of function.yaml
_IDLE = 30  # seconds without a byte after which a connection is closed
_SLOWEST_BODY = 60  # seconds for a whole body
_HEED = 0.5  # seconds after which a signal is heeded that came just before the worker began to wait
_LINGER = 5  # seconds that a refused caller may go on sending
_PIECE = 2**20  # bytes of a body read at a time
_MOST_CONNECTIONS = 100


class _Logger:
    """Structured log lines, as Nuclio's logger takes them."""

    def info_with(self, message: str, **facts: Any) -> None:
        """One line of JSON on standard error."""
        self._log("info", message, facts)

    def warn_with(self, message: str, **facts: Any) -> None:
        """Likewise, of what was refused."""
        self._log("warning", message, facts)

    def error_with(self, message: str, **facts: Any) -> None:
        """Likewise, of a fault."""
        self._log("error", message, facts)

    def _log(self, level: str, message: str, facts: Mapping[str, Any]) -> None:
        line = {"time": time.strftime("%Y-%m-%dT%H:%M:%S"), "level": level, "message": message, **facts}
        print(json.dumps(line), file=sys.stderr, flush=True)


def _response(body: str, headers: Mapping[str, str], content_type: str, status_code: int) -> SimpleNamespace:
    return SimpleNamespace(body=body, headers=headers, content_type=content_type, status_code=status_code)


class LocalServer(ThreadingHTTPServer):
    """Serves the handler on one address. Calls are answered one after the other, as by one Nuclio worker.

    Args:
        host: to listen on.
        port: to listen on; 0 picks a free one.

    Raises:
        OSError: the address is in use or not of this machine.
        PerclipError: the settings in the environment cannot be used.
    """

    daemon_threads = False  # a call that is being answered is finished at shutdown
    block_on_close = True

    def __init__(self, host: str, port: int):
        super().__init__((host, port), _Requests)
        try:
            self.context = SimpleNamespace(user_data=SimpleNamespace(), logger=_Logger(), Response=_response)
            main.start(self.context)  # whoever makes a server says what it raises
        except BaseException:
            self.server_close()
            raise
        self._connections: set[socket.socket] = set()
        self._calls: Queue[tuple[SimpleNamespace, Future[SimpleNamespace]] | None] = Queue()
        self._places = threading.BoundedSemaphore(_WAITING + 1)

    @contextmanager
    def place(self) -> Iterator[bool]:
        """A place in the queue, taken before a body is read, so that few bodies are in memory; False: there is none."""
        has_place = self._places.acquire(blocking=False)
        try:
            yield has_place
        finally:
            if has_place:
                self._places.release()

    def answer(self, method: str, body: bytes) -> SimpleNamespace | None:
        """The handler's response, or None where the worker is not to be had in time."""
        response: Future[SimpleNamespace] = Future()
        event = SimpleNamespace(method=method, body=body)
        self._calls.put((event, response))
        wait([response], _PATIENCE)
        if response.cancel():
            event.body = b""  # it stays in the queue until the worker comes by
            return None
        return response.result()

    def work(self) -> None:
        """Answers the calls until `listen` ends, in this thread: torch is at its fastest where it was warmed up."""
        while True:
            try:
                call = self._calls.get(timeout=_HEED)
            except Empty:
                continue
            if call is None:
                return
            event, response = call
            if response.set_running_or_notify_cancel():
                try:
                    response.set_result(main.handler(self.context, event))
                except Exception as error:  # the handler answers everything: a fault of ours, for one caller to see
                    response.set_exception(error)

    def listen(self) -> None:
        """Takes calls until `shutdown`; those that came whole are still answered."""
        self.serve_forever()
        for connection in list(self._connections):  # nobody waits for a caller that holds an idle one
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RD)
        self.server_close()
        self._calls.put(None)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Remembers the connection, or closes it where there are too many."""
        if len(self._connections) >= _MOST_CONNECTIONS:
            super().shutdown_request(request)
            return
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Forgets the connection."""
        self._connections.discard(request)
        super().shutdown_request(request)


class _Requests(BaseHTTPRequestHandler):
    server: LocalServer
    protocol_version = "HTTP/1.1"
    timeout = _IDLE

    def do_GET(self) -> None:
        """Version and readiness; never waits for the worker."""
        function = self.server.context.user_data.perclip
        self._send(200, json.dumps(function.status()))

    do_HEAD = do_GET  # noqa: N815

    def do_POST(self) -> None:
        """One call."""
        length = self.headers.get("Content-Length", "")
        if not length.isascii() or not length.isdigit() or len(length) > 15:
            self._refuse(411, "no_length", "send a Content-Length")
        elif int(length) > LARGEST_BODY:
            self._refuse(413, "too_large", f"send at most {LARGEST_BODY} bytes, for example fewer frames at once")
        else:
            with self.server.place() as has_place:
                body = self._body(int(length)) if has_place else None
                if has_place and body is None:
                    self.close_connection = True
                    return
                response = None if body is None else self.server.answer("POST", body)
            if response is None:
                self._refuse(503, "busy", "all workers are busy: try again in a few seconds")
            else:
                self._send(response.status_code, response.body)

    def _body(self, length: int) -> bytes | None:
        """The whole body; None where it does not come, or too slowly."""
        body, deadline = bytearray(), time.monotonic() + _SLOWEST_BODY
        while len(body) < length:
            piece = self.rfile.read1(min(_PIECE, length - len(body)))
            if not piece or time.monotonic() > deadline:
                return None
            body += piece
        return bytes(body)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What the base class refuses, as JSON."""
        status = 405 if code == 501 else code
        self._refuse(status, "bad_http", f"{message or 'the request cannot be read'}: send GET or POST")

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the handler logs what matters."""

    def _refuse(self, status: int, code: str, message: str) -> None:
        # The body was not read: nothing more can be said on this connection.
        self.close_connection = True
        self._send(status, json.dumps({"error": {"code": code, "message": message}}))
        self._let_finish()

    def _let_finish(self) -> None:
        """Takes what the caller still sends, for a while: closing at once would destroy the answer on its way."""
        deadline = time.monotonic() + _LINGER
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)
            self.connection.settimeout(_LINGER)
            while self.connection.recv(_PIECE) and time.monotonic() < deadline:
                pass

    def _send(self, status: int, body: str) -> None:
        content = body.encode()
        try:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            if self.close_connection:
                self.send_header("Connection", "close")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True


def serve(server: LocalServer) -> None:
    """Serves until SIGTERM or Ctrl-C; a call that is being answered is finished first."""

    def stop(_signal: int, _frame: Any) -> None:
        threading.Thread(target=server.shutdown).start()

    previous = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    listener = threading.Thread(target=server.listen)
    try:
        listener.start()
        server.work()
        listener.join()
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
