"""Sealing what a fetch brought, and accounting for it in the custody log (docs/adr/0007-what-a-fetch-attests.md).

A row whose bytes were kept came into custody, whichever way it went: what is in the dataset was *acquired*, what lies in the
quarantine was *acquired* and then *quarantined*, under the digest of what came. A release is *released*, and then *transformed*
to what the dataset has. So the log's account of the quarantine is what the store holds, and an audit explains every row.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from bezoar.acquire.quarantine.held import Held, Settled, Stored
from bezoar.acquire.quarantine.store import Quarantine
from bezoar.acquire.reasons import Reason
from bezoar.acquire.run_state import RunState
from bezoar.custody.events.event import LOST
from bezoar.errors import InputError

if TYPE_CHECKING:
    from bezoar.custody.events.event import Event
    from bezoar.custody.events.ledger import Ledger
    from bezoar.custody.seal.leaves import Leaf
    from bezoar.custody.seal.reading import Seal
    from bezoar.custody.seal.records import Layout
    from bezoar.custody.signing.signers import Signer
    from bezoar.custody.tlog.log import CustodyLog
    from bezoar.custody.tlog.note import NoteSigner

REFETCHED = "refetched"
_WORDS = {
    Reason.HASH_MISMATCH: "what came is not what the list promises",
    Reason.HASH_MISSING: "the list does not say what it should be",
    Reason.DECODE_ERROR: "what came is no picture that may be decoded",
    Reason.OPT_OUT: "the server asks that it is not used",
}


@dataclass(frozen=True)
class Released:
    """The content (SHA-256, hex) that a person lets into the dataset, and why."""

    sha256: str
    reason: str


@dataclass(frozen=True)
class NoSeal:
    """In the place of a seal, where a fetch kept nothing that could be sealed: the dataset's `name`, and where it lies."""

    name: str
    location: str


@dataclass(frozen=True)
class Fetched:
    """What an output and its quarantine hold; `releases` by the key of the row."""

    entries: tuple[Held, ...]
    settled: tuple[Settled, ...]
    releases: Mapping[str, Released] = field(default_factory=dict)

    @classmethod
    def beside(cls, out: Path, releases: Mapping[str, Released] | None = None) -> Fetched:
        """As the quarantine of the output `out` has it."""
        store = Quarantine.at(RunState(out, "").quarantine)
        return cls(tuple(store.entries()), tuple(store.settled()), releases or {})


def seal_and_log(
    out: Path,
    signer: Signer,
    *,
    log: CustodyLog | None,
    log_signer: NoteSigner | None,
    origin: str,
    reason: str = "",
    releases: Mapping[str, Released] | None = None,
    records: int | None = None,
    layout: Layout | None = None,
    now: datetime | None = None,
) -> Seal:
    """Seal the output of a fetch; with a log, append what came, what was set aside and what was released, and the seal.

    `origin` says where the records came from (the list and the run), `reason` what came of its rows, also of
    those that are not in custody. All events are appended or
    none; what the log has already is not told again, so that the same call after a crash completes what is missing.
    InputError when the books, the dataset and the quarantine do not agree, or when the dataset does not have as many `records`.
    """
    from bezoar.custody.events.attesting import account
    from bezoar.custody.events.times import now as present
    from bezoar.custody.seal.sealing import seal

    made = seal(out, signer, layout=layout)
    if records is not None and len(made.manifest) != records:
        raise InputError(
            f"{out}: holds {len(made.manifest):,} records where the fetch kept {records:,}; do not trust {made.location}"
        )
    if log is not None and log_signer is not None:
        fetched = Fetched.beside(out, releases)
        account(
            made.name, log, [signer], log_signer,
            lambda books: events_of(made, books, fetched, origin=origin, reason=reason, time=now or present()),
        )  # fmt: skip
    return made


def log_unsealed(
    out: Path,
    signer: Signer,
    *,
    log: CustodyLog,
    log_signer: NoteSigner,
    origin: str,
    reason: str = "",
    now: datetime | None = None,
) -> None:
    """As `seal_and_log` of an output that holds no record and cannot be sealed: the log is told what lies in quarantine."""
    from bezoar.custody.events.attesting import account
    from bezoar.custody.events.times import now as present
    from bezoar.custody.seal.layout import dataset_name

    nothing = NoSeal(dataset_name(out), str(out))
    fetched = Fetched.beside(out)
    account(
        nothing.name, log, [signer], log_signer,
        lambda books: _movements(nothing, books, fetched, origin=origin, reason=reason, time=now or present()),
    )  # fmt: skip


def events_of(
    seal: Seal, books: Ledger, fetched: Fetched, *, origin: str, reason: str, time: datetime
) -> list[Event]:
    """The events that lead from the books to the seal and the quarantine; `books` are moved there."""
    from bezoar.custody.events.building import Request, events
    from bezoar.custody.events.event import SEALED

    made = _movements(seal, books, fetched, origin=origin, reason=reason, time=time)
    return [*made, *events(seal, books, Request(SEALED, time, reason=reason))]


def _movements(
    seal: Seal | NoSeal, books: Ledger, fetched: Fetched, *, origin: str, reason: str, time: datetime
) -> list[Event]:
    work = _Accounting(seal, books, fetched, time)
    work.returns()
    work.removals()
    work.arrivals(origin, reason)
    work.set_aside()
    work.releases()
    work.changes()
    return work.made


def row_key(key: str) -> str:
    """The key that a list's row has in a fetch, of a record's key in the dataset: `00000/000000012.jpg` is row `000000012`."""
    return key.rpartition("/")[2].partition(".")[0]


def leaf_of_held(held: Held) -> Leaf:
    """What lies in quarantine, as a record: its source is what the list and the fetch say of it."""
    from bezoar.custody.seal.leaves import Leaf

    source = {name: value for name, value in held.fields.items() if isinstance(value, str)}
    texts = {_text(name): _text(value) for name, value in {**source, "url": held.url}.items()}
    return Leaf(_text(held.key), None, bytes.fromhex(held.sha256), held.size, texts)


class _Accounting:
    """Works out one step after the other, each applied to the books before the next."""

    def __init__(self, seal: Seal | NoSeal, books: Ledger, fetched: Fetched, time: datetime) -> None:
        from bezoar.custody.events.building import leaf_of

        if not books.complete():
            raise InputError(
                f"{seal.location}: the log's events do not lead to the snapshot that they name; `bezoar audit` says why"
            )
        self.made: list[Event] = []
        self._seal, self._books, self._time = seal, books, time
        self._releases = fetched.releases
        rows = () if isinstance(seal, NoSeal) else seal.manifest.rows()
        self._sealed = {row.key: leaf_of(row) for row in rows}
        self._row_of = {row_key(key): key for key in self._sealed}
        self._aside: dict[str, Held] = {}
        self._over = {(each.key, each.sha256) for each in fetched.settled if each.how == REFETCHED}
        for held in fetched.entries:
            if held.stored is Stored.KEPT:
                self._place(held)

    def _place(self, held: Held) -> None:
        """Whether an entry still tells where its row is: not when the row has come since with other content."""
        there = self._sealed.get(self._row_of.get(held.key, ""))
        release = self._releases.get(held.key)
        let_in_other = release is not None and release.sha256 != held.sha256
        if let_in_other or (
            there is not None and held.sha256 not in (there.sha256.hex(), there.source.get("sha256"))
        ):
            self._over.add((held.key, held.sha256))
        elif there is not None and release is None:
            raise InputError(
                f"{self._seal.location}: holds {held.key!r}, which lies in quarantine with the same content; "
                "finish its release with `bezoar quarantine release`"
            )
        else:
            self._aside[held.key] = held

    def returns(self) -> None:
        """Rows that the fetch had lost and that came again: let in as they were, and then changed to what they are now.

        They are not removed and acquired anew: what is removed is removed for good, and a page may change to and fro.
        """
        back = [
            holding.leaf
            for key, holding in self._books.quarantine.items()
            if holding.why == LOST and (key in self._sealed or self._came_wrong(row_key(key)))
        ]
        self._step("released", back, reason="the row was fetched again")

    def _came_wrong(self, row: str) -> bool:
        held = self._aside.get(row)
        return held is not None and not self._was_removed(leaf_of_held(held))

    def removals(self) -> None:
        """What lay in quarantine and was superseded: the row came right, or with yet other content."""
        gone = []
        for key, holding in self._books.quarantine.items():
            held = self._aside.get(key)
            other = held is not None and bytes.fromhex(held.sha256) != holding.leaf.sha256
            over = held is None and (key, holding.leaf.sha256.hex()) in self._over
            if other or over:
                gone.append(holding.leaf)
        self._step("removed", gone, reason=f"{REFETCHED}: the row was fetched again and gave other content")

    def arrivals(self, origin: str, reason: str) -> None:
        """What is new to the books, whether it went into the dataset or into quarantine."""
        books = self._books
        released = {self._row_of.get(key, key) for key in self._releases}
        new = [leaf for key, leaf in self._sealed.items() if key not in books.held and key not in released]
        if back := next((leaf.key for leaf in new if leaf.key in books.quarantine), None):
            raise InputError(
                f"{self._seal.location}: holds {back!r}, which lies in quarantine by the log; "
                "take it out, or attest that it was released"
            )
        known = {row_key(key) for key in (*books.held, *books.quarantine)}
        came = (leaf_of_held(held) for key, held in self._aside.items() if key not in known)
        new += [leaf for leaf in came if not self._was_removed(leaf)]
        self._step("acquired", new, reason=reason, origin=origin)

    def _was_removed(self, leaf: Leaf) -> bool:
        """Whether this very record left custody for good, as when a page changes to and fro: it stays in the store only."""
        from bezoar.custody.events.ledger import hash_of

        return hash_of(leaf) in self._books.removed.get(leaf.key, ())

    def set_aside(self) -> None:
        """What the dataset held and holds no longer, as what came last; and what came and went into quarantine at once."""
        by_row = {row_key(key): key for key in self._books.held}
        groups: dict[str, list[Leaf]] = {}
        was, now = [], []
        for key, held in self._aside.items():
            if key not in by_row:
                continue
            before, leaf = self._books.held[by_row[key]].leaf, leaf_of_held(held)
            if self._sealed.get(before.key) == before or self._was_removed(leaf):
                continue  # a release that was booked already; or as for a row that is gone
            if before != leaf:
                was.append(before)
                now.append(leaf)
            groups.setdefault(_why(held), []).append(leaf)
        self._step("transformed", now, was, reason="fetched again: other content came than before")
        chosen = {leaf.key for leaves in groups.values() for leaf in leaves}
        missing = set(self._books.held) - set(self._sealed) - chosen
        groups.setdefault(LOST, []).extend(self._books.held[key].leaf for key in sorted(missing))
        for why, leaves in groups.items():
            self._step("quarantined", leaves, reason=why)

    def releases(self) -> None:
        """What a person lets into the dataset."""
        groups: dict[str, list[Leaf]] = {}
        for key, release in self._releases.items():
            if self._row_of.get(key) is None:
                raise InputError(f"{self._seal.location}: does not hold {key!r}, which is to be released")
            if key in self._books.quarantine:
                groups.setdefault(release.reason, []).append(self._books.quarantine[key].leaf)
        for why, leaves in groups.items():
            self._step("released", leaves, reason=why)

    def changes(self) -> None:
        """What the dataset holds with other content, label or source than the books."""
        held = self._books.held
        was, now = [], []
        for key, leaf in self._sealed.items():
            row = row_key(key)
            before = held.get(key) or (held.get(row) if row in self._releases else None)
            if before is not None and before.leaf != leaf:
                was.append(before.leaf)
                now.append(leaf)
        self._step("transformed", now, was, reason="as the dataset keeps it")

    def _step(
        self,
        kind: str,
        records: Iterable[Leaf],
        was: Iterable[Leaf] = (),
        *,
        reason: str,
        origin: str | None = None,
    ) -> None:
        """Book the movement of `records`; nothing when there are none."""
        from bezoar.custody.events.building import split
        from bezoar.custody.events.event import Event

        records, was = list(records), list(was)
        if not records:
            return
        books = self._books
        before = books.snapshot
        after = before if kind == "removed" else self._root_after(kind, records, was)
        first = Event(kind, self._seal.name, before, after, self._time, reason, origin=origin)
        for event in split(first, records, was):
            if problems := books.apply(event):
                raise InputError(f"{self._seal.location}: cannot be accounted for: {problems[0].what}")
            self.made.append(event)

    def _root_after(self, kind: str, records: list[Leaf], was: list[Leaf]) -> str:
        from bezoar.custody.events.ledger import Holding, root_of

        held = dict(self._books.held)
        for leaf in records if kind == "quarantined" else was:
            held.pop(leaf.key, None)
        if kind != "quarantined":
            held |= {leaf.key: Holding(leaf, None) for leaf in records}
        return root_of(held.values())


def _why(held: Held) -> str:
    """The reason of a quarantine in the log: the word, what it means, and whose promise was broken."""
    words = _WORDS.get(held.reason)
    signed = f" (signed by {_text(held.expected_by)[:1000]})" if held.expected_by and words else ""
    return f"{held.reason.value}: {words}{signed}" if words else held.reason.value


def _text(text: str) -> str:
    """Without lone surrogates, which JSON cannot carry."""
    return text.encode("utf-8", "backslashreplace").decode()
