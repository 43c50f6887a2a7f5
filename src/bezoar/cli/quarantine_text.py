"""What lies in quarantine, for a person and for a program. All of it is hostile: it goes through `text.shown`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bezoar.acquire.quarantine.held import Held, Settled, Stored
from bezoar.cli.fetch_text import size
from bezoar.report.text import count, shown

if TYPE_CHECKING:
    from bezoar.acquire.quarantine.triage import Triage

MAX_ROWS = 50
_MAX_GROUPS = 10
_WHY_NOT = {
    Stored.NONE: "nothing came",
    Stored.PARTIAL: "a part only",
    Stored.TOO_LARGE: "not kept: too large",
    Stored.FULL: "not kept: the quarantine is full",
}
Looked = Mapping[tuple[str, str, str], "Triage"]


def list_text(out: Path, entries: Sequence[Held], looked: Looked | None, domain: Mapping[str, str]) -> str:
    """Counts by reason, by domain and by looks; then the entries."""
    name = shown(str(out), 1000)
    if not entries:
        return f"{name}: nothing in quarantine"
    lines = [f"{name}: {count(len(entries), 'entry', 'entries')} in quarantine, {size(_bytes(entries))}"]
    lines += _groups("reason", Counter(entry.reason.value for entry in entries))
    lines += _groups("domain", Counter(domain[entry.url] for entry in entries))
    if looked is not None:
        lines += _groups("looks", Counter(looked[entry.identity].looks.value for entry in entries))
    header = ["key", "reason", "size", "url"] if looked is None else ["key", "reason", "size", "looks", "url"]
    rows = [_row(entry, None if looked is None else looked[entry.identity]) for entry in entries[:MAX_ROWS]]
    lines += ["", *_columns([header, *rows])]
    if len(entries) > MAX_ROWS:
        lines.append(f"and {count(len(entries) - MAX_ROWS)} more; --format json lists all, --reason some")
    if looked is not None:
        lines += [
            "",
            "looks sort this list and prove nothing: a copy with a trigger in a corner looks the same",
        ]
    return "\n".join(lines)


def list_json(
    out: Path, entries: Sequence[Held], looked: Looked | None, domain: Mapping[str, str]
) -> dict[str, Any]:
    """The same as one object, all entries in it."""
    return {
        "version": 1,
        "out": str(out),
        "count": len(entries),
        "bytes": _bytes(entries),
        "by_reason": dict(Counter(entry.reason.value for entry in entries).most_common()),
        "by_domain": dict(Counter(domain[entry.url] for entry in entries).most_common()),
        "entries": [
            {**as_json(entry), "domain": domain[entry.url], **({} if looked is None else _looks_json(looked[entry.identity]))}
            for entry in entries
        ],
    }  # fmt: skip


def as_json(entry: Held) -> dict[str, Any]:
    """One entry; its time in RFC 3339."""
    members = {each.name: getattr(entry, each.name) for each in fields(entry)}
    return {**members, "fetched": _time(entry.fetched), "redirects": list(entry.redirects)}


def entry_lines(entry: Held, kind: str, dump: Iterable[str], settled: Iterable[Settled]) -> list[str]:
    """Everything about one entry."""
    came = f"{entry.sha256 or 'nothing'}{f', {size(entry.size)}' if entry.size else ''}"
    signed = f" (signed by {entry.expected_by})" if entry.expected_by else " (signed by nobody)"
    tls = {None: "no TLS", True: "TLS verified", False: "TLS not verified"}[entry.tls_verified]
    facts = [
        ("key", entry.key),
        ("reason", f"{entry.reason.value}: {entry.detail}" if entry.detail else entry.reason.value),
        ("expected", f"{entry.expected}{signed}" if entry.expected is not None else "no hash in the list"),
        ("came", came),
        ("bytes", _WHY_NOT.get(entry.stored, f"kept; {kind}")),
        ("url", entry.url),
        *(("redirect", url) for url in entry.redirects),
        ("from", entry.final_url if entry.final_url != entry.url else ""),
        ("peer", f"{entry.peer} ({tls})" if entry.peer else ""),
        ("answer", f"HTTP {entry.status} {entry.content_type}".rstrip() if entry.status else ""),
        ("fetched", _time(entry.fetched) or ""),
        ("run", entry.run_id),
        ("row", "" if entry.row is None else f"{entry.row} of the list (the first is 0)"),
        ("caption", entry.caption or ""),
        *((f"column {name}", str(value)) for name, value in entry.extra.items() if value is not None),
        *(("settled", f"{each.how} on {_time(each.when)}: {each.reason}") for each in settled),
    ]  # fmt: skip
    lines = [f"{shown(name, 60) + ':':<10} {shown(text, 400)}" for name, text in facts if text]
    return [*lines, *(f"  {line}" for line in dump)]


def _row(entry: Held, triage: Triage | None) -> list[str]:
    weight = size(entry.size) if entry.stored is Stored.KEPT else _WHY_NOT[entry.stored]
    cells = [shown(entry.key, 24), entry.reason.value, weight]
    if triage is not None:
        bits = "" if triage.distance is None else f" ({triage.distance} bits)"
        cells.append(f"{triage.looks.value}{bits or (f': {shown(triage.why, 50)}' if triage.why else '')}")
    return [*cells, shown(entry.url, 60)]


def _groups(name: str, counts: Counter[str]) -> list[str]:
    """`  domain  a.example 2, b.example 1`, the largest first."""
    few = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:_MAX_GROUPS]
    more = f" and {count(len(counts) - len(few))} more" if len(counts) > len(few) else ""
    return [f"  {name:<7} {', '.join(f'{shown(group, 60)} {count(number)}' for group, number in few)}{more}"]


def _columns(rows: list[list[str]]) -> list[str]:
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    return [
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _looks_json(triage: Triage) -> dict[str, Any]:
    return {"looks": triage.looks.value, "distance": triage.distance, "looks_why": triage.why}


def _bytes(entries: Sequence[Held]) -> int:
    """Of distinct contents that are kept."""
    return sum({entry.sha256: entry.size for entry in entries if entry.stored is Stored.KEPT}.values())


def _time(seconds: float) -> str | None:
    """RFC 3339 in UTC; None for no time, or one that no calendar has."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if seconds else None
    except (OverflowError, OSError, ValueError):
        return None
