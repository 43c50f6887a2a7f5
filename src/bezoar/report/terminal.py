"""The scan on a terminal: the verdict, a table of findings, what would have been noticed, what to do next.

Labels and titles are untrusted: they go through `text.shown` (no control characters, no ANSI escapes) and
into `rich.text.Text`, which does not read markup.
"""

from __future__ import annotations

import io
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from bezoar.report import text
from bezoar.report.text import shown
from bezoar.scan.result import Finding, ScanResult, Severity, Status

if TYPE_CHECKING:
    from rich.table import Table

MAX_FINDINGS = 20
_STYLE = {
    Status.POISONED: ("bold red", "POISONED"),
    Status.CLEAN: ("bold green", "CLEAN"),
    Status.UNDECIDED: ("bold yellow", "UNDECIDED"),
}
_COLOUR = {Severity.POISON: "red", Severity.REVIEW: "yellow", Severity.NATURAL: "cyan"}


def to_terminal(
    result: ScanResult, *, saved: Path | None = None, width: int = 100, colour: bool = False
) -> str:
    """The summary, `width` columns wide, with ANSI colours if `colour`; `saved` is the report's folder."""
    from rich.console import Console
    from rich.text import Text

    buffer = io.StringIO()
    console = Console(file=buffer, width=width, force_terminal=colour, no_color=not colour, highlight=False)
    style, word = _STYLE[result.verdict.status]
    headline = Text.assemble((word, style), "  ", shown(result.path, 200))
    console.print(
        headline, Text(shown(result.verdict.summary, 800)), Text(_facts(result), style="dim"), sep="\n"
    )
    if result.findings:
        console.print()
        console.print(_table(result))
        hidden = len(result.findings) - MAX_FINDINGS
        if hidden > 0:
            console.print(Text(f"{text.count(hidden, 'further finding')} not shown"), style="dim")
    for line in _closing(result, saved):
        console.print()
        console.print(Text(line), soft_wrap=True)
    return buffer.getvalue()


def _facts(result: ScanResult) -> str:
    flagged = int(result.flagged.sum())
    parts = [
        f"{text.count(flagged)} of {text.count(result.n_records, 'record')} flagged",
        f"error level {text.percent(result.verdict.alpha)}",
        f"depth {result.depth}"
        + (f" ({', '.join(shown(view, 40) for view in result.views)})" if result.views else ""),
        f"encoder {shown(result.encoder, 60)}",
        f"seed {result.seed}",
        text.seconds(sum(result.seconds.values())),
    ]
    if result.trusted is not None:
        parts.insert(-2, f"trusted sample {shown(result.trusted, 80)}")
    if result.unreadable:
        parts.insert(1, f"{text.count(len(result.unreadable), 'record')} unreadable")
    return " · ".join(parts)


def _table(result: ScanResult) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, expand=False)
    table.add_column("")
    table.add_column("what", ratio=3)
    table.add_column("records", justify="right", no_wrap=True)
    table.add_column("label ← looks like", ratio=2)
    table.add_column("significance", no_wrap=True)
    order = {severity: place for place, severity in enumerate(Severity)}
    for finding in sorted(result.findings, key=lambda finding: order[finding.severity])[:MAX_FINDINGS]:
        table.add_row(
            Text(finding.severity, style=_COLOUR[finding.severity]),
            Text(shown(finding.title, 160)),
            text.count(len(finding.records)),
            Text(_labels(result, finding)),
            text.p_value(finding.p_value),
        )
    return table


def _labels(result: ScanResult, finding: Finding) -> str:
    names = [shown(result.label_names[label], 40) for label in finding.origins]
    origins = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    target = "" if finding.target is None else shown(result.label_names[finding.target], 40)
    return f"{target} ← {origins}" if target and origins else target or origins


def _closing(result: ScanResult, saved: Path | None) -> list[str]:
    lines = []
    if result.verdict.sensitivity:
        seen = [(shown(row.poison), text.noticed(row.smallest_rate)) for row in result.verdict.sensitivity]
        widest = max(len(poison) for poison, _ in seen)
        rows = [f"  {poison:<{widest}}  {rate}" for poison, rate in seen]
        lines.append("\n".join(["Would have noticed:", *rows]))
    if saved is not None:
        lines.append(f"Report: {shown(str(saved / 'report.html'), 1000)}")
    if result.verdict.status is Status.POISONED:
        if saved is not None:
            command = f"bezoar clean {shlex.quote(result.path)} --scan {shlex.quote(str(saved))} CLEANED"
            lines.append(f"Next: {shown(command, 1000)}")
        else:
            lines.append(
                "Next: scan again with --out FOLDER for a report, then `bezoar clean` removes the records."
            )
    return lines
