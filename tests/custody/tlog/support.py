"""A second, naive implementation of RFC 6962 to test against, and keys, notes and trees that are the same in every run."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

from bezoar.custody.tlog.checkpoint import Checkpoint
from bezoar.custody.tlog.keys import cosigner, ed25519_signer
from bezoar.custody.tlog.merkle import MemoryTree, leaf_hash
from bezoar.custody.tlog.note import NoteSigner, sign_note
from bezoar.custody.tlog.tiles import TileWriter

VECTORS = Path(__file__).parents[2] / "vectors" / "tlog"
ORIGIN = "example.com/log"
NOW = 1_795_564_800  # 2026-11-25T00:00:00Z


def mth(leaves: Sequence[bytes]) -> bytes:
    """MTH of RFC 6962, 2.1, word for word; `leaves` are the data."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    k = split(len(leaves))
    return hashlib.sha256(b"\x01" + mth(leaves[:k]) + mth(leaves[k:])).digest()


def path(m: int, leaves: Sequence[bytes]) -> list[bytes]:
    """PATH of RFC 6962, 2.1.1."""
    if len(leaves) == 1:
        return []
    k = split(len(leaves))
    if m < k:
        return [*path(m, leaves[:k]), mth(leaves[k:])]
    return [*path(m - k, leaves[k:]), mth(leaves[:k])]


def subproof(m: int, leaves: Sequence[bytes], whole: bool) -> list[bytes]:
    """SUBPROOF of RFC 6962, 2.1.2; PROOF(m, D) is subproof(m, D, True)."""
    if m == len(leaves):
        return [] if whole else [mth(leaves)]
    k = split(len(leaves))
    if m <= k:
        return [*subproof(m, leaves[:k], whole), mth(leaves[k:])]
    return [*subproof(m - k, leaves[k:], False), mth(leaves[:k])]


def split(n: int) -> int:
    k = 1
    while k * 2 < n:
        k *= 2
    return k


def leaf_data(count: int) -> list[bytes]:
    return [b"leaf %d" % number for number in range(count)]


def hashes_of(count: int) -> list[bytes]:
    return [leaf_hash(data) for data in leaf_data(count)]


def memory_tree(hashes: Sequence[bytes]) -> MemoryTree:
    tree = MemoryTree()
    for each in hashes:
        tree.append(each)
    return tree


def write_tiles(folder: Path, hashes: Sequence[bytes]) -> None:
    writer = TileWriter(folder)
    writer.extend(hashes)
    writer.flush()


def ed25519_key(number: int) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32)


def mldsa_key(number: int) -> MLDSA44PrivateKey:
    return MLDSA44PrivateKey.from_seed_bytes(bytes([number]) * 32)


def log_signer(name: str = ORIGIN, number: int = 1) -> NoteSigner:
    return ed25519_signer(ed25519_key(number), name)


def witness(number: int, time: int = NOW) -> NoteSigner:
    """Witness 1, 2, … is `w1.example`, `w2.example`, …; those with even numbers have ML-DSA-44 keys."""
    key = mldsa_key(number) if number % 2 == 0 else ed25519_key(100 + number)
    return cosigner(key, f"w{number}.example", lambda: time)


def checkpoint_of(tree: MemoryTree, *cosigners: NoteSigner, signer: NoteSigner | None = None) -> bytes:
    """The signed and cosigned checkpoint of a tree."""
    signer = signer or log_signer()
    body = Checkpoint(signer.name, tree.size, tree.root()).body()
    return sign_note(body, signer, *cosigners).to_bytes()
