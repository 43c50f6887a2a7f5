"""What an event says: worked out from the dataset's seal and from the books, so that nobody has to list records by hand.

The seal may be ahead of the books (the dataset was changed and sealed again, and this event accounts for it), level with them or
behind (the event announces a change that the next seal will show). In the first case the event leads to the seal's snapshot,
otherwise to the one that the books give.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from bezoar.custody.events.descent import without_predecessor
from bezoar.custody.events.event import (
    ACQUIRED,
    MAX_RECORDS,
    QUARANTINED,
    RELEASED,
    REMOVED,
    REVIEWED,
    REVOKED,
    SCANNED,
    SEALED,
    TRANSFORMED,
    Event,
    Part,
    Scan,
)
from bezoar.custody.events.ledger import Holding, Ledger, matches, root_of
from bezoar.custody.events.query import Query
from bezoar.custody.seal.layout import BUNDLE, CROISSANT, MANIFEST
from bezoar.custody.seal.leaves import Leaf
from bezoar.errors import InputError, UsageError

if TYPE_CHECKING:
    from bezoar.custody.seal.manifest import Row
    from bezoar.custody.seal.reading import Seal

_MAX_EVENT_BYTES = 8 << 20  # of leaves: an envelope stays well under its cap
_PARTS = (
    (BUNDLE, "application/vnd.dev.sigstore.bundle.v0.3+json"),
    (CROISSANT, "application/ld+json"),
    (MANIFEST, "application/vnd.apache.parquet"),
)


@dataclass(frozen=True)
class Request:
    """What somebody attests. `query`: which records (None: as the kind has it); `to`: the seal after a transformation."""

    kind: str
    time: datetime
    query: Query | None = None
    reason: str = ""
    origin: str | None = None
    scan: Scan | None = None
    to: Seal | None = None


def events(seal: Seal, ledger: Ledger, request: Request) -> list[Event]:
    """The event, or several where it names many records; UsageError or InputError when seal, books and request do not agree."""
    if request.origin is not None and request.kind != ACQUIRED:
        raise UsageError(
            f"only acquired records come from somewhere; --origin does not go with {request.kind}"
        )
    if (request.scan is None) != (request.kind != SCANNED):
        raise UsageError("a scanned event needs the scan's folder (--scan), and no other event has one")
    if request.to is not None and request.kind != TRANSFORMED:
        raise UsageError(
            f"only a transformation leads to another dataset; --to does not go with {request.kind}"
        )
    build = {ACQUIRED: _acquired, TRANSFORMED: _transformed, QUARANTINED: _taken_out, REMOVED: _taken_out}
    if request.kind == RELEASED and request.query is not None:
        return _released(seal, ledger, request)
    return build.get(request.kind, _evidence)(seal, ledger, request)


def _acquired(seal: Seal, ledger: Ledger, request: Request) -> list[Event]:
    if _is_behind(seal, ledger):
        raise InputError(
            f"{seal.location}: is older than what the log leads to; seal the dataset again first"
        )
    new = [
        leaf
        for leaf in _leaves(seal)
        if leaf.key not in ledger.held and leaf.key not in ledger.quarantine and _meets(leaf, request)
    ]
    if not new:
        raise UsageError(f"{seal.location}: no record that is asked for is new to the log")
    before, after = _span(seal, ledger, seal.root.hex)
    first = Event(ACQUIRED, seal.name, before, after, request.time, request.reason, origin=request.origin)
    return split(first, new)


def _taken_out(seal: Seal, ledger: Ledger, request: Request) -> list[Event]:
    """Records that leave: those that the query names, or those that the seal no longer has."""
    sealed = {leaf.key: leaf for leaf in _leaves(seal)}
    if request.query is None:
        chosen = [held for key, held in ledger.held.items() if key not in sealed]
    else:
        chosen = _matching(ledger.held.values(), request.query)
        if request.kind == REMOVED:
            chosen += _matching(ledger.quarantine.values(), request.query)
    if not chosen:
        raise UsageError(f"{seal.location}: no record in custody is asked for; the query is --records")
    leaving = {held.leaf.key for held in chosen} & set(ledger.held)
    if leaving:
        staying = (held for key, held in ledger.held.items() if key not in leaving)
        before, after = _span(seal, ledger, lambda: root_of(staying))
    else:
        before = after = ledger.snapshot
    if after == seal.root.hex() and (left := sorted(leaving & set(sealed))):
        raise InputError(
            f"{seal.location}: still holds {left[0]!r} and {len(left) - 1:,} other records that are to be {request.kind}; "
            "take them out and seal again"
        )
    first = Event(request.kind, seal.name, before, after, request.time, request.reason)
    return split(first, [held.leaf for held in chosen])


def _released(seal: Seal, ledger: Ledger, request: Request) -> list[Event]:
    """Records that return from quarantine."""
    chosen = _matching(ledger.quarantine.values(), request.query)
    if not chosen:
        raise UsageError(f"{seal.location}: no record in quarantine matches {_shown(request.query)}")
    before, after = _span(seal, ledger, lambda: root_of([*ledger.held.values(), *chosen]))
    if after == seal.root.hex():
        for held in chosen:
            place = seal.manifest.find(held.leaf.key)
            if place is None or leaf_of(seal.manifest.row(place)) != held.leaf:
                raise InputError(
                    f"{seal.location}: does not hold {held.leaf.key!r} as it was quarantined; put it back and seal again"
                )
    first = Event(RELEASED, seal.name, before, after, request.time, request.reason)
    return split(first, [held.leaf for held in chosen])


def _transformed(seal: Seal, ledger: Ledger, request: Request) -> list[Event]:
    """All that differs between the books and the seal, or the whole of another dataset that was made from this one."""
    new = request.to or seal
    derived = None
    if new.name != seal.name:
        derived = (seal.name, seal.root.hex())
    elif request.to is not None and ledger.snapshot != seal.root.hex():
        raise InputError(
            f"{seal.location}: is not the snapshot that the log leads to; give the seal before the change"
        )
    there = {leaf.key: leaf for leaf in _leaves(new) if leaf.key not in ledger.quarantine}
    was = [held.leaf for key, held in ledger.held.items() if there.get(key) != held.leaf]
    now = [leaf for key, leaf in there.items() if key not in ledger.held or ledger.held[key].leaf != leaf]
    nothing = set() if derived else set(without_predecessor(now, was))
    was, now = ([leaf for leaf in leaves if _meets(leaf, request)] for leaves in (was, now))
    if new_ones := [leaf.key for leaf in now if leaf.key in nothing]:
        raise InputError(
            f"{new.location}: {new_ones[0]!r} and {len(new_ones) - 1:,} other records replace none that the log has; "
            "attest first what was acquired"
        )
    if not was and not now:
        raise UsageError(f"{new.location}: no record that is asked for differs from what the log has")
    before, after = _span(new, ledger, new.root.hex)
    first = Event(TRANSFORMED, new.name, before, after, request.time, request.reason, derived=derived)
    return split(first, now, was)


def _evidence(seal: Seal, ledger: Ledger, request: Request) -> list[Event]:
    """Events that move nothing: about the snapshot, or about the records that the query names."""
    snapshot = seal.root.hex()
    if ledger.snapshot != snapshot or not ledger.complete():
        raise InputError(
            f"{seal.location}: the seal is of snapshot {snapshot[:16]}, the log's events lead to {ledger.snapshot[:16]}"
            f"{'' if ledger.complete() else ', and not all the way'}; attest what was acquired, changed or taken out first"
        )
    first = Event(
        request.kind, seal.name, snapshot, snapshot, request.time, request.reason, scan=request.scan
    )
    if request.query is not None and request.kind not in (REVIEWED, REVOKED):
        raise UsageError(f"a {request.kind} event is about the whole dataset; --records does not go with it")
    if request.kind == SEALED:
        parts = tuple(Part(name, seal.digest(name), kind) for name, kind in _PARTS)
        return [replace(first, count=len(seal.manifest), parts=parts)]
    if request.kind == SCANNED and request.scan is not None:
        if request.scan.status == "poisoned" and not request.scan.names_poison:
            raise InputError(
                f"{seal.location}: the scan says that it is poisoned, and no finding names the records"
            )
        keys = (key for finding in request.scan.findings for key in finding.keys)
        if stranger := next((key for key in keys if key not in ledger.held), None):
            raise InputError(
                f"{seal.location}: the scan has a finding about {stranger!r}, which is not in the dataset"
            )
    if request.kind == REVOKED:
        if request.query is None:
            raise UsageError("a revocation says which records it makes inadmissible; the query is --records")
        first = replace(first, query=request.query.text)
        chosen = [held.leaf for held in _matching(ledger.held.values(), request.query)]
        return split(first, chosen) if chosen else [first]
    if request.query is None:
        return [first]
    chosen = [held.leaf for held in _matching(ledger.held.values(), request.query)]
    if not chosen:  # what is to return from quarantine is reviewed there
        chosen = [held.leaf for held in _matching(ledger.quarantine.values(), request.query)]
    if not chosen:
        raise UsageError(f"{seal.location}: no record matches {_shown(request.query)}")
    return split(first, chosen)


def leaf_of(row: Row) -> Leaf:
    """A row of the manifest as what the snapshot says of it."""
    return Leaf(row.key, row.label, row.sha256, row.size, row.source)


def _leaves(seal: Seal) -> Iterator[Leaf]:
    return map(leaf_of, seal.manifest.rows())


def _span(seal: Seal, ledger: Ledger, computed: Callable[[], str]) -> tuple[str, str]:
    """The snapshots before and after a movement: to the seal's, where it is ahead of the books, else to the computed one.

    Where the events name a snapshot that their records do not give, the movement corrects them: it goes on from what they give.
    """
    sealed = seal.root.hex()
    before = ledger.snapshot
    if not ledger.complete():
        if ledger.step is not None and ledger.step[1] == sealed:
            return ledger.step
        before = before if ledger.step is not None else ledger.root()
    ahead = sealed != before and not _is_behind(seal, ledger)
    return before, sealed if ahead else computed()


def _is_behind(seal: Seal, ledger: Ledger) -> bool:
    """Whether the seal is of a snapshot that the events have left behind."""
    return seal.root.hex() != ledger.snapshot and seal.root.hex() in ledger.passed


def _meets(leaf: Leaf, request: Request) -> bool:
    query = request.query
    origins = () if request.origin is None else (request.origin,)
    return query is None or query.matches(leaf.key, leaf.label, leaf.source, origins)


def _matching(records: Iterable[Holding], query: Query | None) -> list[Holding]:
    return [held for held in records if query and matches(query, held)]


def split(first: Event, records: Sequence[Leaf], was: Sequence[Leaf] = ()) -> list[Event]:
    """Events like `first` that name the records between them, those with one key and those renamed together."""
    now, old = {leaf.key: leaf for leaf in records}, {leaf.key: leaf for leaf in was}
    former = {leaf.sha256: leaf.key for leaf in was if leaf.key not in now}
    place = {leaf.key: former.get(leaf.sha256, leaf.key) for leaf in records if leaf.key not in old}
    parts: list[list[str]] = [[]]
    size = 0
    for key in sorted(now.keys() | old.keys(), key=lambda key: (place.get(key, key), key)):
        size += sum(_bytes(leaves[key]) for leaves in (now, old) if key in leaves)
        if len(parts[-1]) >= MAX_RECORDS or size > _MAX_EVENT_BYTES:
            parts.append([])
            size = 0
        parts[-1].append(key)
    return [
        replace(
            first,
            records=tuple(now[key] for key in part if key in now),
            was=tuple(old[key] for key in part if key in old),
        )
        for part in parts
        if part
    ]


def _bytes(leaf: Leaf) -> int:
    """About how much of a statement a record takes."""
    texts = (leaf.key, leaf.key, leaf.label or "", *leaf.source, *leaf.source.values())
    return 200 + sum(len(text) for text in texts)


def _shown(query: Query | None) -> str:
    return repr(query.text[:200]) if query else "the query"
