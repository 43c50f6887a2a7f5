from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bezoar.custody.signing import certificates, keys, oms, oms_payload
from bezoar.custody.signing.signers import KeyVerifier
from bezoar.errors import InputError, LimitError, UsageError, VerificationError
from custody.signing.support import (
    FILES,
    NOW,
    SERIALIZATION,
    VECTORS,
    resigned,
    resource,
    signer,
    statement_of,
    tree,
    verifier,
)

SNAPSHOT = "5a" * 32


def verified(bundle: bytes, kind: str = "p256") -> oms.SignedTree:
    return oms.verify_bundle(oms.read_bundle(bundle), verifier(kind))


@pytest.mark.parametrize("kind", ["p256", "p384", "p521"])
def test_round_trip(kind: str) -> None:
    one = tree(bezoarSnapshot=SNAPSHOT)
    found = verified(oms.sign_tree(one, signer(kind)), kind)
    assert found == oms.SignedTree(
        "ds", one.root, list(one.resources), SERIALIZATION, {"bezoarSnapshot": SNAPSHOT}, verifier(kind).name
    )


def test_the_bytes_are_those_of_the_format() -> None:
    one = signer()
    bundle = json.loads(oms.sign_tree(tree([resource("ü:b", b"x")], bezoarSnapshot=SNAPSHOT), one))
    assert list(bundle) == ["mediaType", "verificationMaterial", "dsseEnvelope"]
    assert bundle["mediaType"] == "application/vnd.dev.sigstore.bundle.v0.3+json"
    hint = hashlib.sha256(keys.public_pem(one.public_key)).hexdigest()
    assert bundle["verificationMaterial"] == {"publicKey": {"hint": hint}, "tlogEntries": []}
    envelope = bundle["dsseEnvelope"]
    assert envelope["payloadType"] == "application/vnd.in-toto+json"
    assert [list(item) for item in envelope["signatures"]] == [["sig", "keyid"]]
    assert envelope["signatures"][0]["keyid"] == ""
    digest = hashlib.sha256(b"x")
    assert json.loads(base64.b64decode(envelope["payload"])) == {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [
            {
                "name": "ds",
                "digest": {"sha256": hashlib.sha256(digest.digest()).hexdigest(), "bezoarSnapshot": SNAPSHOT},
            }
        ],
        "predicateType": "https://model_signing/signature/v1.0",
        "predicate": {
            "resources": [{"name": "ü:b", "digest": digest.hexdigest(), "algorithm": "sha256"}],
            "serialization": {
                "method": "files",
                "hash_type": "sha256",
                "allow_symlinks": False,
                "ignore_paths": [".git", ".gitattributes", ".github", ".gitignore"],
            },
        },
    }


def test_resources_may_be_an_iterator_and_any_number() -> None:
    for count in (
        1,
        2,
        oms_payload._BATCH - 1,
        oms_payload._BATCH,
        oms_payload._BATCH + 1,
        2 * oms_payload._BATCH,
    ):
        names = [f"{number:06d}" for number in range(count)]
        root = oms.root_of(resource(name).digest for name in names)

        def stream(names: list[str] = names) -> Iterator[oms.Resource]:
            yield from map(resource, names)

        signed = oms.SignedTree("ds", root, stream(), SERIALIZATION)
        assert [one.name for one in verified(oms.sign_tree(signed, signer())).resources] == names


NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0/"), min_size=1).filter(
    lambda name: name not in (".", "..")
)


@given(st.sets(st.lists(NAMES, min_size=1, max_size=3).map("/".join), min_size=1, max_size=8))
def test_any_names_survive_in_code_point_order(names: set[str]) -> None:
    resources = [resource(name, name.encode()) for name in sorted(names)]
    found = verified(oms.sign_tree(tree(resources), signer()))
    assert list(found.resources) == resources


def test_a_single_file_is_a_tree_of_one() -> None:
    found = verified(oms.sign_tree(tree([resource(".", b"x")]), signer()))
    assert [one.name for one in found.resources] == ["."]
    with pytest.raises(InputError, match="names the whole tree"):
        oms.sign_tree(tree([resource("."), resource("a")]), signer())


def test_only_ecdsa_keys_sign_bundles() -> None:
    with pytest.raises(UsageError, match="ECDSA"):
        oms.sign_tree(tree(), signer("ed25519"))


def test_what_is_not_signed() -> None:
    a, b = resource("a"), resource("b")
    wrong: list[tuple[Any, str]] = [
        (tree([]), "empty"),
        (tree([b, a]), "code-point order"),
        (tree([a, a]), "code-point order"),
        (tree([resource("a/b"), resource("a-b")]), "code-point order"),
        (tree([resource("\U0001f600"), resource("￿")]), "code-point order"),
        (oms.SignedTree("ds", b"\0" * 32, [a], SERIALIZATION), "root"),
        (tree([a._replace(digest=b"short")]), "5 bytes"),
        (tree([a._replace(algorithm="md5")]), "expected sha256"),
        (tree([a], {**SERIALIZATION, "hash_type": "md5"}), "hash_type"),
        (tree([a], {**SERIALIZATION, "method": "tree"}), "method"),
        (tree([a], {**SERIALIZATION, "ignore_paths": ["../x"]}), "ignored path"),
        (tree([a], {**SERIALIZATION, "ignore_paths": ["."]}), "ignored path"),
        (tree([a], bezoarSnapshot="AB"), "hex"),
        (tree([a], **{"": SNAPSHOT, "sha512": "00"}), "hex"),
    ]
    wrong += [
        (tree([resource(name)]), "resource")
        for name in ("", "/a", "a/", "a//b", "./a", "a/.", "..", "a/../b", "../a", "a\0b", "\ud800")
    ]
    for one, message in wrong:
        with pytest.raises(InputError, match=message):
            oms.sign_tree(one, signer())


def test_too_many_files_are_refused_when_signing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oms_payload, "MAX_PAYLOAD_BYTES", 700)
    with pytest.raises(InputError, match="pack them in shards"):
        oms.sign_tree(tree(), signer())


# what the reference tool wrote


@pytest.mark.parametrize(
    ("name", "method", "hash_type", "size"),
    [
        ("1.1.1-key", "files", "sha256", None),
        ("1.1.1-blake2", "files", "blake2b", None),
        ("1.1.1-shards", "shards", "sha256", 3),
        ("1.1.1-shards-blake2", "shards", "blake2b", 3),
        ("0.2.0-key", "files", "sha256", None),
    ],
)
def test_bundles_of_the_reference_tool_verify(
    name: str, method: str, hash_type: str, size: int | None
) -> None:
    trusted = KeyVerifier(keys.load_public(VECTORS / "key.pub"), "key.pub")
    found = oms.verify_bundle(oms.read_bundle((VECTORS / f"model_signing-{name}.sig").read_bytes()), trusted)
    assert found.signer == "key.pub"
    assert found.serialization["method"] == method
    assert found.serialization["hash_type"] == hash_type
    assert found.serialization.get("shard_size") == size
    assert sorted(found.serialization["ignore_paths"]) == list(oms.DEFAULT_IGNORES)
    assert {one.name: one.digest for one in found.resources} == digests(hash_type, size)
    names = [one.name for one in found.resources]
    assert names == sorted(names)
    assert {oms.hash_name(one.algorithm) for one in found.resources} == {hash_type}


def digests(hash_type: str, size: int | None) -> dict[str, bytes]:
    """What the digests of FILES have to be, computed another way."""
    found = {}
    for name, content in FILES.items():
        if size is None:
            found[name] = hashlib.new(hash_type, content).digest()
            continue
        for start in range(0, len(content), size):
            part = content[start : start + size]
            found[f"{name}:{start}:{start + len(part)}"] = hashlib.new(hash_type, part).digest()
    return found


def test_a_certificate_bundle_of_the_reference_tool_verifies() -> None:
    roots = certificates.load_certificates(VECTORS / "root.pem")
    bundle = oms.read_bundle((VECTORS / "model_signing-1.1.1-certificate.sig").read_bytes())
    assert "x509CertificateChain" in bundle.material
    found = oms.verify_bundle(bundle, certificates.CertificateVerifier(roots, "release@example.org", NOW))
    assert found.signer == "release@example.org"
    assert {one.name: one.digest for one in found.resources} == digests("sha256", None)


def test_the_old_encoding_counts_for_old_statements_only() -> None:
    """Before 1.0 the reference tool signed Python's notation of the payload; a new statement signed so is refused."""
    payload = json.dumps(statement_of(oms.sign_tree(tree(), signer()))).encode()
    kind = "application/vnd.in-toto+json"
    message = f"DSSEV1 {len(kind)} {kind} {len(payload)} {payload!r}".encode()
    bundle = json.loads(oms.sign_tree(tree(), signer()))
    bundle["dsseEnvelope"]["payload"] = base64.b64encode(payload).decode()
    bundle["dsseEnvelope"]["signatures"][0]["sig"] = base64.b64encode(signer().sign(message)).decode()
    with pytest.raises(VerificationError):
        verified(json.dumps(bundle).encode())


def test_an_order_by_path_component_is_understood() -> None:
    """The reference tool lists `a/b` before `a-b`, and takes the root in that order."""

    def reorder(fields: dict[str, Any]) -> None:
        listed = fields["predicate"]["resources"]
        listed.sort(key=lambda item: item["name"].split("/"))
        digest = oms.root_of(bytes.fromhex(item["digest"]) for item in listed).hex()
        fields["subject"][0]["digest"]["sha256"] = digest
        assert [item["name"] for item in listed][:2] == ["a/b", "a-b"]

    assert [one.name for one in verified(resigned(reorder)).resources] == sorted(FILES)


def test_a_listing_in_any_order_counts_under_the_root_of_the_format() -> None:
    bundle = resigned(lambda fields: fields["predicate"]["resources"].reverse())
    assert [one.name for one in verified(bundle).resources] == sorted(FILES)


# who signed


def test_another_key_and_a_changed_bundle() -> None:
    bundle = oms.sign_tree(tree(), signer())
    with pytest.raises(VerificationError, match="not by key:"):
        oms.verify_bundle(oms.read_bundle(bundle), verifier("p256", 1))
    with pytest.raises(VerificationError):
        oms.verify_bundle(oms.read_bundle(bundle), verifier("p384"))
    for change in (
        lambda fields: fields["subject"][0].update(name="other"),
        lambda fields: fields["predicate"]["resources"][0].update(name="a-c"),
        lambda fields: fields["predicate"]["serialization"].update(ignore_paths=[]),
        lambda fields: fields.update(predicateType="https://model_signing/Digests/v0.1"),
    ):
        fields = statement_of(bundle)
        change(fields)
        forged = json.loads(bundle)
        forged["dsseEnvelope"]["payload"] = base64.b64encode(json.dumps(fields).encode()).decode()
        with pytest.raises(VerificationError, match="what it signed was changed"):
            verified(json.dumps(forged).encode())


def test_the_hint_and_the_key_id_are_opaque() -> None:
    bundle = json.loads(oms.sign_tree(tree(), signer()))
    for material in ({"hint": "anything"}, {"hint": ""}, {}, {"rawBytes": "AAAA", "keyDetails": "PKIX"}):
        bundle["verificationMaterial"] = {"publicKey": material}
        for keyid in ("", None, "abc"):
            bundle["dsseEnvelope"]["signatures"][0]["keyid"] = keyid
            assert verified(json.dumps(bundle).encode())
        del bundle["dsseEnvelope"]["signatures"][0]["keyid"]
        assert verified(json.dumps(bundle).encode())


def test_a_signed_root_that_is_not_the_resources_own() -> None:
    for change in (
        lambda fields: fields["subject"][0]["digest"].update(sha256="00" * 32),
        lambda fields: fields["predicate"]["resources"].pop(),
        lambda fields: fields["predicate"]["resources"][0].update(digest="00" * 32),
    ):
        with pytest.raises(VerificationError, match="root"):
            verified(resigned(change))


def test_size_caps(monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = oms.sign_tree(tree(), signer())
    monkeypatch.setattr(oms_payload, "MAX_PAYLOAD_BYTES", 100)
    with pytest.raises(LimitError):
        verified(bundle)
    monkeypatch.setattr(oms, "MAX_BUNDLE_BYTES", 100)
    with pytest.raises(LimitError):
        oms.read_bundle(bundle)
