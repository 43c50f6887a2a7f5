"""`bezoar fetch` of a hub repository, an archive or a store: the options, and what is said in the end."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bezoar.cli.fetch_sealing import Sealing
from bezoar.cli.remote_options import client_of, hub_of, limits_of, promise_of, sealed_of
from bezoar.cli.remote_text import common_lines, hub_lines, show_json, show_text
from bezoar.errors import UsageError

if TYPE_CHECKING:
    from bezoar.acquire.archives.fetching import OneFile
    from bezoar.acquire.objects import CopyReport
    from bezoar.custody.seal.reading import Seal

REJECTED = 1
INTERRUPTED = 130
_ARCHIVES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst", ".tzst", ".zip")


def is_remote(source: str, given: Mapping[str, Any]) -> bool:
    """Whether SOURCE is a repository, a store or an archive; a list may lie at a URL too, and is then given as --url-list."""
    says_list = any(given.get(name) is not None for name in ("url_list", "input_format", "url_col"))
    return not says_list and ("://" in source or _is_archive(source))


def fetch_remote(
    source: str, out: Path, *, given: Mapping[str, Any], form: str, sealing: Sealing | None
) -> int:
    """Fetch SOURCE into OUT, seal it if `sealing` is given, and say what came of it; the exit code."""
    try:
        return _fetch(source, out, given, form, sealing)
    except KeyboardInterrupt:
        click.echo("interrupted; what came so far is kept, the same command goes on there", err=True)
        return INTERRUPTED


def _fetch(source: str, out: Path, given: Mapping[str, Any], form: str, sealing: Sealing | None) -> int:
    scheme = source.partition("://")[0].lower() if "://" in source else ""
    if scheme == "hf":
        return _fetch_hub(source, out, given, form, sealing)
    if given["include"] or given["exclude"]:
        raise UsageError("--include and --exclude choose among the files of a repository (hf://)")
    if scheme in ("http", "https", ""):
        if given["pin"] is not None:
            raise UsageError(
                "--pin goes with a repository or a store; give the archive's digest with --sha256"
            )
        return _fetch_file(source, out, given, form, sealing)
    return _fetch_objects(source, out, given, form, sealing)


def _fetch_hub(source: str, out: Path, given: Mapping[str, Any], form: str, sealing: Sealing | None) -> int:
    from bezoar.acquire.hub.fetching import HubOptions, fetch_hub
    from bezoar.acquire.hub.record import HubRecord
    from bezoar.acquire.hub.source import HubSource

    if given["sha256"] is not None or given["as_is"] or given["unverified"]:
        raise UsageError(
            "--sha256, --as-is and --unverified are for archives and objects; hold a repository to --pin or --seal"
        )
    wanted = HubSource.parse(source)
    options = HubOptions(
        include=given["include"],
        exclude=given["exclude"],
        pin=None if given["pin"] is None else HubRecord.read(given["pin"]),
        sealed=sealed_of(given),
        max_files=given["max_entries"],
        max_bytes=given["max_total_bytes"],
    )
    with client_of(given, hub=True) as client:
        report = fetch_hub(hub_of(client), wanted, out, options)
    kept = report.verified + report.by_git
    origin = f"{wanted}@{report.commit}"
    what = f"{kept} files: {report.verified} by SHA-256, {report.by_git} by git object id; {len(report.rejected)} rejected"
    seal = _sealed(sealing, out, origin, what, kept, report.stray)
    rejected = [(each.path, each.reason.value, each.detail) for each in report.rejected]
    if form == "json":
        value = {
            "source": str(wanted),
            "commit": report.commit,
            "verified": report.verified,
            "verified_by_git_sha1": report.by_git,
            "bytes": report.size,
            "fetched": report.fetched,
            "replaced": report.replaced,
            "skipped": report.skipped,
            "foreign": report.foreign,
        }
        show_json(out, value, rejected, seal)
    else:
        common = common_lines(out, rejected, report.foreign, seal, asked=sealing is not None)
        show_text([*hub_lines(out, wanted.repository, report), *common])
    return REJECTED if rejected else 0


def _fetch_file(source: str, out: Path, given: Mapping[str, Any], form: str, sealing: Sealing | None) -> int:
    from bezoar.acquire.archives.fetching import fetch_archive, fetch_file, unpack_archive
    from bezoar.acquire.transfers import without_query

    promise, limits = promise_of(given), limits_of(given)
    if "://" not in source:
        if given["as_is"]:
            raise UsageError(f"{source}: is a file here already; leave out --as-is to unpack it")
        found = unpack_archive(Path(source), out, promise, limits)
    else:
        unpacked = _is_archive(source) and not given["as_is"]
        promise.check(without_query(source))  # before the extra that the client needs is asked for
        with client_of(given) as client:
            found = (
                fetch_archive(client, source, out, promise, limits)
                if unpacked
                else fetch_file(client, source, out, promise, given["max_total_bytes"])
            )
    return _tell_file(without_query(source), out, found, form, sealing)


def _tell_file(source: str, out: Path, found: OneFile, form: str, sealing: Sealing | None) -> int:
    from bezoar.acquire.foreign import paths
    from bezoar.report.text import count, shown

    origin = f"{source}, SHA-256 {found.sha256}"
    unpacking = found.unpacking
    kept = (
        1 if unpacking is None or any(paths(out)) else 0
    )  # an archive may hold nothing, or nothing that a seal covers
    seal = None if sealing is None else sealing.finish(out, origin, f"1 file {found.verdict}", kept=kept)
    if form == "json":
        value = {
            "source": source,
            "sha256": found.sha256,
            "bytes": found.size,
            "verdict": found.verdict.value,
            "files": None if unpacking is None else unpacking.files,
            "unpacked_bytes": None if unpacking is None else unpacking.size,
        }
        show_json(out, value, [], seal)
        return 0
    lines = [f"{shown(str(out), 1000)}: {shown(source, 300)}"]
    if unpacking is not None:
        lines.append(f"  {count(unpacking.files, 'file')}, {count(unpacking.size, 'byte')} unpacked")
    lines.append(f"  {found.verdict}: sha256 {found.sha256}, {count(found.size, 'byte')}")
    if found.verdict == "unverified":
        lines.append("  nothing said what it must be; give this digest as --sha256 the next time")
    show_text([*lines, *common_lines(out, [], 0, seal, asked=sealing is not None)])
    return 0


def _fetch_objects(
    source: str, out: Path, given: Mapping[str, Any], form: str, sealing: Sealing | None
) -> int:
    from bezoar.acquire.objects import (
        ObjectOptions,
        copy_object,
        copy_objects,
        read_record,
        unpack_object,
    )
    from bezoar.acquire.stores import Store

    store = Store(source)
    if store.is_object():
        if given["pin"] is not None:
            raise UsageError(
                "--pin goes with a folder of objects; give the digest of a single one with --sha256"
            )
        promise = promise_of(given)
        if _is_archive(source) and not given["as_is"]:
            return _tell_file(
                source, out, unpack_object(store, out, promise, limits_of(given)), form, sealing
            )
        copied = copy_object(store, out, promise, given["max_total_bytes"])
        return _tell_file(source, out, copied, form, sealing)
    if given["sha256"] is not None or given["as_is"]:
        raise UsageError(
            "--sha256 and --as-is are for a single object; hold a folder of objects to --seal or --pin"
        )
    if given["pin"] is not None and given["trusted_seal"] is not None:
        raise UsageError("--pin and --seal both say what must arrive; give one of them")
    options = ObjectOptions(
        expected=None if given["pin"] is None else read_record(given["pin"]),
        sealed=sealed_of(given),
        nothing=given["unverified"],
        max_objects=given["max_entries"],
        max_bytes=given["max_total_bytes"],
    )
    report = copy_objects(store, out, options)
    kept = report.verified + report.unverified
    what = f"{kept} files: {report.verified} verified, {report.unverified} unverified; {len(report.rejected)} rejected"
    seal = _sealed(sealing, out, source, what, kept, report.stray)
    return _tell_objects(source, out, report, form, seal, asked=sealing is not None)


def _tell_objects(
    source: str, out: Path, report: CopyReport, form: str, seal: Seal | None, *, asked: bool
) -> int:
    from bezoar.report.text import count, shown

    rejected = [(path, reason.value, detail) for path, reason, detail in report.rejected]
    if form == "json":
        value = {
            "source": source,
            "verified": report.verified,
            "unverified": report.unverified,
            "bytes": report.size,
            "fetched": report.copied,
            "skipped": report.skipped,
            "foreign": report.foreign,
        }
        show_json(out, value, rejected, seal)
    else:
        kept = report.verified + report.unverified
        lines = [
            f"{shown(str(out), 1000)}: {shown(source, 300)}",
            f"  {count(kept, 'file')}, {count(report.size, 'byte')}",
            f"  {report.verified:,} verified, {report.unverified:,} unverified",
        ]
        if report.skipped:
            lines.append(f"  {count(report.skipped, 'file')} left out: the seal says nothing of them")
        show_text([*lines, *common_lines(out, rejected, report.foreign, seal, asked=asked)])
    return REJECTED if rejected else 0


def _sealed(
    sealing: Sealing | None, out: Path, origin: str, what: str, kept: int, stray: str | None
) -> Seal | None:
    """The seal of a folder of files, if one is wanted; InputError when a file in it did not come from there."""
    from bezoar.acquire.foreign import refuse_foreign

    if sealing is None:
        return None
    refuse_foreign(out, stray)
    return sealing.finish(out, origin, what, kept=kept)


def _is_archive(source: str) -> bool:
    return source.split("?", 1)[0].split("#", 1)[0].lower().endswith(_ARCHIVES)
