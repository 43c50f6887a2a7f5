"""OMS bundles (OpenSSF Model Signing v1.0): a Sigstore bundle around a DSSE envelope around the list of a tree's digests.

`sign_tree` writes what the reference tool `model_signing` verifies, `verify_bundle` accepts what it writes.
"""

from __future__ import annotations

import binascii
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from bezoar.custody.signing.dsse import Envelope, envelope_from, pae
from bezoar.custody.signing.oms_payload import OLD_PREDICATE_TYPE, SignedTree, read_payload, write_payload
from bezoar.custody.signing.resources import (
    DEFAULT_IGNORES,
    Resource,
    Shard,
    hash_name,
    parse_shard,
    root_of,
)
from bezoar.custody.signing.statement import IN_TOTO
from bezoar.custody.signing.strict_json import parse_object
from bezoar.errors import InputError, UsageError, VerificationError

if TYPE_CHECKING:
    from bezoar.custody.signing.signers import Signer, Verifier

__all__ = [
    "DEFAULT_IGNORES",
    "MAX_BUNDLE_BYTES",
    "MEDIA_TYPE",
    "Bundle",
    "Resource",
    "Shard",
    "SignedTree",
    "hash_name",
    "parse_shard",
    "read_bundle",
    "root_of",
    "sign_tree",
    "verify_bundle",
]

MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
MAX_BUNDLE_BYTES = 513 * 2**20  # the largest payload in base64, and room for certificates
MAX_OLD_PAYLOAD_BYTES = (
    16 * 2**20
)  # of a bundle from before v1.0, whose encoding takes up to four times as much
_MATERIALS = ("publicKey", "x509CertificateChain", "certificate")
_CHUNK = 3 * 2**16  # bytes encoded at a time; a multiple of three needs no padding


@dataclass(frozen=True)
class Bundle:
    """A bundle as it was read: its envelope (one signature) and the JSON of its verification material. Nothing is verified."""

    envelope: Envelope
    material: Mapping[str, Any]


def sign_tree(tree: SignedTree, signer: Signer) -> bytes:
    """The bundle's JSON. The resources must come in code-point order of their names, and may be an iterator.

    InputError when a resource is malformed or the tree is empty, UsageError when the signer's key is not ECDSA.
    """
    if signer.algorithm != "ecdsa":
        raise UsageError(
            "OpenSSF Model Signing takes ECDSA keys; sign with a P-256, P-384 or P-521 key (bezoar keygen)"
        )
    payload = write_payload(tree)
    signature = signer.sign(pae(IN_TOTO, payload))
    material = json.dumps(signer.material, separators=(",", ":"))
    out = io.BytesIO()
    out.write(f'{{"mediaType":"{MEDIA_TYPE}","verificationMaterial":{material},'.encode("ascii"))
    out.write(b'"dsseEnvelope":{"payload":"')
    view = memoryview(payload)
    for start in range(0, len(payload), _CHUNK):
        out.write(binascii.b2a_base64(view[start : start + _CHUNK], newline=False))
    sig = binascii.b2a_base64(signature, newline=False).decode("ascii")
    out.write(
        f'","payloadType":"{IN_TOTO}","signatures":[{{"sig":"{sig}","keyid":""}}]}}}}\n'.encode("ascii")
    )
    return out.getvalue()


def read_bundle(data: bytes, where: str = "signature bundle") -> Bundle:
    """A bundle from its JSON; InputError (LimitError when too large) when it is malformed. Nothing is verified."""
    fields = parse_object(data, where, MAX_BUNDLE_BYTES)
    media_type = fields.get("mediaType")
    if media_type != MEDIA_TYPE:
        raise InputError(f"{where}: mediaType {str(media_type)[:80]!r}, expected {MEDIA_TYPE}")
    material = fields.get("verificationMaterial")
    if not isinstance(material, dict):
        raise InputError(f"{where}: verificationMaterial must be an object")
    kinds = [kind for kind in _MATERIALS if kind in material]
    if len(kinds) != 1 or not isinstance(material[kinds[0]], dict):
        raise InputError(f"{where}: verificationMaterial must hold exactly one of {', '.join(_MATERIALS)}")
    if "messageSignature" in fields or not isinstance(fields.get("dsseEnvelope"), dict):
        raise InputError(f"{where}: expected a dsseEnvelope and no messageSignature")
    envelope = envelope_from(fields["dsseEnvelope"], where)
    if len(envelope.signatures) != 1:
        raise InputError(f"{where}: {len(envelope.signatures)} signatures, expected exactly one")
    if envelope.payload_type != IN_TOTO:
        raise InputError(f"{where}: payloadType {envelope.payload_type[:80]!r}, expected {IN_TOTO}")
    return Bundle(envelope, material)


def verify_bundle(bundle: Bundle, verifier: Verifier, where: str = "signature bundle") -> SignedTree:
    """The tree that was signed, with `signer`, when the signature is by whom `verifier` trusts.

    VerificationError when it is not, or when the signed root is not the one of the signed resources; InputError when what
    was signed is no list of a tree's digests. The files themselves are not looked at.
    """
    signer = _verify_signature(bundle, verifier)
    return replace(read_payload(bundle.envelope.payload, where), signer=signer)


def _verify_signature(bundle: Bundle, verifier: Verifier) -> str:
    envelope = bundle.envelope
    signature = envelope.signatures[0].sig
    try:
        return verifier.verify(pae(envelope.payload_type, envelope.payload), signature, bundle.material)
    except VerificationError:
        if (
            len(envelope.payload) > MAX_OLD_PAYLOAD_BYTES
            or OLD_PREDICATE_TYPE.encode() not in envelope.payload
        ):
            raise
    return verifier.verify(_old_pae(envelope), signature, bundle.material)


def _old_pae(envelope: Envelope) -> bytes:
    """What the reference tool signed before v1.0 by mistake: Python's notation of the payload, under another word."""
    kind, payload = envelope.payload_type, envelope.payload
    return f"DSSEV1 {len(kind)} {kind} {len(payload)} {payload!r}".encode()
