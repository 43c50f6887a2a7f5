"""The auditor's statement as a value and as JSON (schema/audit-1.json), and how it is signed and logged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from bezoar.custody.audit.balances import Balance, Balances, Quarantine
from bezoar.custody.audit.examination import Earlier, Line
from bezoar.custody.audit.irregularities import Irregularity
from bezoar.custody.audit.opinion import Opinion
from bezoar.custody.audit.sampling import Plan
from bezoar.custody.events.event import AUDITED, Event
from bezoar.custody.events.ledger import MOVEMENTS
from bezoar.custody.events.times import time_text

if TYPE_CHECKING:
    from bezoar.custody.signing.dsse import Envelope
    from bezoar.custody.signing.signers import Signer

SCHEMA = "bezoar-audit-1"
MAX_LINES = 10_000  # events and exceptions in JSON, each
MAX_UNREAD = 100  # files


@dataclass(frozen=True)
class LogState:
    """The log as it was audited: its name, entries, root (hex) and verifier key."""

    location: str
    origin: str
    size: int
    root: str
    key: str


@dataclass(frozen=True)
class SealState:
    """The seal as it was audited: snapshot (hex), records, who signed it (None: nobody who may)."""

    location: str
    snapshot: str
    records: int
    signer: str | None


@dataclass(frozen=True)
class Sampling:
    """How the contents were examined: every one (`plan` None), or a sample drawn with `seed`, by chance or as was `chosen`.

    `unread` are files that hold records and were not read as a whole.
    """

    plan: Plan | None
    seed: int | None
    examined: int
    chosen: bool = False
    unread: tuple[str, ...] = ()


@dataclass(frozen=True)
class AuditStatement:
    """Everything that an audit says. `log` and `seal` are None where there was none to read."""

    dataset: str
    location: str
    time: datetime
    since: datetime | None
    earlier: Earlier | None
    version: str
    policy: str
    policy_sha256: str
    log: LogState | None
    seal: SealState | None
    snapshot: str  # to which the events lead
    source_column: str | None
    tolerable: float
    balances: Balances
    events: tuple[Line, ...]
    irregularities: tuple[Irregularity, ...]
    sampling: Sampling
    opinion: Opinion

    def to_json(self) -> dict[str, Any]:
        """The statement as a JSON object; events and exceptions beyond the first 10,000 are counted only."""
        return {
            "schema": SCHEMA,
            "version": self.version,
            "dataset": self.dataset,
            "location": self.location,
            "time": time_text(self.time),
            "since": time_text(self.since) if self.since else None,
            "earlier": {"entry": self.earlier.event, "exceptions": self.earlier.exceptions}
            if self.earlier
            else None,
            "policy": {"path": self.policy, "sha256": self.policy_sha256},
            "log": vars(self.log).copy() if self.log else None,
            "seal": vars(self.seal).copy() if self.seal else None,
            "snapshot": self.snapshot,
            "opinion": {
                "verdict": str(self.opinion.verdict),
                "paragraph": self.opinion.paragraph,
                "reasons": list(self.opinion.reasons),
            },
            "balances": {
                "source_column": self.source_column,
                "total": _balance(self.balances.total),
                "by_source": [_balance(row) for row in self.balances.by_source],
                "by_class": [_balance(row) for row in self.balances.by_class],
                "quarantine": _quarantine(self.balances.quarantine),
            },
            "sampling": _sampling(self.sampling, self.tolerable),
            "exceptions": [_exception(each) for each in self.irregularities[:MAX_LINES]],
            "exception_count": len(self.irregularities),
            "events": [_line(line) for line in self.events[:MAX_LINES]],
            "event_count": len(self.events),
        }

    def event(self) -> Event:
        """The statement as an event of the log."""
        snapshot = self.snapshot
        return Event(AUDITED, self.dataset, snapshot, snapshot, self.time, statement=self.to_json())


def sign_statement(statement: AuditStatement, signers: Sequence[Signer]) -> Envelope:
    """The statement in a DSSE envelope, as an in-toto statement about the snapshot."""
    from bezoar.custody.events.statements import statement_of
    from bezoar.custody.signing import dsse
    from bezoar.custody.signing.statement import IN_TOTO

    return dsse.sign(statement_of(statement.event()).to_bytes(), IN_TOTO, *signers)


def _balance(row: Balance) -> dict[str, Any]:
    moved = {movement.replace(" ", "_"): row.moved.get(movement, 0) for movement in MOVEMENTS}
    return {
        "name": row.name,
        "opening": row.opening,
        **moved,
        "closing": row.closing,
        "sealed": row.sealed,
        "difference": row.difference,
    }


def _quarantine(account: Quarantine) -> dict[str, Any]:
    return {
        "opening": account.opening,
        "quarantined": account.quarantined,
        "released": account.released,
        "removed": account.removed,
        "closing": account.closing,
        "by_reason": [
            {
                "reason": aside.reason,
                "records": aside.records,
                "by_source": [{"name": name, "records": number} for name, number in aside.by_source],
                "keys": list(aside.keys),
            }
            for aside in account.by_reason
        ],
    }


def _sampling(sampling: Sampling, tolerable: float) -> dict[str, Any]:
    plan = sampling.plan
    return {
        "full": plan is None,
        "examined": sampling.examined,
        "population": plan.population if plan else sampling.examined,
        "confidence": plan.confidence if plan and not sampling.chosen else None,
        "tolerable": tolerable,
        "seed": sampling.seed,
        "seed_chosen": sampling.chosen,
        "unread": list(sampling.unread[:MAX_UNREAD]),
        "unread_count": len(sampling.unread),
    }


def _exception(each: Irregularity) -> dict[str, Any]:
    return {
        "code": each.code,
        "title": each.title,
        "effect": str(each.effect),
        "what": each.what,
        "entry": each.event,
        "records": each.affected,
        "keys": list(each.keys),
        "remedy": each.remedy,
    }


def _line(line: Line) -> dict[str, Any]:
    return {
        "entry": line.index,
        "kind": line.kind,
        "time": time_text(line.time),
        "records": line.records,
        "signers": list(line.signers),
        "reason": line.reason,
        "snapshot": line.snapshot,
    }
