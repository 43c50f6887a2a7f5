"""`bezoar audit DATASET --log LOG --policy POLICY`: the auditor's statement."""

from __future__ import annotations

import contextlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bezoar.cli.attest import log_signer
from bezoar.cli.options import PATH, check_output, format_option, terminal_width, wants_colour
from bezoar.errors import UsageError

if TYPE_CHECKING:
    from bezoar.custody.audit.statement import AuditStatement

EXIT = {"unqualified": 0, "qualified": 1, "adverse": 1, "disclaimer": 3}


def _time(value: str) -> datetime:
    """A day, or an instant in UTC."""
    for form in ("%Y-%m-%d", "%Y-%m-%dT%H:%M:%SZ"):
        with contextlib.suppress(ValueError):
            return datetime.strptime(value, form).replace(tzinfo=UTC)
    raise UsageError(f"{value[:40]!r} is no time; write 2026-11-25 or 2026-11-25T01:02:03Z")


@click.command("audit")
@click.argument("dataset", metavar="DATASET", type=PATH)
@click.option("--log", "log_location", required=True, metavar="LOG", help="Folder or URL of the custody log.")
@click.option(
    "--policy", type=PATH, required=True, metavar="FILE", help="Whom to trust and what is demanded (TOML)."
)
@click.option("--seal", metavar="SEAL", help="Folder or URL of the seal; by default DATASET.seal.")
@click.option(
    "--name",
    metavar="NAME",
    help="The dataset's own name, where its folder or file has another now; the seal must bear it.",
)
@click.option(
    "--since",
    type=_time,
    metavar="TIME",
    help="Begin of the period; what was before is the opening balance.",
)
@click.option("--full", is_flag=True, help="Hash every content again, instead of a sample.")
@click.option(
    "--confidence", type=float, default=0.95, show_default=True, help="Of the sample, that it would show ..."
)
@click.option(
    "--tolerable",
    type=float,
    default=0.01,
    show_default=True,
    help="... a larger share of wrong records than this.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    help="Draw the same sample again, without a statement of confidence; by default nobody can foresee it.",
)
@click.option(
    "--out", "-o", type=PATH, metavar="FOLDER", help="Write audit.html and audit.json into this new folder."
)
@click.option("--sign", "sign_key", type=PATH, metavar="KEY", help="Private key of the auditor; needs --out.")
@click.option(
    "--log-key", type=PATH, metavar="FILE", help="Append the signed statement to LOG, with the log's key."
)
@click.option(
    "--password-file",
    type=PATH,
    metavar="FILE",
    help="File whose one line is the password of the private keys.",
)
@format_option
def command(
    dataset: Path,
    log_location: str,
    policy: Path,
    seal: str | None,
    name: str | None,
    since: datetime | None,
    full: bool,
    confidence: float,
    tolerable: float,
    seed: int | None,
    out: Path | None,
    sign_key: Path | None,
    log_key: Path | None,
    password_file: Path | None,
    form: str,
) -> int:
    """Audit DATASET: opening balance + acquired - quarantined - removed +- transformed = closing balance.

    Every movement must be covered by an event of the LOG that a signer whom the POLICY allows has signed; the closing balance
    must be what is sealed, and the data what was sealed. Keys, labels and sources are all compared, contents by a random sample
    (or all, with --full).

    The opinion is unqualified (exit code 0), qualified or adverse (1), or disclaimed for want of evidence (3).
    """
    from bezoar.custody.audit.auditing import Scope, audit
    from bezoar.report.audit_terminal import audit_to_terminal

    if sign_key is not None and out is None:
        raise UsageError("--sign writes the signed statement into a folder; say where with --out")
    if log_key is not None and sign_key is None:
        raise UsageError("--log-key logs the signed statement; sign it with --sign")
    if out is not None:
        check_output(out, dataset)
    scope = Scope(full=full, confidence=confidence, tolerable=tolerable, since=since, seed=seed, name=name)
    statement = audit(dataset, log_location, policy, scope, seal=seal)
    if out is not None:
        _write(statement, out, sign_key, password_file)
    if log_key is not None and sign_key is not None:
        _append(statement, log_location, sign_key, log_key, password_file)
    if form == "json":
        click.echo(json.dumps(statement.to_json(), indent=1))
    else:
        text = audit_to_terminal(statement, saved=out, width=terminal_width(), colour=wants_colour())
        click.echo(text, nl=False)
    return EXIT[statement.opinion.verdict]


def _write(statement: AuditStatement, out: Path, sign_key: Path | None, password_file: Path | None) -> None:
    """The page, the JSON and, with a key, the signed statement, all or nothing."""
    from bezoar.custody.audit.statement import sign_statement
    from bezoar.files import atomic_directory
    from bezoar.report.audit_html import audit_to_html

    page = audit_to_html(statement)
    signed = (
        None if sign_key is None else sign_statement(statement, [_signer(sign_key, password_file)]).to_json()
    )
    with atomic_directory(out) as folder:
        (folder / "audit.html").write_text(page, encoding="utf-8")
        (folder / "audit.json").write_text(json.dumps(statement.to_json(), indent=1) + "\n", encoding="ascii")
        if signed is not None:
            (folder / "audit.dsse.json").write_bytes(signed)


def _append(
    statement: AuditStatement, log_location: str, sign_key: Path, log_key: Path, password_file: Path | None
) -> None:
    from bezoar.custody.events.attesting import append
    from bezoar.custody.tlog.log import CustodyLog

    log = CustodyLog.open(log_location)
    signer = log_signer(log, log_key, {"key": None, "password_file": password_file})
    append([statement.event()], log, [_signer(sign_key, password_file)], signer)


def _signer(key: Path, password_file: Path | None) -> Any:
    from bezoar.cli.log_options import private_key
    from bezoar.custody.signing.signers import KeySigner

    return KeySigner(private_key(key, password_file))
