"""The custody log in words and as JSON, for `bezoar log`."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bezoar.report.text import count, shown

if TYPE_CHECKING:
    from bezoar.custody.tlog.log import CustodyLog, Entry
    from bezoar.custody.tlog.log_report import LogReport

_COLUMNS = ("time", "kind", "dataset", "records", "object")
_MAX_SHOWN_PROBLEMS = 40
_CELL = 70  # a SHA-256 fits


def show_text(log: CustodyLog, entries: Sequence[Entry]) -> str:
    """The checkpoint, and one line per entry."""
    checkpoint, _ = log.checkpoint()
    lines = [
        f"{shown(log.origin)}: {count(log.size, 'entry', 'entries')}",
        f"root  {base64.b64encode(checkpoint.root).decode()}",
        f"key   {shown(log.key.text, 200)}",
        *(
            []
            if log.key_given
            else ["      the one that the log names; give --key to be sure that it is the log's"]
        ),
    ]
    if entries:
        lines += ["", *_table(("#", *_COLUMNS), [_row(entry) for entry in entries])]
    return "\n".join(lines)


def show_json(log: CustodyLog, entries: Sequence[Entry]) -> str:
    """The checkpoint and the entries; an entry that is no JSON is given in base64 as `data`."""
    checkpoint, _ = log.checkpoint()
    document = {
        "entries": [_entry_json(entry) for entry in entries],
        "key": log.key.text,
        "key_given": log.key_given,
        "origin": log.origin,
        "root": checkpoint.root.hex(),
        "size": log.size,
        "version": 1,
    }
    return json.dumps(document, indent=2)


def report_text(report: LogReport, *, policy_given: bool) -> str:
    """The outcome of verifying, the problems first."""
    checkpoint = report.checkpoint
    lines = []
    if report.valid:
        lines.append(f"valid: {shown(checkpoint.origin)}, {count(checkpoint.size, 'entry', 'entries')}")
    else:
        lines.append(f"INVALID: {shown(checkpoint.origin)}, {count(report.n_problems, 'problem')}")
        few = report.problems[:_MAX_SHOWN_PROBLEMS]
        lines += [f"  {shown(problem.where)}: {shown(problem.what, 600)}" for problem in few]
        if report.n_problems > len(few):
            lines.append(
                f"  and {count(report.n_problems - len(few), 'further problem')}; --format json lists up to 1,000"
            )
    lines += [
        f"root      {base64.b64encode(checkpoint.root).decode()}",
        f"hashed    {count(report.n_tiles, 'tile')}, {count(report.n_objects, 'object')}",
        f"history   {_history(report)}",
    ]
    if report.n_foreign:
        lines.append(
            f"foreign   {count(report.n_foreign, 'entry', 'entries')} not of a custody log, in the tree all the same"
        )
    if report.cosigners:
        checked = "held against the policy" if policy_given else "not checked; give --tlog-policy"
        lines.append(f"cosigned  {', '.join(shown(name) for name in report.cosigners)} ({checked})")
    if not report.key_given:
        lines.append(
            "key       the one that the log names; give --key, or a rewritten log with a key of its own goes unnoticed"
        )
    return "\n".join(lines)


def _history(report: LogReport) -> str:
    if report.seen is None:
        return "no earlier checkpoint of it was seen on this machine"
    if report.seen.size == report.checkpoint.size:
        return "the checkpoint that was seen before"
    return f"extends the checkpoint of {count(report.seen.size, 'entry', 'entries')} that was seen before"


def _entry_json(entry: Entry) -> dict[str, Any]:
    value = _value(entry)
    if value is None:
        return {"data": base64.b64encode(entry.data).decode(), "index": entry.index}
    return {"entry": value, "index": entry.index}


def _row(entry: Entry) -> tuple[str, ...]:
    value = _value(entry)
    if not isinstance(value, dict) or "kind" not in value:
        return (str(entry.index), shown(entry.data.decode("utf-8", "backslashreplace"), _CELL))
    cells = (str(value[name]) if value.get(name) is not None else "" for name in _COLUMNS)
    return (str(entry.index), *(shown(cell.removeprefix("sha256:"), _CELL) for cell in cells))


def _value(entry: Entry) -> Any:
    try:
        return json.loads(entry.data)
    except (ValueError, RecursionError):
        return None


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Left-aligned columns; a row of fewer cells lets its last one run on."""
    wide = [row for row in [head, *rows] if len(row) == len(head)]
    widths = [max(len(row[column]) for row in wide) for column in range(len(head))]
    widths[0] = max(len(row[0]) for row in [head, *rows])
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)).rstrip()
        for row in [head, *rows]
    ]
