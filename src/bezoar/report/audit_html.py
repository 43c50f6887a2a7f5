"""The auditor's statement as one HTML page to be read or printed: no script, no request, everything escaped.

What comes from the dataset, the log or the policy is made visible (`text.shown`) and then escaped by Jinja2's autoescape; a
Content-Security-Policy forbids scripts and requests besides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bezoar.report import text
from bezoar.report.audit_words import BASIS, COLUMNS, TITLES, figures, period, sampling, scope
from bezoar.report.templating import environment
from bezoar.report.text import shown

if TYPE_CHECKING:
    from bezoar.custody.audit.balances import Aside, Balance
    from bezoar.custody.audit.irregularities import Irregularity
    from bezoar.custody.audit.statement import AuditStatement

MAX_ROWS = 60  # of a table of balances
MAX_EXCEPTIONS = 200
MAX_EVENTS = 400
MAX_KEYS = 24
MAX_SOURCES = 12  # of what lies in quarantine for one reason


@dataclass(frozen=True, slots=True)
class _Row:
    name: str
    figures: tuple[str, ...]
    wrong: bool  # it does not agree with the seal


@dataclass(frozen=True, slots=True)
class _AsideView:
    reason: str
    records: int
    sources: tuple[tuple[str, int], ...]
    more_sources: int
    keys: tuple[str, ...]
    more_keys: int


@dataclass(frozen=True, slots=True)
class _ExceptionView:
    number: int
    code: str
    title: str
    effect: str
    what: str
    entry: int | None
    records: int
    keys: tuple[str, ...]
    more_keys: int
    remedy: str


@dataclass(frozen=True, slots=True)
class _EventView:
    entry: int
    time: str
    kind: str
    records: str
    signers: str
    valid: bool
    reason: str


def audit_to_html(statement: AuditStatement) -> str:
    """The statement as a page."""
    balances = statement.balances
    verdict = str(statement.opinion.verdict)
    found = statement.irregularities
    return (
        environment()
        .get_template("audit.html.j2")
        .render(
            statement=statement,
            verdict=verdict,
            title=TITLES[verdict],
            dataset=shown(statement.dataset, 100),
            paragraph=shown(statement.opinion.paragraph, 1000),
            reasons=[shown(reason, 400) for reason in statement.opinion.reasons],
            scope=shown(scope(statement), 1500),
            basis=BASIS,
            period=period(statement),
            sampling=shown(sampling(statement), 1500),
            columns=COLUMNS,
            tables=[
                ("Source", _rows(balances.by_source), max(0, len(balances.by_source) - MAX_ROWS)),
                ("Class", _rows(balances.by_class), max(0, len(balances.by_class) - MAX_ROWS)),
            ],
            total=_row(balances.total),
            quarantine=balances.quarantine,
            aside=[_aside(each) for each in balances.quarantine.by_reason[:MAX_ROWS]],
            hidden_aside=max(0, len(balances.quarantine.by_reason) - MAX_ROWS),
            exceptions=[_exception(number, each) for number, each in enumerate(found[:MAX_EXCEPTIONS], 1)],
            hidden_exceptions=max(0, len(found) - MAX_EXCEPTIONS),
            events=_events(statement),
            hidden_events=max(0, len(statement.events) - MAX_EVENTS),
            facts=_facts(statement),
            when=statement.time.strftime("%d %B %Y, %H:%M UTC").lstrip("0"),
            since=statement.since.strftime("%d %B %Y, %H:%M UTC").lstrip("0") if statement.since else "",
        )
    )


def _rows(rows: Sequence[Balance]) -> list[_Row]:
    return [_row(row) for row in rows[:MAX_ROWS]]


def _row(row: Balance) -> _Row:
    values = tuple(f"{value:,}".replace("-", "−") if value else "–" for value in figures(row))
    return _Row(shown(row.name, 80), values, row.difference != 0)


def _aside(each: Aside) -> _AsideView:
    return _AsideView(
        reason=shown(each.reason, 300) or "(no reason given)",
        records=each.records,
        sources=tuple((shown(name, 80), number) for name, number in each.by_source[:MAX_SOURCES]),
        more_sources=max(0, len(each.by_source) - MAX_SOURCES),
        keys=tuple(shown(key, 80) for key in each.keys[:MAX_KEYS]),
        more_keys=max(0, each.records - MAX_KEYS),
    )


def _exception(number: int, each: Irregularity) -> _ExceptionView:
    return _ExceptionView(
        number=number,
        code=each.code,
        title=each.title,
        effect=str(each.effect),
        what=shown(each.what, 800),
        entry=each.event,
        records=each.affected,
        keys=tuple(shown(key, 120) for key in each.keys[:MAX_KEYS]),
        more_keys=max(0, each.affected - MAX_KEYS),
        remedy=each.remedy,
    )


def _events(statement: AuditStatement) -> list[_EventView]:
    return [
        _EventView(
            entry=line.index,
            time=line.time.strftime("%Y-%m-%d %H:%M"),
            kind=line.kind,
            records="all" if line.records is None else text.count(line.records),
            signers=", ".join(shown(name, 60) for name in line.signers) or "nobody who may",
            valid=bool(line.signers),
            reason=shown(line.reason, 300),
        )
        for line in statement.events[-MAX_EVENTS:]
    ]


def _facts(statement: AuditStatement) -> list[tuple[str, str]]:
    """What identifies everything that was audited, so that the audit can be repeated."""
    log, seal = statement.log, statement.seal
    facts = [("Dataset", shown(statement.location, 300))]
    if seal is not None:
        facts += [
            ("Seal", f"{shown(seal.location, 300)}, signed by {shown(seal.signer or 'nobody who may', 80)}"),
            ("Sealed snapshot", seal.snapshot),
        ]
    facts.append(("Snapshot by the events", statement.snapshot))
    if log is not None:
        facts += [
            ("Log", f"{shown(log.origin, 100)}, {text.count(log.size, 'entry', 'entries')}"),
            ("Root of the log", log.root),
            ("Key of the log", shown(log.key, 300)),
        ]
    column = statement.source_column
    facts += [
        ("Policy", shown(statement.policy, 300)),
        ("SHA-256 of the policy", statement.policy_sha256),
        (
            "Sources are",
            f"the values of the column {shown(column, 80)}; of URLs, their hosts"
            if column
            else "where records were acquired from",
        ),
    ]
    return facts
