"""`bezoar log ...`: the custody log, from an empty folder to a witnessed, verified history."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bezoar.cli.log_network import cosign, serve, witness
from bezoar.cli.log_options import (
    canonical_entry,
    location_argument,
    log_key_option,
    password_option,
    private_key,
    private_key_option,
    tlog_policy,
)
from bezoar.cli.options import PATH, format_option
from bezoar.errors import InputError, UsageError
from bezoar.files import read_file

if TYPE_CHECKING:
    from bezoar.custody.tlog.log import CustodyLog
    from bezoar.custody.tlog.note import NoteSigner, VerifierKey


@click.group("log", context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """Keep, show and verify a custody log: an append-only, signed history of datasets (C2SP tlog-tiles).

    LOG is a folder, or for reading also a URL. `bezoar keygen --type ed25519` makes the private key of a log.
    """


for each in (cosign, serve, witness):
    command.add_command(each)


@command.command("init")
@click.argument("folder", metavar="LOG", type=PATH)
@click.option(
    "--origin", required=True, metavar="NAME", help="The log's name for ever, such as example.org/custody."
)
@private_key_option
@password_option
@format_option
def init(folder: Path, origin: str, key_file: Path, password_file: Path | None, form: str) -> int:
    """Make an empty log in a new folder and print its verifier key, to be given to whoever will verify it."""
    from bezoar.custody.tlog.log import CustodyLog

    log = CustodyLog.init(folder, origin, _signer(key_file, password_file, origin))
    if form == "json":
        click.echo(json.dumps({"key": log.key.text, "origin": origin, "version": 1}, indent=2))
    else:
        click.echo(log.key.text)
    return 0


@command.command("append")
@click.argument("folder", metavar="LOG", type=PATH)
@click.argument("entries", metavar="ENTRY...", type=PATH, nargs=-1, required=True)
@click.option(
    "--object",
    "objects",
    type=PATH,
    multiple=True,
    metavar="FILE",
    help="A file that an entry names by SHA-256.",
)
@private_key_option
@password_option
@format_option
def append(
    folder: Path,
    entries: tuple[Path, ...],
    objects: tuple[Path, ...],
    key_file: Path,
    password_file: Path | None,
    form: str,
) -> int:
    """Append entries, one JSON file each, and print their numbers. All of them are appended, or none."""
    import hashlib

    from bezoar.custody.tlog.entries import MAX_OBJECT, check_entry, object_of
    from bezoar.custody.tlog.log import CustodyLog

    canonical = [canonical_entry(path) for path in entries]
    named = [object_of(check_entry(entry)) for entry in canonical]
    by_digest = {}
    for path in objects:
        content = read_file(path, MAX_OBJECT)
        digest = hashlib.sha256(content).hexdigest()
        if digest not in named:
            raise UsageError(f'{path}: no entry names it; set "object": "sha256:{digest}"')
        by_digest[digest] = content
    items = [
        (entry, {digest: by_digest[digest]} if digest in by_digest else {})
        for entry, digest in zip(canonical, named, strict=True)
    ]
    log = CustodyLog.open(folder)
    indices = log.append(items, _signer(key_file, password_file, log.origin))
    if form == "json":
        root = log.checkpoint()[0].root.hex()
        document = {"indices": indices, "origin": log.origin, "root": root, "size": log.size, "version": 1}
        click.echo(json.dumps(document, indent=2))
    else:
        click.echo("\n".join(map(str, indices)))
    return 0


@command.command("show")
@location_argument
@click.option(
    "--from",
    "start",
    type=click.IntRange(min=0),
    metavar="N",
    help="First entry; by default the last 20 are shown.",
)
@click.option("--count", type=click.IntRange(min=1), default=20, show_default=True, help="How many entries.")
@log_key_option
@format_option
def show(location: str, start: int | None, count: int, key: VerifierKey | None, form: str) -> int:
    """Show the checkpoint and entries, each proved to be in the tree."""
    from bezoar.cli.log_text import show_json, show_text

    log = _open(location, key)
    first = max(log.size - count, 0) if start is None else min(start, log.size)
    entries = log.entries(first, min(first + count, log.size))
    click.echo((show_json if form == "json" else show_text)(log, list(entries)))
    return 0


@command.command("verify")
@location_argument
@log_key_option
@click.option(
    "--tlog-policy",
    "policy_file",
    type=PATH,
    metavar="FILE",
    help="Keys of log and witnesses, and the quorum.",
)
@format_option
def verify(location: str, key: VerifierKey | None, policy_file: Path | None, form: str) -> int:
    """Hash the whole log anew and say exactly what is wrong: entries, tiles, objects, checkpoint, rollback, fork.

    The last checkpoint seen is remembered under BEZOAR_STATE (by default ~/.local/state/bezoar). Exit code 1: invalid.
    """
    from bezoar.cli.log_text import report_text
    from bezoar.custody.tlog.log import CustodyLog
    from bezoar.custody.tlog.log_report import verify_log

    policy = None if policy_file is None else tlog_policy(policy_file)
    report = verify_log(CustodyLog.open(location, key), policy)
    if form == "json":
        click.echo(json.dumps(report.to_json(), indent=2))
    else:
        click.echo(report_text(report, policy_given=policy is not None))
    return 0 if report.valid else 1


@command.command("prove")
@location_argument
@click.argument("index", metavar="[N]", type=click.IntRange(min=0), required=False)
@click.option(
    "--since",
    type=PATH,
    metavar="FILE",
    help="Prove instead that the log extends this checkpoint, or the one in this proof.",
)
@click.option("--out", type=PATH, metavar="FILE", help="Write the proof there instead of to standard output.")
@log_key_option
def prove(
    location: str, index: int | None, since: Path | None, out: Path | None, key: VerifierKey | None
) -> int:
    """Write a proof that entry N is in the log (C2SP tlog-proof), which anyone checks offline.

    With --since FILE: the proof that the log has only grown since FILE, a copy of its checkpoint or a proof that holds one.
    """
    from bezoar.files import atomic_file

    if (index is None) == (since is None):
        raise UsageError("give the number of an entry, or --since FILE with an older checkpoint; one of them")
    log = _open(location, key)
    proof = _growth(log, since) if since is not None else log.prove(index or 0).to_bytes()
    if out is None:
        click.echo(proof.decode(), nl=False)
    else:
        with atomic_file(out) as file:
            file.write(proof)
    return 0


def _growth(log: CustodyLog, since: Path) -> bytes:
    from bezoar.custody.tlog.consistency import prove_consistency
    from bezoar.custody.tlog.proof import MAX_PROOF

    try:
        return prove_consistency(log, read_file(since, MAX_PROOF)).to_bytes()
    except InputError as error:
        raise InputError(f"{since}: {error}") from error


def _open(location: str, key: VerifierKey | None) -> CustodyLog:
    """The log, compared with what this machine has seen of it before."""
    from bezoar.custody.tlog.log import CustodyLog

    log = CustodyLog.open(location, key)
    log.check_history()
    return log


def _signer(key_file: Path, password_file: Path | None, origin: str) -> NoteSigner:
    from bezoar.custody.tlog.keys import ed25519_signer

    return ed25519_signer(private_key(key_file, password_file), origin)
