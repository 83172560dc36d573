"""The function over plain HTTP without Nuclio: the very same handler, for laptops, tests and the bulk program."""

import json
import signal
import socket
import sys
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future, wait
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Queue
from types import SimpleNamespace
from typing import Any

from serverless import main

LARGEST_BODY = 64 * 2**20
"""Bytes of a request at most, as `maxRequestBodySize` of function.yaml."""

_WAITING = 8  # calls that may wait for the worker; more are told to come again
_PATIENCE = 30  # seconds to wait, as `workerAvailabilityTimeoutMilliseconds` of function.yaml
_IDLE = 30  # seconds without a byte after which a connection is closed


class _Logger:
    """Structured log lines, as Nuclio's logger takes them."""

    def info_with(self, message: str, **facts: Any) -> None:
        """One line of JSON on standard error."""
        line = {"time": time.strftime("%Y-%m-%dT%H:%M:%S"), "message": message, **facts}
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
            main.init_context(self.context)
        except BaseException:
            self.server_close()
            raise
        self._connections: set[socket.socket] = set()
        self._calls: Queue[tuple[SimpleNamespace, Future] | None] = Queue()
        self._places = threading.BoundedSemaphore(_WAITING + 1)

    def answer(self, method: str, body: bytes) -> SimpleNamespace | None:
        """The handler's response, or None where the worker is not to be had."""
        if not self._places.acquire(blocking=False):
            return None
        try:
            response: Future = Future()
            self._calls.put((SimpleNamespace(method=method, body=body), response))
            wait([response], _PATIENCE)
            return None if response.cancel() else response.result()
        finally:
            self._places.release()

    def work(self) -> None:
        """Answers the calls until `listen` ends, in this thread: torch is at its fastest where it was warmed up."""
        while (call := self._calls.get()) is not None:
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
        """Remembers the connection."""
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

    def do_POST(self) -> None:
        """One call."""
        length = self.headers.get("Content-Length", "")
        if not length.isascii() or not length.isdigit():
            self._refuse(411, "no_length", "send a Content-Length")
        elif int(length) > LARGEST_BODY:
            self._refuse(413, "too_large", f"send at most {LARGEST_BODY} bytes, for example fewer frames at once")
        else:
            body = self.rfile.read(int(length))
            if len(body) < int(length):
                self.close_connection = True
                return
            response = self.server.answer("POST", body)
            if response is None:
                self._refuse(503, "busy", "all workers are busy: try again in a few seconds")
            else:
                self._send(response.status_code, response.body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the handler logs what matters."""

    def _refuse(self, status: int, code: str, message: str) -> None:
        # The body was not read: nothing more can be said on this connection.
        self.close_connection = True
        self._send(status, json.dumps({"error": {"code": code, "message": message}}))

    def _send(self, status: int, body: str) -> None:
        content = body.encode()
        try:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            if self.close_connection:
                self.send_header("Connection", "close")
            self.end_headers()
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
