"""What was measured, on a terminal: targets first, then attacks by pack and rate, clean data and power."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from bezoar.report.text import count, percent, seconds, shown

if TYPE_CHECKING:
    from rich.table import Table

_STYLE = {
    "met": "green",
    "met where it took": "green",
    "met so far": "green",
    "missed": "red",
    "did not take": "yellow",
}


def to_terminal(summary: dict[str, Any], *, width: int = 100, colour: bool = False) -> str:
    """The summary (`bezoar.bench.summary.summarise`), `width` columns wide, with ANSI colours if `colour`."""
    from rich.console import Console

    buffer = io.StringIO()
    console = Console(file=buffer, width=width, force_terminal=colour, no_color=not colour, highlight=False)
    cells = summary["cells"]
    for table in (_attacks(summary), _clean(summary), _power(summary), _targets(summary)):
        if table.row_count:
            console.print(table)
    console.print(
        f"{cells['measured']:,} of {count(cells['planned'], 'cell')} measured, {cells['impossible']:,} impossible"
    )
    return buffer.getvalue()


def share(value: dict[str, Any] | None) -> str:
    """`97.0 % (91.2 % to 99.1 %)`; a dash where nothing was measured."""
    if value is None:
        return "-"
    return f"{percent(value['value'])} ({percent(value['low'])} to {percent(value['high'])})"


def _attacks(summary: dict[str, Any]) -> Table:
    table = _table("attack", "pack", "rate", "took", "detected", "TPR", "FPR", "AUROC", "scan")
    for group in summary["attacks"]:
        if group["trials"] or group["impossible"]:
            best = group["best_auroc"]
            table.add_row(
                group["title"],
                _pack(summary, group),
                percent(group["rate"]),
                f"{group['took']} of {group['trials']}" if group["trials"] else "impossible",
                share(group["detected"]),
                share(group["tpr"]),
                "-" if group["fpr"] is None else percent(group["fpr"]["value"]),
                "-" if best is None else f"{group['auroc'][best]:.3f}",
                "-" if group["scan_seconds"] is None else seconds(group["scan_seconds"]),
            )
    return table


def _clean(summary: dict[str, Any]) -> Table:
    table = _table("clean data", "pack", "runs", "false alarms", "flagged records")
    for group in summary["clean"]:
        if group["runs"]:
            pack = _pack(summary, group)
            table.add_row(
                group["setting"], pack, str(group["runs"]), share(group["alarm"]), share(group["flagged"])
            )
    return table


def _power(summary: dict[str, Any]) -> Table:
    table = _table("power statement", "pack", "not stated", "found", "share")
    for group in summary["power"]:
        pack = _pack(summary, group)
        found = f"{group['found']} of {group['trials']}"
        table.add_row(_inert(group["canary"]), pack, str(group["unstated"]), found, share(group["share"]))
    return table


def _targets(summary: dict[str, Any]) -> Table:
    from rich.text import Text

    table = _table("target", "asked", "state", "trials", "worst")
    for row in summary["targets"]:
        if row["state"] != "not measured":
            worst = "-" if row["worst"] is None else percent(row["worst"])
            state = Text(row["state"], style=_STYLE[row["state"]])
            table.add_row(row["title"], row["asked"], state, str(row["trials"]), worst)
    return table


def _pack(summary: dict[str, Any], group: dict[str, Any]) -> str:
    return _inert(summary["packs"].get(group["pack"], group["pack"]))


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
