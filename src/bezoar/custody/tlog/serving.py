"""What the two small HTTP servers share: capped, timed, quiet request handling over the standard library.

They answer on 127.0.0.1 unless told otherwise and speak plain HTTP; put a reverse proxy in front of them for TLS. There is one
request to a connection, so that a body which is not read, or whose length a proxy sees otherwise, is never a second request.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from bezoar.errors import OutputError, UsageError

_TIMEOUT_S = 20.0  # of waiting for a client's next byte
_LONGEST_S = 120.0  # of a connection
_MAX_CONNECTIONS = 64
_MAX_PORT = 65_535


@dataclass(frozen=True)
class Answer:
    """An HTTP answer: status, body, its content type, and for how long it may be kept."""

    status: int
    body: bytes
    content_type: str = "text/plain; charset=utf-8"
    cache_control: str = "no-store"


class Handler(BaseHTTPRequestHandler):
    """Base of the handlers: a slow client is cut off, nothing is written to the terminal, bodies have a length."""

    server_version = "bezoar"
    sys_version = ""
    timeout = _TIMEOUT_S

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
        """Write nothing: what a client sends does not belong on the terminal."""

    def send(self, answer: Answer) -> None:
        """Send the answer, without its body when the request is HEAD."""
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.body)))
        self.send_header("Cache-Control", answer.cache_control)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    def body(self, limit: int) -> bytes | None:
        """The request's body; None when its length is missing or beyond `limit`, or less comes than that."""
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdecimal() and len(length) < 12 and int(length) <= limit):
            return None
        data = self.rfile.read(int(length))
        return data if len(data) == int(length) else None


class _Server(ThreadingHTTPServer):
    """A thread for each connection; of these there are only so many, and each has an end."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], handler: Callable[..., Handler]) -> None:
        self._ends: dict[socket.socket, float] = {}
        super().__init__(address, handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Take the connection on, or close it where there is no place for one more."""
        if len(self._ends) >= _MAX_CONNECTIONS:
            self.shutdown_request(request)
            return
        self._ends[request] = time.monotonic() + _LONGEST_S
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Close the connection."""
        self._ends.pop(request, None)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """Cut off who takes too long: a byte now and then would keep a thread for ever."""
        super().service_actions()
        now = time.monotonic()
        for connection in [each for each, end in list(self._ends.items()) if end < now]:
            with contextlib.suppress(OSError):  # it went away by itself
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away in the middle of an answer is no event."""


@contextlib.contextmanager
def listening(handler: Callable[..., Handler], address: str) -> Iterator[_Server]:
    """A server bound to `HOST:PORT` (port 0: a free one); call `serve_forever` on it. OutputError when it cannot be bound."""
    host, port = parse_address(address)
    try:
        server = _Server((host, port), handler)
    except OSError as error:
        raise OutputError(
            f"{address}: cannot listen there ({error.strerror or error}); choose another address"
        ) from error
    try:
        yield server
    finally:
        server.server_close()


def parse_address(address: str) -> tuple[str, int]:
    """`HOST:PORT` in its parts; UsageError when it is not that."""
    host, colon, port = address.rpartition(":")
    if not (
        colon and host and port.isascii() and port.isdecimal() and len(port) <= 5 and int(port) <= _MAX_PORT
    ):
        raise UsageError(f"{address!r} is not HOST:PORT, for example 127.0.0.1:8080")
    return host, int(port)
