"""The life of one record: where it came from, every event that covers it, who signed, with proofs that the log has them.

An event covers a record when it names the key (as one of its records, or as one that was replaced), when it is about the dataset
while the record was in it, or when it revokes a source that is the record's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from bezoar.custody.events.event import REVOKED, Event
from bezoar.custody.events.history import Logged
from bezoar.custody.events.ledger import Ledger, matches
from bezoar.custody.events.query import Query
from bezoar.custody.events.times import time_text
from bezoar.custody.seal.leaves import Leaf
from bezoar.custody.tlog.merkle import leaf_hash
from bezoar.errors import InputError, VerificationError

if TYPE_CHECKING:
    from bezoar.custody.seal.reading import Seal
    from bezoar.custody.tlog.log import CustodyLog

BY_NAME, IN_DATASET, BY_SOURCE = "names the record", "is about the dataset with it", "revokes its source"


@dataclass(frozen=True)
class Signed:
    """Who has signed an event, for a person; `invalid` says why no signature counts, "" where one does or none was checked."""

    names: tuple[str, ...]
    invalid: str = ""


History = Iterable[
    tuple[Logged, Signed]
]  # the entries about a dataset, in order; of one that cannot be read, nobody


@dataclass(frozen=True)
class Station:
    """One event that covers the record: how, whom it was signed by, and the proof (tlog-proof) that entry `index` is logged.

    `signed` says who vouches for it. `record` is the record as the event names it, None where it is about the dataset; `was` as
    it was before a transformation.
    """

    index: int
    kind: str
    time: datetime
    how: str
    signed: Signed
    reason: str
    origin: str | None
    snapshot: str
    record: Leaf | None
    was: Leaf | None
    proof: bytes


@dataclass(frozen=True)
class RecordLife:
    """A record's life. `sealed` is the record as the seal has it, at row `row` of `rows` (proved); None when it has none."""

    dataset: str
    key: str
    log: str
    log_size: int
    state: str  # "held", "in quarantine", "removed", "unknown" by the events of the log
    sealed: Leaf | None
    row: int | None
    rows: int
    snapshot: str
    stations: tuple[Station, ...]
    problems: tuple[str, ...] = field(default=())

    def to_json(self) -> dict[str, Any]:
        """The life as a JSON object."""
        return {
            "schema": "bezoar-custody-1",
            "dataset": self.dataset,
            "key": self.key,
            "log": {"origin": self.log, "size": self.log_size},
            "state": self.state,
            "seal": {
                "snapshot": self.snapshot,
                "records": self.rows,
                "row": self.row,
                "record": _record(self.sealed),
            },
            "events": [_station(station) for station in self.stations],
            "problems": list(self.problems),
        }


def life(seal: Seal, key: str, log: CustodyLog, told: History) -> RecordLife:
    """The life of the record `key` of a sealed dataset, as `log` tells it; `told` are its entries, and who has signed them.

    InputError when neither the seal nor the log knows the key; VerificationError when log or seal is not what was signed.
    """
    reader = _Reader(key, log)
    stations = tuple(reader.stations(told))
    row = seal.manifest.find(key)
    sealed = _proved(seal, row) if row is not None else None
    if not reader.known and sealed is None:
        raise InputError(
            f"{seal.location}: neither the seal nor the log {log.location} knows a record {key!r}"
        )
    problems = reader.problems
    if sealed is not None and (held := reader.ledger.held.get(key)) is not None and held.leaf != sealed:
        problems.append(
            "the seal has another content, label or source than the events; `bezoar audit` says more"
        )
    if sealed is None and key in reader.ledger.held:
        problems.append("by the events the dataset holds the record, but the seal does not have it")
    if sealed is not None and key not in reader.ledger.held:
        problems.append("the seal has the record, but by the events the dataset does not hold it")
    return RecordLife(
        dataset=seal.name,
        key=key,
        log=log.origin,
        log_size=log.size,
        state=reader.state(),
        sealed=sealed,
        row=row,
        rows=len(seal.manifest),
        snapshot=seal.root.hex(),
        stations=stations,
        problems=tuple(problems),
    )


class _Reader:
    def __init__(self, key: str, log: CustodyLog) -> None:
        self._key, self._log = key, log
        self.ledger = Ledger(lambda holding: holding.origin or "")
        self.problems: list[str] = []
        self.known = False

    def stations(self, told: History) -> Iterator[Station]:
        for logged, signed in told:
            if logged.event is None:
                self.problems.append(logged.problem)
                continue
            event, held_before = logged.event, self._key in self.ledger.held
            named = _names_key(event, self._key)
            counts = _without(event, self._key) if named and signed.invalid else event
            for problem in self.ledger.apply(counts):
                if self._key in problem.keys:
                    self.problems.append(f"entry {logged.index} {problem.what}")
            if how := self._covered(event, held_before):
                if signed.invalid:
                    self.problems.append(
                        f"entry {logged.index}, {event.kind!r}, does not count: it {signed.invalid}"
                    )
                yield self._station(logged, event, signed, how)

    def state(self) -> str:
        if self._key in self.ledger.held:
            return "held"
        if self._key in self.ledger.quarantine:
            return "in quarantine"
        return "removed" if self._key in self.ledger.removed else "unknown"

    def _covered(self, event: Event, held_before: bool) -> str:
        """How the event covers the record; "" when it does not."""
        if _names_key(event, self._key):
            self.known = True
            return BY_NAME
        if event.kind == REVOKED and event.query is not None:
            held = self.ledger.held.get(self._key) or self.ledger.quarantine.get(self._key)
            query = Query.parse(event.query)
            if held and matches(query, held):
                return BY_SOURCE
            return ""
        about_all = not event.moves and not event.records
        return IN_DATASET if about_all and held_before and event.after == self.ledger.tip else ""

    def _station(self, logged: Logged, event: Event, signed: Signed, how: str) -> Station:
        proof = self._log.prove(logged.index)
        return Station(
            index=logged.index,
            kind=event.kind,
            time=event.time,
            how=how,
            signed=signed,
            reason=event.reason,
            origin=event.origin,
            snapshot=event.after,
            record=_find(event.records, self._key),
            was=_find(event.was, self._key),
            proof=proof.to_bytes(),
        )


def _names_key(event: Event, key: str) -> bool:
    return _find(event.records, key) is not None or _find(event.was, key) is not None


def _without(event: Event, key: str) -> Event:
    """The event, as if it did not name the record: what nobody may have signed does not move it."""
    records, was = (
        tuple(leaf for leaf in leaves if leaf.key != key) for leaves in (event.records, event.was)
    )
    return replace(event, records=records, was=was)


def _find(records: tuple[Leaf, ...], key: str) -> Leaf | None:
    return next((record for record in records if record.key == key), None)


def _proved(seal: Seal, row: int) -> Leaf:
    """A row of the manifest, once its leaf is proved to be in the snapshot that the seal states."""
    from bezoar.custody.events.building import leaf_of
    from bezoar.custody.tlog.merkle import verify_inclusion

    stated = seal.manifest.row(row)
    size = len(seal.manifest)
    try:
        verify_inclusion(leaf_hash(stated.leaf()), row, size, seal.tree.inclusion(row), seal.root)
    except VerificationError as error:
        raise VerificationError(
            f"{seal.location}: row {row} is not in the snapshot that the seal states"
        ) from error
    return leaf_of(stated)


def _record(leaf: Leaf | None) -> dict[str, Any] | None:
    if leaf is None:
        return None
    return {
        "key": leaf.key,
        "label": leaf.label,
        "sha256": leaf.sha256.hex(),
        "size": leaf.size,
        "source": dict(leaf.source),
    }


def _station(station: Station) -> dict[str, Any]:
    return {
        "entry": station.index,
        "kind": station.kind,
        "time": time_text(station.time),
        "how": station.how,
        "signers": list(station.signed.names),
        "invalid": station.signed.invalid or None,
        "reason": station.reason,
        "origin": station.origin,
        "snapshot": station.snapshot,
        "record": _record(station.record),
        "was": _record(station.was),
        "proof": station.proof.decode(),
    }
