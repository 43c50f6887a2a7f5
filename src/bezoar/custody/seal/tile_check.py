"""Comparing stored tiles with the leaves that they are of, in one pass and in the memory of a few tiles."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from bezoar.custody.tlog.merkle import EMPTY_ROOT, HASH, node_hash
from bezoar.custody.tlog.storage import Storage
from bezoar.custody.tlog.tiles import TILE, read_tile, subtree_hash, tile_path
from bezoar.errors import InputError, VerificationError


class TileCheck:
    """Takes the leaf hashes of a tree in order and notes every stored tile that is `damaged`: its path, and why."""

    def __init__(self, storage: Storage) -> None:
        self.damaged: list[tuple[str, str]] = []
        self._storage = storage
        self._edges: list[bytearray] = [bytearray()]  # the unfinished tile of each level
        self._full: list[int] = [0]  # full tiles of each level

    def extend(self, leaves: Iterable[bytes]) -> None:
        """The next leaf hashes."""
        source = iter(leaves)
        while batch := list(islice(source, TILE - len(self._edges[0]) // HASH)):
            self._add(0, b"".join(batch))

    def finish(self) -> bytes:
        """Compare the partial tiles as well; the root of the tree of all leaves."""
        peaks: list[bytes] = []  # the roots of the perfect trees that make up the whole, from the left
        for level in reversed(range(len(self._edges))):
            edge = bytes(self._edges[level])
            if edge:
                self._compare(level, self._full[level], edge)
            for width in (128, 64, 32, 16, 8, 4, 2, 1):
                if len(edge) // HASH & width:
                    done = len(edge) // HASH & ~(2 * width - 1)
                    peaks.append(subtree_hash(edge[done * HASH : (done + width) * HASH]))
        if not peaks:
            return EMPTY_ROOT
        root = peaks.pop()
        while peaks:
            root = node_hash(peaks.pop(), root)
        return root

    def _add(self, level: int, hashes: bytes) -> None:
        if level == len(self._edges):
            self._edges.append(bytearray())
            self._full.append(0)
        edge = self._edges[level]
        edge += hashes
        if len(edge) == TILE * HASH:
            tile = bytes(edge)
            edge.clear()
            self._compare(level, self._full[level], tile)
            self._full[level] += 1
            self._add(level + 1, subtree_hash(tile))

    def _compare(self, level: int, index: int, tile: bytes) -> None:
        width = len(tile) // HASH
        path = tile_path(level, index, width)
        try:
            if read_tile(self._storage, level, index, width) != tile:
                self.damaged.append((path, "is not the tile of the manifest's rows; it was changed"))
        except (InputError, VerificationError) as error:
            self.damaged.append((path, str(error).removeprefix(f"{path}: ")))
