"""`bezoar log serve`, `witness` and `cosign`: the log among others."""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bezoar.cli.log_options import password_option, private_key, vkey
from bezoar.cli.options import PATH, format_option

if TYPE_CHECKING:
    from http.server import ThreadingHTTPServer

    from bezoar.custody.tlog.note import VerifierKey

_LOG_ADDRESS, _WITNESS_ADDRESS = "127.0.0.1:8470", "127.0.0.1:8471"


@click.command("cosign")
@click.argument("folder", metavar="LOG", type=PATH)
@click.option("--witness", "url", required=True, metavar="URL", help="Address of the witness.")
@click.option(
    "--witness-key",
    "keys",
    type=vkey,
    multiple=True,
    required=True,
    metavar="VKEY",
    help="Its verifier key; may be repeated.",
)
@format_option
def cosign(folder: Path, url: str, keys: tuple[VerifierKey, ...], form: str) -> int:
    """Have a witness cosign the checkpoint, and keep the cosignature in the log."""
    from bezoar.custody.tlog.log import CustodyLog
    from bezoar.custody.tlog.witness_client import cosign as ask
    from bezoar.report.text import count, shown

    log = CustodyLog.open(folder)
    signers = ask(log, url, keys)
    if form == "json":
        document = {
            "cosigners": [key.text for key in signers],
            "origin": log.origin,
            "size": log.size,
            "version": 1,
        }
        click.echo(json.dumps(document, indent=2))
        return 0
    names = dict.fromkeys(key.name for key in signers)
    click.echo(f"cosigned at {count(log.size, 'entry', 'entries')}: {', '.join(map(shown, names))}")
    return 0


@click.command("serve")
@click.argument("folder", metavar="LOG", type=PATH)
@click.option(
    "--listen", default=_LOG_ADDRESS, show_default=True, metavar="HOST:PORT", help="Address to answer on."
)
def serve(folder: Path, listen: str) -> int:
    """Serve the log over HTTP, read-only: checkpoint, tiles, entries, objects. Ctrl-C ends it."""
    from bezoar.custody.tlog.log import CustodyLog
    from bezoar.custody.tlog.log_server import log_server

    log = CustodyLog.open(folder)
    with log_server(folder, listen) as server:
        click.echo(f"{log.origin}: http://{server.server_address[0]!s}:{server.server_address[1]}/")
        _forever(server)
    return 0


@click.command("witness")
@click.option(
    "--key",
    "key_files",
    type=PATH,
    multiple=True,
    required=True,
    metavar="FILE",
    help="Private key (Ed25519, ML-DSA-44).",
)
@password_option
@click.option("--name", required=True, help="The witness's name, such as witness.example.org.")
@click.option(
    "--log-key",
    "log_keys",
    type=vkey,
    multiple=True,
    required=True,
    metavar="VKEY",
    help="Verifier key of a log.",
)
@click.option(
    "--state", type=PATH, required=True, metavar="DIR", help="Folder of what was cosigned; never lose it."
)
@click.option(
    "--listen", default=_WITNESS_ADDRESS, show_default=True, metavar="HOST:PORT", help="Address to answer on."
)
def witness(
    key_files: tuple[Path, ...],
    password_file: Path | None,
    name: str,
    log_keys: tuple[VerifierKey, ...],
    state: Path,
    listen: str,
) -> int:
    """Serve as a witness that cosigns consistent checkpoints (C2SP tlog-witness). Ctrl-C ends it.

    Prints the verifier keys of the witness, then its address.
    """
    from bezoar.custody.tlog.keys import cosigner
    from bezoar.custody.tlog.witness import Witness
    from bezoar.custody.tlog.witness_server import witness_server

    signers = [cosigner(private_key(path, password_file), name) for path in key_files]
    with witness_server(Witness(log_keys, signers, state), listen) as server:
        for signer in signers:
            click.echo(signer.key.text)
        click.echo(f"http://{server.server_address[0]!s}:{server.server_address[1]}/")
        _forever(server)
    return 0


def _forever(server: ThreadingHTTPServer) -> None:
    """Answer until Ctrl-C."""
    sys.stdout.flush()
    with contextlib.suppress(KeyboardInterrupt):
        server.serve_forever()
