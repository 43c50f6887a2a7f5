"""`bezoar log ...`: the custody log, from an empty folder to a witnessed, verified history."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bezoar.cli.options import PATH, format_option
from bezoar.errors import InputError, UsageError

if TYPE_CHECKING:
    from bezoar.custody.tlog.log import CustodyLog
    from bezoar.custody.tlog.note import NoteSigner, VerifierKey

_MAX_ENTRY_FILE = 1 << 20
_MAX_KEY_FILE = 16 << 10
_MAX_POLICY = 1 << 20
_FIRST_LISTEN, _SECOND_LISTEN = "127.0.0.1:8470", "127.0.0.1:8471"


def _vkey(value: str) -> VerifierKey:
    """A verifier key, given as text or as the path of a file that holds it."""
    from bezoar.custody.tlog.note import VerifierKey

    if os.path.isfile(value):
        value = _read(Path(value), _MAX_KEY_FILE).decode("utf-8", "replace").strip()
    return VerifierKey.parse(value)


_private_key = click.option(
    "--key", "key_file", type=PATH, required=True, metavar="FILE", help="Private key of the log."
)
_log_key = click.option(
    "--key",
    "key",
    type=_vkey,
    metavar="VKEY",
    help="The log's verifier key; by default the one that the log names.",
)


@click.group("log", context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """Keep, show and verify a custody log: an append-only, signed history of datasets (C2SP tlog-tiles).

    LOG is a folder, or for reading also a URL. Private keys come from `bezoar keygen --kind ed25519`; the password of an
    encrypted one is taken from BEZOAR_KEY_PASSWORD.
    """


@command.command("init")
@click.argument("folder", metavar="LOG", type=PATH)
@click.option(
    "--origin", required=True, metavar="NAME", help="The log's name for ever, such as example.org/custody."
)
@_private_key
def init(folder: Path, origin: str, key_file: Path) -> int:
    """Make an empty log in a new folder and print its verifier key, to be given to whoever will verify it."""
    from bezoar.custody.tlog.log import CustodyLog

    log = CustodyLog.init(folder, origin, _signer(key_file, origin))
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
@_private_key
def append(folder: Path, entries: tuple[Path, ...], objects: tuple[Path, ...], key_file: Path) -> int:
    """Append entries, one JSON file each, and print their numbers. All of them are appended, or none."""
    import hashlib

    from bezoar.custody.tlog.entries import MAX_OBJECT, object_of
    from bezoar.custody.tlog.log import CustodyLog

    contents = [_read(path, MAX_OBJECT) for path in objects]
    by_digest = {hashlib.sha256(content).hexdigest(): content for content in contents}
    items = []
    used = set()
    for path in entries:
        entry = _canonical(path)
        named = object_of(entry)
        used.add(named)
        items.append((entry, {named: by_digest[named]} if named in by_digest else {}))
    if lost := [str(path) for path, digest in zip(objects, by_digest, strict=False) if digest not in used]:
        raise UsageError(
            f'{lost[0]}: no entry names this object; an entry names it as "object": "sha256:<hex>"'
        )
    log = CustodyLog.open(folder)
    for index in log.append(items, _signer(key_file, log.origin)):
        click.echo(str(index))
    return 0


@command.command("show")
@click.argument("location", metavar="LOG")
@click.option(
    "--from",
    "start",
    type=click.IntRange(min=0),
    metavar="N",
    help="First entry; by default the last 20 are shown.",
)
@click.option("--count", type=click.IntRange(min=1), default=20, show_default=True, help="How many entries.")
@_log_key
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
@click.argument("location", metavar="LOG")
@_log_key
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
    from bezoar.custody.tlog.policy import TlogPolicy

    policy = None
    if policy_file is not None:
        policy = TlogPolicy.parse(_read(policy_file, _MAX_POLICY))
    report = verify_log(CustodyLog.open(location, key), policy)
    if form == "json":
        click.echo(json.dumps(report.to_json(), indent=2))
    else:
        click.echo(
            report_text(
                report, key_given=key is not None or policy is not None, policy_given=policy is not None
            )
        )
    return 0 if report.valid else 1


@command.command("prove")
@click.argument("location", metavar="LOG")
@click.argument("index", metavar="N", type=click.IntRange(min=0))
@click.option("--out", type=PATH, metavar="FILE", help="Write the proof there instead of to standard output.")
@_log_key
def prove(location: str, index: int, out: Path | None, key: VerifierKey | None) -> int:
    """Write a proof that entry N is in the log (C2SP tlog-proof), which anyone checks offline."""
    from bezoar.files import atomic_file

    proof = _open(location, key).prove(index).to_bytes()
    if out is None:
        click.echo(proof.decode(), nl=False)
    else:
        with atomic_file(out) as file:
            file.write(proof)
    return 0


@command.command("cosign")
@click.argument("folder", metavar="LOG", type=PATH)
@click.option("--witness", "url", required=True, metavar="URL", help="Address of the witness.")
@click.option(
    "--witness-key",
    "keys",
    type=_vkey,
    multiple=True,
    required=True,
    metavar="VKEY",
    help="Its verifier key; may be repeated.",
)
def cosign(folder: Path, url: str, keys: tuple[VerifierKey, ...]) -> int:
    """Have a witness cosign the checkpoint, and keep the cosignature in the log."""
    from bezoar.custody.tlog.log import CustodyLog
    from bezoar.custody.tlog.witness_client import cosign as ask

    log = CustodyLog.open(folder)
    signers = ask(log, url, keys)
    click.echo(f"cosigned at {log.size} entries by {', '.join(key.name for key in signers)}")
    return 0


@command.command("serve")
@click.argument("folder", metavar="LOG", type=PATH)
@click.option(
    "--listen", default=_FIRST_LISTEN, show_default=True, metavar="HOST:PORT", help="Address to answer on."
)
def serve(folder: Path, listen: str) -> int:
    """Serve the log over HTTP, read-only: checkpoint, tiles, entries, objects. Ctrl-C ends it."""
    from bezoar.custody.tlog.log import CustodyLog
    from bezoar.custody.tlog.log_server import log_server

    log = CustodyLog.open(folder)
    with log_server(folder, listen) as server:
        click.echo(f"{log.origin}: http://{_address(server.server_address)}/")
        _forever(server)
    return 0


@command.command("witness")
@click.option(
    "--key",
    "key_files",
    type=PATH,
    multiple=True,
    required=True,
    metavar="FILE",
    help="Private key (Ed25519, ML-DSA-44).",
)
@click.option("--name", required=True, help="The witness's name, such as witness.example.org.")
@click.option(
    "--log-key",
    "log_keys",
    type=_vkey,
    multiple=True,
    required=True,
    metavar="VKEY",
    help="Verifier key of a log.",
)
@click.option(
    "--state", type=PATH, required=True, metavar="DIR", help="Folder of what was cosigned; never lose it."
)
@click.option(
    "--listen", default=_SECOND_LISTEN, show_default=True, metavar="HOST:PORT", help="Address to answer on."
)
def witness(
    key_files: tuple[Path, ...], name: str, log_keys: tuple[VerifierKey, ...], state: Path, listen: str
) -> int:
    """Serve as a witness that cosigns consistent checkpoints (C2SP tlog-witness). Ctrl-C ends it.

    Prints the verifier keys of the witness, then its address.
    """
    from bezoar.custody.tlog.keys import cosigner
    from bezoar.custody.tlog.witness import Witness
    from bezoar.custody.tlog.witness_server import witness_server

    signers = [cosigner(_private(path), name) for path in key_files]
    with witness_server(Witness(log_keys, signers, state), listen) as server:
        for signer in signers:
            click.echo(signer.key.text)
        click.echo(f"http://{_address(server.server_address)}/")
        _forever(server)
    return 0


def _open(location: str, key: VerifierKey | None) -> CustodyLog:
    """The log, compared with what this machine has seen of it before."""
    from bezoar.custody.tlog.log import CustodyLog

    log = CustodyLog.open(location, key)
    log.check_history()
    return log


def _signer(key_file: Path, origin: str) -> NoteSigner:
    from bezoar.custody.tlog.keys import ed25519_signer

    return ed25519_signer(_private(key_file), origin)


def _private(path: Path) -> Any:
    from bezoar.cli.passwords import key_password
    from bezoar.custody.signing.keys import load_private

    return load_private(path, key_password(path))


def _canonical(path: Path) -> bytes:
    """The RFC 8785 JSON of the object in a file."""
    import rfc8785

    from bezoar.custody.signing.strict_json import parse_object

    try:
        return rfc8785.dumps(parse_object(_read(path, _MAX_ENTRY_FILE), str(path), _MAX_ENTRY_FILE))
    except rfc8785.CanonicalizationError as error:
        raise InputError(
            f"{path}: has no canonical form ({error}); log numbers beyond 2^53 as texts"
        ) from error


def _read(path: Path, limit: int) -> bytes:
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    with path.open("rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise InputError(f"{path}: larger than {limit:,} bytes, the most that is read of such a file")
    return data


def _address(address: Any) -> str:
    return f"{address[0]}:{address[1]}"


def _forever(server: Any) -> None:
    """Answer until Ctrl-C."""
    import contextlib
    import sys

    sys.stdout.flush()
    with contextlib.suppress(KeyboardInterrupt):
        server.serve_forever()
