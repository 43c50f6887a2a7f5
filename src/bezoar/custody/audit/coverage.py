"""Which records have been reviewed and scanned, and which findings are open.

Evidence covers a record as it is: key, content, label and source. A review of a snapshot covers all that it holds; records that
come later, or change, are not covered by it. A finding is closed by a decision about its record: it was quarantined, removed or
changed, or enough people reviewed it by name, others than those who released it from quarantine. Another scan closes nothing,
but for a verdict that names no records: that one stands until a later snapshot is scanned and clean.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from bezoar.custody.audit.irregularities import Irregularity, irregularity
from bezoar.custody.audit.policy import Policy
from bezoar.custody.events.event import RELEASED, REVIEWED, SCANNED, Event
from bezoar.custody.events.ledger import Holding, Ledger

_SCANNED = 1  # the first bit of `Holding.marks`; the others are reviewers


@dataclass
class _Open:
    """A record that a finding is about, by the hash of its leaf: who has reviewed it by name since, and who released it."""

    digest: bytes
    reviewers: set[str] = field(default_factory=set)
    releasers: set[str] = field(default_factory=set)


@dataclass
class _Finding:
    """A finding that was made about records, by key."""

    event: int
    title: str
    open: dict[str, _Open]


class Coverage:
    """Collects the evidence of one dataset's life, event by event, after the ledger has booked it."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._bits = {name: 2 << place for place, name in enumerate(sorted(policy.reviewers_of))}
        self._findings: list[_Finding] = []
        self._unnamed: tuple[int, str] | None = None  # "poisoned", and no record named: entry and snapshot
        self.scans: list[int] = []  # entries
        self.reviews: list[tuple[int, str]] = []

    def note(self, index: int, event: Event, names: tuple[str, ...], ledger: Ledger) -> None:
        """Note an event that `names`, at least one, vouch for."""
        if event.kind == REVIEWED:
            self.reviews += [(index, name) for name in names]
            for name in names:
                self._review(event, name, ledger)
        elif event.kind == SCANNED and event.scan is not None and event.after == ledger.tip:
            self.scans.append(index)
            self._scan(index, event, ledger)
        elif event.kind == RELEASED:
            for finding in self._findings:
                for record in event.records:
                    if record.key in finding.open:
                        finding.open[record.key].releasers |= set(names)

    def lacking(self, ledger: Ledger, where: str, event: int | None) -> list[Irregularity]:
        """What the policy demands and the records held do not have."""
        held = ledger.held.values()
        found = []
        if few := self._with_few_reviewers(held):
            seen = sorted({name for _, name in self.reviews})
            what = (
                f"{where}: {self._policy.reviewers} different reviewers are demanded for every record; "
                f"reviews in the log are by {', '.join(seen) or 'nobody'}"
            )
            found.append(irregularity("missing-reviews", what, few, event))
        if self._policy.scan_required and (
            unscanned := [holding.leaf.key for holding in held if not holding.marks & _SCANNED]
        ):
            what = f"{where}: the policy demands a scan that came to a verdict"
            found.append(irregularity("missing-scan", what, unscanned, event))
        if self._unnamed and (self._policy.scan_required or self._policy.no_open_findings):
            what = (
                f"{where}: the scan in entry {self._unnamed[0]} says that the dataset is poisoned and names no records; "
                "it stands until a later snapshot is scanned and clean"
            )
            found.append(irregularity("open-finding", what, list(ledger.held), event))
        if self._policy.no_open_findings:
            found += self._open(ledger, where, event)
        return found

    def _review(self, event: Event, name: str, ledger: Ledger) -> None:
        bit = self._bits.get(name, 0)
        if not event.records:
            if ledger.holds(event.after):
                for holding in ledger.held.values():
                    holding.marks |= bit
            return
        for record in event.records:
            known = ledger.held.get(record.key) or ledger.quarantine.get(record.key)
            if known is None or known.leaf != record:
                continue
            known.marks |= bit
            for finding in self._findings:
                if bit and record.key in finding.open:
                    finding.open[record.key].reviewers.add(name)

    def _scan(self, index: int, event: Event, ledger: Ledger) -> None:
        if event.scan is None:
            return
        unnamed = event.scan.status == "poisoned" and not event.scan.names_poison
        covers = ledger.holds(event.after)
        if unnamed:
            self._unnamed = (index, event.after)
        elif covers and event.scan.status == "clean" and self._unnamed and self._unnamed[1] != event.after:
            self._unnamed = None
        if covers and event.scan.status != "undecided" and not unnamed:
            for holding in ledger.held.values():
                holding.marks |= _SCANNED
        for found in event.scan.findings:
            concerned = {key: _Open(ledger.held[key].hash) for key in found.keys if key in ledger.held}
            self._findings.append(_Finding(index, found.title, concerned))

    def _with_few_reviewers(self, held: Iterable[Holding]) -> list[str]:
        demanded = self._policy.reviewers
        everyone = sum(self._bits.values())
        return [holding.leaf.key for holding in held if (holding.marks & everyone).bit_count() < demanded]

    def _open(self, ledger: Ledger, where: str, event: int | None) -> list[Irregularity]:
        enough = max(1, self._policy.reviewers)
        found = []
        for finding in self._findings:
            still = [
                key
                for key, record in finding.open.items()
                if key in ledger.held
                and ledger.held[key].hash == record.digest
                and len(record.reviewers - record.releasers) < enough
            ]
            if still:
                what = f"{where}: the finding {finding.title!r} of the scan in entry {finding.event} was not decided"
                found.append(irregularity("open-finding", what, still, event))
        return found
