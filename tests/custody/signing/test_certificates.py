from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given
from hypothesis import strategies as st

from bezoar.custody.signing import certificates, keys, oms
from bezoar.custody.signing.certificates import CertificateSigner, CertificateVerifier
from bezoar.errors import BezoarError, InputError, UsageError, VerificationError
from custody.signing.support import NOW, Authority, pair, tree, verifier

MAIL = x509.RFC822Name("release@example.org")
ROOT = Authority()
BETWEEN = Authority("Between", ROOT)
KEY = keys.parse_private(pair()[0])


def leaf(authority: Authority = BETWEEN, **wrong: Any) -> x509.Certificate:
    return authority.certify("Release", KEY.public_key(), **{"names": [MAIL], **wrong})


def signed(*chain: x509.Certificate) -> oms.Bundle:
    return oms.read_bundle(oms.sign_tree(tree(), CertificateSigner(KEY, chain)))


def who(
    bundle: oms.Bundle, roots: Any = (ROOT.certificate,), identity: str | None = None, at: Any = NOW
) -> str:
    return oms.verify_bundle(bundle, CertificateVerifier(list(roots), identity, at)).signer


@pytest.mark.parametrize("kind", ["p256", "p384", "p521"])
def test_round_trip_with_a_chain(kind: str) -> None:
    key = keys.parse_private(pair(kind)[0])
    certificate = BETWEEN.certify("Release", key.public_key(), names=[MAIL])
    for chain in ([certificate, BETWEEN.certificate], [certificate, BETWEEN.certificate, ROOT.certificate]):
        bundle = oms.read_bundle(oms.sign_tree(tree(), CertificateSigner(key, chain)))
        assert who(bundle) == "release@example.org"
        assert [one.public_bytes(Encoding.DER) for one in certificates.read_chain(bundle.material)] == [
            one.public_bytes(Encoding.DER) for one in chain
        ]


def test_a_key_in_a_certificate_is_a_key() -> None:
    assert oms.verify_bundle(signed(leaf(), BETWEEN.certificate), verifier())


def test_identities() -> None:
    uri, dns = x509.UniformResourceIdentifier("https://example.org/ci"), x509.DNSName("build.example.org")
    bundle = signed(leaf(names=[MAIL, uri, dns]), BETWEEN.certificate)
    for identity in ("release@example.org", "https://example.org/ci", "build.example.org", "CN=Release"):
        assert who(bundle, identity=identity) == identity
    for identity in ("Release", "release@example.or", "RELEASE@example.org", "example.org", ""):
        with pytest.raises(VerificationError, match=r"of release@example\.org, not of"):
            who(bundle, identity=identity)
    plain = signed(leaf(names=[]), BETWEEN.certificate)
    assert who(plain, identity="Release") == who(plain) == "Release"


def test_a_certificate_without_a_name_signs_as_nobody() -> None:
    bundle = signed(BETWEEN.certify("", KEY.public_key()), BETWEEN.certificate)
    assert who(bundle) == "an unnamed certificate"
    with pytest.raises(VerificationError, match="of nobody"):
        who(bundle, identity="release@example.org")


def test_the_chain_is_valid_at_the_time_asked_for() -> None:
    bundle = signed(leaf(), BETWEEN.certificate)
    for at in (datetime(2025, 12, 31, tzinfo=UTC), datetime(2027, 1, 2, tzinfo=UTC)):
        with pytest.raises(
            VerificationError, match="valid from 2026-01-01T00:00:00Z to 2027-01-01T00:00:00Z"
        ):
            who(bundle, at=at)
    old = Authority("Between", ROOT, end=datetime(2026, 2, 1, tzinfo=UTC))
    with pytest.raises(VerificationError, match="none of the roots"):
        who(signed(leaf(old), old.certificate))
    assert who(signed(leaf(old), old.certificate), at=datetime(2026, 1, 15, tzinfo=UTC))
    with pytest.raises(UsageError, match="time zone"):
        CertificateVerifier([ROOT.certificate], at=datetime(2026, 6, 1))


def test_now_is_the_time_by_default() -> None:
    lasting = Authority(begin=datetime(2020, 1, 1, tzinfo=UTC), end=datetime(2120, 1, 1, tzinfo=UTC))
    bundle = signed(leaf(lasting, end=datetime(2110, 1, 1, tzinfo=UTC)))
    assert who(bundle, [lasting.certificate], at=None)
    gone = signed(leaf(lasting, end=datetime(2026, 2, 1, tzinfo=UTC)))
    with pytest.raises(VerificationError, match="valid from"):
        who(gone, [lasting.certificate], at=None)


def test_chains_that_lead_nowhere() -> None:
    stranger = Authority()
    plain = Authority("Between", ROOT, constraints=x509.BasicConstraints(False, None))
    muted = Authority("Between", ROOT, usage=False)
    namesake = Authority("Between")
    short = Authority("Between", ROOT, constraints=x509.BasicConstraints(True, 0))
    below = Authority("Below", short)
    for chain in (
        [leaf()],
        [leaf(), stranger.certificate],
        [leaf(stranger), stranger.certificate],
        [leaf(plain), plain.certificate],
        [leaf(muted), muted.certificate],
        [leaf(), namesake.certificate],
        [leaf(namesake), BETWEEN.certificate],
        [leaf(below), below.certificate, short.certificate],
    ):
        with pytest.raises(VerificationError, match="none of the roots"):
            who(signed(*chain))
    assert who(signed(leaf(short), short.certificate))


def test_a_certificate_that_signs_itself_is_nobodys() -> None:
    alone = Authority("Release")
    alone.key = KEY
    own = alone.certify("Release", KEY.public_key(), names=[MAIL])
    with pytest.raises(VerificationError, match="none of the roots"):
        who(signed(own))


def test_what_the_key_may_be_used_for() -> None:
    code, anything = ExtendedKeyUsageOID.CODE_SIGNING, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE
    server = ExtendedKeyUsageOID.SERVER_AUTH
    for fine in (
        {"usage": True},
        {"usage": None, "extended": [code]},
        {"extended": [server, code]},
        {"extended": [anything]},
    ):
        assert who(signed(leaf(**fine), BETWEEN.certificate))
    for wrong, message in (
        ({"usage": False}, "digital signatures"),
        ({"usage": False, "extended": [code]}, "digital signatures"),
        ({"usage": None}, "does not say"),
        ({"extended": [server]}, "other uses"),
        ({"usage": None, "extended": [server]}, "other uses"),
    ):
        with pytest.raises(VerificationError, match=message):
            who(signed(leaf(**wrong), BETWEEN.certificate))


def test_critical_extensions_that_are_not_understood() -> None:
    odd = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\x05\x00")
    assert who(signed(leaf(more=[(odd, False)]), BETWEEN.certificate))
    with pytest.raises(VerificationError, match=r"1\.3\.6\.1\.4\.1\.99999\.1"):
        who(signed(leaf(more=[(odd, True)]), BETWEEN.certificate))
    between = Authority("Between", ROOT, more=[(odd, True)])
    with pytest.raises(VerificationError):
        who(signed(leaf(between), between.certificate))


def test_an_issuer_that_may_certify_some_names_only() -> None:
    limits = x509.NameConstraints([x509.DNSName("example.com")], None)
    between = Authority("Between", ROOT, more=[(limits, True)])
    assert who(signed(leaf(between, names=[x509.DNSName("a.example.com")]), between.certificate))
    with pytest.raises(VerificationError):
        who(signed(leaf(between, names=[x509.DNSName("a.example.net")]), between.certificate))


@pytest.mark.parametrize(
    "limit", [x509.DNSName("example.com"), x509.RFC822Name("example.com")], ids=["host", "mail"]
)
def test_a_subject_does_not_slip_past_an_issuers_limits(limit: x509.GeneralName) -> None:
    """The limits are held against alternative names only, and so only those count under them."""
    between = Authority("Between", ROOT, more=[(x509.NameConstraints([limit], None), True)])
    for names in ([], [x509.DNSName("a.example.com")]):
        bundle = signed(
            between.certify("jane@victim.org", KEY.public_key(), names=names), between.certificate
        )
        for identity in ("jane@victim.org", "CN=jane@victim.org"):
            with pytest.raises(VerificationError, match="not of"):
                who(bundle, identity=identity)
        assert who(bundle) == ("a.example.com" if names else "an unnamed certificate")


def test_an_issuer_for_other_uses() -> None:
    """An authority for web servers must not make signers."""
    code, server = ExtendedKeyUsageOID.CODE_SIGNING, ExtendedKeyUsageOID.SERVER_AUTH
    web = Authority("Between", ROOT, extended=[server])
    for extended in ([], [code]):
        with pytest.raises(VerificationError, match="none of the roots"):
            who(signed(leaf(web, extended=extended), web.certificate))
    both = Authority("Between", ROOT, extended=[server, code])
    assert who(signed(leaf(both), both.certificate))


def test_keys_that_are_not_ecdsa() -> None:
    for public in (
        rsa.generate_private_key(65537, 2048).public_key(),
        ed25519.Ed25519PrivateKey.generate().public_key(),
        ec.generate_private_key(ec.SECP256K1()).public_key(),
    ):
        certificate = ROOT.certify("Release", public, names=[MAIL])
        bundle = oms.Bundle(signed(leaf()).envelope, certificates.chain_material([certificate]))
        with pytest.raises(InputError, match="ECDSA key on P-256"):
            who(bundle)


def test_another_certificate_of_the_same_name() -> None:
    other = ec.generate_private_key(ec.SECP256R1())
    bundle = signed(leaf(), BETWEEN.certificate)
    swapped = certificates.chain_material(
        [BETWEEN.certify("Release", other.public_key(), names=[MAIL]), BETWEEN.certificate]
    )
    with pytest.raises(VerificationError, match=r"not by release@example\.org"):
        who(oms.Bundle(bundle.envelope, swapped))


def test_signers_refuse_chains_that_are_not_theirs() -> None:
    for chain in ([], [BETWEEN.certificate, leaf()], [leaf()] * (certificates.MAX_CHAIN + 1)):
        with pytest.raises(UsageError):
            CertificateSigner(KEY, chain)
    with pytest.raises(UsageError, match="ECDSA keys only"):
        CertificateSigner(keys.parse_private(pair("ed25519")[0]), [leaf()])
    with pytest.raises(UsageError, match="at least one root"):
        CertificateVerifier([])


def test_a_bundle_without_certificates() -> None:
    bundle = oms.Bundle(signed(leaf()).envelope, {"publicKey": {"hint": ""}})
    with pytest.raises(VerificationError, match="no certificate chain"):
        who(bundle)


DER = leaf().public_bytes(Encoding.DER)


def chain_of(*ders: bytes) -> dict[str, Any]:
    encoded = [{"rawBytes": base64.b64encode(der).decode()} for der in ders]
    return {"x509CertificateChain": {"certificates": encoded}}


MALFORMED: dict[str, dict[str, Any]] = {
    "chain a list": {"x509CertificateChain": []},
    "chain empty": {"x509CertificateChain": {}},
    "no certificates": {"x509CertificateChain": {"certificates": []}},
    "certificates a text": {"x509CertificateChain": {"certificates": "AAAA"}},
    "certificates null": {"x509CertificateChain": {"certificates": None}},
    "certificate a text": {"x509CertificateChain": {"certificates": ["AAAA"]}},
    "certificate without bytes": {"x509CertificateChain": {"certificates": [{}]}},
    "bytes a number": {"x509CertificateChain": {"certificates": [{"rawBytes": 1}]}},
    "bytes not base64": {"x509CertificateChain": {"certificates": [{"rawBytes": "!"}]}},
    "bytes PEM": chain_of(leaf().public_bytes(Encoding.PEM)),
    "bytes empty": chain_of(b""),
    "bytes of zero": chain_of(bytes(100)),
    "DER cut": chain_of(DER[:-1]),
    "DER that goes on": chain_of(DER + b"\0"),
    "a public key": chain_of(DER[100:]),
    "second broken": chain_of(DER, b"\x30\x00"),
    "too long": chain_of(*[DER] * (certificates.MAX_CHAIN + 1)),
    "too large": chain_of(DER + bytes(certificates.MAX_CERTIFICATE_BYTES)),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_chains_give_one_typed_error(name: str) -> None:
    with pytest.raises(InputError) as caught:
        who(oms.Bundle(signed(leaf()).envelope, MALFORMED[name]))
    assert "\n" not in str(caught.value)


@given(st.integers(0, len(DER) - 1), st.integers(0, 255))
def test_a_changed_byte_of_the_certificate_never_passes(place: int, value: int) -> None:
    changed = DER[:place] + bytes([value]) + DER[place + 1 :]
    chain = chain_of(changed, BETWEEN.certificate.public_bytes(Encoding.DER))
    bundle = oms.Bundle(signed(leaf()).envelope, chain)
    if changed == DER:
        assert who(bundle)
        return
    with pytest.raises(BezoarError):
        who(bundle)


PEM = leaf().public_bytes(Encoding.PEM)


def test_what_the_fuzzer_found() -> None:
    """A version that is none is refused; a serial number below one, which old roots have, is no reason to refuse a store."""
    version, serial = DER.index(b"\xa0\x03\x02\x01\x02\x02") + 4, DER.index(b"\xa0\x03\x02\x01\x02\x02") + 7
    with pytest.raises(InputError, match="66 is not a valid X509 version"):
        certificates.read_chain(chain_of(DER[:version] + b"\x42" + DER[version + 1 :]))
    (found,) = certificates.read_chain(chain_of(DER[:serial] + b"\x80" + DER[serial + 1 :]))
    assert certificates.identities(found) == ["release@example.org", "CN=Release"]


def test_certificate_files(tmp_path: Any) -> None:
    path = tmp_path / "chain.pem"
    path.write_bytes(PEM + b"a comment between\n" + ROOT.certificate.public_bytes(Encoding.PEM))
    assert len(certificates.load_certificates(path)) == 2
    for wrong in (b"", b"hello", PEM[:-30], PEM.replace(b"CERTIFICATE", b"PUBLIC KEY"), DER, PEM * 10_000):
        path.write_bytes(wrong)
        with pytest.raises(InputError, match=r"chain\.pem: "):
            certificates.load_certificates(path)
    with pytest.raises(InputError, match="not an ordinary file"):
        certificates.load_certificates(tmp_path)
