"""What the cases need: trees with odd names, keys, a small certificate authority, bundles that no careful tool would write."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from parties import bezoar

from bezoar.custody.signing import dsse, keys, oms
from bezoar.custody.signing.signers import KeySigner

ODD = {
    "a-b": b"1",
    "a.txt": b"one",
    "a/b": b"2",
    "a/deep/er/file.bin": bytes(range(256)) * 40,
    "empty": b"",
    "name with spaces": b"x",
    "unicode/ü-é-漢字-😀": b"y",
    "upper/README": b"z",
}
COLONS = {**ODD, "time/12:30:00.txt": b"half past twelve", "c:0:1": b"a name like a shard's"}
PLAIN = {"a/one.bin": b"x" * 25, "two.bin": b"y" * 10, "zero.bin": b""}


def tree(folder: Path, files: dict[str, bytes]) -> Path:
    """A folder with these files, made anew."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def key(folder: Path, kind: str) -> tuple[Path, Path]:
    """A key pair of `bezoar keygen`."""
    name = folder / kind
    if not name.with_suffix(".key").exists():
        done = bezoar("keygen", name, "--type", kind, "--no-password")
        assert done.returncode == 0, done.stderr
    return name.with_suffix(".key"), name.with_suffix(".pub")


def certificates(folder: Path, private: Path) -> tuple[Path, Path, Path]:
    """PEM files of a leaf for the key, of the authority between, and of the root."""
    root_key, between_key = ec.generate_private_key(ec.SECP384R1()), ec.generate_private_key(ec.SECP256R1())
    public: Any = keys.load_private(private).public_key()
    made = {
        "leaf": _certificate("Release", public, "Between", between_key, ca=False),
        "between": _certificate("Between", between_key.public_key(), "Root", root_key, ca=True),
        "root": _certificate("Root", root_key.public_key(), "Root", root_key, ca=True),
    }
    for name, certificate in made.items():
        (folder / f"{name}.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    chain = (folder / "leaf.pem").read_bytes() + (folder / "between.pem").read_bytes()
    (folder / "chain.pem").write_bytes(chain)
    return folder / "leaf.pem", folder / "between.pem", folder / "root.pem"


def _certificate(
    name: str, public: Any, issuer: str, key: ec.EllipticCurvePrivateKey, *, ca: bool
) -> x509.Certificate:
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca, None), critical=True)
        .add_extension(x509.KeyUsage(not ca, False, False, False, False, ca, ca, False, False), critical=True)
    )
    if not ca:
        names = x509.SubjectAlternativeName([x509.RFC822Name("release@example.org")])
        builder = builder.add_extension(names, critical=False)
    return builder.sign(key, hashes.SHA256())


def sign_shards(files: dict[str, bytes], size: int, private: Path, out: Path) -> None:
    """A bundle of ours over shards; `bezoar seal` itself lists whole files."""
    resources = []
    for name, content in files.items():
        for start in range(0, len(content), size):
            part = content[start : start + size]
            digest = hashlib.sha256(part).digest()
            resources.append(
                oms.Resource(f"{name}:{start}:{start + len(part)}", digest, f"sha256-sharded-{size}")
            )
    resources.sort()
    serialization = {
        "method": "shards", "hash_type": "sha256", "allow_symlinks": False, "shard_size": size,
        "ignore_paths": list(oms.DEFAULT_IGNORES),
    }  # fmt: skip
    signed = oms.SignedTree("tree", oms.root_of(one.digest for one in resources), resources, serialization)
    out.write_bytes(oms.sign_tree(signed, KeySigner(keys.load_private(private))))  # type: ignore[arg-type]


def sign_careless(names: Iterable[tuple[str, bytes]], private: Path, out: Path) -> None:
    """A bundle that lists any names at all, with a right signature."""
    signer = KeySigner(keys.load_private(private))
    resources = [
        {"name": name, "digest": hashlib.sha256(content).hexdigest(), "algorithm": "sha256"}
        for name, content in names
    ]
    root = oms.root_of(bytes.fromhex(one["digest"]) for one in resources).hex()
    statement = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "tree", "digest": {"sha256": root}}],
        "predicateType": "https://model_signing/signature/v1.0",
        "predicate": {
            "serialization": {"method": "files", "hash_type": "sha256", "allow_symlinks": False},
            "resources": resources,
        },
    }
    payload = json.dumps(statement).encode()
    envelope = dsse.sign(payload, oms.IN_TOTO, signer)
    bundle = {
        "mediaType": oms.MEDIA_TYPE,
        "verificationMaterial": dict(signer.material),
        "dsseEnvelope": {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": oms.IN_TOTO,
            "signatures": [{"sig": base64.b64encode(envelope.signatures[0].sig).decode(), "keyid": ""}],
        },
    }
    out.write_text(json.dumps(bundle))


def listed(bundle: Path) -> list[str]:
    """The names that a bundle lists, in its order."""
    envelope = json.loads(bundle.read_bytes())["dsseEnvelope"]
    payload = json.loads(base64.b64decode(envelope["payload"]))
    return [one["name"] for one in payload["predicate"]["resources"]]
