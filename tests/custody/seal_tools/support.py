"""Snapshots of made-up records on disk: a manifest and its tree, without any data behind them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bezoar.custody.seal.checking import Content
from bezoar.custody.seal.manifest import Manifest, ManifestWriter, Row, digests
from bezoar.custody.seal.snapshot import leaf_hashes
from bezoar.custody.tlog.keys import ed25519_signer
from bezoar.custody.tlog.note import NoteSigner
from bezoar.custody.tlog.storage import Folder, Storage
from bezoar.custody.tlog.tiles import TileTree, TileWriter

SOURCES = ("site", "url")
NAME = "example.org/datasets"


@dataclass
class Counting:
    """A storage that says how much was read."""

    inner: Storage
    reads: int = 0

    def read(self, path: str, limit: int) -> bytes | None:
        self.reads += 1
        return self.inner.read(path, limit)


class Snapshot:
    """What `bezoar.custody.seal.sealed.Sealed` asks for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.storage = Counting(Folder(folder))

    @cached_property
    def manifest(self) -> Manifest:
        return Manifest.open(self.folder / "manifest.parquet")

    @cached_property
    def tree(self) -> TileTree:
        return TileTree(self.storage, len(self.manifest))


def row(key: str, content: bytes | None = None, label: str | None = "cat", **source: str) -> Row:
    content = key.encode() if content is None else content
    return Row(key, hashlib.sha256(content).digest(), len(content), "image/png", label, source)


def numbered(count: int) -> list[Row]:
    """`count` records whose keys sort in the order of their numbers."""
    return [row(f"{n:07d}.png", label="cat" if n % 2 else "dog", site=f"s{n % 7}") for n in range(count)]


def changed(old: Row, content: bytes) -> Row:
    return replace(old, sha256=hashlib.sha256(content).digest(), size=len(content))


def snapshot(folder: Path, rows: Iterable[Row]) -> Snapshot:
    """A manifest and tiles in a new folder."""
    folder.mkdir()
    ordered = sorted(rows, key=lambda each: each.key)
    tiles = TileWriter(folder)
    with (folder / "manifest.parquet").open("xb") as file, ManifestWriter(file, SOURCES, {}) as writer:
        columns = [
            pa.array([each.key for each in ordered], pa.string()),
            digests(np.frombuffer(b"".join(each.sha256 for each in ordered), np.uint8).reshape(-1, 32)),
            pa.array([each.size for each in ordered], pa.int64()),
            pa.array([each.media_type for each in ordered], pa.string()),
            pa.array([each.label for each in ordered], pa.string()),
            *(pa.array([each.source.get(name) for each in ordered], pa.string()) for name in SOURCES),
        ]
        for batch in writer.write(columns):
            for digest in leaf_hashes(batch):
                tiles.append(digest)
    tiles.flush()
    return Snapshot(folder)


def signer(name: str = NAME, seed: int = 1) -> NoteSigner:
    """An Ed25519 key that is the same at every run."""
    return ed25519_signer(Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32), name)


def content(data: bytes) -> Content:
    return Content(hashlib.sha256(data).digest(), len(data))
