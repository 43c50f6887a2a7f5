"""One libcurl handle, used for one hop after the other, and what its callbacks gather while the bytes arrive.

"The bytes as received" are the representation data of RFC 9110: after chunked framing is taken off, before any content
coding is. Identity is asked for; a coding that is sent all the same is never undone. So what is hashed is what RFC 9530
digests, a `.tar.gz` stays one, and there is nothing that could inflate: a compression bomb is as large as it is on the wire.
"""

from __future__ import annotations

import hashlib
import os
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bezoar.acquire.http.addresses import Allowed
from bezoar.acquire.http.answers import Answer, problem_of, read_head
from bezoar.acquire.http.exchange import Limits, Policy
from bezoar.acquire.http.transfer import Transfer
from bezoar.acquire.reasons import Reason
from bezoar.errors import MissingExtraError

_READ_AHEAD = 128 << 10  # bytes that libcurl may read at once
_SIDE_BODY = 64 << 10  # bytes of the body of a redirect or of an error page, at most
_DNS_CACHE_S = 300
_SUPPRESS_CONNECT_HEADERS = 265  # CURLOPT_SUPPRESS_CONNECT_HEADERS, for which pycurl has no name


def load_pycurl() -> Any:
    """The pycurl module, or MissingExtraError."""
    try:
        import pycurl
    except ImportError as error:
        raise MissingExtraError("downloading", "fetch") from error
    return pycurl


@dataclass(frozen=True, slots=True)
class Settings:
    """What all connections of a client have in common."""

    limits: Limits
    policy: Policy
    allowed: Allowed
    proxy: str | None
    ca_file: str | None
    user_agent: str


class Slot:
    """A libcurl handle and the hop that it is busy with.

    Attributes:
        curl: the handle.
        transfer: that the hop belongs to.
        answer: once its head has arrived.
        problem: why the body is not, or not wholly, taken.
        pieces: of the body that are kept; not those that went to `receive`.
        size: bytes of the body so far.
        fetched: when the answer began, seconds since 1970.
        blocked: the address that was refused last.
        raised: by the request's `receive`; the exchange ends with it.
        fault: what this client stumbled over in the answer; only this request fails with it.

    Args:
        settings: of the client.
        opened: takes the sockets that libcurl was given; to be closed soon, as it works on duplicates.

    """

    def __init__(self, settings: Settings, opened: list[socket.socket]) -> None:
        self._settings, self._opened = settings, opened
        self._lines: list[bytes] = []
        self._sent: list[str] = []
        self.transfer: Transfer
        self._clear()
        pycurl = load_pycurl()
        self._bad_socket = pycurl.SOCKET_BAD
        self._url_option, self._headers_option = pycurl.URL, pycurl.HTTPHEADER
        self.curl = _handle(pycurl, settings)
        self.curl.setopt(
            pycurl.HEADERFUNCTION, self._lines.append
        )  # the cheapest; libcurl caps heads at 300 KB
        self.curl.setopt(pycurl.WRITEFUNCTION, self._write)
        self.curl.setopt(pycurl.OPENSOCKETFUNCTION, self._open_socket)

    def _clear(self) -> None:
        self._lines.clear()
        self.answer: Answer | None = None
        self.problem: tuple[Reason, str] | None = None
        self.pieces: list[bytes] = []
        self.size = 0
        self.fetched = 0.0
        self.blocked = ""
        self.raised: Exception | None = None
        self.fault: Exception | None = None
        self._hash = hashlib.sha256()
        self._receive: Callable[[bytes], None] | None = None
        self._room = 0

    def start(self, transfer: Transfer) -> None:
        """Make ready for the next hop of `transfer`."""
        self._clear()
        self.transfer = transfer
        self.curl.setopt(self._url_option, transfer.target.url)
        headers = transfer.header_lines()
        if headers != self._sent:
            self.curl.setopt(self._headers_option, headers)
            self._sent = headers

    def finish(self) -> None:
        """Read a head that no body came after, if it is whole. Raises the fault that there was, or is found now."""
        if self.fault is not None:
            raise self.fault
        if self.answer is None and self._lines and self._lines[-1].strip() == b"":
            self._begin()
            if self.answer is not None and self.answer.status < 200:
                self.answer = self.problem = None  # an interim answer, and then nothing

    def progress(self) -> tuple[int, int]:
        """Something that differs once more has arrived."""
        return len(self._lines), self.size

    def head_size(self) -> int:
        """Bytes of all heads of this hop."""
        return sum(map(len, self._lines))

    def digest(self) -> bytes:
        """SHA-256 of the body so far."""
        return self._hash.digest()

    def _begin(self) -> None:
        """Decide about the body, once the head is there."""
        transfer = self.transfer
        self.answer = answer = read_head(self._lines)
        self.fetched = time.time()
        self._room = _SIDE_BODY
        if answer.location is not None:
            return
        limit = transfer.max_bytes(self._settings.limits)
        self.problem = problem_of(answer, transfer.range, limit, self._settings.policy)
        if self.problem is None:
            self._room = limit
            self._receive = transfer.request.receive
        elif self.problem[0] is not Reason.HTTP_STATUS:
            self._room = 0

    def _write(self, piece: bytes) -> int | None:
        """Called by libcurl with a piece of the body; 0 breaks the connection off."""
        try:
            return self._take(piece)
        except Exception as error:  # pycurl would print it and go on
            self.fault = error
            return 0

    def _take(self, piece: bytes) -> int | None:
        if self.answer is None:
            self._begin()
        over = self.size + len(piece) - self._room
        if over > 0:
            piece = piece[:-over] if over < len(piece) else b""
            if self.problem is None:
                self.problem = Reason.TOO_LARGE, f"the body has more than {self._room} bytes"
        self.size += len(piece)
        self._hash.update(piece)
        if self._receive is None:
            self.pieces.append(piece)
        elif piece:
            self.transfer.handed_on = True
            try:
                self._receive(piece)
            except Exception as error:
                self.raised = error
                return 0
        return 0 if over > 0 else None

    def _open_socket(self, _purpose: int, where: Any) -> Any:
        """Called by libcurl with an address that it is about to connect to: the one place where no name can lie."""
        family, kind, protocol, (address, port, *_) = where
        settings, target = self._settings, self.transfer.target
        if not (
            settings.proxy is not None  # connections go to the proxy that the user named, and nowhere else
            or settings.allowed.address(address, port)
            or settings.allowed.name(target.host, target.port)
        ):
            self.blocked = address
            return self._bad_socket
        try:
            opened = socket.socket(family, kind, protocol)
        except OSError:  # no IPv6 here, or too many open files
            return self._bad_socket
        self._opened.append(opened)
        return opened


def _handle(pycurl: Any, settings: Settings) -> Any:
    curl = pycurl.Curl()
    web = pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS
    for option, value in (
        (pycurl.NOSIGNAL, 1),
        (pycurl.PROTOCOLS, web),
        (pycurl.FOLLOWLOCATION, 0),
        (pycurl.PROXY, settings.proxy or ""),  # "": also against the environment's
        (pycurl.NOPROXY, ""),
        (_SUPPRESS_CONNECT_HEADERS, 1),  # a proxy's answer to CONNECT is not the server's
        (pycurl.NETRC, pycurl.NETRC_IGNORED),
        (pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1),
        (pycurl.HTTP_CONTENT_DECODING, 0),
        (pycurl.HTTP09_ALLOWED, 0),
        (pycurl.SSL_VERIFYPEER, 1),
        (pycurl.SSL_VERIFYHOST, 2),
        (pycurl.SSLVERSION, pycurl.SSLVERSION_TLSv1_2),
        (pycurl.CONNECTTIMEOUT_MS, max(1, round(settings.limits.timeout_s * 1000))),
        (pycurl.DNS_CACHE_TIMEOUT, _DNS_CACHE_S),
        (pycurl.BUFFERSIZE, _READ_AHEAD),
        (pycurl.USERAGENT, settings.user_agent),
    ):
        curl.setopt(option, value)
    if settings.ca_file is not None:
        for option in (pycurl.CAINFO, pycurl.PROXY_CAINFO):
            curl.setopt(option, os.fsencode(settings.ca_file))
    return curl
