"""`bezoar check PROOF`: the stranger's side of `bezoar prove`, offline: no dataset, no seal, no network."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bezoar.cli.check_text import absent_key, grown_log, logged_entry, sealed_record
from bezoar.cli.log_options import canonical_entry, tlog_policy
from bezoar.cli.log_options import vkey as to_vkey
from bezoar.cli.options import PATH, format_option
from bezoar.errors import InputError, UsageError, VerificationError
from bezoar.files import read_file

if TYPE_CHECKING:
    from bezoar.custody.seal.checking import Content, Trust
    from bezoar.custody.tlog.note import VerifierKey

_ONE_OF = "give one of --record FILE, --absent KEY and --entry FILE, whatever the proof is about"


@click.command("check")
@click.argument("path", metavar="PROOF", type=PATH)
@click.option("--record", type=PATH, metavar="FILE", help="The record's content.")
@click.option("--record-key", metavar="KEY", help="The key that the record must have.")
@click.option("--label", metavar="LABEL", help="The label that the record must have.")
@click.option("--absent", metavar="KEY", help="Check that no record has this key.")
@click.option("--entry", type=PATH, metavar="FILE", help="Check that this JSON is an entry of a log.")
@click.option(
    "--key",
    "vkey",
    type=to_vkey,
    metavar="VKEY",
    help="The signer's verifier key, or a file that holds it.",
)
@click.option(
    "--tlog-policy", "policy", type=PATH, metavar="FILE", help="Keys of signer and witnesses, and the quorum."
)
@format_option
def command(
    path: Path,
    record: Path | None,
    record_key: str | None,
    label: str | None,
    absent: str | None,
    entry: Path | None,
    vkey: VerifierKey | None,
    policy: Path | None,
    form: str,
) -> int:
    """Check offline that the content of FILE, under its key and label, is a record of the snapshot that VKEY signed.

    Prints what was proved: number, key, label and source of the record, the snapshot and who signed it. With --absent KEY: that
    no record has this key, given that the signer sorted the records by key as it promises. With --entry FILE: that the proof
    of `bezoar log prove` is about this entry. The proof of `bezoar log prove --since` needs none of them: it is about two
    checkpoints, which are printed.

    With --format json: what was proved, under "proved"; when it was not, "valid" is false and "why" says why.

    Exit codes: 0 proved, 1 not proved, 2 malformed or unreadable.
    """
    from bezoar.custody.seal.absence import MAX_BYTES, AbsenceProof, is_absence_proof
    from bezoar.custody.seal.checking import check_absent, check_record
    from bezoar.custody.tlog.consistency import ConsistencyProof, is_consistency_proof
    from bezoar.custody.tlog.merkle import leaf_hash
    from bezoar.custody.tlog.proof import TlogProof

    n_given = sum(given is not None for given in (record, absent, entry))
    if n_given > 1:
        raise UsageError(_ONE_OF)
    if record is None and (record_key is not None or label is not None):
        raise UsageError("--record-key and --label say something of a record; give it with --record")
    trust = _trust(vkey, policy)
    data = read_file(path, MAX_BYTES)
    grown = is_consistency_proof(data)
    if grown and n_given:
        raise UsageError(f"{path}: is a proof that a log has grown; give neither record, key nor entry")
    if not grown and not n_given:
        raise UsageError(_ONE_OF)
    if is_absence_proof(data) != (absent is not None):
        kind = (
            "a proof of absence; give --absent"
            if absent is None
            else "no proof of absence; give --record or --entry"
        )
        raise UsageError(f"{path}: is {kind}")
    try:
        if grown:
            proved = grown_log(*ConsistencyProof.parse(data).verify(trust))
        elif absent is not None:
            proved = absent_key(check_absent(AbsenceProof.parse(data), trust, absent), absent)
        elif record is not None:
            content = _content(record)
            proved = sealed_record(
                check_record(TlogProof.parse(data), trust, content, key=record_key, label=label)
            )
        elif entry is not None:
            proof = TlogProof.parse(data)
            proved = logged_entry(proof.index, proof.verify(leaf_hash(canonical_entry(entry)), trust))
    except VerificationError as error:
        if form != "json":
            raise
        click.echo(json.dumps({"proved": None, "valid": False, "version": 1, "why": str(error)}, indent=2))
        return 1
    if form == "json":
        click.echo(json.dumps({"proved": proved.members, "valid": True, "version": 1}, indent=2))
    else:
        click.echo(proved.text)
    return 0


def _trust(vkey: VerifierKey | None, policy: Path | None) -> Trust:
    if vkey is not None and policy is None:
        return vkey
    if policy is not None and vkey is None:
        return tlog_policy(policy)
    raise UsageError(
        "give the key to trust: --key VKEY, or --tlog-policy FILE with the keys of signer and witnesses"
    )


def _content(path: Path) -> Content:
    from bezoar.custody.seal.checking import Content

    try:
        # non-blocking: opening a named pipe must not wait for a writer
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise InputError(f"{path}: not an ordinary file")
            digest = hashlib.file_digest(file, "sha256").digest()
            return Content(digest, file.tell())
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error
