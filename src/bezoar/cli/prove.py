"""`bezoar prove DATASET KEY`: a proof, to be checked offline, that a record is sealed - or that none has this key."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bezoar.cli.log_options import password_option
from bezoar.cli.options import PATH, format_option
from bezoar.errors import UsageError

if TYPE_CHECKING:
    from bezoar.custody.seal.reading import Seal

_MAX_NAME = 80


@click.command("prove")
@click.argument("location", metavar="DATASET")
@click.argument("key", metavar="KEY")
@click.option("--absent", is_flag=True, help="Prove that no record has this key.")
@click.option(
    "-o", "--out", type=PATH, metavar="FILE", help="Where to write the proof; by default named after the key."
)
@click.option(
    "--note-key", type=PATH, metavar="FILE", help="Ed25519 key that signs the snapshot's checkpoint now."
)
@click.option("--note-name", metavar="NAME", help="Name of that key, such as example.org/datasets/signs.")
@password_option
@format_option
def command(
    location: str,
    key: str,
    absent: bool,
    out: Path | None,
    note_key: Path | None,
    note_name: str | None,
    password_file: Path | None,
    form: str,
) -> int:
    """Write a proof about the record KEY of DATASET, a sealed dataset or a seal, that anybody can check offline.

    The proof is a C2SP tlog-proof under the checkpoint that was signed with the seal. Where the seal has none, give the key to
    sign one now. Whoever checks it (`bezoar check`) needs the proof, the record's content and the verifier key, not the dataset.

    With --absent: the proof that no record has this key, by the two records between which it would lie. It relies on the
    signer for the order of all other records; `bezoar verify` checks the order.
    """
    from bezoar.cli.seals import open_seal
    from bezoar.custody.seal.proving import prove, prove_absent
    from bezoar.files import atomic_file
    from bezoar.report.text import count, shown

    if (note_key is None) != (note_name is None):
        raise UsageError("--note-key and --note-name belong together; give both or none")
    seal = open_seal(location)
    checkpoint = _checkpoint(seal, note_key, note_name, password_file)
    make = prove_absent if absent else prove
    proof = make(seal, key, checkpoint).to_bytes()
    target = out or Path(_file_name(key) + (".absence-proof" if absent else ".tlog-proof"))
    with atomic_file(target) as file:
        file.write(proof)
    if form == "json":
        document = {
            "absent": absent,
            "bytes": len(proof),
            "key": key,
            "name": seal.name,
            "proof": str(target),
            "version": 1,
        }
        click.echo(json.dumps(document, indent=2))
        return 0
    what = f"no record {shown(key, 200)}" if absent else f"record {shown(key, 200)}"
    click.echo(f"{shown(str(target), 1000)}: {what} in {shown(seal.name, 100)}, {count(len(proof), 'byte')}")
    return 0


def _checkpoint(
    seal: Seal, note_key: Path | None, note_name: str | None, password_file: Path | None
) -> bytes:
    """Signed now where a key is given, else the seal's own."""
    from bezoar.cli.log_options import private_key
    from bezoar.custody.seal.proving import sign_snapshot
    from bezoar.custody.tlog.keys import ed25519_signer

    if note_key is not None and note_name is not None:
        return sign_snapshot(seal, ed25519_signer(private_key(note_key, password_file), note_name))
    checkpoint = seal.checkpoint()
    if checkpoint is None:
        raise UsageError(
            f"{seal.location}: has no signed checkpoint; give --note-key and --note-name, or seal with them"
        )
    return checkpoint


def _file_name(key: str) -> str:
    """The last part of the key, without what a file name should not have."""
    name = re.sub(r"[^\w.-]", "_", key.rstrip("/").rsplit("/", 1)[-1], flags=re.ASCII)
    return name[-_MAX_NAME:].lstrip(".-") or "record"
