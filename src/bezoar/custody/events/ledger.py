"""The books of one dataset (docs/adr/0006-the-ledger.md): which records are held, which lie in quarantine, and every movement.

The ledger knows nothing of signatures or policies. It is told one event after the other and says what cannot be: a record
acquired twice, one quarantined that is not there, a snapshot that the events do not lead to. Every record is known by its leaf in
the snapshot tree, so that the roots which events name can be computed from the events alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from bezoar.custody.events.descent import Descent, Parent, Provenance, Stay
from bezoar.custody.events.event import (
    ACQUIRED,
    AUDITED,
    LOST,
    NOTHING,
    QUARANTINED,
    RELEASED,
    REVIEWED,
    SCANNED,
    TRAINED,
    TRANSFORMED,
    Event,
)
from bezoar.custody.events.query import Query
from bezoar.custody.seal.leaves import Leaf
from bezoar.custody.seal.snapshot import leaf
from bezoar.custody.tlog.merkle import Frontier, leaf_hash

MOVEMENTS = ("acquired", "quarantined", "released", "removed", "transformed in", "transformed out")
SIGNS = {name: -1 if name in ("quarantined", "removed", "transformed out") else 1 for name in MOVEMENTS}
_LOOKS = (
    REVIEWED,
    SCANNED,
    TRAINED,
    AUDITED,
)  # they look at a snapshot and vouch for no succession of snapshots
QUARANTINE = ("quarantined", "released", "removed")
Cell = tuple[str, str | None]  # source, label


class Holding:
    """A record in custody: its leaf, the leaf's hash, where it came from, and bits for the evidence that covers it.

    `origin` is for tables, `provenance` has all that it may come from. `why` says for what reason it was last quarantined,
    `aside` by which movement.
    """

    __slots__ = ("aside", "hash", "leaf", "marks", "origin", "provenance", "stay", "why")

    def __init__(self, record: Leaf, provenance: Provenance | None = None, origin: str | None = None) -> None:
        self.leaf = record
        self.hash = hash_of(record)
        self.provenance = provenance or Provenance()
        self.origin = origin or self.provenance.text()
        self.stay = Stay(0)
        self.marks = 0
        self.why, self.aside = "", 0


@dataclass(frozen=True)
class Problem:
    """What cannot be: `code` as in `irregularities`, `what` in words, the `keys` of the records concerned."""

    code: str
    what: str
    keys: tuple[str, ...] = ()


@dataclass(frozen=True)
class Aside:
    """After how many movements a content was set aside; `doubted`: it lay in quarantine, so that copies are in doubt, too."""

    when: int
    doubted: bool


@dataclass
class Account:
    """One account by source and label: what it held when the period began, and what moved since, in records."""

    opening: Counter[Cell] = field(default_factory=Counter)
    moved: dict[str, Counter[Cell]] = field(default_factory=dict)

    def book(self, movement: str, cell: Cell) -> None:
        """Note that one record moved."""
        self.moved.setdefault(movement, Counter())[cell] += 1

    def cells(self) -> set[Cell]:
        """Every source and label that the account has ever had in the period."""
        return set(self.opening).union(*self.moved.values())

    def total(self, movement: str) -> int:
        """How many records moved so."""
        return self.moved.get(movement, Counter()).total()


class Ledger:
    """Applies events. `source_of` names the source of a record, for the balances.

    `parents` finds the dataset, by name and snapshot, that another was derived from; without it, nothing is said of those.
    """

    def __init__(
        self,
        source_of: Callable[[Holding], str],
        parents: Callable[[str, str], Parent | None] | None = None,
    ) -> None:
        self.held: dict[str, Holding] = {}
        self.quarantine: dict[str, Holding] = {}
        self.removed: dict[str, set[bytes]] = {}
        self.removed_contents: dict[bytes, Aside] = {}
        self.dataset, self.outside = Account(), Account()  # records in the dataset; records in quarantine
        self.tip = NOTHING  # the snapshot to which the last movement led, by its own account
        self.step: tuple[str, str] | None = None  # snapshots of the movements under way
        self.passed: set[str] = {NOTHING}  # every snapshot that the events have named as the dataset's
        self._source_of, self._parents = source_of, parents
        self._drifted = self._told = False  # the records held are not those of the snapshot; it has been said
        self._descent = Descent()  # of the step under way
        self._moves = 0  # movements so far
        self._known: dict[bytes, Provenance] = {}  # of every content that was ever in custody
        self._revocations: list[tuple[int, Query]] = []  # by entry

    def open_period(self) -> None:
        """Begin a new period: what is held now is the opening balance. What is wrong with it is said again."""
        self._told = False
        for account, records in ((self.dataset, self.held), (self.outside, self.quarantine)):
            account.opening = self.count(records.values())
            account.moved = {}

    def count(self, records: Iterable[Holding]) -> Counter[Cell]:
        """Records by source and label."""
        return Counter(self._cell(record) for record in records)

    def apply(self, event: Event) -> list[Problem]:
        """Book one event; what cannot be is returned, and booked so far as possible."""
        if not event.moves:
            return [*self.settle(), *self._names_tip(event)]
        problems = self._chain(event)
        self._moves += 1
        move = {ACQUIRED: self._acquire, QUARANTINED: self._quarantine, RELEASED: self._release}
        if event.kind == TRANSFORMED:
            problems += self._transform(event)
        else:
            problems += move.get(event.kind, self._remove)(event)
        return problems

    def revoke(self, entry: int, query: Query) -> None:
        """Records that match are inadmissible from now on, and so is what is made of them: a transformation changes no past."""
        self._revocations.append((entry, query))
        for holding in (*self.held.values(), *self.quarantine.values()):
            self._know(holding)

    def settle(self) -> list[Problem]:
        """End the step under way: the records held must give the snapshot that its movements name."""
        if self.step is None:
            return []
        named = self.tip = self.step[1]
        self.step = None
        what = f"the transformations that lead to snapshot {named[:16]} make records that replace none"
        problems = _problem("made-from-nothing", what, self._descent.from_nothing())
        self._drifted = self.root() != named
        told, self._told = self._told, self._drifted
        if told or not self._drifted:  # said once; that later snapshots differ too is no news
            return problems
        what = f"the movements that lead to snapshot {named[:16]} do not: the records held give another one"
        return [*problems, Problem("snapshot-mismatch", what)]

    def root(self) -> str:
        """The snapshot root (hex) of the records that are held."""
        return root_of(self.held.values())

    @property
    def snapshot(self) -> str:
        """The snapshot (hex) that the events so far name as the dataset's."""
        return self.step[1] if self.step else self.tip

    def complete(self) -> bool:
        """Whether the records held give the snapshot that the events name."""
        return self.root() == self.snapshot

    def holds(self, snapshot: str) -> bool:
        """Whether the records held are those of a snapshot (hex), after its step."""
        return snapshot == self.tip and (not self._drifted or self.root() == snapshot)

    def _names_tip(self, event: Event) -> list[Problem]:
        """What is wrong with the snapshot that an event is about which moves nothing."""
        if event.after == self.tip:
            return []
        what = f"is about snapshot {event.after[:16]}; the events before it lead to {self.tip[:16]}"
        if event.kind in _LOOKS:
            return [] if event.records else [Problem("other-snapshot", what)]
        self.tip = event.after
        self.passed.add(event.after)
        told, self._told, self._drifted = self._told, True, True
        return [] if told else [Problem("snapshot-mismatch", what)]

    def _chain(self, event: Event) -> list[Problem]:
        if self.step == (event.before, event.after):
            return []
        problems = self.settle()
        corrects = self._drifted and event.before == self.root()  # it goes on from where the books really are
        if event.before != self.tip and not corrects:
            what = f"continues from snapshot {event.before[:16]}; the event before it led to {self.tip[:16]}"
            problems.append(Problem("broken-chain", what))
        self.step = (event.before, event.after)
        self._descent = Descent()
        self.passed.add(event.after)
        return problems

    def _acquire(self, event: Event) -> list[Problem]:
        twice, back = [], []
        provenance = Provenance.of(event.origin)
        for record in event.records:
            holding = Holding(record, provenance)
            holding.stay = Stay(self._moves)
            if record.key in self.held or record.key in self.quarantine:
                twice.append(record.key)
                continue
            if holding.hash in self.removed.get(record.key, ()):
                back.append(record.key)
            self.held[record.key] = holding
            self._know(holding)
            self.dataset.book("acquired", self._cell(holding))
        return [
            *_problem("acquired-twice", "acquires records that are in custody already", twice),
            *_problem("removed-returned", "acquires records that were removed for good", back),
        ]

    def _quarantine(self, event: Event) -> list[Problem]:
        missing, other = [], []
        for record in event.records:
            holding = self.held.pop(record.key, None)
            if holding is None:
                missing.append(record.key)
                continue
            other += [record.key] if holding.leaf != record else []
            self.quarantine[record.key] = holding
            holding.why, holding.aside = event.reason, self._moves
            self.dataset.book("quarantined", self._cell(holding))
            self.outside.book("quarantined", self._cell(holding))
        return [
            *_problem("not-held", "quarantines records that the dataset does not hold", missing),
            *_problem(
                "other-record", "quarantines records that are held with other content, label or source", other
            ),
        ]

    def _release(self, event: Event) -> list[Problem]:
        missing, other = [], []
        for record in event.records:
            holding = self.quarantine.pop(record.key, None)
            if holding is None:
                missing.append(record.key)
                continue
            self.outside.book("released", self._cell(holding))
            if holding.leaf != record:
                other.append(record.key)
                holding = Holding(record, holding.provenance, holding.origin)
                holding.stay = Stay(self._moves)
            holding.stay = holding.stay._replace(released=True)
            self.held[record.key] = holding
            self.dataset.book("released", self._cell(holding))
        return [
            *_problem("not-held", "releases records that do not lie in quarantine", missing),
            *_problem(
                "other-record",
                "releases records with other content, label or source than were quarantined",
                other,
            ),
        ]

    def _remove(self, event: Event) -> list[Problem]:
        missing, other = [], []
        for record in event.records:
            account, records = (
                (self.dataset, self.held) if record.key in self.held else (self.outside, self.quarantine)
            )
            holding = records.pop(record.key, None)
            if holding is None:
                missing.append(record.key)
                continue
            other += [record.key] if holding.leaf != record else []
            self.removed.setdefault(record.key, set()).add(holding.hash)
            outside = records is self.quarantine and holding.why != LOST
            self._note_removed(holding.leaf.sha256, Aside(holding.aside if outside else self._moves, outside))
            account.book("removed", self._cell(holding))
        return [
            *_problem("not-held", "removes records that are not in custody", missing),
            *_problem(
                "other-record", "removes records that are held with other content, label or source", other
            ),
        ]

    def _note_removed(self, content: bytes, aside: Aside) -> None:
        before = self.removed_contents.get(content, aside)
        self.removed_contents[content] = Aside(min(before.when, aside.when), before.doubted or aside.doubted)

    def _transform(self, event: Event) -> list[Problem]:
        missing, other, twice, back = [], [], [], []
        parent, problems = self._parent(event)
        for record in event.was:
            holding = self.held.pop(record.key, None)
            if holding is None:
                missing.append(record.key)
                continue
            other += [record.key] if holding.leaf != record else []
            self._descent.replace(holding.leaf, holding.provenance, holding.stay)
            self.dataset.book("transformed out", self._cell(holding))
        for record in event.records:
            if record.key in self.held or record.key in self.quarantine:
                twice.append(record.key)
                continue
            new = self.held[record.key] = self._made(event, record, parent)
            new.stay = self._descent.stay(record, self._moves)
            if new.hash in self.removed.get(record.key, ()):
                back.append(record.key)
            self._know(new)
            self.dataset.book("transformed in", self._cell(new))
        return [
            *problems,
            *_problem("not-held", "transforms records that the dataset does not hold", missing),
            *_problem(
                "other-record", "transforms records that are held with other content, label or source", other
            ),
            *_problem("acquired-twice", "makes records that are in custody already", twice),
            *_problem("removed-returned", "makes records that were removed for good", back),
        ]

    def _parent(self, event: Event) -> tuple[Parent | None, list[Problem]]:
        """The dataset that the records of an event were derived from; a problem when it is sought and not found."""
        derived = _derived(event)
        if derived is None or self._parents is None:
            return None, []
        name, snapshot = derived
        if parent := self._parents(name, snapshot):
            return parent, []
        what = f"derives records from snapshot {snapshot[:16]} of {name[:200]!r}, which the log does not know"
        return None, [Problem("parent-unknown", what, tuple(record.key for record in event.records))]

    def _made(self, event: Event, record: Leaf, parent: Parent | None) -> Holding:
        """A record that a transformation makes, with the provenance of what it was made from."""
        provenance = self._descent.provenance(record, self._known.get(record.sha256))
        derived = _derived(event)
        if derived is None:
            self._descent.make(record)
            return Holding(record, provenance)
        name = f"{derived[0]}@{derived[1][:16]}"
        parts = [Provenance.of(name), provenance, *([parent.provenance(record)] if parent else [])]
        return Holding(record, Provenance.joined(parts), name)

    def _know(self, holding: Holding) -> None:
        """Remember where a content came from, and what revokes it, whatever key it gets later."""
        revoked = frozenset(entry for entry, query in self._revocations if matches(query, holding))
        if revoked - holding.provenance.revoked:
            holding.provenance = Provenance.joined([holding.provenance, Provenance(revoked=revoked)])
        content = holding.leaf.sha256
        known = self._known.get(content, holding.provenance)
        if holding.provenance is not known:
            known = Provenance.joined((known, holding.provenance))
        self._known[content] = known

    def _cell(self, holding: Holding) -> Cell:
        return self._source_of(holding), holding.leaf.label


def _derived(event: Event) -> tuple[str, str] | None:
    """The other dataset that the records come from. What is said to come from this one has to replace some of it."""
    return event.derived if event.derived and event.derived[0] != event.dataset else None


def root_of(records: Iterable[Holding]) -> str:
    """The snapshot root (hex) of records, in any order."""
    tree = Frontier()
    for holding in sorted(records, key=lambda holding: holding.leaf.key):
        tree.append(holding.hash)
    return tree.root().hex()


def hash_of(record: Leaf) -> bytes:
    """The RFC 6962 hash of a record's leaf."""
    return leaf_hash(leaf(record.key, record.label, record.sha256, record.size, record.source))


def matches(query: Query, holding: Holding) -> bool:
    """Whether a record in custody is one that the query asks for."""
    record = holding.leaf
    return query.matches(record.key, record.label, record.source, holding.provenance.origins)


def _problem(code: str, what: str, keys: Sequence[str]) -> list[Problem]:
    return [Problem(code, what, tuple(keys))] if keys else []
