"""Key files: PKCS#8 private keys (encrypted or not) and SubjectPublicKeyInfo public keys, in PEM.

ECDSA on P-256, P-384 and P-521 signs datasets and events, Ed25519 signs events and checkpoints, ML-DSA-44 cosigns
checkpoints. An ECDSA key signs with the SHA-2 hash of its size, as OpenSSF Model Signing v1.0 asks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from bezoar.custody.signing.input_file import read_input
from bezoar.errors import InputError, UsageError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
    from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey, MLDSA44PublicKey

    PrivateKey: TypeAlias = EllipticCurvePrivateKey | Ed25519PrivateKey | MLDSA44PrivateKey
    PublicKey: TypeAlias = EllipticCurvePublicKey | Ed25519PublicKey | MLDSA44PublicKey

KINDS = ("p256", "p384", "p521", "ed25519", "mldsa44")
MAX_KEY_BYTES = 65_536
_CURVES = {"secp256r1": "p256", "secp384r1": "p384", "secp521r1": "p521"}
_KNOWN = "ECDSA P-256, P-384, P-521, Ed25519 and ML-DSA-44"


def generate(kind: str, password: bytes | None) -> tuple[bytes, bytes]:
    """A new key of one of KINDS: PEM of the private key (encrypted under `password` when given) and of the public one.

    UsageError for an unknown kind or an empty password.
    """
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    from bezoar.custody.signing import pkcs8

    if kind not in KINDS:
        raise UsageError(f"unknown kind of key {kind!r}; known: {', '.join(KINDS)}")
    if password is not None and not password:
        raise UsageError("the password is empty; give one, or ask for a key without a password")
    key = _makers()[kind]()
    if password is None:
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    else:
        der = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        private = pkcs8.encrypt(der, password, pkcs8.ROUNDS)
    return private, public_pem(key.public_key())


def load_private(path: str | Path, password: bytes | None = None) -> PrivateKey:
    """The private key in a PEM file; InputError when it is malformed, of another kind, or the password is wrong."""
    return parse_private(_read(path), password, str(path))


def load_public(path: str | Path) -> PublicKey:
    """The public key in a PEM file; InputError when it is malformed or of another kind."""
    return parse_public(_read(path), str(path))


def is_encrypted(path: str | Path) -> bool:
    """Whether the private key in a PEM file asks for a password."""
    text = _read(path)
    return b"BEGIN ENCRYPTED PRIVATE KEY" in text or b"Proc-Type: 4,ENCRYPTED" in text


def parse_private(pem: bytes, password: bytes | None = None, where: str = "private key") -> PrivateKey:
    """`load_private` of bytes; `where` names them in errors."""
    from cryptography.hazmat.primitives.serialization import load_der_private_key, load_pem_private_key

    from bezoar.custody.signing import pkcs8

    if len(pem) > MAX_KEY_BYTES:
        raise InputError(f"{where}: too large for a key ({len(pem):,} bytes); give a PEM private key")
    locked = b"BEGIN ENCRYPTED PRIVATE KEY" in pem or b"Proc-Type: 4,ENCRYPTED" in pem
    if locked and not password:
        raise InputError(f"{where}: the key is encrypted; set BEZOAR_KEY_PASSWORD or give a password file")
    try:
        if b"BEGIN ENCRYPTED PRIVATE KEY" in pem:
            key = load_der_private_key(pkcs8.unwrap(pem), password)
        else:
            # a password for a key that has none is ignored: one environment variable may serve several keys
            key = load_pem_private_key(pem, password if locked else None)
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
    except _malformed() as error:
        if locked:
            raise InputError(f"{where}: wrong password, or a damaged key file") from error
        raise InputError(f"{where}: not a PEM private key; expected PKCS#8 of {_KNOWN}") from error
    _check_kind(key.public_key(), where)
    return key  # type: ignore[return-value]


def parse_public(pem: bytes, where: str = "public key") -> PublicKey:
    """`load_public` of bytes; `where` names them in errors."""
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    if len(pem) > MAX_KEY_BYTES:
        raise InputError(f"{where}: too large for a key ({len(pem):,} bytes); give a PEM public key")
    if b"PRIVATE KEY" in pem:
        raise InputError(f"{where}: holds a private key; give the .pub file, and share only that one")
    try:
        key = load_pem_public_key(pem)
    except _malformed() as error:
        raise InputError(f"{where}: not a PEM public key; expected BEGIN PUBLIC KEY of {_KNOWN}") from error
    _check_kind(key, where)
    return key  # type: ignore[return-value]


def public_pem(key: PublicKey) -> bytes:
    """The PEM SubjectPublicKeyInfo of a public key, as OpenSSL writes it."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def fingerprint(key: PublicKey) -> str:
    """Lowercase hex SHA-256 of the key's PEM text: the `hint` of an OMS bundle, the `keyid` of a DSSE signature."""
    return hashlib.sha256(public_pem(key)).hexdigest()


def kind_of(key: object) -> str:
    """One of KINDS for a public key, "" for any other."""
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey

    if isinstance(key, EllipticCurvePublicKey):
        return _CURVES.get(key.curve.name, "")
    if isinstance(key, Ed25519PublicKey):
        return "ed25519"
    return "mldsa44" if isinstance(key, MLDSA44PublicKey) else ""


def _malformed() -> tuple[type[Exception], ...]:
    """What the library raises on bytes that are no key; InternalError for some keys whose length is wrong."""
    from cryptography.exceptions import InternalError, UnsupportedAlgorithm

    return (ValueError, TypeError, UnsupportedAlgorithm, InternalError)


def _check_kind(public: object, where: str) -> None:
    if not kind_of(public):
        raise InputError(f"{where}: a kind of key that is not used here; expected {_KNOWN}")


def _makers() -> dict[str, Callable[[], Any]]:
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

    return {
        "p256": lambda: ec.generate_private_key(ec.SECP256R1()),
        "p384": lambda: ec.generate_private_key(ec.SECP384R1()),
        "p521": lambda: ec.generate_private_key(ec.SECP521R1()),
        "ed25519": Ed25519PrivateKey.generate,
        "mldsa44": MLDSA44PrivateKey.generate,
    }


def _read(path: str | Path) -> bytes:
    """The file's bytes, one more than the cap at most."""
    return read_input(path, MAX_KEY_BYTES + 1)
