"""An inspection on a terminal: the verdict, what was looked at, each finding with its evidence, the labels, what to do next.

Names and titles are untrusted: they go through `text.shown` (no control characters, no ANSI escapes) and into
`rich.text.Text`, which does not read markup.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from bezoar.inspect.result import Finding, InspectionResult, Severity, Status
from bezoar.report import inspection_words as words
from bezoar.report import text
from bezoar.report.text import shown

if TYPE_CHECKING:
    from rich.padding import Padding
    from rich.table import Table

MAX_FINDINGS = 10
MAX_LABELS = 10
MAX_STATISTICS = 5
_STYLE = {Status.BACKDOORED: "bold red", Status.CLEAN: "bold green", Status.UNDECIDED: "bold yellow"}
_COLOUR = {Severity.BACKDOOR: "bold red", Severity.REVIEW: "bold yellow", Severity.SHORTCUT: "bold cyan"}


def inspection_to_terminal(
    result: InspectionResult, *, saved: Path | None = None, width: int = 100, colour: bool = False
) -> str:
    """The summary, `width` columns wide, with ANSI colours if `colour`; `saved` is the report's folder."""
    from rich.console import Console
    from rich.text import Text

    buffer = io.StringIO()
    console = Console(file=buffer, width=width, force_terminal=colour, no_color=not colour, highlight=False)
    status = result.verdict.status
    headline = Text.assemble((status.upper(), _STYLE[status]), "  ", shown(result.path, 200))
    summary = Text(shown(result.verdict.summary, 800))
    console.print(headline, summary, Text(_facts(result), style="dim"), sep="\n")
    for note in result.notes[:MAX_FINDINGS]:
        console.print(Text.assemble(("note: ", "yellow"), shown(note, 400)))
    for _, finding in words.by_severity(result)[:MAX_FINDINGS]:
        console.print()
        console.print(_finding(result, finding))
    hidden = len(result.findings) - MAX_FINDINGS
    if hidden > 0:
        console.print(Text(f"{text.count(hidden, 'further finding')} not shown"), style="dim")
    if result.labels:
        console.print(_labels(result))
        rest = words.by_suspicion(result)[MAX_LABELS:]
        if rest:
            console.print(Text(f"and {text.count(len(rest), 'label')} that stand out less"), style="dim")
    for line in _closing(result, saved):
        console.print()
        console.print(Text(line), soft_wrap=True)
    return buffer.getvalue()


def _facts(result: InspectionResult) -> str:
    parts = [
        words.data(result),
        text.count(len(result.label_names), "label"),
        f"{shown(result.format, 40)}, {words.size(result)}",
        f"error level {text.percent(result.verdict.alpha)}",
        f"seed {result.seed}",
        f"{text.seconds(sum(result.seconds.values()))} ({text.seconds(sum(result.cpu_seconds.values()))} of CPU)",
    ]
    if result.architecture is not None:
        parts.insert(3, shown(result.architecture, 60))
    return " · ".join(parts)


def _finding(result: InspectionResult, finding: Finding) -> Padding:
    from rich.padding import Padding
    from rich.text import Text

    flow = f"{words.sources(result, finding)} → {words.target(result, finding)}"
    evidence = [words.success(finding), None if finding.trigger is None else words.extent(finding.trigger)]
    return Padding(
        Text("\n").join(
            [
                Text.assemble(
                    (words.SEVERITY[finding.severity].upper(), _COLOUR[finding.severity]),
                    "  ",
                    shown(finding.title, 160),
                ),
                Text(f"{flow} · {words.significance(finding.p_value)}"),
                Text(shown(finding.explanation, 1000)),
                *(Text(line) for line in evidence if line),
            ]
        ),
        (0, 0, 0, 2),
        expand=False,
    )


def _labels(result: InspectionResult) -> Table:
    """The most suspicious labels; small statistics are suspicious."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    rows = words.by_suspicion(result)[:MAX_LABELS]
    columns = words.statistics(result)[:MAX_STATISTICS]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, expand=False)
    table.add_column("label")
    for column in columns:
        table.add_column(Text(shown(column, 30)), justify="right")
    table.add_column("significance", no_wrap=True)
    for row in rows:
        values = [words.statistic(row.statistics.get(column)) for column in columns]
        table.add_row(Text(words.name(result, row.label)), *values, words.significance(row.p_value))
    return table


def _closing(result: InspectionResult, saved: Path | None) -> list[str]:
    lines = []
    if result.verdict.limits:
        limits = [f"  {shown(limit, 300)}" for limit in result.verdict.limits]
        lines.append("\n".join(["Limits:", *limits]))
    if saved is not None:
        lines.append(f"Report: {shown(str(saved / 'report.html'), 1000)}")
    command = words.repair_command(result, saved)
    if command is not None and saved is not None:
        lines.append(f"Next: {command}")
    elif command is not None:
        lines.append("Next: inspect again with --out FOLDER for a report, then `bezoar repair` takes it out.")
    return lines
