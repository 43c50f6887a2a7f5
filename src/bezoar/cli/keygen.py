"""`bezoar keygen NAME`: a new key pair, NAME.key (private, readable by its owner only) and NAME.pub."""

from __future__ import annotations

import json
from pathlib import Path

import click

from bezoar.cli.options import PATH, format_option
from bezoar.cli.passwords import new_password
from bezoar.errors import UsageError

# the kinds are spelled out, so that `--help` loads no cryptography; a test holds them to `keys.KINDS`
KINDS = ("p256", "p384", "p521", "ed25519", "mldsa44")
_NOTE_KINDS = ("ed25519", "mldsa44")


@click.command("keygen")
@click.argument("name", type=PATH)
@click.option(
    "--type",
    "kind",
    type=click.Choice(KINDS),
    default="p256",
    show_default=True,
    help="p256, p384, p521 (ECDSA) sign datasets, ed25519 signs logs, mldsa44 cosigns them.",
)
@click.option("--no-password", is_flag=True, help="Write the private key unencrypted.")
@click.option(
    "--password-file", type=PATH, metavar="FILE", help="File whose one line is the password of the key."
)
@click.option(
    "--note-name",
    metavar="NAME",
    help="Print the key for signed notes too, under this name of a log or witness.",
)
@format_option
def command(
    name: Path, kind: str, no_password: bool, password_file: Path | None, note_name: str | None, form: str
) -> int:
    """Write a new key pair: NAME.key, which only its owner may read, and NAME.pub, to give away.

    The private key is encrypted. Its password is taken from --password-file, from the environment variable
    BEZOAR_KEY_PASSWORD, or asked for twice at the terminal. Existing files are never overwritten.
    """
    if no_password and password_file is not None:
        raise UsageError("--no-password and --password-file contradict each other; give one of them")
    if note_name is not None and kind not in _NOTE_KINDS:
        raise UsageError(f"--note-name needs --type {' or '.join(_NOTE_KINDS)}: other keys sign no notes")
    from bezoar.custody.signing import key_files, keys
    from bezoar.report.text import shown

    private_path, public_path = key_files.paths(name)
    private, public = keys.generate(kind, None if no_password else new_password(password_file))
    note_keys = {} if note_name is None else _note_keys(public, note_name)
    fingerprint = keys.fingerprint(keys.parse_public(public))
    key_files.write(name, private, public)
    if form == "json":
        document = {
            "encrypted": not no_password,
            "fingerprint": fingerprint,
            "log_key": note_keys.get("log key"),
            "private_key": str(private_path),
            "public_key": str(public_path),
            "type": kind,
            "version": 1,
            "witness_key": note_keys.get("witness key"),
        }
        click.echo(json.dumps(document, indent=2))
        return 0
    click.echo(f"private key: {shown(str(private_path), 1000)}{' (not encrypted)' if no_password else ''}")
    click.echo(f"public key:  {shown(str(public_path), 1000)}")
    click.echo(f"fingerprint: {fingerprint}")
    for what, text in note_keys.items():
        click.echo(f"{what + ':':12} {text}")
    return 0


def _note_keys(public: bytes, name: str) -> dict[str, str]:
    """The public key in the form of signed notes (c2sp.org/signed-note): for a log, and for a witness."""
    from bezoar.custody.signing import keys
    from bezoar.custody.tlog.note import VerifierKey

    key = keys.parse_public(public)
    raw = key.public_bytes_raw()  # type: ignore[union-attr]  # Ed25519 or ML-DSA-44
    if keys.kind_of(key) == "mldsa44":
        return {"witness key": VerifierKey(name, 0x06, raw).text}
    return {"log key": VerifierKey(name, 0x01, raw).text, "witness key": VerifierKey(name, 0x04, raw).text}
