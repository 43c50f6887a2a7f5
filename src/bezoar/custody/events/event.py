"""Events in the life of a dataset, as in-toto Statements (docs/adr/0006-the-ledger.md).

Kinds that move records: `acquired`, `quarantined`, `removed`, `transformed`, and `released` when it names records (they return
from quarantine). The others are evidence about a snapshot or about records: `sealed`, `scanned`, `reviewed`, `revoked` (a source
is inadmissible from then on), `trained`, `audited`, and `released` without records (the snapshot may be used).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bezoar.custody.seal.leaves import Leaf
from bezoar.custody.tlog.merkle import EMPTY_ROOT

ACQUIRED, SEALED, REVIEWED, SCANNED, TRANSFORMED = "acquired", "sealed", "reviewed", "scanned", "transformed"
QUARANTINED, REMOVED, RELEASED, REVOKED = "quarantined", "removed", "released", "revoked"
TRAINED, AUDITED = "trained", "audited"
KINDS = (
    ACQUIRED, SEALED, REVIEWED, SCANNED, TRANSFORMED, QUARANTINED, REMOVED, RELEASED, REVOKED, TRAINED, AUDITED,
)  # fmt: skip
NOTHING = EMPTY_ROOT.hex()  # the snapshot of a dataset without records: where every life begins

MAX_RECORDS = 20_000  # of one event; a larger group is attested by several
LOST = "missing: the fetch has it no longer"  # why a record was quarantined that nobody doubts
PASSED, WARNED, FAILED = "PASSED", "WARNED", "FAILED"


@dataclass(frozen=True)
class ScanFinding:
    """A group of records that a scan found. `severity`: "poison" or "review"; `keys` in order."""

    title: str
    severity: str
    keys: tuple[str, ...]


@dataclass(frozen=True)
class Scan:
    """What a scan said: `status` "clean", "poisoned" or "undecided", its open findings, the SHA-256 (hex) of its result."""

    status: str
    result: str
    findings: tuple[ScanFinding, ...] = ()

    @property
    def names_poison(self) -> bool:
        """Whether a finding names records as poison, as one does when the status is "poisoned"."""
        return any(finding.severity == "poison" for finding in self.findings)

    @property
    def outcome(self) -> str:
        """`PASSED`, `WARNED` or `FAILED`, in the words of in-toto's test-result."""
        if self.status == "poisoned":
            return FAILED
        return WARNED if self.status == "undecided" or self.findings else PASSED


@dataclass(frozen=True)
class Part:
    """A part of a seal: its file name, SHA-256 (hex) and media type."""

    name: str
    sha256: str
    media_type: str


@dataclass(frozen=True)
class Event:
    """One event. `before` and `after` are snapshot roots (hex), equal when the dataset does not change.

    `records` are those that the event is about, `was` (transformed only) those that they replace. `origin` says where acquired
    records came from, `derived` from which other dataset (name, snapshot) transformed ones were made, `query` which records a
    revocation makes inadmissible, `parts` what a seal consists of, `count` how many records it holds; `scan` and `statement` (the
    auditor's) belong to the kinds of that name.
    """

    kind: str
    dataset: str
    before: str
    after: str
    time: datetime
    reason: str = ""
    records: tuple[Leaf, ...] = ()
    was: tuple[Leaf, ...] = ()
    origin: str | None = None
    derived: tuple[str, str] | None = None
    query: str | None = None
    count: int | None = None
    parts: tuple[Part, ...] = ()
    scan: Scan | None = None
    statement: dict[str, Any] | None = None

    @property
    def moves(self) -> bool:
        """Whether it moves records into, out of or within the dataset."""
        if self.kind == RELEASED:
            return bool(self.records)
        return self.kind in (ACQUIRED, QUARANTINED, REMOVED, TRANSFORMED)
