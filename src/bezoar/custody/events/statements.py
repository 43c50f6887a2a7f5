"""Events written as in-toto Statements and read back strictly.

The subjects are the records, by name and SHA-256, and last the dataset's snapshot. A statement has one spelling: its event,
written again, must give the same statement. So what a standard's member says and what our own block says cannot differ, and two
readers cannot see two things in one signature.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from bezoar.custody.events.event import (
    ACQUIRED,
    AUDITED,
    KINDS,
    MAX_RECORDS,
    REMOVED,
    REVOKED,
    SCANNED,
    SEALED,
    TRANSFORMED,
    Event,
    Part,
    Scan,
    ScanFinding,
)
from bezoar.custody.events.predicates import CUSTODY_EVENT, predicate, predicate_type
from bezoar.custody.events.query import Query
from bezoar.custody.events.times import parse_time
from bezoar.custody.seal.layout import SNAPSHOT_DIGEST
from bezoar.custody.seal.leaves import Leaf
from bezoar.custody.signing.statement import Statement, Subject
from bezoar.errors import InputError, UsageError

MAX_TEXT = 10_000  # characters of a reason or an origin
_HEX = re.compile(r"[0-9a-f]{64}")
_MAX_SIZE = 2**53 - 1
_REQUIRED = {"after", "before", "kind", "time"}
_OPTIONAL = {"count", "derivedFrom", "origin", "parts", "query", "reason", "records", "scan", "was"}
_ONLY = {
    "origin": ACQUIRED,
    "query": REVOKED,
    "count": SEALED,
    "parts": SEALED,
    "scan": SCANNED,
    "was": TRANSFORMED,
    "derived": TRANSFORMED,
}


def statement_of(event: Event) -> Statement:
    """The statement that says what `event` says; UsageError when there is no such event."""
    try:
        _check(event, "event")
    except InputError as error:
        raise UsageError(str(error)) from error
    return _statement(event)


def event_of(statement: Statement, where: str = "event") -> Event:
    """The event that a statement tells of; InputError when it is no event or says two things at once."""
    snapshot = statement.subjects[-1]
    members = _custody_block(statement, where)
    kind = members.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        raise InputError(f"{where}: unknown kind of event {str(kind)[:40]!r}; known: {', '.join(KINDS)}")
    if statement.predicate_type != predicate_type(kind):
        raise InputError(f"{where}: the predicate type of a {kind} event is {predicate_type(kind)}")
    if missing := _REQUIRED - set(members):
        raise InputError(f"{where}: has no member {min(missing)!r}")
    if unknown := set(members) - _REQUIRED - _OPTIONAL:
        raise InputError(f"{where}: unknown member {min(unknown)[:40]!r}; a newer Bezoar may have written it")
    event = Event(
        kind=kind,
        dataset=snapshot.name,
        before=_hex(members["before"], f"{where}: before"),
        after=_hex(members["after"], f"{where}: after"),
        time=parse_time(members["time"], f"{where}: time"),
        reason=_text(members, "reason", where) or "",
        records=_records(members, statement.subjects[:-1], where),
        was=_was(members, where),
        origin=_text(members, "origin", where),
        derived=_derived(members["derivedFrom"], where) if "derivedFrom" in members else None,
        query=_text(members, "query", where),
        count=_optional_size(members, "count", where),
        parts=tuple(_part(item, where) for item in _items(members, "parts", where)),
        scan=_scan(members["scan"], where) if "scan" in members else None,
        statement=_rest(statement) if kind == AUDITED else None,
    )
    _check(event, where)
    if _statement(event) != statement:
        raise InputError(f"{where}: its subjects or its predicate say something else than its custody block")
    return event


def _statement(event: Event) -> Statement:
    records = (Subject(leaf.key, {"sha256": leaf.sha256.hex()}) for leaf in event.records)
    snapshot = Subject(event.dataset, {SNAPSHOT_DIGEST: event.after})
    return Statement((*records, snapshot), predicate_type(event.kind), predicate(event))


def _custody_block(statement: Statement, where: str) -> Mapping[str, Any]:
    if statement.predicate_type == CUSTODY_EVENT:
        return statement.predicate
    members = statement.predicate.get(CUSTODY_EVENT)
    if not isinstance(members, dict):
        raise InputError(f"{where}: is no custody event; its predicate has no member {CUSTODY_EVENT}")
    return members


def _rest(statement: Statement) -> dict[str, Any]:
    return {name: value for name, value in statement.predicate.items() if name != CUSTODY_EVENT}


def _check(event: Event, where: str) -> None:
    """InputError unless the parts of the event fit its kind."""
    kind = event.kind
    given = {name: getattr(event, name) for name in _ONLY}
    if misplaced := [
        name for name, value in given.items() if value not in (None, ()) and kind != _ONLY[name]
    ]:
        raise InputError(f"{where}: a {kind} event has no {misplaced[0]}")
    if not event.dataset:
        raise InputError(f"{where}: names no dataset")
    if max(len(event.records), len(event.was)) > MAX_RECORDS:
        raise InputError(f"{where}: more than {MAX_RECORDS:,} records; attest them by several events")
    if max(len(event.reason), len(event.origin or "")) > MAX_TEXT:
        raise InputError(f"{where}: its reason or origin has more than {MAX_TEXT:,} characters")
    for leaves in (event.records, event.was):
        if len({leaf.key for leaf in leaves}) < len(leaves):
            raise InputError(f"{where}: names a record twice")
    if event.moves:
        if not event.records and not event.was:
            raise InputError(f"{where}: a {kind} event names the records that it moves")
        if event.after == event.before and kind != REMOVED:  # what is removed may have lain in quarantine
            raise InputError(f"{where}: a {kind} event changes the dataset; its snapshots are equal")
    elif event.after != event.before:
        raise InputError(f"{where}: a {kind} event does not change the dataset; its snapshots differ")
    _check_needed(event, where)


def _check_needed(event: Event, where: str) -> None:
    needed = {REVOKED: "query", SEALED: "count", SCANNED: "scan", AUDITED: "statement"}
    name = needed.get(event.kind)
    if name is not None and getattr(event, name) is None:
        raise InputError(f"{where}: a {event.kind} event has no {name}")
    if event.kind == SEALED and not event.parts:
        raise InputError(f"{where}: a sealed event has no parts")
    if event.query is not None:
        try:
            Query.parse(event.query)
        except UsageError as error:
            raise InputError(f"{where}: {error}") from error


def _records(members: Mapping[str, Any], subjects: tuple[Subject, ...], where: str) -> tuple[Leaf, ...]:
    items = _items(members, "records", where)
    if len(items) != len(subjects):
        raise InputError(f"{where}: {len(items)} records, but {len(subjects)} subjects beside the snapshot")
    return tuple(
        _leaf(item, {"key", "label", "size", "source"}, subject.digest.get("sha256"), where)
        for item, subject in zip(items, subjects, strict=True)
    )


def _was(members: Mapping[str, Any], where: str) -> tuple[Leaf, ...]:
    names = {"key", "label", "sha256", "size", "source"}
    return tuple(
        _leaf(item, names, item.get("sha256") if isinstance(item, dict) else None, where)
        for item in _items(members, "was", where)
    )


def _leaf(item: Any, names: set[str], sha256: Any, where: str) -> Leaf:
    if not isinstance(item, dict) or set(item) != names:
        raise InputError(f"{where}: a record has the members {', '.join(sorted(names))}")
    key, label, size, source = (item[name] for name in ("key", "label", "size", "source"))
    if not isinstance(key, str) or not (label is None or isinstance(label, str)):
        raise InputError(f"{where}: a record's key and label are texts")
    if type(size) is not int or not 0 <= size <= _MAX_SIZE:
        raise InputError(f"{where}: record {key[:80]!r}: size is not a number of bytes")
    if not isinstance(source, dict) or not all(isinstance(value, str) for value in source.values()):
        raise InputError(f"{where}: record {key[:80]!r}: source is not an object of texts")
    return Leaf(key, label, bytes.fromhex(_hex(sha256, f"{where}: record {key[:80]!r}")), size, source)


def _derived(item: Any, where: str) -> tuple[str, str]:
    if (
        not isinstance(item, dict)
        or set(item) != {"dataset", "snapshot"}
        or not isinstance(item["dataset"], str)
    ):
        raise InputError(f"{where}: derivedFrom has the members dataset and snapshot")
    return item["dataset"], _hex(item["snapshot"], f"{where}: derivedFrom")


def _part(item: Any, where: str) -> Part:
    names = ("name", "sha256", "mediaType")
    if not isinstance(item, dict) or set(item) != set(names):
        raise InputError(f"{where}: a part of a seal has the members {', '.join(names)}")
    name, sha256, media_type = (item[each] for each in names)
    if not isinstance(name, str) or not isinstance(media_type, str):
        raise InputError(f"{where}: a part's name and media type are texts")
    return Part(name, _hex(sha256, f"{where}: part {name[:80]!r}"), media_type)


def _scan(item: Any, where: str) -> Scan:
    if not isinstance(item, dict) or set(item) != {"findings", "result", "status"}:
        raise InputError(f"{where}: scan has the members findings, result and status")
    if item["status"] not in ("clean", "poisoned", "undecided"):
        raise InputError(f"{where}: a scan's status is clean, poisoned or undecided")
    findings = _items(item, "findings", where)
    return Scan(
        item["status"],
        _hex(item["result"], f"{where}: scan result"),
        tuple(_finding(each, where) for each in findings),
    )


def _finding(item: Any, where: str) -> ScanFinding:
    if not isinstance(item, dict) or set(item) != {"keys", "severity", "title"}:
        raise InputError(f"{where}: a finding has the members keys, severity and title")
    keys = _items(item, "keys", where)
    if not isinstance(item["title"], str) or not all(isinstance(key, str) for key in keys) or not keys:
        raise InputError(f"{where}: a finding's title and keys are texts, and it has keys")
    if item["severity"] not in ("poison", "review"):
        raise InputError(f"{where}: a finding's severity is poison or review")
    return ScanFinding(item["title"], item["severity"], tuple(keys))


def _items(members: Mapping[str, Any], name: str, where: str) -> list[Any]:
    items = members.get(name, [])
    if not isinstance(items, list):
        raise InputError(f"{where}: {name} is not a list")
    return items


def _text(members: Mapping[str, Any], name: str, where: str) -> str | None:
    value = members.get(name)
    if name in members and (not isinstance(value, str) or not value):
        raise InputError(f"{where}: {name} is not a text")
    return value


def _optional_size(members: Mapping[str, Any], name: str, where: str) -> int | None:
    value = members.get(name)
    if name in members and (type(value) is not int or not 0 <= value <= _MAX_SIZE):
        raise InputError(f"{where}: {name} is not a count")
    return value


def _hex(value: Any, where: str) -> str:
    if not isinstance(value, str) or not _HEX.fullmatch(value):
        raise InputError(f"{where}: expected 64 lowercase hexadecimal digits")
    return value
