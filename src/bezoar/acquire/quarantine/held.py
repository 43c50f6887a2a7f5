"""One entry of a quarantine: what was expected, what came instead, from where, and what a release would need."""

from __future__ import annotations

import datetime
import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from enum import StrEnum
from typing import Any

from bezoar.acquire.reasons import Reason
from bezoar.errors import InputError

MAX_LINE = 1 << 20  # bytes of one line of the table
RELEASED = "released"  # how an entry ends that a person let into the dataset
_MAX_TEXT = 4096  # characters of a text of an entry that is too long for a line
_SHA256 = re.compile(r"([0-9a-f]{64})?\Z")


class Stored(StrEnum):
    """Whether the store has the bytes, and why not."""

    KEPT = "kept"
    NONE = "none"  # no byte came
    PARTIAL = "partial"  # the fetch gave only a part of what it hashed
    TOO_LARGE = "too_large"  # for one object of this store
    FULL = "full"  # the store has reached its cap


@dataclass(frozen=True, slots=True)
class Held:
    """A row of a list whose download was set aside.

    Attributes:
        key: that the record would have had.
        url: as the list has it.
        reason: why it was set aside.
        detail: the same for a person, one line.
        expected: SHA-256 (hex) that the list promises, or what it has in its place; None when it has none.
        expected_by: who signed that; None when nobody did.
        sha256: of what came (hex); "" when nothing did.
        size: of what came, in bytes.
        fetched: when, seconds since 1970, UTC.
        status: of the last answer.
        final_url: where it came from.
        redirects: URLs that led there, in order, without `final_url`.
        peer: address and port, such as 93.184.216.34:443.
        tls_verified: None for http.
        content_type: as the server says.
        run_id: of the fetch.
        row: number of the row in the list, from 0; None when unknown.
        caption: of the row.
        extra: the row's further columns.
        fields: what the sample's JSON would have said.
        stored: whether the store has the bytes; set by the store.

    """

    key: str
    url: str
    reason: Reason
    detail: str = ""
    expected: str | None = None
    expected_by: str | None = None
    sha256: str = ""
    size: int = 0
    fetched: float = 0.0
    status: int | None = None
    final_url: str = ""
    redirects: tuple[str, ...] = ()
    peer: str = ""
    tls_verified: bool | None = None
    content_type: str = ""
    run_id: str = ""
    row: int | None = None
    caption: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    fields: Mapping[str, Any] = field(default_factory=dict)
    stored: Stored = Stored.NONE

    @property
    def identity(self) -> tuple[str, str, str]:
        """Two entries with this in common tell of the same thing."""
        return self.key, self.sha256, self.reason.value

    def to_line(self) -> bytes:
        """One line of JSON. An entry too long for a line loses its columns, and says so; it is never lost itself."""
        line = _line(asdict(self))
        return line if len(line) <= MAX_LINE else _line(asdict(_shortened(self)))


@dataclass(frozen=True, slots=True)
class Settled:
    """How an entry came to its end: `how` "released" or "refetched", `reason` in words, `when` in seconds since 1970."""

    key: str
    sha256: str
    how: str
    reason: str
    when: float

    def to_line(self) -> bytes:
        """One line of JSON."""
        return _line({"settled": asdict(self)})


@dataclass(frozen=True, slots=True)
class Releasing:
    """An entry that a person lets into the dataset; written before its shard is, so that a release may be killed anywhere."""

    key: str
    sha256: str

    def to_line(self) -> bytes:
        """One line of JSON."""
        return _line({"releasing": asdict(self)})


def parse_line(line: bytes, where: str) -> Held | Settled | Releasing:
    """What a line of the table says; InputError when it is malformed."""
    try:
        members = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: is no entry of a quarantine ({error})") from error
    if isinstance(members, dict) and set(members) == {"settled"}:
        _check(members["settled"], _SETTLED_TYPES, where)
        return Settled(**members["settled"])
    if isinstance(members, dict) and set(members) == {"releasing"}:
        _check(members["releasing"], _RELEASING_TYPES, where)
        return Releasing(**members["releasing"])
    _check(members, _TYPES, where)
    if not _SHA256.match(members["sha256"]):
        raise InputError(f"{where}: sha256 is not 64 lowercase hexadecimal digits")
    if not all(isinstance(url, str) for url in members["redirects"]) or members["size"] < 0:
        raise InputError(f"{where}: a redirect is no text, or the size is negative")
    try:
        members["reason"], members["stored"] = Reason(members["reason"]), Stored(members["stored"])
    except ValueError as error:
        raise InputError(f"{where}: {error}") from error
    members["redirects"] = tuple(members["redirects"])
    return Held(**members)


_TEXT, _TEXT_OR_NONE, _NUMBER_OR_NONE = (str,), (str, type(None)), (int, type(None))
_TIME = (int, float)
_SETTLED_TYPES = {"key": _TEXT, "sha256": _TEXT, "how": _TEXT, "reason": _TEXT, "when": _TIME}
_RELEASING_TYPES = {"key": _TEXT, "sha256": _TEXT}
_TYPES: dict[str, tuple[type, ...]] = {
    **{each.name: _TEXT for each in fields(Held)},
    **dict.fromkeys(("expected", "expected_by", "caption"), _TEXT_OR_NONE),
    **dict.fromkeys(("status", "row"), _NUMBER_OR_NONE),
    **dict.fromkeys(("extra", "fields"), (dict,)),
    "size": (int,),
    "fetched": _TIME,
    "tls_verified": (bool, type(None)),
    "redirects": (list,),
}


def _check(members: Any, types: Mapping[str, tuple[type, ...]], where: str) -> None:
    if not isinstance(members, dict) or set(members) != set(types):
        raise InputError(f"{where}: is no entry of a quarantine; its members are others")
    for name, allowed in types.items():
        if type(members[name]) not in allowed:
            raise InputError(f"{where}: {name} is a {type(members[name]).__name__}")
        if isinstance(members[name], float) and not math.isfinite(members[name]):
            raise InputError(f"{where}: {name} is no time")


def _line(members: dict[str, Any]) -> bytes:
    return json.dumps(members, default=_plain, separators=(",", ":"), sort_keys=True).encode("ascii") + b"\n"


def _plain(value: Any) -> Any:
    """A list's value that JSON has no type for."""
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.hex()
    return value.item() if hasattr(value, "item") else str(value)


def _shortened(held: Held) -> Held:
    return replace(
        held,
        key=held.key[:_MAX_TEXT],
        url=held.url[:_MAX_TEXT],
        detail=f"{held.detail[:500]} (too long for the table: without caption, columns and redirects)".strip(),
        expected=None if held.expected is None else held.expected[:_MAX_TEXT],
        expected_by=None if held.expected_by is None else held.expected_by[:_MAX_TEXT],
        final_url=held.final_url[:_MAX_TEXT],
        content_type=held.content_type[:_MAX_TEXT],
        redirects=(),
        caption=None,
        extra={},
        fields={},
    )
