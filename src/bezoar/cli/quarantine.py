"""`bezoar quarantine ls|show|release OUT`: what a fetch set aside."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bezoar.cli.options import PATH, format_option
from bezoar.cli.signers import signer_options
from bezoar.errors import BezoarError, InputError, UsageError

if TYPE_CHECKING:
    from bezoar.acquire.quarantine.held import Held
    from bezoar.acquire.quarantine.store import Quarantine

# spelled out, so that `--help` loads nothing; a test holds them to `acquire.reasons.Reason`
REASONS = (
    "hash_mismatch", "hash_missing", "hash_malformed", "too_large", "deadline", "blocked_address", "bad_scheme", "bad_url",
    "downgrade", "too_many_redirects", "http_status", "truncated", "connection", "tls", "opt_out", "decode_error",
)  # fmt: skip


@click.group("quarantine", context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """List, show and release what a fetch into OUT set aside: bytes that are not what was promised.

    They lie in OUT.fetch/quarantine, outside the dataset, and are never decoded unless asked for.
    """


@command.command("ls")
@click.argument("out", metavar="OUT", type=PATH)
@click.option("--reason", type=click.Choice(REASONS), help="Only what was set aside for this reason.")
@click.option(
    "--known",
    type=PATH,
    multiple=True,
    metavar="DATASET",
    help="Compare with the copies that this dataset has, such as an earlier fetch; may be repeated.",
)
@format_option
def ls(out: Path, reason: str | None, known: tuple[Path, ...], form: str) -> int:
    """List the entries, with counts by reason and domain.

    With --known, pictures are compared with a copy of the same URL (or key), in limited processes: the same bytes, looks the same
    (re-encoded), looks different, unknown. This sorts the list for a person. Nothing is ever released because of it.
    """
    from bezoar.cli.quarantine_text import list_json, list_text

    store = _store(out)
    chosen = (entry for entry in store.entries() if reason in (None, entry.reason.value))
    entries = sorted(chosen, key=lambda entry: entry.identity)
    looked = None
    if known:
        from bezoar.acquire.quarantine.triage import open_known, triage

        looked = triage(entries, store, open_known(known))
    domains = _domains(entries)
    if form == "json":
        click.echo(json.dumps(list_json(out, entries, looked, domains), indent=1))
    else:
        click.echo(list_text(out, entries, looked, domains))
    return 0


@command.command("show")
@click.argument("out", metavar="OUT", type=PATH)
@click.argument("name", metavar="KEY")
@click.option("--out", "file", type=PATH, metavar="FILE", help="Write the bytes into this new file.")
@format_option
def show(out: Path, name: str, file: Path | None, form: str) -> int:
    """Show all that is known of an entry: what was expected, what came, when, from where.

    KEY is the key of the row, or the SHA-256 of what came. Only with --out the bytes are handed out: they are what somebody
    served instead of what was promised, so do not open them with a viewer that you would not trust with that.
    """
    from bezoar.acquire.quarantine.kinds import hex_lines
    from bezoar.acquire.quarantine.releasing import named
    from bezoar.cli.quarantine_text import as_json, entry_lines

    store = _store(out)
    entries = [entry for entry in store.entries() if name in (entry.key, entry.sha256)]
    if file is not None or not entries:
        entries = [named(entries, name, out)]
    told = []
    for entry in entries:
        content, kind = _content(store, entry, file)
        settled = [each for each in store.settled() if each.key == entry.key]
        if form == "json":
            told.append({**as_json(entry), "kind": kind, "begins": content[:64].hex()})
        else:
            click.echo("\n".join(entry_lines(entry, kind, hex_lines(content), settled)))
        if file is not None:
            _write(file, entry, content)
    if form == "json":
        click.echo(json.dumps({"version": 1, "entries": told}, indent=1))
    return 0


@command.command("release")
@click.argument("out", metavar="OUT", type=PATH)
@click.argument("names", metavar="KEY...", nargs=-1, required=True)
@click.option("--reason", required=True, metavar="TEXT", help="Why; it is signed and logged.")
@click.option(
    "--log", "log_folder", type=PATH, required=True, metavar="LOG", help="Folder of the custody log."
)
@signer_options
@click.option(
    "--log-key",
    type=PATH,
    metavar="FILE",
    help="Ed25519 key of the log; by default --key signs the log, too.",
)
@format_option
def release(
    out: Path,
    names: tuple[str, ...],
    reason: str,
    log_folder: Path,
    log_key: Path | None,
    form: str,
    **signing: Any,
) -> int:
    """Put entries into the dataset after all, seal it anew, and log who did it and why.

    KEY is the key of the row, or the SHA-256 of what came. It must be of a row of a list, and a picture that a fetch would keep;
    the record goes where the fetch would have put it, as unverified. Killed at any moment, the same command completes what is
    missing.
    """
    from bezoar.acquire.quarantine.releasing import release as let_out
    from bezoar.cli.attest import log_signer
    from bezoar.cli.signers import signer_of
    from bezoar.custody.tlog.log import CustodyLog
    from bezoar.report.text import count, shown

    if signing["keyless"]:
        raise UsageError("events are signed with keys, which a policy can name; give --key or --pkcs11")
    log = CustodyLog.open(log_folder)
    signer = signer_of(**signing)
    done = let_out(out, names, reason, signer, log=log, log_signer=log_signer(log, log_key, signing))
    if form == "json":
        value = {
            "version": 1,
            "released": [{"key": entry.key, "sha256": entry.sha256} for entry in done.released],
            "seal": {"location": done.seal.location, "snapshot": done.seal.root.hex()},
            "log": {"origin": log.origin, "size": log.size},
        }
        click.echo(json.dumps(value, indent=1))
        return 0
    click.echo(f"{shown(str(out), 1000)}: {count(len(done.released), 'record')} released")
    for entry in done.released:
        click.echo(f"  {shown(entry.key, 100)}  {entry.sha256}")
    click.echo(f"  sealed: {shown(done.seal.location, 1000)}, snapshot {done.seal.root.hex()}")
    click.echo(f"  logged: {shown(log.origin, 200)}, {count(log.size, 'entry', 'entries')}")
    return 0


def _store(out: Path) -> Quarantine:
    """The quarantine of an output; InputError where no fetch was at work."""
    from bezoar.acquire.quarantine.store import Quarantine
    from bezoar.acquire.run_state import RunState

    state = RunState(Path(out), "")
    if not state.folder.is_dir():
        raise InputError(
            f"{out}: has no {state.folder.name} beside it; give the output folder of `bezoar fetch`"
        )
    return Quarantine.at(state.quarantine)


def _content(store: Quarantine, entry: Held, file: Path | None) -> tuple[bytes, str]:
    """The bytes and what they seem to be. An entry whose bytes were damaged or lost can be shown, but not handed out."""
    from bezoar.acquire.quarantine.held import Stored
    from bezoar.acquire.quarantine.kinds import kind_of

    if entry.stored is not Stored.KEPT:
        return b"", ""
    try:
        content = store.content(entry.sha256)
    except BezoarError as error:
        if file is not None:
            raise
        return b"", str(error)
    return content, kind_of(content)


def _domains(entries: Sequence[Held]) -> dict[str, str]:
    """The registrable domain of each URL; its host where no public suffix list is installed."""
    from urllib.parse import urlsplit

    from bezoar.errors import MissingExtraError

    try:
        from bezoar.acquire.lists.domains import suffix_list
        from bezoar.acquire.lists.sites import Sites

        sites = Sites(suffix_list())
        return {entry.url: sites.of_url(entry.url).domain or "(no host)" for entry in entries}
    except MissingExtraError:
        pass
    found = {}
    for entry in entries:
        try:
            found[entry.url] = urlsplit(entry.url).hostname or "(no host)"
        except ValueError:
            found[entry.url] = "(no host)"
    return found


def _write(file: Path, entry: Held, content: bytes) -> None:
    from bezoar.files import atomic_file

    if not content:
        raise InputError(
            f"{entry.key}: its bytes are not kept ({entry.stored.value}); there is nothing to write"
        )
    with atomic_file(file) as stream:
        os.fchmod(stream.fileno(), 0o600)
        stream.write(content)
    click.echo(f"{file}: {len(content):,} bytes, as they came", err=True)
