"""A request under way, over its hops and attempts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from bezoar.acquire.http.exchange import Limits, Request
from bezoar.acquire.http.urls import Target
from bezoar.errors import InputError

_PLAIN = ["Accept: */*", "Accept-Encoding: identity"]
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\t -~]*")


@dataclass(slots=True)
class Transfer:
    """How far a request has come.

    Attributes:
        request: as the caller made it.
        first: its URL, checked.
        target: of the current hop.
        redirects: URLs that led there in this attempt.
        attempts: including this one.
        spent_s: on the earlier hops of this attempt.
        handed_on: bytes went to the request's `receive`, so that nothing can be started anew.

    """

    request: Request
    first: Target
    target: Target
    redirects: list[str] = field(default_factory=list)
    attempts: int = 1
    spent_s: float = 0.0
    handed_on: bool = False

    @property
    def range(self) -> str | None:
        """The value of the request's Range header."""
        return next((v for n, v in self.request.headers.items() if n.lower() == "range"), None)

    def max_bytes(self, limits: Limits) -> int:
        """That the body may have."""
        own = self.request.max_bytes
        return limits.max_bytes if own is None else own

    def deadline_s(self, limits: Limits) -> float:
        """For one attempt."""
        own = self.request.deadline_s
        return limits.deadline_s if own is None else own

    def header_lines(self) -> list[str]:
        """What is sent at the current hop; secrets only to the origin that they are for."""
        request = self.request
        if not request.headers and not request.secret:
            return _PLAIN
        fields = {"Accept": "*/*", "Accept-Encoding": "identity"}
        _merge(fields, request.headers)
        if self.target.origin == self.first.origin:
            _merge(fields, request.secret)
        return [f"{name}: {value}" if value else f"{name};" for name, value in fields.items()]

    def start_again(self) -> None:
        """Begin the next attempt."""
        self.target, self.redirects, self.spent_s = self.first, [], 0.0
        self.attempts += 1


def check_headers(request: Request) -> None:
    """Raise InputError for a header that would not be one header on the wire."""
    for headers in (request.headers, request.secret):
        for name, value in headers.items():
            if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
                raise InputError(
                    f"the request header {name!r} has a character that headers cannot have; remove it"
                )


def _merge(fields: dict[str, str], more: Mapping[str, str]) -> None:
    for name, value in more.items():
        same = next((known for known in fields if known.lower() == name.lower()), name)
        fields.pop(same, None)
        fields[name] = value
