"""Reading the head of an answer (RFC 9110): status, the headers that matter, and what is to become of its body."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from bezoar.acquire.http.exchange import Policy
from bezoar.acquire.http.robots import opted_out
from bezoar.acquire.reasons import Reason

CHOSEN = (
    "content-type",
    "content-length",
    "content-encoding",
    "content-range",
    "accept-ranges",
    "etag",
    "last-modified",
    "link",
    "x-robots-tag",
    "x-repo-commit",
    "x-linked-etag",
    "x-linked-size",
    "x-error-code",
    "x-error-message",
    "retry-after",
)
REDIRECTS = (301, 302, 303, 307, 308)
_READ = {name.encode(): name for name in (*CHOSEN, "location")}
_EMPTY = (b"\r\n", b"\n")
_LONGEST_VALUE = 4096  # characters; a longer one is left out of what is kept
_LONGEST_DATE = 64  # characters
_RANGE = re.compile(r"bytes=([0-9]{1,18})-([0-9]{1,18})?")
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)")


@dataclass(frozen=True, slots=True)
class Answer:
    """The head of an answer: status, and the values of the headers that are read, by name in lower case."""

    status: int
    fields: Mapping[str, Sequence[str]]

    @property
    def location(self) -> str | None:
        """Where it redirects to; None if it does not. Of several, the first counts."""
        return self.fields["location"][0] if self.status in REDIRECTS and "location" in self.fields else None

    def chosen(self) -> dict[str, str]:
        """The headers that are kept."""
        joined = {name: ", ".join(values) for name, values in self.fields.items() if name in CHOSEN}
        return {name: value for name, value in joined.items() if len(value) <= _LONGEST_VALUE}

    def retry_after_s(self) -> float | None:
        """Seconds that the server asks to wait, given as such or as a date; None if it does not, or nobody can read it."""
        if "retry-after" not in self.fields:
            return None
        value = self.fields["retry-after"][0]
        if value.isascii() and value.isdigit() and len(value) < 10:
            return float(value)
        if len(value) > _LONGEST_DATE:
            return None
        try:
            until = parsedate_to_datetime(value)
            if until.tzinfo is None:
                until = until.replace(tzinfo=UTC)
            return max(0.0, (until - datetime.now(UTC)).total_seconds())
        except (
            ValueError,
            OverflowError,
            TypeError,
            IndexError,
        ):  # the standard library's reader foresees few
            return None


def read_head(lines: Sequence[bytes]) -> Answer:
    """The last head among these lines; interim ones (1xx) come before it. The lines are well-formed, libcurl saw to that."""
    status, fields, first = 0, dict[str, list[str]](), True
    for line in lines:
        if first and line.startswith(b"HTTP/"):
            status, fields, first = int(line.split(None, 2)[1]), {}, False
            continue
        if line in _EMPTY:
            first = True
            continue
        name, _, value = line.partition(b":")
        known = _READ.get(name.lower())
        if known is not None:
            fields.setdefault(known, []).append(_text(value))
    return Answer(status, fields)


def problem_of(
    answer: Answer, wanted: str | None, max_bytes: int, policy: Policy
) -> tuple[Reason, str] | None:
    """Why the body of this final answer is not what was asked for; None if it is.

    Args:
        answer: with a status that does not redirect.
        wanted: the value of the request's Range header, if it had one.
        max_bytes: that the body may have.
        policy: whose wishes count.

    """
    if answer.status != (200 if wanted is None else 206):
        return Reason.HTTP_STATUS, f"status {answer.status}"
    said = opted_out(answer.fields.get("x-robots-tag", ()), policy)
    if said is not None:
        return Reason.OPT_OUT, f"X-Robots-Tag: {said}"
    if wanted is not None and not _is_the_range(wanted, answer.fields.get("content-range", ())):
        return Reason.HTTP_STATUS, "status 206 with another range than the one asked for"
    lengths = set(answer.fields.get("content-length", ()))
    if len(lengths) > 1:
        return Reason.CONNECTION, "contradictory Content-Length headers"
    length = next(iter(lengths), "")
    if length.isascii() and length.isdigit() and (len(length) > 18 or int(length) > max_bytes):
        return Reason.TOO_LARGE, f"Content-Length says {length[:20]} bytes, more than {max_bytes}"
    return None


def _is_the_range(wanted: str, given: Sequence[str]) -> bool:
    asked = _RANGE.fullmatch(wanted)
    if asked is None or len(given) != 1:
        return False
    got = _CONTENT_RANGE.fullmatch(given[0])
    if got is None or got[1].lstrip("0") != asked[1].lstrip("0"):
        return False
    return asked[2] is None or int(got[2]) <= int(asked[2])


def _text(value: bytes) -> str:
    """UTF-8 where it is that (Location headers in the wild), else Latin-1."""
    try:
        return value.strip().decode("utf-8")
    except UnicodeDecodeError:
        return value.strip().decode("latin-1")
