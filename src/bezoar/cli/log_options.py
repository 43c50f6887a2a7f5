"""Options and small readers that the subcommands of `bezoar log` share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bezoar.cli.options import PATH
from bezoar.errors import InputError, UsageError
from bezoar.files import read_file

if TYPE_CHECKING:
    from bezoar.custody.tlog.note import VerifierKey
    from bezoar.custody.tlog.policy import TlogPolicy

_MAX_KEY_FILE = 16 << 10
_MAX_ENTRY_FILE = 1 << 20


def vkey(value: str) -> VerifierKey:
    """A verifier key, given as text or as the path of a file that holds it.

    What is a key is no path: somebody could have put a file of that name, with another key in it, where the verb is run.
    """
    from bezoar.custody.tlog.note import VerifierKey

    try:
        return VerifierKey.parse(value)
    except InputError:
        if not os.path.isfile(value):
            raise
    try:
        return VerifierKey.parse(read_file(Path(value), _MAX_KEY_FILE).decode("utf-8", "replace").strip())
    except InputError as error:
        raise InputError(f"{value}: {error}") from error


def _location(value: str) -> str:
    """A folder or URL. The empty one, often a shell variable that is not set, would silently mean the current folder."""
    if not value:
        raise UsageError("LOG is empty; give a folder or a URL")
    return value


location_argument = click.argument("location", metavar="LOG", type=_location)
private_key_option = click.option(
    "--key", "key_file", type=PATH, required=True, metavar="FILE", help="Private key of the log."
)
password_option = click.option(
    "--password-file",
    type=PATH,
    metavar="FILE",
    help="File whose one line is the password of the private key.",
)
log_key_option = click.option(
    "--key", type=vkey, metavar="VKEY", help="The log's verifier key; by default the one that the log names."
)


def private_key(path: Path, password_file: Path | None) -> Any:
    """The private key in a PEM file; its password comes from the file, BEZOAR_KEY_PASSWORD or the terminal."""
    from bezoar.cli.passwords import key_password
    from bezoar.custody.signing.keys import load_private

    return load_private(path, key_password(path, password_file))


def tlog_policy(path: Path) -> TlogPolicy:
    """The tlog-policy in a file."""
    from bezoar.custody.tlog.policy import MAX_POLICY, TlogPolicy

    data = read_file(path, MAX_POLICY)
    try:
        return TlogPolicy.parse(data)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def canonical_entry(path: Path) -> bytes:
    """The RFC 8785 JSON of the object in a file, as a log has its entries."""
    import rfc8785

    from bezoar.custody.signing.strict_json import parse_object

    data = read_file(path, _MAX_ENTRY_FILE)
    try:
        return rfc8785.dumps(parse_object(data, str(path), _MAX_ENTRY_FILE))
    except rfc8785.CanonicalizationError as error:
        raise InputError(
            f"{path}: has no canonical form ({error}); log numbers beyond 2^53 as texts"
        ) from error
