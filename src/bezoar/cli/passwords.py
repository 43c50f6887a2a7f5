"""The password of a private key: from a file, from BEZOAR_KEY_PASSWORD, or asked for at the terminal; never from an argument."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from bezoar.errors import InputError, UsageError

ENVIRONMENT = "BEZOAR_KEY_PASSWORD"
_MAX_BYTES = 1024
_HOW = f"give --password-file, set {ENVIRONMENT}"


def new_password(password_file: Path | None) -> bytes:
    """A password for a new key, asked for twice at a terminal; UsageError when there is none."""
    given = _given(password_file)
    if given is not None:
        return given
    if not sys.stdin.isatty():
        raise UsageError(f"no password for the new key; {_HOW}, or say --no-password")
    text: str = click.prompt("Password of the new key", hide_input=True, confirmation_prompt=True, err=True)
    return text.encode()


def key_password(key: Path, password_file: Path | None = None) -> bytes | None:
    """The password of the private key in the file `key`, None when it has none; asked for at a terminal."""
    from bezoar.custody.signing.keys import is_encrypted

    if not is_encrypted(key):
        return None
    given = _given(password_file)
    if given is not None:
        return given
    if not sys.stdin.isatty():
        raise UsageError(f"{key}: the key is encrypted; {_HOW}")
    text: str = click.prompt(f"Password of {key}", hide_input=True, err=True)
    return text.encode()


def _given(password_file: Path | None) -> bytes | None:
    """The password from the file, or from the environment; None when neither gives one."""
    if password_file is None:
        value = os.environ.get(ENVIRONMENT)
        if value == "":
            raise UsageError(f"{ENVIRONMENT} is empty; set it to the password, or unset it")
        return None if value is None else os.fsencode(value)
    from bezoar.custody.signing.input_file import read_input

    password = read_input(password_file, _MAX_BYTES + 1).removesuffix(b"\n").removesuffix(b"\r")
    if not password or len(password) > _MAX_BYTES or b"\n" in password:
        raise InputError(f"{password_file}: expected one line of 1 to {_MAX_BYTES} bytes, the password")
    return password
