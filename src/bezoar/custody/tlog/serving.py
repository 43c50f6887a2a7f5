"""What the two small HTTP servers share: capped, timed, quiet request handling over the standard library.

They answer on 127.0.0.1 unless told otherwise and speak plain HTTP; put a reverse proxy in front of them for TLS.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from bezoar.errors import OutputError, UsageError

_TIMEOUT_S = 20.0
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

    protocol_version = "HTTP/1.1"
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
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    def body(self, limit: int) -> bytes | None:
        """The request's body; None, and the connection is to be closed, when its length is missing or beyond `limit`."""
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdecimal() and len(length) < 12 and int(length) <= limit):
            self.close_connection = True
            return None
        data = self.rfile.read(int(length))
        return data if len(data) == int(length) else None


class _Server(ThreadingHTTPServer):
    daemon_threads = True

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
