"""The log's entry for an event: a small RFC 8785 JSON object that names the signed statement by its SHA-256."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bezoar.custody.events.event import KINDS
from bezoar.custody.events.times import parse_time, time_text
from bezoar.custody.signing.strict_json import parse_object
from bezoar.custody.tlog.entries import MAX_ENTRY
from bezoar.errors import InputError

VERSION = 1
_HEX = re.compile(r"[0-9a-f]{64}")
_MEMBERS = {"dataset", "kind", "object", "records", "snapshot", "time", "version"}
_MAX_COUNT = 2**53 - 1


@dataclass(frozen=True)
class EventEntry:
    """An entry: `object` is the envelope's SHA-256 (hex), `records` how many it names (None: the dataset as a whole)."""

    dataset: str
    kind: str
    object: str
    records: int | None
    snapshot: str
    time: datetime

    def to_bytes(self) -> bytes:
        """RFC 8785 JSON."""
        import rfc8785

        return rfc8785.dumps(
            {
                "dataset": self.dataset,
                "kind": self.kind,
                "object": f"sha256:{self.object}",
                "records": self.records,
                "snapshot": self.snapshot,
                "time": time_text(self.time),
                "version": VERSION,
            }
        )

    @classmethod
    def parse(cls, data: bytes, where: str = "log entry") -> EventEntry:
        """The entry in `data`; InputError unless it is exactly what `to_bytes` writes."""
        members = parse_object(data, where, MAX_ENTRY)
        if set(members) != _MEMBERS or type(members["version"]) is not int or members["version"] != VERSION:
            raise InputError(
                f"{where}: expected the members {', '.join(sorted(_MEMBERS))} in version {VERSION}"
            )
        found = cls(
            dataset=_text(members["dataset"], f"{where}: dataset"),
            kind=_kind(members["kind"], where),
            object=_object(members["object"], where),
            records=_count(members["records"], where),
            snapshot=_hex(members["snapshot"], f"{where}: snapshot"),
            time=parse_time(members["time"], f"{where}: time"),
        )
        if found.to_bytes() != data:
            raise InputError(f"{where}: is not canonical JSON (RFC 8785)")
        return found


def dataset_of(data: bytes) -> str | None:
    """The dataset that an entry is about, so far as it says; None for an entry of something else."""
    try:
        name = parse_object(data, "log entry", MAX_ENTRY).get("dataset")
    except InputError:
        return None
    return name if isinstance(name, str) else None


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str) or not value:
        raise InputError(f"{where}: expected a non-empty text")
    return value


def _kind(value: Any, where: str) -> str:
    if not isinstance(value, str) or value not in KINDS:
        raise InputError(f"{where}: unknown kind of event {str(value)[:40]!r}; known: {', '.join(KINDS)}")
    return value


def _object(value: Any, where: str) -> str:
    if not isinstance(value, str) or not value.startswith("sha256:"):
        raise InputError(f"{where}: object must be sha256: and 64 lowercase hexadecimal digits")
    return _hex(value.removeprefix("sha256:"), f"{where}: object")


def _hex(value: Any, where: str) -> str:
    if not isinstance(value, str) or not _HEX.fullmatch(value):
        raise InputError(f"{where}: expected 64 lowercase hexadecimal digits")
    return value


def _count(value: Any, where: str) -> int | None:
    if value is not None and (type(value) is not int or not 0 <= value <= _MAX_COUNT):
        raise InputError(f"{where}: records must be a count or null")
    return value
