"""Verifying a folder or file against a bare OpenSSF Model Signing bundle, as `model_signing` writes it: files only.

Files are hashed whole or in shards, with SHA-256 or BLAKE2b, as the signed statement says. What the statement ignores is
ignored, and so is the signature itself; every other file that it does not list is reported.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bezoar.custody.seal.comparing import Change, Differences
from bezoar.custody.seal.hashing import hash_tree
from bezoar.custody.seal.layout import dataset_path
from bezoar.custody.seal.verification import Verification, noted, unsigned
from bezoar.custody.seal.verifying import signed_by
from bezoar.custody.seal.walk import open_files
from bezoar.custody.signing.oms import (
    MAX_BUNDLE_BYTES,
    SignedTree,
    hash_name,
    parse_shard,
    read_bundle,
)
from bezoar.errors import InputError
from bezoar.files import read_file

if TYPE_CHECKING:
    from bezoar.custody.signing.signers import Verifier

_BLOCK = 1 << 20
_HASHES = {"sha256": hashlib.sha256, "blake2b": hashlib.blake2b, "blake2": hashlib.blake2b}

Parts = Mapping[
    tuple[int, int], bytes
]  # digests of the parts of a file, by first byte and end; (0, -1) is the whole


def verify_signature(
    path: str | Path,
    signature: str | Path,
    verifier: Verifier | Sequence[Verifier] | None,
    *,
    strict: bool = False,
) -> Verification:
    """Verify the files at `path` against the bundle in the file `signature`; the files stand for records in the result.

    `verifier`: whom to trust (any one of several); None: nobody, and the result is not valid. `strict` reports files that the
    signature leaves out. Raises InputError when something is missing or malformed, or hashed in a way that is not known here.
    """
    root = dataset_path(path)
    problems: list[str] = []
    signer, tree = signed_by(
        read_bundle(read_file(signature, MAX_BUNDLE_BYTES), str(signature)),
        verifier,
        str(signature),
        problems,
    )
    ignored = {*tree.serialization["ignore_paths"], *_within(root, Path(signature))}
    sealed, there = _stated(tree), _found(root, tree, ignored, problems)
    if tree.serialization["method"] == "shards":
        empty = [name for name, parts in there.items() if not parts and name not in sealed]
        for name in empty:
            del there[name]
        if strict:
            problems += [
                f"{name}: is empty, and a signature of shards says nothing of empty files" for name in empty
            ]
    if strict:
        problems += unsigned(root, tree.serialization["ignore_paths"])
    return Verification(
        name=tree.name,
        root="",
        signer=signer,
        records=len(sealed),
        checked=len(sealed),
        differences=_compare(sealed, there),
        problems=tuple(problems),
    )


def _within(root: Path, signature: Path) -> list[str]:
    """The signature's relative path, if it lies in the tree."""
    real, tree = signature.resolve(), root.resolve()
    return [real.relative_to(tree).as_posix()] if real != tree and real.is_relative_to(tree) else []


def _stated(tree: SignedTree) -> dict[str, Parts]:
    """The signed parts of each file."""
    files: dict[str, dict[tuple[int, int], bytes]] = {}
    for resource in tree.resources:
        if tree.serialization["method"] == "shards":
            shard = parse_shard(resource.name)
            files.setdefault(shard.path, {})[shard.start, shard.end] = resource.digest
        else:
            files[resource.name] = {(0, -1): resource.digest}
    return files  # type: ignore[return-value]  # a dict of dicts is a dict of mappings


def _found(root: Path, tree: SignedTree, ignored: set[str], problems: list[str]) -> dict[str, Parts]:
    """The parts of each file that is there, hashed in the way of the signature."""
    kind = hash_name(tree.serialization["hash_type"])
    if kind not in _HASHES:
        raise InputError(
            f"{root}: was signed with {kind}, which this machine cannot compute; sign it with sha256"
        )
    size = tree.serialization.get("shard_size", 0)
    if kind == "sha256" and not size:
        files = hash_tree(root, ignored=ignored, on_refused=noted(problems))
        return {path: {(0, -1): digest} for path, digest in files.digest_of_each()}
    opened = open_files(root, ignored=ignored, on_refused=noted(problems))
    return {path: _hash_parts(handle, _HASHES[kind], size) for path, handle in opened}


def _hash_parts(handle: int, make: Any, size: int) -> Parts:
    """The digests of a file's shards of `size` bytes, or of the whole file where `size` is 0."""
    parts: dict[tuple[int, int], bytes] = {}
    start = 0
    while True:
        total, end = make(), start
        while block := os.read(handle, min(_BLOCK, start + size - end) if size else _BLOCK):
            total.update(block)
            end += len(block)
            if size and end - start == size:
                break
        if not size:
            return {(0, -1): total.digest()}
        if end == start:
            return parts
        parts[start, end] = total.digest()
        start = end


def _compare(sealed: Mapping[str, Parts], there: Mapping[str, Parts]) -> Differences:
    changed = [
        Change(name, *_first_difference(sealed[name], there[name]))
        for name in sorted(sealed.keys() & there.keys())
        if sealed[name] != there[name]
    ]
    return Differences(
        added=tuple(sorted(there.keys() - sealed.keys())),
        missing=tuple(sorted(sealed.keys() - there.keys())),
        changed=tuple(changed),
    )


def _first_difference(was: Parts, now: Parts) -> tuple[str, str]:
    """The first part that differs, as it was and as it is."""
    place = next(place for place in sorted({*was, *now}) if was.get(place) != now.get(place))
    return _shown(place, was), _shown(place, now)


def _shown(place: tuple[int, int], parts: Parts) -> str:
    digest = parts[place].hex() if place in parts else "(none)"
    return digest if place == (0, -1) else f"bytes {place[0]}-{place[1]}: {digest}"
