"""The auditor's statement on a terminal. All that comes from the dataset, the log or the policy goes through `text.shown`."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bezoar.report.audit_words import TITLES, figures, period, sampling
from bezoar.report.text import count, shown

if TYPE_CHECKING:
    from rich.table import Table

    from bezoar.custody.audit.balances import Aside, Balance
    from bezoar.custody.audit.irregularities import Irregularity
    from bezoar.custody.audit.statement import AuditStatement

MAX_ROWS = 20
MAX_EXCEPTIONS = 30
_KEYS = 5
_SOURCES = 5
_SHORT = (
    "open",
    "+acquired",
    "−quarant.",
    "+released",
    "−removed",
    "±transf.",
    "=closing",
    "sealed",
    "differs",
)
_ALWAYS = 6  # the closing balance, what is sealed, and the difference are shown whatever they are
_STYLE = {
    "unqualified": "bold green",
    "qualified": "bold yellow",
    "adverse": "bold red",
    "disclaimer": "bold magenta",
}


def audit_to_terminal(
    statement: AuditStatement, *, saved: Path | None = None, width: int = 100, colour: bool = False
) -> str:
    """The statement, `width` columns wide, with ANSI colours if `colour`; `saved` is the report's folder."""
    from rich.console import Console
    from rich.text import Text

    buffer = io.StringIO()
    console = Console(file=buffer, width=width, force_terminal=colour, no_color=not colour, highlight=False)
    verdict = str(statement.opinion.verdict)
    name = shown(statement.dataset, 100)
    console.print(Text.assemble((TITLES[verdict].upper(), _STYLE[verdict]), "  ", name))
    console.print(Text(shown(statement.opinion.paragraph, 1000)))
    console.print(Text(_facts(statement)), style="dim")
    balances = statement.balances
    for title, rows in (("by source", balances.by_source), ("by class", balances.by_class)):
        console.print()
        console.print(_table(title, rows, balances.total))
    quarantine = balances.quarantine
    line = (
        f"quarantine: opening {quarantine.opening:,} + quarantined {quarantine.quarantined:,} − released {quarantine.released:,} "
        f"− removed {quarantine.removed:,} = closing {quarantine.closing:,}"
    )
    console.print(Text(line))
    for aside in quarantine.by_reason[:MAX_ROWS]:
        console.print(Text(_aside(aside)))
    if len(quarantine.by_reason) > MAX_ROWS:
        console.print(Text(f"  and {count(len(quarantine.by_reason) - MAX_ROWS)} more reasons"))
    console.print()
    console.print(Text(shown(sampling(statement), 1000)))
    if statement.since is not None:
        console.print(Text(period(statement)))
    console.print()
    for line in _exceptions(statement.irregularities, width):
        console.print(Text(line), soft_wrap=True)
    if saved is not None:
        console.print(Text(f"Report: {shown(str(saved / 'audit.html'), 1000)}"), soft_wrap=True)
    return buffer.getvalue()


def _aside(aside: Aside) -> str:
    """What lies in quarantine for one reason, and where it came from."""
    sources = ", ".join(f"{shown(name, 60)} {number:,}" for name, number in aside.by_source[:_SOURCES])
    more = len(aside.by_source) - _SOURCES
    rest = f" and {count(more, 'further source')}" if more > 0 else ""
    return f"  {aside.records:,}: {shown(aside.reason, 200) or '(no reason given)'} · {sources}{rest}"


def _facts(statement: AuditStatement) -> str:
    log, seal = statement.log, statement.seal
    parts = [
        f"log {shown(log.origin, 60)}, {count(log.size, 'entry', 'entries')}" if log else "no log",
        f"{count(len(statement.events), 'event')}",
        f"sealed by {shown(seal.signer, 60)}" if seal and seal.signer else "no authentic seal",
        f"snapshot {seal.snapshot[:16]}" if seal else f"snapshot {statement.snapshot[:16]} by the events",
        f"policy {shown(statement.policy, 80)}",
    ]
    return " · ".join(parts)


def _table(title: str, rows: Sequence[Balance], total: Balance) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    used = [place for place, value in enumerate(_used([*rows, total])) if value or place >= _ALWAYS]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, collapse_padding=True)
    table.add_column(title, overflow="fold", min_width=10)
    for place in used:
        table.add_column(_SHORT[place], justify="right")
    for row in rows[:MAX_ROWS]:
        table.add_row(Text(shown(row.name, 40)), *(_figure(figures(row)[place]) for place in used))
    if len(rows) > MAX_ROWS:
        table.add_row(f"{count(len(rows) - MAX_ROWS)} more", *("…" for _ in used))
    table.add_section()
    table.add_row("all records", *(_figure(figures(total)[place]) for place in used), style="bold")
    return table


def _used(rows: Sequence[Balance]) -> list[bool]:
    """Which columns have a figure other than 0 in any row; the others are left out."""
    return [any(values) for values in zip(*(figures(row) for row in rows), strict=True)]


def _figure(value: int) -> str:
    return f"{value:,}".replace("-", "−")


def _exceptions(found: Sequence[Irregularity], width: int) -> Iterator[str]:
    if not found:
        yield "No exceptions."
        return
    yield f"{count(len(found), 'exception')}:"
    for number, each in enumerate(found[:MAX_EXCEPTIONS], 1):
        entry = f" (entry {each.event})" if each.event is not None else ""
        yield f"{number:>3}. {each.title}{entry}  [{each.code}]"
        yield from textwrap.wrap(
            shown(each.what, 600), max(40, width - 5), initial_indent="     ", subsequent_indent="     "
        )
        if each.keys:
            keys = ", ".join(shown(key, 60) for key in each.keys[:_KEYS])
            more = f" and {each.affected - _KEYS:,} more" if each.affected > _KEYS else ""
            yield f"     {count(each.affected, 'record')}: {keys}{more}"
        yield f"     → {each.remedy}"
    if len(found) > MAX_EXCEPTIONS:
        yield f"     and {count(len(found) - MAX_EXCEPTIONS)} more; --format json lists them"
