"""Bundles that are wrong in one way each: outside the signature, and inside it (a trusted signer may be careless, too)."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bezoar.custody.signing import oms
from bezoar.errors import BezoarError, InputError, VerificationError
from custody.signing.support import resigned, signed_payload, signer, tree, verifier

BUNDLE = oms.sign_tree(tree(), signer())
SHA = "ab" * 32
Change = Callable[[dict[str, Any]], object]


def outside(change: Change) -> bytes:
    fields = json.loads(BUNDLE)
    change(fields)
    return json.dumps(fields).encode()


def envelope(**fields: Any) -> bytes:
    return outside(lambda bundle: bundle["dsseEnvelope"].update(fields))


def material(value: Any) -> bytes:
    return outside(lambda bundle: bundle.update(verificationMaterial=value))


OUTSIDE = {
    "empty": b"",
    "not JSON": b"PK\x03\x04",
    "a list": b"[" + BUNDLE + b"]",
    "half": BUNDLE[: len(BUNDLE) // 2],
    "two": BUNDLE + BUNDLE,
    "not UTF-8": b"\xff" + BUNDLE,
    "duplicate envelope": BUNDLE.rstrip()[:-1] + b', "dsseEnvelope": {}}',
    "no mediaType": outside(lambda bundle: bundle.pop("mediaType")),
    "older mediaType": outside(
        lambda bundle: bundle.update(mediaType="application/vnd.dev.sigstore.bundle+json;version=0.1")
    ),
    "newer mediaType": outside(
        lambda bundle: bundle.update(mediaType="application/vnd.dev.sigstore.bundle.v0.4+json")
    ),
    "mediaType a list": outside(lambda bundle: bundle.update(mediaType=[oms.MEDIA_TYPE])),
    "no material": outside(lambda bundle: bundle.pop("verificationMaterial")),
    "material a text": material("key"),
    "material null": material(None),
    "material empty": material({}),
    "material of nothing known": material({"tlogEntries": []}),
    "material of two kinds": material({"publicKey": {"hint": "a"}, "certificate": {"rawBytes": "AA=="}}),
    "key a text": material({"publicKey": "hint"}),
    "certificate null": material({"certificate": None}),
    "no envelope": outside(lambda bundle: bundle.pop("dsseEnvelope")),
    "envelope a list": outside(lambda bundle: bundle.update(dsseEnvelope=[])),
    "envelope empty": outside(lambda bundle: bundle.update(dsseEnvelope={})),
    "a message signature": outside(lambda bundle: bundle.update(messageSignature={})),
    "a message signature instead": outside(
        lambda bundle: bundle.update(messageSignature=bundle.pop("dsseEnvelope"))
    ),
    "payload a number": envelope(payload=1),
    "payload not base64": envelope(payload="*"),
    "no payload": outside(lambda bundle: bundle["dsseEnvelope"].pop("payload")),
    "another payloadType": envelope(payloadType="application/json"),
    "payloadType null": envelope(payloadType=None),
    "no signature": envelope(signatures=[]),
    "two signatures": outside(
        lambda bundle: bundle["dsseEnvelope"].update(signatures=2 * bundle["dsseEnvelope"]["signatures"])
    ),
    "signature empty": envelope(signatures=[{"sig": "", "keyid": ""}]),
    "signature null": envelope(signatures=[None]),
    "keyid a number": envelope(signatures=[{"sig": "AAAA", "keyid": 0}]),
}


@pytest.mark.parametrize("name", OUTSIDE)
def test_malformed_bundles_give_one_typed_error(name: str) -> None:
    with pytest.raises(InputError) as caught:
        oms.read_bundle(OUTSIDE[name], "bundle.sig")
    assert str(caught.value).startswith("bundle.sig: ")
    assert "\n" not in str(caught.value)


def inside(change: Change) -> bytes:
    return resigned(change)


def serialization(**fields: Any) -> bytes:
    return resigned(lambda one: one["predicate"]["serialization"].update(fields))


def first(**fields: Any) -> bytes:
    return resigned(lambda one: one["predicate"]["resources"][0].update(fields))


def listing(value: Any, **fields: Any) -> bytes:
    def change(one: dict[str, Any]) -> None:
        one["predicate"]["resources"] = value
        one["predicate"]["serialization"].update(fields)

    return resigned(change)


def shards(*names: str, size: Any = 10, algorithm: str = "sha256-sharded-10") -> bytes:
    items = [{"name": name, "digest": SHA, "algorithm": algorithm} for name in names]
    return listing(items, method="shards", shard_size=size)


INSIDE = {
    "empty": signed_payload(b""),
    "not JSON": signed_payload(b"hello"),
    "a list": signed_payload(b"[]"),
    "a resource alone": signed_payload(json.dumps({"name": "a", "digest": SHA, "algorithm": "sha256"}).encode()),
    "not UTF-8": signed_payload(b'{"a": "\xff"}'),
    "deep": signed_payload(b"[" * 50_000),
    "duplicate": signed_payload(b'{"_type": "a", "_type": "b"}'),
    "another _type": inside(lambda one: one.update(_type="https://in-toto.io/Statement/v0.1")),
    "no predicateType": inside(lambda one: one.pop("predicateType")),
    "another predicateType": inside(lambda one: one.update(predicateType="https://slsa.dev/provenance/v1")),
    "no subject": inside(lambda one: one.update(subject=[])),
    "two subjects": inside(lambda one: one["subject"].append(one["subject"][0])),
    "subject without sha256": inside(lambda one: one["subject"][0].update(digest={"sha512": SHA * 2})),
    "subject like a resource": inside(
        lambda one: one.update(subject=[{"name": "ds", "digest": SHA, "algorithm": "sha256"}])
    ),
    "no predicate": inside(lambda one: one.pop("predicate")),
    "predicate a list": inside(lambda one: one.update(predicate=[])),
    "predicate like a resource": inside(
        lambda one: one.update(predicate={"name": "ds", "digest": SHA, "algorithm": "sha256"})
    ),
    "no resources": inside(lambda one: one["predicate"].pop("resources")),
    "resources an object": listing({"a": SHA}),
    "resources empty": listing([]),
    "resources texts": listing(["a"]),
    "resource without digest": listing([{"name": "a", "algorithm": "sha256"}]),
    "resource with more": first(size=3),
    "resource name null": first(name=None),
    "resource name empty": first(name=""),
    "resource absolute": first(name="/etc/passwd"),
    "resource outside": first(name="../outside.txt"),
    "resource outside by a detour": first(name="a/../../outside.txt"),
    "resource here": first(name="./a"),
    "resource with an empty part": first(name="a//b"),
    "resource a folder": first(name="a/"),
    "resource with a zero byte": first(name="a\0b"),
    "resource name a surrogate": first(name="\ud800"),
    "the whole tree beside others": first(name="."),
    "resource digest null": first(digest=None),
    "resource digest short": first(digest="abcd"),
    "resource digest odd": first(digest=SHA + "0"),
    "resource digest upper case": first(digest=SHA.upper()),
    "resource digest with spaces": first(digest="ab " * 32),
    "resource digest empty": first(digest=""),
    "resource digest a list": first(digest=[SHA]),
    "resource algorithm null": first(algorithm=None),
    "resource algorithm other": first(algorithm="blake2b"),
    "resource algorithm unknown": first(algorithm="crc32"),
    "resource twice": inside(
        lambda one: one["predicate"]["resources"].append(one["predicate"]["resources"][0])
    ),
    "resource twice, two digests": listing(
        [{"name": "a", "digest": digest * 32, "algorithm": "sha256"} for digest in ("ab", "cd")]
    ),
    "no serialization": inside(lambda one: one["predicate"].pop("serialization")),
    "serialization a text": inside(lambda one: one["predicate"].update(serialization="files")),
    "method unknown": serialization(method="tensors"),
    "method null": serialization(method=None),
    "method a list": serialization(method=["files"]),
    "hash unknown": serialization(hash_type="md5"),
    "hash a list": serialization(hash_type=["sha256"]),
    "hash null": serialization(hash_type=None),
    "symlinks a text": serialization(allow_symlinks="false"),
    "symlinks a number": serialization(allow_symlinks=1),
    "ignored a text": serialization(ignore_paths=".git"),
    "ignored a number": serialization(ignore_paths=[1]),
    "ignored everything": serialization(ignore_paths=["."]),
    "ignored outside": serialization(ignore_paths=["../x"]),
    "ignored absolute": serialization(ignore_paths=["/"]),
    "ignored nothing": serialization(ignore_paths=[""]),
    "shards without a size": inside(lambda one: one["predicate"]["serialization"].update(method="shards")),
    "shard size a text": shards("a:0:5", size="10"),
    "shard size a bool": shards("a:0:1", size=True),
    "shard size broken": shards("a:0:5", size=9.5),
    "shard size zero": shards("a:0:5", size=0),
    "shard size negative": shards("a:0:5", size=-10),
    "shard size huge": shards("a:0:5", size=2**60),
    "shard without places": shards("a"),
    "shard with one place": shards("a:5"),
    "shard without a path": shards(":0:5"),
    "shard of a path outside": shards("../a:0:5"),
    "shard of nothing": shards("a:5:5"),
    "shard backwards": shards("a:5:0"),
    "shard with a sign": shards("a:+0:5"),
    "shard with leading zeros": shards("a:00:5"),
    "shard with a space": shards("a: 0:5"),
    "shard in other digits": shards("a:0:٥"),
    "shard with huge places": shards("a:0:" + "9" * 40),
    "shard too long": shards("a:0:11"),
    "shard starting late": shards("a:10:20"),
    "shards with a gap": shards("a:0:10", "a:20:30"),
    "shards that overlap": shards("a:0:10", "a:5:15"),
    "shards after a short one": shards("a:0:5", "a:5:10"),
    "shards of the whole and a file": shards(".:0:5", "a:0:5"),
    "shards of another size": shards("a:0:5", algorithm="sha256-sharded-20"),
}  # fmt: skip


@pytest.mark.parametrize("name", INSIDE)
def test_malformed_statements_give_one_typed_error(name: str) -> None:
    bundle = oms.read_bundle(INSIDE[name])
    with pytest.raises(InputError) as caught:
        oms.verify_bundle(bundle, verifier(), "bundle.sig")
    assert str(caught.value).startswith("bundle.sig: ")
    assert "\n" not in str(caught.value)


def test_the_shard_fixtures_are_malformed_by_what_they_say_only() -> None:
    def root(one: dict[str, Any]) -> None:
        names = ["a:0:10", "a:10:20", "a:20:21", "b:c:d:0:3", "big:0:10", "big:10:12"]
        one["predicate"]["resources"] = [
            {"name": name, "digest": SHA, "algorithm": "sha256-sharded-10"} for name in names
        ]
        one["predicate"]["serialization"].update(method="shards", shard_size=10.0)
        one["subject"][0]["digest"]["sha256"] = oms.root_of([bytes.fromhex(SHA)] * len(names)).hex()

    found = oms.verify_bundle(oms.read_bundle(resigned(root)), verifier())
    assert [oms.parse_shard(one.name) for one in found.resources][2:4] == [("a", 20, 21), ("b:c:d", 0, 3)]
    assert found.serialization["shard_size"] == 10
    assert isinstance(found.serialization["shard_size"], int)


def test_nothing_is_parsed_before_the_signature_holds() -> None:
    """A stranger's payload never reaches the parser of statements."""
    with pytest.raises(VerificationError):
        oms.verify_bundle(oms.read_bundle(INSIDE["deep"]), verifier("p256", 1))


PLACES = st.integers(0, len(BUNDLE) - 1)


@settings(max_examples=300)
@given(PLACES, st.integers(0, 255))
def test_a_changed_byte_never_verifies_as_something_else(place: int, value: int) -> None:
    changed = BUNDLE[:place] + bytes([value]) + BUNDLE[place + 1 :]
    try:
        found = oms.verify_bundle(oms.read_bundle(changed), verifier())
    except BezoarError:
        return
    assert found == oms.verify_bundle(oms.read_bundle(BUNDLE), verifier())


@given(st.binary(max_size=200))
def test_any_signed_bytes_give_a_tree_or_a_typed_error(payload: bytes) -> None:
    with pytest.raises(InputError):
        oms.verify_bundle(oms.read_bundle(signed_payload(payload)), verifier())


def test_a_large_payload_is_not_spelt_out_for_the_old_encoding() -> None:
    """Its notation takes four characters for a byte, and nothing of it is signed by anyone yet."""
    signed = oms.read_bundle(BUNDLE).envelope
    payload = bytes(oms.MAX_OLD_PAYLOAD_BYTES) + oms.OLD_PREDICATE_TYPE.encode()
    bundle = oms.Bundle(replace(signed, payload=payload), {"publicKey": {"hint": ""}})
    longest = 0

    class Nobody:
        name = "nobody"

        def verify(self, message: bytes, signature: bytes, material: object = None) -> str:
            nonlocal longest
            longest = max(longest, len(message))
            raise VerificationError("not by nobody")

    with pytest.raises(VerificationError, match="nobody"):
        oms.verify_bundle(bundle, Nobody())
    assert longest < len(payload) + 100
