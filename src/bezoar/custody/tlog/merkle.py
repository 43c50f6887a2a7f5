"""Merkle trees of RFC 6962 (and RFC 9162): roots, inclusion and consistency proofs. Pure; SHA-256 throughout.

A tree is read through a `ReadHashes`: given (level, index) pairs it returns the hashes of the complete subtrees of 2^level leaves
that begin at leaf index * 2^level. What it returns is not trusted: only a verified proof under a signed root is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import TypeAlias

from bezoar.errors import UsageError, VerificationError

ReadHashes: TypeAlias = Callable[[Sequence[tuple[int, int]]], list[bytes]]

HASH = 32  # bytes of a hash
EMPTY_ROOT = hashlib.sha256(b"").digest()


def leaf_hash(data: bytes) -> bytes:
    """SHA-256 of 0x00 and the leaf's data."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256 of 0x01 and the hashes of two subtrees."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def tree_root(size: int, read: ReadHashes) -> bytes:
    """The root of the tree of the first `size` leaves; UsageError for a negative size."""
    if size < 0:
        raise UsageError(f"a tree of {size} leaves; the size is at least 0")
    return _fold(read(_cover(0, size))) if size else EMPTY_ROOT


def inclusion_proof(index: int, size: int, read: ReadHashes) -> list[bytes]:
    """The hashes from the leaf's sibling up to the root's child (RFC 6962, 2.1.1); UsageError unless 0 <= index < size."""
    if not 0 <= index < size:
        raise UsageError(f"no leaf {index} in a tree of {size}; leaves are numbered from 0")
    siblings = []
    low, high = 0, size
    while high - low > 1:
        middle = low + _split(high - low)
        if index < middle:
            siblings.append((middle, high))
            high = middle
        else:
            siblings.append((low, middle))
            low = middle
    return _hashes(siblings[::-1], read)


def consistency_proof(old: int, new: int, read: ReadHashes) -> list[bytes]:
    """The hashes that show that the tree of `new` leaves extends that of `old` (RFC 6962, 2.1.2).

    UsageError unless 1 <= old <= new: of the empty tree nothing is to be proved.
    """
    if not 1 <= old <= new:
        raise UsageError(f"no consistency proof from size {old} to {new}; give 1 <= old <= new")
    subtrees = []
    low, high = 0, new
    while high != old:
        middle = low + _split(high - low)
        if old <= middle:
            subtrees.append((middle, high))
            high = middle
        else:
            subtrees.append((low, middle))
            low = middle
    if low:  # else the old root itself is the first hash, and the verifier has it
        subtrees.append((low, high))
    return _hashes(subtrees[::-1], read)


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """VerificationError unless `proof` leads from the hash `leaf` of leaf `index` to the root of the tree of `size` leaves.

    The algorithm is that of RFC 9162, 2.1.3.2.
    """
    if not 0 <= index < size:
        raise VerificationError(f"inclusion proof: no leaf {index} in a tree of {size}")
    _check_lengths(leaf, root, *proof)
    place, last, value = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            raise VerificationError(
                f"inclusion proof: {len(proof)} hashes are too many for leaf {index} of {size}"
            )
        if place & 1 or place == last:
            value = node_hash(sibling, value)
            while not place & 1:
                place, last = place >> 1, last >> 1
        else:
            value = node_hash(value, sibling)
        place, last = place >> 1, last >> 1
    if last != 0:
        raise VerificationError(
            f"inclusion proof: {len(proof)} hashes are too few for leaf {index} of {size}"
        )
    if value != root:
        raise VerificationError(f"inclusion proof: leaf {index} is not in the tree of {size} with this root")


def verify_consistency(old: int, new: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]) -> None:
    """VerificationError unless `proof` shows that the tree of `new` leaves begins with all leaves of that of `old`.

    The algorithm is that of RFC 9162, 2.1.4.2; a proof from size 0 is an error.
    """
    if not 1 <= old <= new:
        raise VerificationError(f"consistency proof: nothing can be proved from size {old} to {new}")
    _check_lengths(old_root, new_root, *proof)
    if old == new:
        if proof or old_root != new_root:
            raise VerificationError(
                f"consistency proof: two trees of {old} leaves with different roots, or a proof too many"
            )
        return
    path = [old_root, *proof] if old & (old - 1) == 0 else list(proof)
    if not path:
        raise VerificationError(f"consistency proof: empty, from size {old} to {new}")
    place, last = old - 1, new - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    first = second = path[0]
    for value in path[1:]:
        if last == 0:
            raise VerificationError(
                f"consistency proof: {len(proof)} hashes are too many from size {old} to {new}"
            )
        if place & 1 or place == last:
            first, second = node_hash(value, first), node_hash(value, second)
            while place and not place & 1:
                place, last = place >> 1, last >> 1
        else:
            second = node_hash(second, value)
        place, last = place >> 1, last >> 1
    if last != 0:
        raise VerificationError(
            f"consistency proof: {len(proof)} hashes are too few from size {old} to {new}"
        )
    if first != old_root or second != new_root:
        raise VerificationError(f"consistency proof: the tree of {new} leaves does not extend that of {old}")


class Frontier:
    """A tree that only grows and only knows its root: the complete subtrees on its right edge, O(log n) hashes."""

    def __init__(self) -> None:
        self.size = 0
        self._edge: list[bytes] = []

    def append(self, leaf: bytes) -> None:
        """Add a leaf by its hash."""
        _check_hash(leaf)
        size, value = self.size, leaf
        while size & 1:
            value = node_hash(self._edge.pop(), value)
            size >>= 1
        self._edge.append(value)
        self.size += 1

    def root(self) -> bytes:
        """The root over all leaves so far."""
        return _fold(self._edge) if self._edge else EMPTY_ROOT


class MemoryTree:
    """A whole tree in memory, for small ones; `read` is a ReadHashes."""

    def __init__(self) -> None:
        self._levels: list[list[bytes]] = [[]]

    @property
    def size(self) -> int:
        """Leaves so far."""
        return len(self._levels[0])

    def append(self, leaf: bytes) -> None:
        """Add a leaf by its hash."""
        _check_hash(leaf)
        value = leaf
        for level in range(len(self._levels)):
            nodes = self._levels[level]
            nodes.append(value)
            if len(nodes) & 1:
                return
            value = node_hash(nodes[-2], value)
        self._levels.append([value])

    def read(self, wanted: Sequence[tuple[int, int]]) -> list[bytes]:
        """The hashes of complete subtrees; UsageError for one that the tree does not have."""
        for level, index in wanted:
            if not (0 <= level < len(self._levels) and 0 <= index < len(self._levels[level])):
                raise UsageError(
                    f"no complete subtree {index} at level {level} in a tree of {self.size} leaves"
                )
        return [self._levels[level][index] for level, index in wanted]

    def root(self, size: int | None = None) -> bytes:
        """The root of the first `size` leaves (default: all)."""
        return tree_root(self.size if size is None else size, self.read)


def _split(size: int) -> int:
    """The largest power of two below `size` (at least 2): how many leaves lie left of the root."""
    return 1 << ((size - 1).bit_length() - 1)


def _cover(low: int, high: int) -> list[tuple[int, int]]:
    """The complete subtrees, left to right, that make up the subtree over leaves low to high (excluded)."""
    cover = []
    while low < high:
        level = (high - low).bit_length() - 1
        cover.append((level, low >> level))
        low += 1 << level
    return cover


def _fold(hashes: Sequence[bytes]) -> bytes:
    """The hash over complete subtrees that shrink from left to right."""
    value = hashes[-1]
    for left in reversed(hashes[:-1]):
        value = node_hash(left, value)
    return value


def _hashes(subtrees: Sequence[tuple[int, int]], read: ReadHashes) -> list[bytes]:
    """The hashes of subtrees given as (low, high), with one call of `read` for all."""
    covers = [_cover(low, high) for low, high in subtrees]
    parts = iter(read([part for cover in covers for part in cover]))
    return [_fold([next(parts) for _ in cover]) for cover in covers]


def _check_hash(value: bytes) -> None:
    if len(value) != HASH:
        raise UsageError(f"a leaf hash of {len(value)} bytes; SHA-256 has {HASH}")


def _check_lengths(*hashes: bytes) -> None:
    if any(len(value) != HASH for value in hashes):
        raise VerificationError("proof: a hash is not 32 bytes long")
