"""DSSE v1.0 envelopes (secure-systems-lab/dsse): a payload, its type, and signatures over both.

What is signed is the pre-authentication encoding, `DSSEv1 <len> <type> <len> <payload>`. A key id is a hint only; an
envelope may carry several signatures, of which those of unknown keys are passed over.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bezoar.custody.signing.strict_json import parse_object
from bezoar.errors import InputError, UsageError, VerificationError

if TYPE_CHECKING:
    from bezoar.custody.signing.signers import Signer, Verifier

MAX_ENVELOPE_BYTES = 64 * 2**20
MAX_SIGNATURES = 100


@dataclass(frozen=True)
class Signature:
    """One signature: `keyid` ("" when unknown) says which key to try first, `sig` are its raw bytes."""

    keyid: str
    sig: bytes


@dataclass(frozen=True)
class Envelope:
    """A payload with its type (a media type) and one or more signatures."""

    payload: bytes
    payload_type: str
    signatures: tuple[Signature, ...]

    def to_json(self) -> bytes:
        """RFC 8785 JSON of the envelope, the same bytes for the same envelope."""
        import rfc8785

        return rfc8785.dumps(
            {
                "payload": base64.b64encode(self.payload).decode(),
                "payloadType": self.payload_type,
                "signatures": [
                    {"keyid": one.keyid, "sig": base64.b64encode(one.sig).decode()} for one in self.signatures
                ],
            }
        )

    @classmethod
    def parse(cls, data: bytes, where: str = "DSSE envelope") -> Envelope:
        """An envelope from JSON; InputError (LimitError beyond 64 MiB) when it is malformed. Unknown members are ignored."""
        return envelope_from(parse_object(data, where, MAX_ENVELOPE_BYTES), where)


def pae(payload_type: str, payload: bytes) -> bytes:
    """The pre-authentication encoding: the bytes that are signed."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def split_pae(message: bytes) -> tuple[str, bytes]:
    """The payload type and payload of a pre-authentication encoding; UsageError for any other bytes."""
    try:
        _, length, rest = message.split(b" ", 2)
        kind = rest[: int(length)].decode()
        payload = rest[int(length) + 1 :].partition(b" ")[2]
    except ValueError as error:
        raise UsageError("not a DSSE pre-authentication encoding") from error
    if pae(kind, payload) == message:
        return kind, payload
    raise UsageError("not a DSSE pre-authentication encoding")


def sign(payload: bytes, payload_type: str, *signers: Signer) -> Envelope:
    """An envelope with one signature by each signer, in their order."""
    if not signers:
        raise UsageError("an envelope needs at least one signer")
    message = pae(payload_type, payload)
    signatures = tuple(Signature(signer.keyid, signer.sign(message)) for signer in signers)
    return Envelope(payload, payload_type, signatures)


def verify(envelope: Envelope, verifiers: Sequence[Verifier]) -> list[Verifier]:
    """The verifiers that have a valid signature here, in the order given, each once; VerificationError when none has.

    Two verifiers of one key count once, so that a person listed under two names is not two people.
    """
    message = pae(envelope.payload_type, envelope.payload)
    valid: list[Verifier] = []
    keys: set[str] = set()
    for verifier in verifiers:
        key = getattr(verifier, "keyid", "") or f"name:{verifier.name}"
        if key not in keys and _any_valid(message, envelope.signatures, verifier):
            valid.append(verifier)
            keys.add(key)
    if not valid:
        known = ", ".join(verifier.name for verifier in verifiers[:5]) or "none given"
        raise VerificationError(
            f"none of the {len(envelope.signatures)} signatures is by a trusted signer ({known})"
        )
    return valid


def decode_base64(text: Any, where: str) -> bytes:
    """The bytes of standard or URL-safe base64 with its padding; InputError for anything else."""
    if not isinstance(text, str) or not text.isascii():
        raise InputError(f"{where}: expected base64 text")
    if "-" in text or "_" in text:
        text = text.replace("-", "+").replace("_", "/")
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except ValueError as error:
        raise InputError(f"{where}: not base64 ({error})") from error


def envelope_from(fields: Mapping[str, Any], where: str) -> Envelope:
    """An envelope from its JSON object; InputError when it is malformed."""
    payload_type = fields.get("payloadType")
    if not isinstance(payload_type, str) or not payload_type:
        raise InputError(f"{where}: payloadType must be a non-empty text")
    signatures = fields.get("signatures")
    if not isinstance(signatures, list) or not signatures:
        raise InputError(f"{where}: signatures must be a non-empty list")
    if len(signatures) > MAX_SIGNATURES:
        raise InputError(
            f"{where}: {len(signatures)} signatures; at most {MAX_SIGNATURES} are read from one envelope"
        )
    return Envelope(
        decode_base64(fields.get("payload"), f"{where}: payload"),
        payload_type,
        tuple(_signature(item, where) for item in signatures),
    )


def _signature(item: Any, where: str) -> Signature:
    if not isinstance(item, dict):
        raise InputError(f"{where}: a signature must be an object")
    keyid = item.get("keyid")
    if keyid is not None and not isinstance(keyid, str):
        raise InputError(f"{where}: keyid must be a text")
    sig = decode_base64(item.get("sig"), f"{where}: sig")
    if not sig:
        raise InputError(f"{where}: a signature is empty")
    return Signature(keyid or "", sig)


def _any_valid(message: bytes, signatures: Sequence[Signature], verifier: Verifier) -> bool:
    for signature in signatures:
        try:
            verifier.verify(message, signature.sig)
        except VerificationError:
            continue
        return True
    return False
