"""Keyless signing: through the real `sigstore` client against a stand-in on loopback, where the extra is installed."""

from __future__ import annotations

import copy
import importlib.util
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bezoar.custody.signing import dsse, oms
from bezoar.custody.signing.keyless import KeylessSigner, KeylessVerifier
from bezoar.errors import BezoarError, InputError, MissingExtraError, UsageError, VerificationError
from custody.signing import sigstore_standin as standin
from custody.signing.support import signer, tree, verifier

HAS_EXTRA = importlib.util.find_spec("sigstore") is not None
needs_extra = pytest.mark.skipif(not HAS_EXTRA, reason="needs the `sigstore` extra")
JANE = "jane@example.org"
SNAPSHOT = "5a" * 32


@pytest.mark.skipif(HAS_EXTRA, reason="the `sigstore` extra is installed")
def test_without_the_extra_the_error_names_it() -> None:
    for use in (lambda: KeylessSigner("token"), lambda: KeylessVerifier(JANE, standin.ISSUER)):
        with pytest.raises(MissingExtraError, match=r"bezoar\[sigstore\]"):
            use()


def test_an_identity_without_an_issuer_is_nobody() -> None:
    for identity, issuer in ((JANE, ""), ("", standin.ISSUER)):
        with pytest.raises(UsageError):
            KeylessVerifier(identity, issuer)


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the trusted root and the trust configuration of a running stand-in."""
    folder = tmp_path_factory.mktemp("sigstore")
    with standin.running() as running:
        (folder / "root.json").write_text(json.dumps(running.trusted_root()))
        (folder / "config.json").write_text(json.dumps(running.trust_config()))
        yield folder


@pytest.fixture(scope="module")
def bundle(instance: Path) -> bytes:
    """FILES signed by Jane, with a digest of ours that the client's own model of a statement refuses."""
    one = KeylessSigner(standin.token(JANE), instance / "config.json")
    return oms.sign_tree(tree(bezoarSnapshot=SNAPSHOT), one)


def jane(instance: Path) -> KeylessVerifier:
    return KeylessVerifier(JANE, standin.ISSUER, instance / "root.json")


@needs_extra
def test_round_trip(instance: Path, bundle: bytes) -> None:
    read = oms.read_bundle(bundle)
    assert "certificate" in read.material
    found = oms.verify_bundle(read, jane(instance))
    assert found.signer == f"{JANE} ({standin.ISSUER})"
    assert found.extra == {"bezoarSnapshot": SNAPSHOT}


@needs_extra
def test_the_client_itself_verifies_our_bundle(instance: Path, bundle: bytes) -> None:
    from sigstore.models import Bundle, TrustedRoot
    from sigstore.verify import Verifier
    from sigstore.verify.policy import Identity

    client = Verifier(trusted_root=TrustedRoot.from_file(str(instance / "root.json")))
    kind, payload = client.verify_dsse(
        Bundle.from_json(bundle), Identity(identity=JANE, issuer=standin.ISSUER)
    )
    assert kind == "application/vnd.in-toto+json"
    assert payload == oms.read_bundle(bundle).envelope.payload


@needs_extra
def test_somebody_else_another_issuer_and_another_instance(
    instance: Path, bundle: bytes, tmp_path: Path
) -> None:
    other = tmp_path / "other.json"
    other.write_text(json.dumps(standin.Instance().trusted_root()))
    strangers = [
        KeylessVerifier("john@example.org", standin.ISSUER, instance / "root.json"),
        KeylessVerifier(JANE, "https://accounts.example.com", instance / "root.json"),
        KeylessVerifier(JANE, standin.ISSUER, other),
        KeylessVerifier(JANE, standin.ISSUER),  # the public instance's root, as it comes with the package
    ]
    for stranger in strangers:
        with pytest.raises(VerificationError):
            oms.verify_bundle(oms.read_bundle(bundle), stranger)
    with pytest.raises(VerificationError):
        oms.verify_bundle(oms.read_bundle(bundle), verifier())


@needs_extra
def test_a_bundle_that_is_signed_by_a_key(instance: Path) -> None:
    with pytest.raises(VerificationError, match="no Sigstore certificate"):
        oms.verify_bundle(oms.read_bundle(oms.sign_tree(tree(), signer())), jane(instance))


def entry(change: Callable[[dict[str, Any]], object]) -> Callable[[dict[str, Any]], object]:
    return lambda material: change(material["tlogEntries"][0])


TAMPERED: dict[str, Callable[[dict[str, Any]], object]] = {
    "no log entry": lambda material: material.update(tlogEntries=[]),
    "no list of entries": lambda material: material.pop("tlogEntries"),
    "an entry null": lambda material: material.update(tlogEntries=[None]),
    "two entries": lambda material: material["tlogEntries"].append(material["tlogEntries"][0]),
    "certificate empty": lambda material: material["certificate"].update(rawBytes=""),
    "certificate not base64": lambda material: material["certificate"].update(rawBytes="?"),
    "certificate not DER": lambda material: material["certificate"].update(rawBytes="AAAA"),
    "certificate changed": lambda material: material["certificate"].update(
        rawBytes=material["certificate"]["rawBytes"][:-8] + "AAAAAAA="
    ),
    "another time": entry(lambda one: one.update(integratedTime="1700000000")),
    "time a word": entry(lambda one: one.update(integratedTime="soon")),
    "no promise": entry(lambda one: one.pop("inclusionPromise")),
    "promise changed": entry(lambda one: one["inclusionPromise"].update(signedEntryTimestamp="AAAA")),
    "no proof": entry(lambda one: one.pop("inclusionProof")),
    "no checkpoint": entry(lambda one: one["inclusionProof"].pop("checkpoint")),
    "proof without its hash": entry(lambda one: one["inclusionProof"].update(hashes=[])),
    "proof of another place": entry(lambda one: one["inclusionProof"].update(logIndex="0")),
    "another body": entry(lambda one: one.update(canonicalizedBody="e30=")),
    "another kind": entry(lambda one: one["kindVersion"].update(kind="intoto")),
    "checkpoint of nobody": entry(
        lambda one: one["inclusionProof"]["checkpoint"].update(envelope="standin - 1\n2\nAAAA\n\n")
    ),
}


@needs_extra
@pytest.mark.parametrize("name", TAMPERED)
def test_tampered_material_gives_one_typed_error(name: str, instance: Path, bundle: bytes) -> None:
    read = oms.read_bundle(bundle)
    material = copy.deepcopy(dict(read.material))
    TAMPERED[name](material)
    with pytest.raises((InputError, VerificationError)) as caught:
        oms.verify_bundle(oms.Bundle(read.envelope, material), jane(instance))
    assert "\n" not in str(caught.value)


@needs_extra
def test_a_changed_payload_and_another_signature(instance: Path, bundle: bytes) -> None:
    read = oms.read_bundle(bundle)
    for payload, sig in (
        (read.envelope.payload.replace(b"a.txt", b"b.txt"), read.envelope.signatures[0].sig),
        (read.envelope.payload, signer().sign(b"x")),
    ):
        forged = dsse.Envelope(payload, read.envelope.payload_type, (dsse.Signature("", sig),))
        with pytest.raises(VerificationError):
            oms.verify_bundle(oms.Bundle(forged, read.material), jane(instance))


@needs_extra
def test_signing_without_an_identity_or_with_a_broken_one(
    instance: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import os

    for name in list(os.environ):
        if name.startswith(("GITHUB", "ACTIONS", "CIRCLE", "BUILDKITE", "GITLAB", "SIGSTORE")):
            monkeypatch.delenv(name)
    from sigstore import oidc

    monkeypatch.setattr(oidc, "detect_credential", lambda: None)
    with pytest.raises(UsageError, match="no identity"):
        KeylessSigner()
    with pytest.raises(InputError, match="identity token"):
        KeylessSigner("not a token")
    one = KeylessSigner(standin.token(JANE), instance / "config.json")
    with pytest.raises(UsageError, match="before it has signed"):
        assert one.material
    with pytest.raises(UsageError, match="in-toto"):
        one.sign(dsse.pae("text/plain", b"x"))
    for text in ("", "{}", "[]", '{"mediaType": "x"}', "\xff"):
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(InputError, match="trust configuration"):
            KeylessSigner(standin.token(JANE), tmp_path / "config.json").sign(dsse.pae(oms.IN_TOTO, b"{}"))


@needs_extra
def test_services_that_are_down_are_an_error_and_nothing_is_signed(instance: Path, tmp_path: Path) -> None:
    text = (instance / "config.json").read_text()
    url = json.loads(text)["signingConfig"]["caUrls"][0]["url"]
    (tmp_path / "down.json").write_text(text.replace(url, "http://127.0.0.1:9"))
    with pytest.raises(InputError, match="nothing was signed"):
        oms.sign_tree(tree(), KeylessSigner(standin.token(JANE), tmp_path / "down.json"))
    config = json.loads(text)
    config["signingConfig"]["rekorTlogUrls"] = []
    (tmp_path / "down.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="No valid Rekor"):
        oms.sign_tree(tree(), KeylessSigner(standin.token(JANE), tmp_path / "down.json"))


@needs_extra
def test_the_public_instance_out_of_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    from sigstore.errors import TUFError
    from sigstore.models import ClientTrustConfig

    def unreachable(**_: object) -> None:
        raise TUFError("Failed to refresh TUF metadata")

    monkeypatch.setattr(ClientTrustConfig, "production", unreachable)
    with pytest.raises(InputError, match="nothing was signed"):
        oms.sign_tree(tree(), KeylessSigner(standin.token(JANE)))
    with pytest.raises(InputError, match="cached root"):
        KeylessVerifier(JANE, standin.ISSUER)


@needs_extra
def test_trusted_roots_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "root.json"
    for text in ("", "{}", "[]", "hello", '{"mediaType": "x", "tlogs": []}', "[" * 100_000):
        path.write_text(text)
        with pytest.raises(BezoarError, match=r"root\.json"):
            KeylessVerifier(JANE, standin.ISSUER, path)
    with pytest.raises(InputError, match="not an ordinary file"):
        KeylessVerifier(JANE, standin.ISSUER, tmp_path)
