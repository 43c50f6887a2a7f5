"""Bare bundles over files: whole and in shards, SHA-256 and BLAKE2b, what is ignored and what is reported."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bezoar.custody.seal.plain import verify_signature
from bezoar.custody.seal.sealing import seal
from bezoar.custody.signing.oms import Resource, SignedTree, root_of, sign_tree
from bezoar.errors import InputError
from custody.seal.support import SIGNER, STRANGER, VERIFIER, flip, keys, plain_file

FILES = {"a:b.bin": bytes(range(250)), "deep/c.bin": b"x" * 200, "empty": b"", "z.bin": b"zz"}
IGNORED = [".git", ".gitattributes", ".github", ".gitignore"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, content in FILES.items():
        (tmp_path / "model" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "model" / name).write_bytes(content)
    return tmp_path / "model"


def bundle(kind: str = "sha256", shard_size: int = 0, ignored: list[str] = IGNORED) -> bytes:
    make: Callable[[bytes], Any] = getattr(hashlib, kind)
    if shard_size:
        parts = {
            f"{name}:{start}:{min(start + shard_size, len(data))}": data[start : start + shard_size]
            for name, data in FILES.items()
            for start in range(0, len(data), shard_size)
        }
    else:
        parts = dict(FILES)
    resources = [Resource(name, make(data).digest(), kind) for name, data in sorted(parts.items())]
    serialization = {"method": "files", "hash_type": kind, "allow_symlinks": False, "ignore_paths": ignored}
    if shard_size:
        serialization |= {"method": "shards", "shard_size": shard_size}
    return sign_tree(
        SignedTree("model", root_of(r.digest for r in resources), resources, serialization), SIGNER
    )


KINDS = [("sha256", 0), ("blake2b", 0), ("sha256", 100), ("blake2b", 100), ("sha256", 250)]


@pytest.mark.parametrize(("kind", "shard_size"), KINDS)
def test_every_kind_of_bundle(folder: Path, kind: str, shard_size: int) -> None:
    signature = folder / "model.sig"
    signature.write_bytes(bundle(kind, shard_size))
    result = verify_signature(folder, signature, VERIFIER)
    assert result.valid
    assert result.signer == "maker"
    for name in ("a:b.bin", "deep/c.bin", "z.bin"):
        flip(folder / name)
        result = verify_signature(folder, signature, VERIFIER)
        assert keys(result.changed) == [name]
        flip(folder / name)
    with (folder / "z.bin").open("ab") as file:
        file.write(b"more")
    assert keys(verify_signature(folder, signature, VERIFIER).changed) == ["z.bin"]
    (folder / "z.bin").unlink()
    assert verify_signature(folder, signature, VERIFIER).missing == ("z.bin",)
    (folder / "new").write_bytes(b"new")
    assert verify_signature(folder, signature, VERIFIER).added == ("new",)
    assert not verify_signature(folder, signature, VERIFIER).valid


def test_a_shard_is_named_by_its_bytes(folder: Path) -> None:
    (folder / "model.sig").write_bytes(bundle(shard_size=100))
    flip(folder / "a:b.bin", 130)
    changed = verify_signature(folder, folder / "model.sig", VERIFIER).changed
    assert [(one.key, one.was.partition(": ")[0]) for one in changed] == [("a:b.bin", "bytes 100-200")]


def test_a_cut_file_lacks_its_last_shard(folder: Path) -> None:
    (folder / "model.sig").write_bytes(bundle(shard_size=100))
    (folder / "deep" / "c.bin").write_bytes(b"x" * 100)
    changed = verify_signature(folder, folder / "model.sig", VERIFIER).changed
    assert [(one.key, one.now) for one in changed] == [("deep/c.bin", "bytes 100-200: (none)")]


def test_empty_files_have_no_shards(folder: Path) -> None:
    (folder / "model.sig").write_bytes(bundle(shard_size=100))
    (folder / "also empty").write_bytes(b"")
    assert verify_signature(folder, folder / "model.sig", VERIFIER).valid
    strict = verify_signature(folder, folder / "model.sig", VERIFIER, strict=True)
    assert [problem.partition(":")[0] for problem in strict.problems] == ["also empty", "empty"]


def test_what_is_ignored(folder: Path) -> None:
    signature = folder.parent / "elsewhere.sig"
    signature.write_bytes(bundle(ignored=[*IGNORED, "cache/tmp"]))
    for name in (".github/x", "cache/tmp/x", ".gitignore"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x")
    assert verify_signature(folder, signature, VERIFIER).valid
    strict = verify_signature(folder, signature, VERIFIER, strict=True)
    assert [problem.partition(":")[0] for problem in strict.problems] == [
        ".github/x",
        ".gitignore",
        "cache/tmp/x",
    ]
    (folder / "cache" / "other").write_text("x")
    assert verify_signature(folder, signature, VERIFIER).added == ("cache/other",)


def test_nobody_and_a_stranger(folder: Path) -> None:
    signature = folder / "model.sig"
    signature.write_bytes(bundle())
    nobody = verify_signature(folder, signature, None)
    assert nobody.matches
    assert not nobody.valid
    from bezoar.custody.signing.signers import KeyVerifier

    stranger = verify_signature(folder, signature, KeyVerifier(STRANGER.public_key, "stranger"))
    assert "the signature is not by stranger" in stranger.problems[0]
    assert not stranger.valid


def test_links_are_not_followed(folder: Path) -> None:
    (folder / "model.sig").write_bytes(bundle())
    (folder / "z.bin").rename(folder.parent / "z.bin")
    (folder / "z.bin").symlink_to(folder.parent / "z.bin")
    result = verify_signature(folder, folder / "model.sig", VERIFIER)
    assert result.missing == ("z.bin",)
    assert "z.bin: is a symbolic link" in result.problems[0]


def test_the_bundle_of_a_seal_is_a_bare_bundle_too(folder: Path, tmp_path: Path) -> None:
    for path in (folder, plain_file(tmp_path / "one.bin")):
        made = seal(path, SIGNER)
        assert verify_signature(path, Path(made.location, "bundle.sig"), VERIFIER).valid


def test_a_hash_that_is_not_known(folder: Path) -> None:
    resources = [Resource(name, bytes(32), "blake3") for name in sorted(FILES)]
    serialization = {"method": "files", "hash_type": "blake3", "allow_symlinks": False, "ignore_paths": []}
    tree = SignedTree("model", root_of(r.digest for r in resources), resources, serialization)
    (folder / "model.sig").write_bytes(sign_tree(tree, SIGNER))
    with pytest.raises(InputError, match="blake3"):
        verify_signature(folder, folder / "model.sig", VERIFIER)
    with pytest.raises(InputError, match="no such file"):
        verify_signature(folder, folder / "nowhere.sig", VERIFIER)
