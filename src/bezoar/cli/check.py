"""`bezoar check PROOF`: the stranger's side of `bezoar prove`, offline: no dataset, no seal, no network."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bezoar.cli.log_options import canonical_entry, tlog_policy
from bezoar.cli.log_options import vkey as to_vkey
from bezoar.cli.options import PATH
from bezoar.errors import InputError, UsageError
from bezoar.files import read_file

if TYPE_CHECKING:
    from bezoar.custody.seal.checking import Content, ProvedGap, ProvedRecord, Trust
    from bezoar.custody.tlog.checkpoint import Checkpoint
    from bezoar.custody.tlog.note import VerifierKey

_MAX_SOURCES = 20
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
def command(
    path: Path,
    record: Path | None,
    record_key: str | None,
    label: str | None,
    absent: str | None,
    entry: Path | None,
    vkey: VerifierKey | None,
    policy: Path | None,
) -> int:
    """Check offline that the content of FILE, under its key and label, is a record of the snapshot that VKEY signed.

    Prints what was proved: number, key, label and source of the record, the snapshot and who signed it. With --absent KEY: that
    no record has this key, given that the signer sorted the records by key as it promises. With --entry FILE: that the proof
    of `bezoar log prove` is about this entry. The proof of `bezoar log prove --since` needs none of them: it is about two
    checkpoints, which are printed.

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
    if is_consistency_proof(data):
        if n_given:
            raise UsageError(f"{path}: is a proof that a log has grown; give neither record, key nor entry")
        click.echo(_growth_text(*ConsistencyProof.parse(data).verify(trust)))
        return 0
    if not n_given:
        raise UsageError(_ONE_OF)
    if is_absence_proof(data) != (absent is not None):
        kind = (
            "a proof of absence; give --absent"
            if absent is None
            else "no proof of absence; give --record or --entry"
        )
        raise UsageError(f"{path}: is {kind}")
    if absent is not None:
        text = _gap_text(check_absent(AbsenceProof.parse(data), trust, absent), absent)
    elif record is not None:
        proof, content = TlogProof.parse(data), _content(record)
        text = _record_text(check_record(proof, trust, content, key=record_key, label=label))
    elif entry is not None:
        proof = TlogProof.parse(data)
        text = _entry_text(proof.index, proof.verify(leaf_hash(canonical_entry(entry)), trust))
    click.echo(text)
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


def _record_text(proved: ProvedRecord) -> str:
    from bezoar.report.text import shown

    leaf = proved.leaf
    label = "none" if leaf.label is None else shown(leaf.label, 200)
    sources = [
        f"source:   {shown(name, 60)} = {shown(text, 300)}" for name, text in sorted(leaf.source.items())
    ]
    return "\n".join(
        [
            "proved: this content is in the snapshot, under this key and label",
            f"key:      {shown(leaf.key, 1000)}",
            f"label:    {label}",
            f"content:  {leaf.size:,} bytes, sha256 {leaf.sha256.hex()}",
            *sources[:_MAX_SOURCES],
            *(
                [f"          and {len(sources) - _MAX_SOURCES} more source columns"]
                if len(sources) > _MAX_SOURCES
                else []
            ),
            f"record:   {proved.index:,} (the first is 0) of {proved.checkpoint.size:,}",
            *_checkpoint_lines(proved.checkpoint),
        ]
    )


def _gap_text(proved: ProvedGap, key: str) -> str:
    from bezoar.report.text import shown

    def edge(record: ProvedRecord | None, nothing: str) -> str:
        return nothing if record is None else f"record {record.index:,}, {shown(record.leaf.key, 1000)}"

    return "\n".join(
        [
            f"proved: no record of the snapshot has the key {shown(key, 1000)}",
            f"before:   {edge(proved.before, 'nothing, the snapshot begins here')}",
            f"after:    {edge(proved.after, 'nothing, the snapshot ends here')}",
            *_checkpoint_lines(proved.checkpoint),
            "given that the signer sorted the records by key, as a seal promises; the proof shows these two only",
        ]
    )


def _entry_text(index: int, checkpoint: Checkpoint) -> str:
    return "\n".join(
        [
            "proved: this entry is in the log",
            f"entry:    {index:,} (the first is 0) of {checkpoint.size:,}",
            *_checkpoint_lines(checkpoint, "root"),
        ]
    )


def _growth_text(before: Checkpoint, after: Checkpoint) -> str:
    return "\n".join(
        [
            "proved: the newer log begins with all entries of the older one, as they were",
            f"older:    {before.size:,} entries, root {before.root.hex()}",
            f"newer:    {after.size:,} entries, root {after.root.hex()}",
            _checkpoint_lines(after)[-1],
        ]
    )


def _checkpoint_lines(checkpoint: Checkpoint, what: str = "snapshot") -> list[str]:
    from bezoar.report.text import shown

    return [f"{what + ':':9} {checkpoint.root.hex()}", f"signed:   {shown(checkpoint.origin, 300)}"]
