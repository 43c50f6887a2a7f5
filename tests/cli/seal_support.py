"""Sealed datasets on disk for the verbs that read seals."""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from bezoar.custody.seal.sealing import seal
from bezoar.custody.signing.signers import KeySigner
from bezoar.custody.tlog.keys import ed25519_signer
from bezoar.custody.tlog.note import NoteSigner

NAME = "example.org/signs"


def note_key(seed: int = 1) -> Ed25519PrivateKey:
    """The same key at every run."""
    return Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)


def note_signer(seed: int = 1, name: str = NAME) -> NoteSigner:
    return ed25519_signer(note_key(seed), name)


def note_key_file(path: Path, seed: int = 1) -> Path:
    path.write_bytes(note_key(seed).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return path


def sealed(dataset: Path, out: Path | None = None, noted: NoteSigner | None = None) -> Path:
    """Seal `dataset` with some key and return where the seal lies."""
    return Path(
        seal(dataset, KeySigner(ec.generate_private_key(ec.SECP256R1())), out=out, note_signer=noted).location
    )
