"""Every parser of this room under the fuzzer: half a second each, or BEZOAR_FUZZ_SECONDS."""

from __future__ import annotations

from cryptography.hazmat.primitives.serialization import Encoding

from bezoar.custody.signing import certificates, dsse, keys, oms, oms_payload
from bezoar.custody.signing.pkcs11_uri import Pkcs11Uri
from bezoar.custody.signing.statement import Statement, Subject
from bezoar.errors import InputError, VerificationError
from custody.fuzzing import fuzz
from custody.signing.support import VECTORS, Authority, pair, signer, tree

PAYLOAD = oms_payload.write_payload(tree(bezoarSnapshot="5a" * 32))


def test_fuzz_public_keys() -> None:
    fuzz(keys.parse_public, [pair(kind)[1] for kind in keys.KINDS])


def test_fuzz_private_keys() -> None:
    fuzz(keys.parse_private, [pair(kind)[0] for kind in keys.KINDS])


def test_fuzz_encrypted_keys() -> None:
    from bezoar.custody.signing import pkcs8

    locked = pkcs8.encrypt(b"\x30\x00", b"pw", 1)

    def parse(data: bytes) -> object:
        try:
            return keys.parse_private(data, b"pw")
        except InputError:
            if data == locked:
                return None  # what is inside is no key; the envelope around it is what is fuzzed
            raise

    fuzz(parse, [locked])


def test_fuzz_envelopes() -> None:
    fuzz(dsse.Envelope.parse, [dsse.sign(b"payload", "text/plain", signer(), signer("ed25519")).to_json()])


def test_fuzz_statements() -> None:
    fuzz(
        Statement.parse, [Statement((Subject("ds", {"sha256": "ab" * 32}),), "t", {"a": [1, "ü"]}).to_bytes()]
    )


def test_fuzz_bundles() -> None:
    fuzz(oms.read_bundle, [path.read_bytes() for path in sorted(VECTORS.glob("*.sig"))])


def test_fuzz_payloads() -> None:
    """A payload may also be well-formed and contradict itself: that is a VerificationError, and as good."""

    def parse(data: bytes) -> object:
        try:
            return oms_payload.read_payload(data, "payload")
        except VerificationError as error:
            raise InputError(str(error)) from error

    old = oms.read_bundle((VECTORS / "model_signing-0.2.0-key.sig").read_bytes()).envelope.payload
    shards = oms.read_bundle((VECTORS / "model_signing-1.1.1-shards.sig").read_bytes()).envelope.payload
    fuzz(parse, [PAYLOAD, old, shards])


def test_fuzz_certificate_files() -> None:
    fuzz(certificates.parse_certificates, [Authority().certificate.public_bytes(Encoding.PEM)])


def test_fuzz_certificates_of_bundles() -> None:
    """Chains out of the bundle: reading one and asking whom it names."""
    from custody.signing.test_certificates import chain_of

    def parse(der: bytes) -> object:
        (certificate,) = certificates.read_chain(chain_of(der))
        with certificates._refusing("malformed"):
            return certificates.identities(certificate)

    root = Authority()
    fuzz(parse, [root.certificate.public_bytes(Encoding.DER)])


def test_fuzz_pkcs11_uris() -> None:
    valid = b"pkcs11:token=lab;object=a;id=%01?module-path=/bin/sh&pin-value=1"
    fuzz(lambda data: Pkcs11Uri.parse(data.decode("utf-8", "surrogateescape")), [valid])
