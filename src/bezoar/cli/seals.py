"""What the verbs that read seals share: finding a seal, and keys of signed notes given as text or as a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bezoar.errors import InputError, LimitError, VerificationError

if TYPE_CHECKING:
    from bezoar.custody.seal.reading import Seal
    from bezoar.custody.tlog.note import NoteSigner, VerifierKey

_MAX_KEY_FILE = 16 << 10


def verifier_key(_: click.Context, __: click.Parameter, value: str | None) -> VerifierKey | None:
    """Callback of an option: the verifier key of signed notes that is given as text, or as the path of a file with it."""
    from bezoar.custody.tlog.note import VerifierKey

    if value is None:
        return None
    path = Path(value)
    return VerifierKey.parse(
        read_file(path, _MAX_KEY_FILE).decode("utf-8", "replace").strip() if path.is_file() else value
    )


def open_seal(location: str) -> Seal:
    """The seal at `location`, which may also be the dataset that lies beside it.

    VerificationError when its tiles do not give the snapshot that its signature states. The signature is not checked.
    """
    from bezoar.custody.seal.layout import BUNDLE, default_seal
    from bezoar.custody.seal.reading import Seal

    where = Path(location)
    if "://" not in location and where.exists() and not (where / BUNDLE).is_file():
        location = str(default_seal(where))
    seal = Seal.open(location)
    if seal.tree.root() != seal.root:
        raise VerificationError(
            f"{location}: the tiles do not give the snapshot that its signature states; `bezoar verify` says more"
        )
    return seal


def note_signer(key: Path, name: str, password_file: Path | None) -> NoteSigner:
    """The Ed25519 key in a file, as the signer of notes under `name`."""
    from bezoar.cli.passwords import key_password
    from bezoar.custody.signing.keys import load_private
    from bezoar.custody.tlog.keys import ed25519_signer

    private: Any = load_private(key, key_password(key, password_file))
    return ed25519_signer(private, name)


def read_file(path: Path, limit: int) -> bytes:
    """A small file; InputError when it cannot be read, LimitError beyond `limit` bytes."""
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error
    if len(data) > limit:
        raise LimitError(f"{path}: larger than {limit:,} bytes, the most that is read of such a file")
    return data
