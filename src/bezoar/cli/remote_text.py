"""What `bezoar fetch` says of a repository, an archive or a store in the end."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bezoar.cli.fetch_sealing import NOT_SEALED

if TYPE_CHECKING:
    from bezoar.acquire.hub.fetching import HubReport
    from bezoar.custody.seal.reading import Seal

_LISTED = 10  # files, in the terminal

Rejected = Sequence[tuple[str, str, str]]  # path, reason, detail


def show_json(out: Path, value: dict[str, Any], rejected: Rejected, seal: Seal | None) -> None:
    """The result as one object."""
    whole = {
        "version": 1,
        "out": str(out),
        **value,
        "rejected": [{"path": path, "reason": reason, "detail": detail} for path, reason, detail in rejected],
        "seal": None if seal is None else {"location": seal.location, "snapshot": seal.root.hex()},
    }
    click.echo(json.dumps(whole, indent=1))


def show_text(lines: Sequence[str]) -> None:
    """The result for a person."""
    click.echo("\n".join(lines))


def hub_lines(out: Path, repository: str, report: HubReport) -> Iterator[str]:
    """What came of a repository, and how strong the proof is."""
    from bezoar.report.text import count, shown

    kept = report.verified + report.by_git
    yield f"{shown(str(out), 1000)}: {repository} at commit {report.commit}"
    there = kept - report.fetched
    yield f"  {count(kept, 'file')}, {count(report.size, 'byte')}" + (
        f"; {there:,} were there already" if there else ""
    )
    if report.verified:
        yield f"  {count(report.verified, 'file')} verified by SHA-256"
    if report.by_git:
        yield (
            f"  {count(report.by_git, 'file')} verified by git object id only, which is SHA-1: who makes a file can make "
            "another with the same id; --pin or --seal hold it to SHA-256"
        )
    if report.replaced:
        yield f"  {count(report.replaced, 'file')} in the output were not right and were set aside"
    if report.skipped:
        yield f"  {count(report.skipped, 'file')} left out: the seal says nothing of them"


def common_lines(
    out: Path, rejected: Rejected, foreign: int, seal: Seal | None, *, asked: bool
) -> Iterator[str]:
    """What all have in common: rejections, files of somebody else, the seal; `asked`: one is wanted."""
    from bezoar.acquire.run_state import state_folder
    from bezoar.custody.seal.records import BY_FILE
    from bezoar.report.text import count, shown

    if rejected:
        yield f"  {count(len(rejected), 'file')} REJECTED"
        yield from (
            f"    ! {shown(path, 120)}: {reason} ({shown(detail, 300)})"
            for path, reason, detail in rejected[:_LISTED]
        )
        if len(rejected) > _LISTED:
            yield f"      and {count(len(rejected) - _LISTED)} more; --format json lists all"
        yield f"    what came is in {shown(str(state_folder(out)), 1000)}/quarantine where it was wrong"
    if foreign:
        yield f"  {count(foreign, 'file')} in the output did not come from there"
    if seal is not None:
        yield f"  sealed: {shown(seal.location, 1000)}, snapshot {seal.root.hex()}"
        if seal.manifest.description["format"] == BY_FILE:
            yield "  every file is a record, without a label: this is no dataset that bezoar opens"
    elif asked:
        yield NOT_SEALED
