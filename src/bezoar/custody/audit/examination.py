"""Going through the log: every event of a dataset booked, its signature held against the policy, its evidence noted.

An event that moves records is booked even when nobody who may has signed it, and is an exception: the books then say where the
records are, and the exception says that nobody vouches for it. Evidence (a seal, a scan, a review, a revocation) without a valid
signature counts for nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from bezoar.custody.audit.clock import CLOCKS
from bezoar.custody.audit.coverage import Coverage
from bezoar.custody.audit.irregularities import Irregularity, irregularity
from bezoar.custody.audit.policy import Policy
from bezoar.custody.audit.revocations import Parents, Revocation
from bezoar.custody.audit.vouching import Vouched, vouching
from bezoar.custody.events.event import AUDITED, PASSED, RELEASED, REVOKED, SCANNED, SEALED, Event
from bezoar.custody.events.ledger import Holding, Ledger
from bezoar.custody.events.query import Query
from bezoar.custody.events.times import time_text
from bezoar.errors import InputError, VerificationError

if TYPE_CHECKING:
    from bezoar.custody.tlog.log import CustodyLog

NO_SOURCE = "(not stated)"


@dataclass(frozen=True)
class Sealing:
    """A seal that the log has: its snapshot (hex), since when at the latest, and SHA-256 (hex) of its parts by file name."""

    event: int
    snapshot: str
    time: datetime
    parts: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def told(cls, entry: int, event: Event, time: datetime) -> Sealing:
        """The one that an event tells of."""
        return cls(entry, event.after, time, {part.name: part.sha256 for part in event.parts})

    def is_of(self, snapshot: str, parts: Mapping[str, str]) -> bool:
        """Whether it is the seal of this snapshot that consists of these parts, byte for byte."""
        return self.snapshot == snapshot and all(
            self.parts.get(name) == digest for name, digest in parts.items()
        )


@dataclass(frozen=True)
class Line:
    """One event as the statement lists it; `signers` are those whose signature counts."""

    index: int
    kind: str
    time: datetime
    records: int | None
    signers: tuple[str, ...]
    reason: str
    snapshot: str


@dataclass(frozen=True)
class Earlier:
    """The last audit before the period, in entry `event`; the audits so far have told of this many `exceptions`."""

    event: int
    exceptions: int


@dataclass
class Examination:
    """What the log says of a dataset, and what is irregular about it."""

    ledger: Ledger
    coverage: Coverage
    lines: list[Line] = field(default_factory=list)
    irregularities: list[Irregularity] = field(default_factory=list)
    sealings: list[Sealing] = field(default_factory=list)
    revocations: list[Revocation] = field(default_factory=list)
    released: str | None = (
        None  # the snapshot that was last released for use, unless a scan has found something since
    )
    earlier: Earlier | None = None


def examine(
    log: CustodyLog, dataset: str, policy: Policy, *, now: datetime, since: datetime | None = None
) -> Examination:
    """Go through the events of `dataset`. What the events before `since` lead to is the opening balance.

    Irregularities are collected, not raised; a damaged log ends the examination with one. Those of before the period are left
    out where a trusted auditor's statement, logged after them and before the period, has told of them.
    """
    revocations: list[Revocation] = []
    ledger = Ledger(source_of(policy), Parents(log, policy, now, revocations))
    found = Examination(ledger, Coverage(policy), revocations=revocations)
    reader = _Reader(found, now, since)
    try:
        for vouched in vouching(log, dataset, policy, now):
            reader.read(vouched)
    except (InputError, VerificationError) as error:
        found.irregularities.append(irregularity("log-damaged", str(error)))
    reader.finish()
    return found


def source_of(policy: Policy) -> Callable[[Holding], str]:
    """How the policy names a record's source: by a column, else by where it was acquired. Of a column of URLs, it is the host."""
    column = policy.source_column

    def source(holding: Holding) -> str:
        return (_host(holding.leaf.source.get(column)) if column else holding.origin) or NO_SOURCE

    return source


def _host(value: str | None) -> str | None:
    """The host of a URL; any other value as it is."""
    if value is None or not value.lower().startswith(("http://", "https://")):
        return value
    try:
        return urlsplit(value).hostname or value
    except ValueError:
        return value


class _Reader:
    def __init__(self, found: Examination, now: datetime, since: datetime | None) -> None:
        self._found, self._now, self._since = found, now, since
        self._latest: datetime | None = None
        self._in_period = since is None
        self._last = -1
        self._audited: int | None = None  # the last entry with a trusted auditor's statement
        self._told: set[tuple[object, object]] = set()  # exceptions in such statements: code and entry

    def read(self, vouched: Vouched) -> None:
        """Book one entry."""
        found, logged, who, moment = self._found, vouched.logged, vouched.who, vouched.moment
        if logged.event is None:
            found.irregularities.append(irregularity("unreadable-event", logged.problem, event=logged.index))
            return
        event = logged.event
        for each in vouched.unread:
            what = f"{each.problem}; it says a later time than entry {logged.index}, which may be dated back"
            found.irregularities.append(irregularity("unreadable-event", what, event=each.index))
        if not self._in_period and self._since is not None and event.time >= self._since:
            self._open_period()
        self._check_time(logged.index, event)
        if not who.names:
            keys = [record.key for record in (*event.records, *event.was)]
            what = f"{_called(event)} {vouched.why}"
            found.irregularities.append(irregularity(who.code, what, set(keys), logged.index))
        if who.names or event.moves:
            self._book(logged.index, event)
        if who.names:
            self._note(logged.index, event, who.names, moment.time if moment else event.time)
        self._last = logged.index
        if event.kind != AUDITED:
            named = max(len(event.records), len(event.was)) or event.count
            found.lines.append(
                Line(logged.index, event.kind, event.time, named, who.names, event.reason, event.after)
            )

    def finish(self) -> None:
        """Close the books."""
        found = self._found
        self._settle()
        if not self._in_period:
            self._open_period()
        if not found.lines and not any(each.code == "log-damaged" for each in found.irregularities):
            found.irregularities.append(
                irregularity("no-events", "the log knows nothing of how the records came here")
            )
        if found.ledger.tip != found.released:
            found.irregularities += found.coverage.lacking(found.ledger, "at the closing", None)

    def _open_period(self) -> None:
        found = self._found
        self._settle()
        found.ledger.open_period()
        found.released = None  # what that release lacked may have been told; the records lack it still
        self._in_period = True
        if self._audited is None:
            return
        told = [each for each in found.irregularities if (each.code, each.event) in self._told]
        found.irregularities = [each for each in found.irregularities if each not in told]
        found.earlier = Earlier(self._audited, len(told))

    def _book(self, index: int, event: Event) -> None:
        for problem in self._found.ledger.apply(event):
            what = f"{_called(event)} {problem.what}"
            self._found.irregularities.append(irregularity(problem.code, what, problem.keys, index))

    def _settle(self) -> None:
        for problem in self._found.ledger.settle():
            self._found.irregularities.append(
                irregularity(problem.code, problem.what, problem.keys, self._last)
            )

    def _note(self, index: int, event: Event, names: tuple[str, ...], time: datetime) -> None:
        found = self._found
        found.coverage.note(index, event, names, found.ledger)
        if event.kind == AUDITED:
            self._audited = index
            self._told |= _exceptions(event, index)
        if event.kind == SCANNED and event.scan is not None and event.scan.outcome != PASSED:
            found.released = None
        if event.kind == REVOKED and event.query is not None:
            query = Query.parse(event.query)
            found.revocations.append(Revocation(index, query))
            found.ledger.revoke(index, query)
        if event.kind == SEALED:
            found.sealings.append(Sealing.told(index, event, time))
            self._check_revoked(index, "the dataset was sealed")
        if event.kind == RELEASED and not event.records:
            found.released = event.after
            self._check_revoked(index, "the dataset was released")
            found.irregularities += found.coverage.lacking(found.ledger, "at the release", index)

    def _check_revoked(self, index: int, when: str) -> None:
        found = self._found
        for revocation in found.revocations:
            if revocation.event > index:  # of a parent, and told later
                continue
            inadmissible = [
                holding.leaf.key for holding in found.ledger.held.values() if revocation.concerns(holding)
            ]
            if inadmissible:
                what = f"{when} with records that match {revocation}"
                found.irregularities.append(irregularity("revoked-present", what, inadmissible, index))

    def _check_time(self, index: int, event: Event) -> None:
        """A key that is no longer valid could sign with an earlier time; the order of the log tells on it."""
        said = f"{_called(event)} bears the time {time_text(event.time)}"
        if event.time > self._now + CLOCKS:
            self._found.irregularities.append(
                irregularity("back-dated", f"{said}, which is in the future", event=index)
            )
        elif self._latest is not None and event.time < self._latest - CLOCKS:
            what = f"{said}; an earlier entry bears {time_text(self._latest)}"
            self._found.irregularities.append(irregularity("back-dated", what, event=index))
        self._latest = event.time if self._latest is None else max(self._latest, event.time)


def _exceptions(event: Event, index: int) -> set[tuple[object, object]]:
    """Code and entry of the exceptions that an auditor's statement in entry `index` tells of, of earlier entries."""
    listed = (event.statement or {}).get("exceptions")
    told = [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
    return {
        (each.get("code"), each["entry"])
        for each in told
        if isinstance(each.get("code"), str) and type(each.get("entry")) is int and each["entry"] < index
    }


def _called(event: Event) -> str:
    return f"the event {event.kind!r}"
