"""Revocations, and how they reach the datasets that were derived from the one whose source was revoked.

A derived dataset has the records of its parent under keys, labels and contents of its own. The parent's life, as far as it is in
the same log, says where they came from and what was revoked there, before they were derived and since.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from bezoar.custody.audit.policy import Policy
from bezoar.custody.audit.vouching import vouching
from bezoar.custody.events.descent import Provenance
from bezoar.custody.events.event import REVOKED
from bezoar.custody.events.ledger import Holding, Ledger, matches
from bezoar.custody.events.query import Query
from bezoar.custody.seal.leaves import Leaf

if TYPE_CHECKING:
    from bezoar.custody.tlog.log import CustodyLog

MAX_PARENTS = 100  # snapshots of other datasets that one audit follows; each is a passage through the log


@dataclass(frozen=True)
class Revocation:
    """A source that is inadmissible since entry `event`; `parent` is the dataset where it was revoked, "" for the audited one."""

    event: int
    query: Query
    parent: str = ""

    def concerns(self, record: Holding) -> bool:
        """Whether it makes a record inadmissible, by what it is or was, or by any of the sources that it was made from."""
        return self.event in record.provenance.revoked or (not self.parent and matches(self.query, record))

    def __str__(self) -> str:
        of = f" of {self.parent!r}" if self.parent else ""
        return f"{self.query.text!r}, revoked in entry {self.event}{of}"


class Parents:
    """Finds the snapshots that records were derived from; what was revoked there is added to `revocations`."""

    def __init__(self, log: CustodyLog, policy: Policy, now: datetime, revocations: list[Revocation]) -> None:
        self._log, self._policy, self._now, self._revocations = log, policy, now, revocations
        self._known: dict[tuple[str, str], _Parent | None] = {}

    def __call__(self, dataset: str, snapshot: str) -> _Parent | None:
        """The dataset at a snapshot (hex); None when events that count do not lead there."""
        wanted = (dataset, snapshot)
        if wanted not in self._known and len(self._known) < MAX_PARENTS:
            self._known[wanted] = None  # while it is read: nothing descends from itself
            self._known[wanted] = self._read(dataset, snapshot)
        return self._known.get(wanted)

    def _read(self, dataset: str, snapshot: str) -> _Parent | None:
        ledger = Ledger(lambda holding: holding.origin or "", self)
        held: list[Holding] | None = None
        revocations = []
        for each in vouching(self._log, dataset, self._policy, self._now):
            event, counts = each.logged.event, bool(each.who.names)
            if event is None:
                continue  # the audit of that dataset says so; a movement that is missing shows in the root
            if held is None and event.moves and not counts:
                return None
            if held is None and counts:
                problems = ledger.apply(event)
                if any(problem.code == "parent-unknown" for problem in problems):
                    return None
                if ledger.snapshot == snapshot and ledger.complete():
                    held = list(ledger.held.values())
            if event.kind == REVOKED and event.query is not None and counts:
                query = Query.parse(event.query)
                revocations.append(Revocation(each.logged.index, query, dataset))
                ledger.revoke(each.logged.index, query)
        if held is None:
            return None
        known = {(each.parent, each.event) for each in self._revocations}
        self._revocations += [each for each in revocations if (dataset, each.event) not in known]
        return _Parent(held)


class _Parent:
    """A dataset at a snapshot: what may be said of a record made from it, by its content, else its key, else from all records."""

    def __init__(self, held: Iterable[Holding]) -> None:
        by_content: dict[bytes, list[Provenance]] = {}
        self._by_key: dict[str, Provenance] = {}
        for holding in held:
            by_content.setdefault(holding.leaf.sha256, []).append(holding.provenance)
            self._by_key[holding.leaf.key] = holding.provenance
        self._by_content = {content: Provenance.joined(several) for content, several in by_content.items()}
        self._all = Provenance.joined(self._by_key.values())

    def provenance(self, record: Leaf) -> Provenance:
        """Of a record that was made from this dataset."""
        return self._by_content.get(record.sha256) or self._by_key.get(record.key) or self._all
