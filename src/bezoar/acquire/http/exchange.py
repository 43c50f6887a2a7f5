"""What is asked of a server, under which limits, and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from bezoar.acquire.http.addresses import Allowed
from bezoar.acquire.reasons import Reason
from bezoar.errors import UsageError

MAX_TIMEOUT_S = 86_400.0  # a day
OPT_OUTS = ("noai", "noimageai", "noindex", "noimageindex")  # of X-Robots-Tag


@dataclass(frozen=True, slots=True)
class Limits:
    """What one body may cost. UsageError for a timeout that nobody would wait for.

    Attributes:
        max_bytes: of a body as it is sent; content codings are never undone.
        timeout_s: to connect, and the longest silence. Neither it nor the deadline runs while the caller is busy with a reply.
        deadline_s: of one attempt from the first connection to the last byte, redirects included.
        retries: further attempts after failures that may pass (no connection, 429, 5xx, truncated), with exponential backoff.
        max_redirects: followed in one attempt.
        connections: open at a time.
        per_host: of these, to one host and port.

    """

    max_bytes: int = 64 << 20
    timeout_s: float = 10.0
    deadline_s: float = 60.0
    retries: int = 0
    max_redirects: int = 5
    connections: int = 64
    per_host: int = 16

    def __post_init__(self) -> None:
        if not 0 < self.timeout_s <= MAX_TIMEOUT_S:
            raise UsageError(
                f"a timeout of {self.timeout_s:g} s; give at most {MAX_TIMEOUT_S:,.0f}, and more than 0"
            )


@dataclass(frozen=True, slots=True)
class Policy:
    """Where one may connect to, and whose wishes are respected. InputError for what cannot be allowed.

    Attributes:
        allowed: hosts (names, addresses, or networks such as 10.0.0.0/8; one port of it with `:8080`) that may be reached at
            non-public addresses, and at any port by redirects.
        opt_outs: directives of X-Robots-Tag that keep a record out; empty: the header is not looked at.
        token: the user agent token that such directives may be addressed to; those without a token are for everybody.

    """

    allowed: tuple[str, ...] = ()
    opt_outs: tuple[str, ...] = OPT_OUTS
    token: str | None = None

    def __post_init__(self) -> None:
        Allowed.of(self.allowed)


@dataclass(frozen=True, slots=True)
class Request:
    """One GET.

    Attributes:
        url: http or https.
        tag: whatever the caller wants back with the reply.
        headers: sent at each hop.
        secret: headers (Authorization) that are sent only to the scheme, host and port of `url`.
        receive: takes the body of the final, successful answer piece by piece; without it the body is kept. Once it got a
            piece, the request is not attempted again.
        max_bytes: instead of the limits' own.
        deadline_s: instead of the limits' own.

    """

    url: str
    tag: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    secret: Mapping[str, str] = field(default_factory=dict)
    receive: Callable[[bytes], None] | None = None
    max_bytes: int | None = None
    deadline_s: float | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of a request.

    Attributes:
        request: that was made.
        reason: why there is no whole body; None when there is one.
        detail: the same for a person, one line.
        body: what arrived, also of a failure as far as it got (capped); empty when `receive` took it.
        sha256: of all bytes that arrived (32 bytes), hashed on their way.
        size: how many these were.
        status: of the last answer; None when no server answered.
        final_url: where that answer came from.
        redirects: URLs that led there, in order, without `final_url`.
        peer: address and port connected to last, such as 93.184.216.34:443 or [2606:2800::1]:443; with a proxy, the proxy's.
        tls_verified: of the last connection; None for http.
        fetched: when the last answer began, seconds since 1970, UTC.
        headers: chosen ones of the last answer, names in lower case.
        attempts: made.

    """

    request: Request
    reason: Reason | None
    detail: str = ""
    body: bytes = b""
    sha256: bytes = b""
    size: int = 0
    status: int | None = None
    final_url: str = ""
    redirects: tuple[str, ...] = ()
    peer: str = ""
    tls_verified: bool | None = None
    fetched: float = 0.0
    headers: Mapping[str, str] = field(default_factory=dict)
    attempts: int = 1
