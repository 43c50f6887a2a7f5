"""How inspections fare on the zoo, on a terminal: targets, kinds of attack, misses."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from bezoar.report.text import count, p_value, percent, shown

if TYPE_CHECKING:
    from rich.table import Table

_STYLE = {"met": "green", "met so far": "green", "missed": "red", "not measured": ""}


def to_terminal(summary: dict[str, Any], *, width: int = 100, colour: bool = False) -> str:
    """The summary (`bezoar.bench.inspection_summary.summarise`), `width` columns wide, with ANSI colours if `colour`."""
    from rich.console import Console

    buffer = io.StringIO()
    console = Console(file=buffer, width=width, force_terminal=colour, no_color=not colour, highlight=False)
    for table in (*map(_groups, summary["modes"].items()), _wrong(summary), _targets(summary)):
        if table.row_count:
            console.print(table)
    console.print(f"{summary['measured']:,} of {count(summary['planned'], 'measurement')} made")
    return buffer.getvalue()


def _groups(mode: tuple[str, dict[str, Any]]) -> Table:
    name, found = mode
    table = _table(name, "labels", "models", "AUROC", "detected", "target right")
    for group in found["groups"]:
        if group["backdoored"]:
            table.add_row(
                group["kind"],
                "all" if group["classes"] is None else str(group["classes"]),
                f"{group['backdoored']} and {group['clean']} clean",
                "-" if group["auroc"] is None else f"{group['auroc']['value']:.3f}",
                "-" if group["detected"] is None else percent(group["detected"]["value"]),
                "-" if group["named"] is None else percent(group["named"]["value"]),
            )
    return table


def _wrong(summary: dict[str, Any]) -> Table:
    found = summary["modes"]["data"]
    table = _table("wrong", "model", "attack", "verdict", "p-value")
    for what, name in (("missed", "missed"), ("other target", "misnamed"), ("false alarm", "false_alarms")):
        for row in found[name]:
            words = (row["model"], row["kind"] or "none", row["verdict"])
            table.add_row(what, *map(_inert, words), p_value(row["p_value"]))
    return table


def _targets(summary: dict[str, Any]) -> Table:
    from rich.text import Text

    table = _table("target", "asked", "state", "measured")
    for row in summary["targets"]:
        value = "-" if row["value"] is None else f"{row['value']['value']:.3f}"
        table.add_row(row["title"], row["asked"], Text(row["state"], style=_STYLE[row["state"]]), value)
    return table


def _inert(words: str) -> str:
    """Untrusted words, in which rich reads no markup."""
    from rich.markup import escape

    return escape(shown(words))


def _table(*columns: str) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column)
    return table
