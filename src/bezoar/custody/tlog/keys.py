"""Signers of notes, made of private keys: Ed25519 for logs, Ed25519 and ML-DSA-44 cosigners for witnesses."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bezoar.custody.tlog.cosignature import (
    ED25519_COSIGNATURE,
    MLDSA44_COSIGNATURE,
    Cosignature,
    cosigned_message,
)
from bezoar.custody.tlog.note import ED25519, NoteSigner, VerifierKey
from bezoar.errors import UsageError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

Clock = Callable[[], float]  # seconds since 1970


def ed25519_signer(private_key: Ed25519PrivateKey, name: str) -> NoteSigner:
    """Signs the text itself (kind 0x01): what a log does. InputError for a name that a key may not have."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    if not isinstance(private_key, Ed25519PrivateKey):
        raise UsageError(
            f"{name}: a log's checkpoints are signed with an Ed25519 key; make one with `bezoar keygen`"
        )
    return _TextSigner(private_key, VerifierKey(name, ED25519, private_key.public_key().public_bytes_raw()))


def cosigner(
    private_key: Ed25519PrivateKey | MLDSA44PrivateKey, name: str, clock: Clock = time.time
) -> NoteSigner:
    """Signs checkpoints together with the time (kind 0x04 for Ed25519, 0x06 for ML-DSA-44): what a witness does."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

    if isinstance(private_key, Ed25519PrivateKey):
        kind = ED25519_COSIGNATURE
    elif isinstance(private_key, MLDSA44PrivateKey):
        kind = MLDSA44_COSIGNATURE
    else:
        raise UsageError(
            f"{name}: checkpoints are cosigned with an Ed25519 or ML-DSA-44 key; make one with `bezoar keygen`"
        )
    return _Cosigner(private_key, VerifierKey(name, kind, private_key.public_key().public_bytes_raw()), clock)


@dataclass(frozen=True)
class _TextSigner:
    private_key: Ed25519PrivateKey
    key: VerifierKey

    @property
    def name(self) -> str:
        return self.key.name

    def sign(self, text: bytes) -> bytes:
        return self.private_key.sign(text)


@dataclass(frozen=True)
class _Cosigner:
    private_key: Ed25519PrivateKey | MLDSA44PrivateKey
    key: VerifierKey
    clock: Clock

    @property
    def name(self) -> str:
        return self.key.name

    def sign(self, text: bytes) -> bytes:
        now = int(self.clock())
        message = cosigned_message(self.key.kind, self.name, now, text.decode())
        return Cosignature(now, self.private_key.sign(message)).to_bytes()
