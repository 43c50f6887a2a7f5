from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from hypothesis import given
from hypothesis import strategies as st

from bezoar.custody.signing import dsse
from bezoar.custody.signing.signers import KeySigner, KeyVerifier
from bezoar.errors import InputError, LimitError, UsageError, VerificationError
from custody.signing.support import signer, verifier

# the example of the DSSE specification (secure-systems-lab/dsse, protocol.md): key, message, signature as r ‖ s
SPEC_KEY = (
    46950820868899156662930047687818585632848591499744589407958293238635476079160,
    5640078356564379163099075877009565129882514886557779369047442380624545832820,
)
SPEC_SIGNATURE = base64.b64decode(
    "A3JqsQGtVsJ2O2xqrI5IcnXip5GToJ3F+FnZ+O88SjtR6rDAajabZKciJTfUiHqJPcIAriEGAHTVeCUjW2JIZA=="
)
HELLO = ("http://example.com/HelloWorld", b"hello world")


def test_the_specifications_example() -> None:
    assert dsse.pae(*HELLO) == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    key = ec.EllipticCurvePublicNumbers(*SPEC_KEY, ec.SECP256R1()).public_key()
    r, s = int.from_bytes(SPEC_SIGNATURE[:32], "big"), int.from_bytes(SPEC_SIGNATURE[32:], "big")
    envelope = dsse.Envelope(HELLO[1], HELLO[0], (dsse.Signature("", encode_dss_signature(r, s)),))
    (found,) = dsse.verify(envelope, [KeyVerifier(key, "spec")])
    assert found.name == "spec"


def test_lengths_count_bytes_not_characters() -> None:
    assert dsse.pae("tü", b"\xff\n") == b"DSSEv1 3 t\xc3\xbc 2 \xff\n"
    assert dsse.pae("t", b"") == b"DSSEv1 1 t 0 "


@given(st.text(st.characters(codec="utf-8"), max_size=40), st.binary(max_size=80))
def test_the_encoding_splits_into_what_it_was_made_of(kind: str, payload: bytes) -> None:
    assert dsse.split_pae(dsse.pae(kind, payload)) == (kind, payload)


@pytest.mark.parametrize(
    "message",
    [b"", b"DSSEv1", b"DSSEv1 1 t", b"DSSEv1 1 t 3 ab", b"DSSEv2 1 t 2 ab", b"DSSEv1 x t 2 ab",
     b"DSSEv1 1 t  2 ab", b"DSSEv1 01 t 2 ab", b"DSSEv1 -1 t 2 ab", b"DSSEv1 " + b"9" * 5000 + b" t 2 ab",
     b"DSSEv1 1 \xff 2 ab"],
)  # fmt: skip
def test_other_bytes_are_no_encoding(message: bytes) -> None:
    with pytest.raises(UsageError):
        dsse.split_pae(message)


@given(
    st.binary(max_size=200),
    st.text(st.characters(codec="utf-8"), min_size=1),
    st.lists(st.tuples(st.text(st.characters(codec="utf-8")), st.binary(min_size=1)), min_size=1, max_size=4),
)
def test_any_envelope_survives_its_json(
    payload: bytes, kind: str, signatures: list[tuple[str, bytes]]
) -> None:
    envelope = dsse.Envelope(payload, kind, tuple(dsse.Signature(*one) for one in signatures))
    assert dsse.Envelope.parse(envelope.to_json()) == envelope
    assert dsse.Envelope.parse(envelope.to_json()).to_json() == envelope.to_json()


@pytest.mark.parametrize("kind", ["p256", "p384", "p521", "ed25519"])
def test_round_trip_with_every_key(kind: str) -> None:
    one = signer(kind)
    envelope = dsse.Envelope.parse(dsse.sign(b"payload", "text/plain", one).to_json())
    assert envelope.signatures[0].keyid == one.keyid
    trusted = verifier(kind)
    assert dsse.verify(envelope, [verifier("p256", 1), trusted]) == [trusted]


def test_two_people_sign_and_both_are_found() -> None:
    kinds = [("p256", 0), ("ed25519", 0), ("p384", 0)]
    envelope = dsse.sign(b"x", "t", *(signer(*kind) for kind in kinds[:2]))
    verifiers = [verifier(*kind) for kind in reversed(kinds)]
    assert dsse.verify(envelope, verifiers) == [verifiers[1], verifiers[2]]


def test_one_person_is_one_person() -> None:
    envelope = dsse.sign(b"x", "t", signer(), signer())
    same = [KeyVerifier(verifier().public_key, name) for name in ("jane", "jane again")]
    assert [one.name for one in dsse.verify(envelope, same)] == ["jane"]


def test_the_key_id_is_only_a_hint() -> None:
    signature = signer().sign(dsse.pae("t", b"x"))
    for keyid in ("", "wrong", signer("ed25519").keyid):
        envelope = dsse.Envelope(b"x", "t", (dsse.Signature(keyid, signature),))
        assert dsse.verify(envelope, [verifier()])
    forged = dsse.Envelope(
        b"x", "t", (dsse.Signature(signer().keyid, signer("p256", 1).sign(dsse.pae("t", b"x"))),)
    )
    with pytest.raises(VerificationError):
        dsse.verify(forged, [verifier()])


def test_signatures_of_strangers_are_passed_over() -> None:
    envelope = dsse.sign(b"x", "t", signer("p256", 1), signer(), signer("p521"))
    assert dsse.verify(envelope, [verifier()])


@pytest.mark.parametrize("kind", ["p256", "ed25519"])
def test_every_changed_byte_is_noticed(kind: str) -> None:
    envelope = dsse.sign(b"payload", "text/plain", signer(kind))
    trusted = [verifier(kind)]
    sig = envelope.signatures[0].sig
    for changed in (
        dsse.Envelope(b"paylaod", "text/plain", envelope.signatures),
        dsse.Envelope(b"payload ", "text/plain", envelope.signatures),
        dsse.Envelope(b"payload", "text/plaim", envelope.signatures),
        dsse.Envelope(b"", "text/plain", envelope.signatures),
    ):
        with pytest.raises(VerificationError, match="none of the 1 signatures"):
            dsse.verify(changed, trusted)
    for place in range(len(sig)):
        broken = sig[:place] + bytes([sig[place] ^ 1]) + sig[place + 1 :]
        with pytest.raises(VerificationError):
            dsse.verify(dsse.Envelope(b"payload", "text/plain", (dsse.Signature("", broken),)), trusted)
    for broken in (sig[:-1], sig + b"\0", b"\0"):
        with pytest.raises(VerificationError):
            dsse.verify(dsse.Envelope(b"payload", "text/plain", (dsse.Signature("", broken),)), trusted)


def test_nobody_to_trust_and_nobody_to_sign() -> None:
    with pytest.raises(VerificationError, match="none given"):
        dsse.verify(dsse.sign(b"x", "t", signer()), [])
    with pytest.raises(UsageError):
        dsse.sign(b"x", "t")


def test_ml_dsa_keys_sign_no_statements() -> None:
    from bezoar.custody.signing import keys
    from custody.signing.support import pair

    with pytest.raises(UsageError, match="ML-DSA"):
        KeySigner(keys.parse_private(pair("mldsa44")[0]))
    with pytest.raises(UsageError, match="ML-DSA"):
        verifier("mldsa44")


def test_url_safe_base64_and_missing_key_ids_are_read() -> None:
    payload = bytes(range(248, 256)) * 3
    fields = {
        "payload": base64.urlsafe_b64encode(payload).decode(),
        "payloadType": "t",
        "signatures": [{"sig": "-_8="}, {"sig": "+/8=", "keyid": None}, {"sig": "AA==", "keyid": "k"}],
        "unknown": {"is": ["ignored"]},
    }
    envelope = dsse.Envelope.parse(json.dumps(fields).encode())
    assert envelope.payload == payload
    assert [one.keyid for one in envelope.signatures] == ["", "", "k"]
    assert envelope.signatures[0].sig == envelope.signatures[1].sig == b"\xfb\xff"


def whole() -> dict[str, Any]:
    return {"payload": "eA==", "payloadType": "t", "signatures": [{"sig": "AAAA", "keyid": ""}]}


def changed(**fields: Any) -> bytes:
    return json.dumps({**whole(), **fields}).encode()


def without(name: str) -> bytes:
    fields = whole()
    del fields[name]
    return json.dumps(fields).encode()


MALFORMED = {
    "empty": b"",
    "not JSON": b"hello",
    "half": changed()[:-5],
    "a list": b"[]",
    "a text": b'"x"',
    "null": b"null",
    "not UTF-8": changed().replace(b'"t"', b'"\xff"'),
    "UTF-16": changed().decode().encode("utf-16"),
    "a byte order mark": b"\xef\xbb\xbf" + changed(),
    "a second value": changed() + b"{}",
    "a lone surrogate": changed().replace(b'"t"', b'"\\ud800"'),
    "a reversed pair": changed().replace(b'"t"', b'"\\udc00\\ud800"'),
    "a duplicate name": changed()[:-1] + b', "payload": "eQ=="}',
    "a duplicate name inside": changed().replace(b'"keyid"', b'"sig": "BBBB", "keyid"'),
    "NaN": changed()[:-1] + b', "x": NaN}',
    "Infinity": changed()[:-1] + b', "x": -Infinity}',
    "a number out of range": changed()[:-1] + b', "x": 1e999}',
    "a number of 5,000 digits": changed()[:-1] + b', "x": ' + b"9" * 5000 + b"}",
    "nested too deeply": b"[" * 100_000,
    "objects too deeply": b'{"a":' * 100_000,
    "a control character": changed().replace(b'"t"', b'"\n"'),
    "no payload": without("payload"),
    "no payloadType": without("payloadType"),
    "no signatures": without("signatures"),
    "payload null": changed(payload=None),
    "payload a number": changed(payload=7),
    "payload not base64": changed(payload="e!=="),
    "payload without padding": changed(payload="eA"),
    "payload with more after padding": changed(payload="eA==eA=="),
    "payload with a line break": changed(payload="eA\n=="),
    "payload with a space": changed(payload="eA== "),
    "payload not ASCII": changed(payload="éA=="),
    "payloadType empty": changed(payloadType=""),
    "payloadType a list": changed(payloadType=["t"]),
    "payloadType null": changed(payloadType=None),
    "signatures empty": changed(signatures=[]),
    "signatures an object": changed(signatures={"sig": "AAAA"}),
    "too many signatures": changed(signatures=[{"sig": "AAAA"}] * (dsse.MAX_SIGNATURES + 1)),
    "a signature that is a text": changed(signatures=["AAAA"]),
    "a signature without sig": changed(signatures=[{"keyid": "x"}]),
    "an empty signature": changed(signatures=[{"sig": ""}]),
    "sig a number": changed(signatures=[{"sig": 1}]),
    "sig not base64": changed(signatures=[{"sig": "A"}]),
    "keyid a number": changed(signatures=[{"sig": "AAAA", "keyid": 1}]),
    "keyid a list": changed(signatures=[{"sig": "AAAA", "keyid": []}]),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_envelopes_give_one_typed_error(name: str) -> None:
    with pytest.raises(InputError) as caught:
        dsse.Envelope.parse(MALFORMED[name], "envelope.json")
    assert str(caught.value).startswith("envelope.json: ")
    assert "\n" not in str(caught.value)


def test_the_fixtures_are_malformed_by_what_they_say_only() -> None:
    assert dsse.Envelope.parse(changed())


def test_the_size_cap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dsse, "MAX_ENVELOPE_BYTES", 100)
    assert dsse.Envelope.parse(changed())
    with pytest.raises(LimitError, match="at most 100"):
        dsse.Envelope.parse(changed(x="y" * 40))


@given(st.binary(max_size=300))
def test_any_bytes_give_an_envelope_or_an_input_error(data: bytes) -> None:
    try:
        dsse.Envelope.parse(data)
    except InputError:
        return
    raise AssertionError("hypothesis wrote an envelope")
