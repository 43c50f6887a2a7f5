"""`bezoar attest DATASET --kind KIND --log LOG --key KEY`: a signed event, appended to the custody log."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bezoar.cli.log_options import private_key
from bezoar.cli.options import PATH, format_option
from bezoar.cli.signers import signer_of, signer_options
from bezoar.errors import InputError, UsageError

if TYPE_CHECKING:
    from bezoar.custody.events.attesting import Attested
    from bezoar.custody.events.event import Scan
    from bezoar.custody.seal.reading import Seal
    from bezoar.custody.tlog.log import CustodyLog
    from bezoar.custody.tlog.note import NoteSigner

# spelled out, so that `--help` loads no cryptography; a test holds them to `event.KINDS`
KINDS = (
    "acquired", "sealed", "reviewed", "scanned", "transformed", "quarantined", "removed", "released", "revoked", "trained",
)  # fmt: skip


_ABOUT = """\b
Kinds:
  acquired     records that the log does not know yet (all of them, or those of QUERY)
  quarantined  records that leave the dataset and stay in custody (QUERY, or what the seal no longer has)
  removed      records that leave for good, from the dataset or from quarantine
  released     with QUERY: records return from quarantine; without: the dataset may be used
  transformed  what differs between log and seal, or --to DATASET2
  revoked      records that match QUERY are inadmissible from now on
  sealed, scanned (--scan), reviewed, trained: about the dataset as it is sealed
"""


@click.command("attest", epilog=_ABOUT)
@click.argument("location", metavar="DATASET")
@click.option("--kind", type=click.Choice(KINDS), required=True, help="What happened.")
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
@click.option(
    "--records", "query", metavar="QUERY", help="Which records: key=GLOB,label=NAME,source.COLUMN=GLOB"
)
@click.option("--reason", default="", metavar="TEXT", help="Why.")
@click.option(
    "--origin", metavar="TEXT", help="Where acquired records came from: a URL, a contract, a person."
)
@click.option("--scan", "scanned", type=PATH, metavar="FOLDER", help="What `bezoar scan --out` wrote.")
@click.option("--to", metavar="DATASET2", help="The dataset that a transformation of DATASET gave, sealed.")
@format_option
def command(
    location: str,
    kind: str,
    log_folder: Path,
    log_key: Path | None,
    query: str | None,
    reason: str,
    origin: str | None,
    scanned: Path | None,
    to: str | None,
    form: str,
    **signing: Any,
) -> int:
    """Sign an event in the life of DATASET, a sealed dataset or its seal, and append it to the LOG.

    QUERY says which records the event is about: conditions joined by commas, all of which hold. key=GLOB, source.COLUMN=GLOB and
    origin=GLOB are patterns (* ? [...]) of the whole text, label=NAME is a name.

    A movement is attested before the dataset is sealed anew, or after.
    """
    from bezoar.custody.events.attesting import attest
    from bezoar.custody.events.building import Request
    from bezoar.custody.events.query import Query
    from bezoar.custody.events.times import now
    from bezoar.custody.tlog.log import CustodyLog

    asked = None if query is None else Query.parse(query)
    if (scanned is None) != (kind != "scanned"):
        raise UsageError("--scan FOLDER goes with --kind scanned; give both or none")
    if signing["keyless"]:
        raise UsageError("events are signed with keys, which a policy can name; give --key or --pkcs11")
    log = CustodyLog.open(log_folder)
    seal = _open(location)
    request = Request(
        kind=kind,
        time=now(),
        query=asked,
        reason=reason,
        origin=origin,
        scan=None if scanned is None else _scan(scanned, Path(location)),
        to=None if to is None else _open(to),
    )
    signer = signer_of(**signing)
    done = attest(seal, request, log, [signer], log_signer(log, log_key, signing))
    click.echo(json.dumps(_as_json(done), indent=1) if form == "json" else _as_text(done, log))
    return 0


def log_signer(log: CustodyLog, log_key: Path | None, signing: dict[str, Any]) -> NoteSigner:
    """The signer of the log's checkpoints: its own key, or the key that signs the event when that is an Ed25519 key."""
    from bezoar.custody.tlog.keys import ed25519_signer

    file = log_key or signing["key"]
    if file is None:
        raise UsageError("who signs the log? give --log-key")
    key = private_key(file, signing["password_file"])
    from bezoar.custody.signing.keys import kind_of

    if kind_of(key.public_key()) != "ed25519":
        raise UsageError(f"{file}: is no Ed25519 key, which signs the log; give the log's key with --log-key")
    return ed25519_signer(key, log.origin)


def _open(location: str) -> Seal:
    from bezoar.cli.seals import open_seal

    return open_seal(location)


def _scan(folder: Path, dataset: Path) -> Scan:
    """What a saved scan says of the dataset, which must be the one that was scanned."""
    import hashlib

    from bezoar.custody.events.event import Scan, ScanFinding
    from bezoar.custody.seal.layout import BUNDLE, default_seal
    from bezoar.custody.seal.reading import Seal
    from bezoar.custody.seal.records import Layout, open_records
    from bezoar.files import read_file
    from bezoar.report import read_scan
    from bezoar.report.folder import RESULT
    from bezoar.scan.result import Severity

    result = read_scan(folder)
    if (dataset / BUNDLE).is_file():
        raise UsageError(f"{dataset}: is a seal; to attest a scan, give the dataset that was scanned")
    layout = Layout.described(Seal.open(default_seal(dataset)).manifest.description)
    data = open_records(dataset, layout)
    if data is None or data.digest != result.digest:
        raise InputError(
            f"{folder}: is the scan of another dataset, or {dataset} was changed since; scan it again"
        )
    document = read_file((folder.parent if folder.name == RESULT else folder) / RESULT, 512 << 20)
    findings = tuple(
        ScanFinding(
            found.title, str(found.severity), tuple(data.key(int(record)) for record in found.records)
        )
        for found in result.findings
        if found.severity is not Severity.NATURAL and len(found.records)
    )
    return Scan(str(result.verdict.status), hashlib.sha256(document).hexdigest(), findings)


def _as_json(done: Attested) -> dict[str, Any]:
    first = done.events[0]
    return {
        "version": 1,
        "kind": first.kind,
        "dataset": first.dataset,
        "records": done.records,
        "entries": list(done.indices),
        "before": first.before,
        "after": first.after,
    }


def _as_text(done: Attested, log: CustodyLog) -> str:
    from bezoar.report.text import count, shown

    first = done.events[0]
    about = count(done.records, "record") if done.records else "the dataset"
    entries = f"entry {done.indices[0]}" + (f" to {done.indices[-1]}" if len(done.indices) > 1 else "")
    lines = [f"{first.kind}: {about} of {shown(first.dataset, 200)}, {entries} of {shown(log.origin, 200)}"]
    if first.before != first.after:
        lines.append(f"  snapshot {first.before[:16]} -> {first.after}")
    else:
        lines.append(f"  snapshot {first.after}")
    return "\n".join(lines)
