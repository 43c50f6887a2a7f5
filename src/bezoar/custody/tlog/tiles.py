"""Trees stored as tiles (C2SP tlog-tiles): files of up to 256 consecutive hashes of every eighth level of the tree.

A tile of level L holds hashes of complete subtrees of 256^L leaves. Reading believes nothing: compare roots with signed ones.
Writing puts every file under a temporary name and renames it; whoever signs a checkpoint does it after `flush`, so that what a
crash leaves beyond the size that is signed is never read and is written anew.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from itertools import islice
from pathlib import Path

from bezoar.custody.tlog.durable import create
from bezoar.custody.tlog.merkle import HASH, consistency_proof, inclusion_proof, tree_root
from bezoar.custody.tlog.storage import Folder, Storage
from bezoar.custody.tlog.strict import MAX_INT
from bezoar.custody.tlog.tile_path import TILE, Tile, parse_tile_path, tile_path
from bezoar.errors import InputError, OutputError, UsageError, VerificationError

__all__ = [
    "TILE",
    "Tile",
    "TileTree",
    "TileWriter",
    "leaf_hashes",
    "parse_tile_path",
    "read_tile",
    "subtree_hash",
    "tile_path",
]

_HEIGHT = 8  # levels of the tree that a tile spans
_FULL = TILE * HASH  # bytes of a full tile
_CACHED = 2048  # tiles, 16 MiB
_MAX_PENDING = 4096  # files written but not yet known to be on the disk
_MANY = 32  # more files than this reach the disk faster by one sync of their file system than one by one


def read_tile(storage: Storage, level: int, index: int, width: int) -> bytes:
    """The first `width` hashes of a tile, one after the other; the full tile stands in for a partial one that is gone.

    VerificationError when neither is there, InputError when it has another length than its name says.
    """
    for stored in dict.fromkeys((width, TILE)):
        path = tile_path(level, index, stored)
        data = storage.read(path, TILE * HASH)
        if data is None:
            continue
        if len(data) != stored * HASH:
            raise InputError(
                f"{path}: has {len(data):,} bytes instead of {stored * HASH:,}; it was cut or filled up"
            )
        return data[: width * HASH]
    raise VerificationError(
        f"{tile_path(level, index, width)}: missing, although the tree has it; restore the file"
    )


def leaf_hashes(storage: Storage, size: int, start: int = 0) -> Iterator[bytes]:
    """The leaf hashes `start` to `size` (excluded) of the tree of `size` leaves, streamed from its tiles of level 0.

    Errors as `read_tile`; UsageError unless 0 <= start <= size.
    """
    if not 0 <= start <= size:
        raise UsageError(f"leaves from {start} asked for; the tree has {size}")
    for index in range(start // TILE, -(-size // TILE)):
        first = index * TILE
        data = read_tile(storage, 0, index, min(TILE, size - first))
        for place in range(max(start - first, 0) * HASH, len(data), HASH):
            yield data[place : place + HASH]


class TileTree:
    """The tree of the first `size` leaves, read from tiles on demand; the last 2,048 tiles read are kept in memory.

    Hashes come as the tiles have them: compare `root()` with a signed one, verify proofs. Errors as `read_tile`.
    """

    def __init__(self, storage: Storage, size: int) -> None:
        if not 0 <= size <= MAX_INT:
            raise UsageError(f"a tree of {size} leaves; the size is from 0 to 2^63 - 1")
        self.storage = storage
        self.size = size
        self._tile = lru_cache(_CACHED)(self._read_tile)

    def read(self, wanted: Sequence[tuple[int, int]]) -> list[bytes]:
        """The hashes of complete subtrees, given as (level, index); UsageError for one that is not within the tree."""
        return [self._hash(level, index) for level, index in wanted]

    def root(self) -> bytes:
        """The root that the tiles give."""
        return tree_root(self.size, self.read)

    def leaf(self, index: int) -> bytes:
        """The hash of leaf `index`."""
        return self._hash(0, index)

    def inclusion(self, index: int) -> list[bytes]:
        """The inclusion proof of leaf `index`."""
        return inclusion_proof(index, self.size, self.read)

    def consistency(self, old: int) -> list[bytes]:
        """The consistency proof from the tree of the first `old` leaves, 1 <= old <= size."""
        return consistency_proof(old, self.size, self.read)

    def _hash(self, level: int, index: int) -> bytes:
        if level < 0 or not 0 <= index < self.size >> level:
            raise UsageError(f"no complete subtree {index} at level {level} in a tree of {self.size} leaves")
        tile_level, height = divmod(level, _HEIGHT)
        tile, place = divmod(index << height, TILE)
        data = self._tile(tile_level, tile)
        return subtree_hash(data[place * HASH : (place + (1 << height)) * HASH])

    def _read_tile(self, level: int, index: int) -> bytes:
        width = min(TILE, (self.size >> _HEIGHT * level) - index * TILE)
        return read_tile(self.storage, level, index, width)


class TileWriter:
    """Appends leaf hashes to the tree of `size` leaves whose tiles lie in `folder`; one writer at a time.

    A tree that is resumed is believed: compare its root with a signed one first. Partial tiles are never removed.
    """

    def __init__(self, folder: Path, size: int = 0) -> None:
        self.folder = folder
        self.size = size
        self._edges: list[bytearray] = []  # the unfinished tile of each level
        self._full: list[int] = []  # full tiles of each level
        self._flushed = size
        self._pending: list[Path] = []
        self._folders: set[Path] = set()
        self._resume()

    def append(self, leaf: bytes) -> None:
        """Add a leaf by its hash."""
        if len(leaf) != HASH:
            raise UsageError(f"a leaf hash is not {HASH} bytes long")
        self.size += 1
        self._add(0, leaf)

    def extend(self, leaves: Iterable[bytes]) -> None:
        """Add many leaves by their hashes: the fast way."""
        source = iter(leaves)
        while batch := list(islice(source, TILE - len(self._edges[0]) // HASH)):
            if set(map(len, batch)) != {HASH}:
                raise UsageError(f"a leaf hash is not {HASH} bytes long")
            self.size += len(batch)
            self._add(0, b"".join(batch))

    def flush(self) -> None:
        """Write the partial tiles of the tree as it is now, and wait until all that was written is on the disk."""
        if self._flushed != self.size:
            for level, edge in enumerate(self._edges):
                if edge:
                    self._write(tile_path(level, self._full[level], len(edge) // HASH), bytes(edge))
            self._flushed = self.size
        self._sync()

    def _add(self, level: int, hashes: bytes) -> None:
        """Add hashes to a level; they fill its unfinished tile at most."""
        if level == len(self._edges):
            self._edges.append(bytearray())
            self._full.append(0)
        edge = self._edges[level]
        edge += hashes
        if len(edge) == _FULL:
            tile = bytes(edge)
            edge.clear()
            self._write(tile_path(level, self._full[level]), tile)
            self._full[level] += 1
            self._add(level + 1, subtree_hash(tile))

    def _resume(self) -> None:
        """Take up the unfinished tiles of the tree of `size` leaves; errors as `read_tile`."""
        storage, count = Folder(self.folder), self.size
        while count or not self._edges:
            full, width = divmod(count, TILE)
            edge = read_tile(storage, len(self._edges), full, width) if width else b""
            self._edges.append(bytearray(edge))
            self._full.append(full)
            count >>= _HEIGHT

    def _write(self, path: str, data: bytes) -> None:
        place = self.folder / path
        temporary = place.with_name(f".{place.name}.partial")
        with _as_output_error(place):
            if place.parent not in self._folders:
                self._make(place.parent)
            with create(temporary) as file:
                file.write(data)
            os.replace(temporary, place)
        self._pending.append(place)
        if len(self._pending) >= _MAX_PENDING:
            self._sync()

    def _make(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        if not folder.resolve().is_relative_to(self.folder.resolve()):
            raise OutputError(f"{folder}: a link that leads out of {self.folder}; remove it")
        self._folders.add(folder)

    def _sync(self) -> None:
        """Wait until all files written so far are on the disk, names and all."""
        parents = {place.parent for place in self._pending}
        with _as_output_error(self.folder):
            if len(self._pending) <= _MANY or not all(map(_sync_file_system, _one_each(parents))):
                above = {
                    each for parent in parents for each in parent.parents if each.is_relative_to(self.folder)
                }
                for place in (*self._pending, *parents, *above):
                    _sync_path(place)
        self._pending.clear()


def subtree_hash(hashes: bytes) -> bytes:
    """The hash over 1, 2, 4, ... or 256 hashes, given one after the other."""
    sha256 = hashlib.sha256
    while len(hashes) > HASH:
        hashes = b"".join(
            [sha256(b"\x01" + hashes[start : start + 64]).digest() for start in range(0, len(hashes), 64)]
        )
    return hashes


@contextmanager
def _as_output_error(place: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise OutputError(f"{place}: the disk is full; the tree stays as it was signed last") from error
        raise OutputError(f"{place}: cannot be written ({error.strerror or error})") from error


def _one_each(folders: Iterable[Path]) -> Iterable[Path]:
    """One folder of each file system that `folders` lie on."""
    return {folder.stat().st_dev: folder for folder in folders}.values()


def _sync_path(place: Path) -> None:
    handle = os.open(place, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sync_file_system(folder: Path) -> bool:
    """Write all of a file system to the disk, as fsync of every file on it would (Linux); False where there is no such call."""
    import ctypes

    syncfs = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
    if syncfs is None:
        return False
    handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if syncfs(handle) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    finally:
        os.close(handle)
    return True
