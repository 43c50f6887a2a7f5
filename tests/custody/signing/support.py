"""A small tree with odd names, its signed form, keys made once, and certificates of every kind."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from bezoar.custody.signing import keys, oms
from bezoar.custody.signing.signers import KeySigner, KeyVerifier

VECTORS = Path(__file__).parents[2] / "vectors" / "signing"
FILES = {"a-b": b"1\n", "a.txt": b"hi\n", "a/b": b"2\n", "empty": b"", "sub dir/ü😀:b": b"yo\n"}
SERIALIZATION = {
    "method": "files",
    "hash_type": "sha256",
    "allow_symlinks": False,
    "ignore_paths": list(oms.DEFAULT_IGNORES),
}
NOW = datetime(2026, 6, 1, tzinfo=UTC)


def pair(kind: str = "p256", number: int = 0) -> tuple[bytes, bytes]:
    """Key pair `number` of a kind, without a password; the same one whenever it is asked for."""
    return _pair(kind, number)


@cache
def _pair(kind: str, number: int) -> tuple[bytes, bytes]:
    return keys.generate(kind, None)


def signer(kind: str = "p256", number: int = 0) -> KeySigner:
    return KeySigner(keys.parse_private(pair(kind, number)[0]))


def verifier(kind: str = "p256", number: int = 0) -> KeyVerifier:
    return KeyVerifier(keys.parse_public(pair(kind, number)[1]))


def resource(name: str, content: bytes = b"") -> oms.Resource:
    return oms.Resource(name, hashlib.sha256(content).digest(), "sha256")


def tree(
    resources: Sequence[oms.Resource] | None = None,
    serialization: dict[str, Any] | None = None,
    **extra: str,
) -> oms.SignedTree:
    """FILES as a signed tree, or other resources."""
    if resources is None:
        resources = [resource(name, content) for name, content in sorted(FILES.items())]
    root = oms.root_of(one.digest for one in resources)
    return oms.SignedTree("ds", root, resources, serialization or SERIALIZATION, extra)


def statement_of(bundle: bytes) -> dict[str, Any]:
    """The JSON object inside a bundle."""
    payload: dict[str, Any] = json.loads(base64.b64decode(json.loads(bundle)["dsseEnvelope"]["payload"]))
    return payload


def resigned(change: Callable[[dict[str, Any]], object]) -> bytes:
    """The bundle of a statement that was changed before it was signed by the test's key."""
    fields = statement_of(oms.sign_tree(tree(), signer()))
    change(fields)
    return signed_payload(json.dumps(fields).encode())


def signed_payload(payload: bytes) -> bytes:
    """A bundle of any payload at all, signed by the test's key."""
    from bezoar.custody.signing import dsse
    from bezoar.custody.signing.statement import IN_TOTO

    one = signer()
    sig = one.sign(dsse.pae(IN_TOTO, payload))
    return json.dumps(
        {
            "mediaType": oms.MEDIA_TYPE,
            "verificationMaterial": one.material,
            "dsseEnvelope": {
                "payload": base64.b64encode(payload).decode(),
                "payloadType": IN_TOTO,
                "signatures": [{"sig": base64.b64encode(sig).decode(), "keyid": ""}],
            },
        }
    ).encode()


class Authority:
    """A certificate authority whose certificates may be made wrong in any one way."""

    def __init__(self, name: str = "Root", issuer: Authority | None = None, **wrong: Any) -> None:
        self.name, self.key = name, ec.generate_private_key(ec.SECP256R1())
        self.certificate = (issuer or self).certify(name, self.key.public_key(), ca=True, **wrong)

    def certify(
        self,
        name: str,
        public_key: Any,
        *,
        ca: bool = False,
        begin: datetime = datetime(2026, 1, 1, tzinfo=UTC),
        end: datetime = datetime(2027, 1, 1, tzinfo=UTC),
        usage: bool | None = True,
        extended: Sequence[x509.ObjectIdentifier] = (),
        names: Sequence[x509.GeneralName] = (),
        constraints: x509.BasicConstraints | None = None,
        more: Sequence[tuple[x509.ExtensionType, bool]] = (),
    ) -> x509.Certificate:
        """A certificate; `usage` is whether it says that the key may do its work, None: it says nothing."""
        builder = (
            x509.CertificateBuilder()
            .subject_name(_name(name))
            .issuer_name(_name(self.name))
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(end)
            .add_extension(constraints or x509.BasicConstraints(ca, None), critical=True)
        )
        if usage is not None:
            signs, certifies = usage and not ca, usage and ca
            flags = (signs, False, not usage, False, False, certifies, certifies, False, False)
            builder = builder.add_extension(x509.KeyUsage(*flags), critical=True)
        if extended:
            builder = builder.add_extension(x509.ExtendedKeyUsage(extended), critical=False)
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        for extension, critical in more:
            builder = builder.add_extension(extension, critical=critical)
        return builder.sign(self.key, hashes.SHA256())


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)] if text else [])
