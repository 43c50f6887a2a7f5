"""Hashing a whole log anew, in one pass, and naming the part that is wrong.

The checkpoint is the only thing that is signed. The tree is computed from the entries up; where the entries and a tile
disagree, the tile above decides whose hashes go on, and in the end the root decides whether that was right. So an entry
is blamed where an entry was changed, and a tile where a tile was.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from bezoar.custody.tlog.checkpoint import Checkpoint
from bezoar.custody.tlog.entries import MAX_OBJECT, members_of, object_of, object_path, read_bundle
from bezoar.custody.tlog.merkle import EMPTY_ROOT, HASH, leaf_hash, tree_root
from bezoar.custody.tlog.storage import Storage
from bezoar.custody.tlog.tiles import TILE, read_tile, subtree_hash, tile_path
from bezoar.errors import BezoarError, InputError, VerificationError
from bezoar.progress import track

_GIVE_UP = 10_000  # problems; a checkpoint may claim any size

T = TypeVar("T")
Note = Callable[[str, str], None]  # where, what is wrong there


@dataclass(frozen=True)
class Counts:
    """What was hashed; `foreign` entries are no canonical JSON, so that they name no object."""

    tiles: int
    objects: int
    foreign: int


def check_tree(storage: Storage, checkpoint: Checkpoint, note: Note) -> Counts:
    """Hash entries, bundles, tiles and objects anew; whatever is not what `checkpoint` signs goes to `note`."""
    walk = _Walk(storage, checkpoint, note)
    with track("verify log", checkpoint.size) as bar:
        for index in range(-(-checkpoint.size // TILE)):
            width = min(TILE, checkpoint.size - index * TILE)
            walk.bundle(index, width)
            bar.advance(width)
            if walk.n_problems > _GIVE_UP:
                note("log", f"more than {_GIVE_UP:,} problems; the rest was not read")
                return walk.counts()
    walk.finish()
    return walk.counts()


class _Walk:
    """`edge[k]` holds the hashes of the unfinished tile of level k, or None once one of them cannot be known."""

    def __init__(self, storage: Storage, checkpoint: Checkpoint, note: Note) -> None:
        self.storage, self.checkpoint, self._note = storage, checkpoint, note
        self.edge: list[list[bytes]] = [[]]
        self.whole = True
        self.n_tiles = self.n_objects = self.n_foreign = self.n_problems = 0
        self._above: tuple[int, list[bytes]] = (-1, [])

    def counts(self) -> Counts:
        """What has been hashed so far."""
        return Counts(self.n_tiles, self.n_objects, self.n_foreign)

    def bundle(self, index: int, width: int) -> None:
        """Check a bundle, its level-0 tile and its objects, and carry their hashes up."""
        entries = self._noted(
            f"entries {index * TILE} to {index * TILE + width - 1}", read_bundle, index, width
        )
        own = [leaf_hash(entry) for entry in entries] if entries else None
        tile = self._tile(0, index, width)
        hashes = self._decide(index, own, tile)
        if hashes is None:
            self._carry_above(index, width)
            return
        for place, right in enumerate(hashes):
            number = index * TILE + place
            if tile and tile[place] != right:
                self.note(tile_path(0, index, width), f"holds a wrong hash of entry {number}")
            if own and own[place] != right:
                self.note(f"entry {number}", "its bytes are not those that the tree holds; it was changed")
            elif entries:
                self._object(number, entries[place])
        for each in hashes:
            self._carry(0, each)

    def finish(self) -> None:
        """Check the unfinished tiles above level 0, and the root."""
        for level, edge in enumerate(self.edge):
            if level and edge and self.whole:
                self._check_tile(level, (self.checkpoint.size >> 8 * level) // TILE, edge)
        if self.whole and (root := self._root_with(self.edge[0])) != self.checkpoint.root:
            signed, given = (base64.b64encode(each).decode() for each in (self.checkpoint.root, root))
            self.note(
                "checkpoint",
                f"signs the root {signed}, but the entries and tiles give {given}; one or the other was replaced",
            )

    def _decide(self, index: int, own: list[bytes] | None, tile: list[bytes] | None) -> list[bytes] | None:
        """The leaf hashes to go on with: those of the entries or those of the tile."""
        if own is None or tile is None or own == tile:
            return own or tile
        if len(own) == TILE:
            right = _root(own) == self._hash_above(index)
        else:
            right = self._root_with(own) == self.checkpoint.root
        return own if right else tile

    def _carry_above(self, index: int, width: int) -> None:
        """Neither entries nor tile can be read: go on with the hash of both in the tile above, if there is one."""
        above = self._hash_above(index) if width == TILE else None
        self.whole = self.whole and above is not None
        self._carry(1, above or b"")

    def _hash_above(self, index: int) -> bytes | None:
        """What the level-1 tile holds for the full tile `index`; its problems are noted when it is checked itself."""
        tile = index // TILE
        if self._above[0] != tile:
            width = min(TILE, self.checkpoint.size // TILE - tile * TILE)
            try:
                self._above = tile, _read_hashes(self.storage, 1, tile, width)
            except BezoarError:
                self._above = tile, []
        above = self._above[1]
        return above[index % TILE] if above else None

    def _carry(self, level: int, value: bytes) -> None:
        """Add a hash to the unfinished tile of a level; a tile that is full thereby is checked and carried on."""
        while len(self.edge) <= level:
            self.edge.append([])
        edge = self.edge[level]
        edge.append(value)
        if len(edge) == TILE:
            if level and self.whole:
                self._check_tile(level, self._finished(level), edge)
            self.edge[level] = []
            self._carry(level + 1, _root(edge))

    def _finished(self, level: int) -> int:
        """How many tiles of `level` have been carried on."""
        done = 0
        for edge in reversed(self.edge[level + 1 :]):
            done = done * TILE + len(edge)
        return done

    def _check_tile(self, level: int, index: int, right: Sequence[bytes]) -> None:
        for place, value in enumerate(self._tile(level, index, len(right)) or ()):
            if value != right[place]:
                below = tile_path(level - 1, index * TILE + place)
                self.note(tile_path(level, index, len(right)), f"holds a wrong hash of {below}")

    def _tile(self, level: int, index: int, width: int) -> list[bytes] | None:
        self.n_tiles += 1
        return self._noted(tile_path(level, index, width), _read_hashes, level, index, width)

    def _object(self, number: int, entry: bytes) -> None:
        members = members_of(entry)
        self.n_foreign += members is None
        named = object_of(members or {})
        if named is not None:
            self.n_objects += 1
            self._noted(object_path(named), _check_object, named, number)

    def _noted(self, where: str, read: Callable[..., T], *what: int | str) -> T | None:
        """`read(storage, *what)`; None, with a problem noted, when that is missing or damaged."""
        try:
            return read(self.storage, *what)
        except VerificationError as error:
            self._say(where, error)
        except InputError as error:
            if error.__cause__ is not None:  # a network or a disk that fails says nothing about the log
                raise
            self._say(where, error)
        return None

    def _say(self, where: str, error: BezoarError) -> None:
        self.note(where, str(error).removeprefix(f"{where}: "))

    def note(self, where: str, what: str) -> None:
        """Pass a problem on."""
        self.n_problems += 1
        self._note(where, what)

    def _root_with(self, last: list[bytes]) -> bytes:
        """The root of the tree whose unfinished tiles are `edge`, with `last` as that of level 0."""
        if self.checkpoint.size == 0:
            return EMPTY_ROOT
        edge = [last, *self.edge[1:]]

        def read(wanted: Sequence[tuple[int, int]]) -> list[bytes]:
            return [_root(_below(edge, level, index)) for level, index in wanted]

        return tree_root(self.checkpoint.size, read)


def _read_hashes(storage: Storage, level: int, index: int, width: int) -> list[bytes]:
    data = read_tile(storage, level, index, width)
    return [data[start : start + HASH] for start in range(0, len(data), HASH)]


def _check_object(storage: Storage, named: str, number: int) -> None:
    content = storage.read(object_path(named), MAX_OBJECT)
    if content is None:
        raise VerificationError(f"missing; entry {number} names it")
    if hashlib.sha256(content).hexdigest() != named:
        raise VerificationError(f"its bytes have another SHA-256 than its name; entry {number} names it")


def _below(edge: Sequence[Sequence[bytes]], level: int, index: int) -> Sequence[bytes]:
    """The hashes below a complete subtree that lies in the unfinished tile of its level."""
    tile_level, height = divmod(level, 8)
    start = (index << height) % TILE
    return edge[tile_level][start : start + (1 << height)]


def _root(hashes: Sequence[bytes]) -> bytes:
    return subtree_hash(b"".join(hashes))
