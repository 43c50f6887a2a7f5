"""What changed between two sealed snapshots, from their trees and manifests.

Where a record has the same place in both snapshots, equal subtrees are skipped from the top down, 256 times as many records
per level: changes in place cost time in proportion to their number (times the height of the tree). Records that come or go
shift the places of all that follow. From there on leaf hashes are compared one tile after the other, 32 bytes a record, until
the places agree again (as many came as went): that is time in proportion to the snapshots, in bounded memory. Rows of the
manifests are read only where hashes differ; both are read whole only when every record differs.

The trees and manifests are taken as they are, except that a row that is read must have the hash that its tree says;
`bezoar verify` tells whether they are what was signed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from bezoar.custody.seal.manifest import Row
from bezoar.custody.seal.sealed import Sealed
from bezoar.custody.tlog.merkle import HASH, leaf_hash
from bezoar.custody.tlog.tiles import TILE, read_tile
from bezoar.errors import InputError, VerificationError

_MAX_LABELS = 10_000  # counted each by itself
_MAX_WINDOW = 1024  # rows decoded at a time


class Kind(StrEnum):
    """What happened to a record. `Difference.aspects` says in full what differs."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"  # other content, same label
    RELABELLED = "relabelled"  # other label, same content
    BOTH = "both"  # other content and other label
    RESOURCED = "resourced"  # other source columns only


@dataclass(frozen=True)
class Difference:
    """One record before and after; None where the snapshot does not have it."""

    before: Row | None
    after: Row | None

    @property
    def key(self) -> str:
        """The record's key."""
        known = self.before or self.after
        return known.key if known else ""

    @property
    def aspects(self) -> tuple[str, ...]:
        """Of a record in both snapshots: which of content, label and source differ."""
        old, new = self.before, self.after
        if old is None or new is None:
            return ()
        differs = {
            "content": (old.sha256, old.size) != (new.sha256, new.size),
            "label": old.label != new.label,
            "source": dict(old.source) != dict(new.source),
        }
        return tuple(name for name, here in differs.items() if here)

    @property
    def kind(self) -> Kind:
        """Added, removed, or the most important of the aspects."""
        if self.before is None:
            return Kind.ADDED
        if self.after is None:
            return Kind.REMOVED
        content, label = "content" in self.aspects, "label" in self.aspects
        if content and label:
            return Kind.BOTH
        if content:
            return Kind.CHANGED
        return Kind.RELABELLED if label else Kind.RESOURCED


@dataclass
class Counts:
    """How many differences there are, by kind and by label.

    `labels` counts a record under its label (None: none), with a pair `(label before, label after)` for one that was
    relabelled. At most 10,000 labels are told apart; `further` counts the differences of the others.
    """

    kinds: Counter[Kind] = field(default_factory=Counter)
    labels: dict[tuple[str | None, str | None], Counter[Kind]] = field(default_factory=dict)
    further: int = 0

    def add(self, difference: Difference) -> None:
        """Count one difference."""
        kind = difference.kind
        self.kinds[kind] += 1
        old, new = difference.before or difference.after, difference.after or difference.before
        pair = (old.label if old else None, new.label if new else None)
        if pair in self.labels or len(self.labels) < _MAX_LABELS:
            self.labels.setdefault(pair, Counter())[kind] += 1
        else:
            self.further += 1

    @property
    def total(self) -> int:
        """All differences."""
        return self.kinds.total()


def differences(before: Sealed, after: Sealed) -> Iterator[Difference]:
    """The records that differ, in the order of their keys; none when the snapshots' roots are equal.

    InputError or VerificationError when a tree or manifest turns out to be damaged or when they do not belong together.
    """
    old, new = _Side(before), _Side(after)
    i = j = 0  # all before record i of the old and record j of the new snapshot is dealt with
    while i < old.size and j < new.size:
        if same := _equal_records(old, i, new, j):
            i, j = i + same, j + same
            continue
        row, other = old.row(i), new.row(j)
        if row.key == other.key:
            yield Difference(row, other)
        elif row.key < other.key:
            yield Difference(row, None)
        else:
            yield Difference(None, other)
        i += row.key <= other.key
        j += other.key <= row.key
    for place in range(i, old.size):
        yield Difference(old.row(place), None)
    for place in range(j, new.size):
        yield Difference(None, new.row(place))


def _equal_records(old: _Side, i: int, new: _Side, j: int) -> int:
    """A number of records from `i` and from `j` on that are equal for certain; 0 when the first ones differ."""
    level, step = 0, TILE
    while i % step == j % step == 0 and i + step <= old.size and j + step <= new.size:
        level, step = level + 1, step * TILE
    for height in range(level, -1, -1):
        step //= TILE  # records below one hash of this level
        if equal := _common(old.hashes(height, i // step), new.hashes(height, j // step)):
            return equal * step
    return 0


def _common(one: bytes, other: bytes) -> int:
    """How many hashes two runs of hashes have in common from their beginning."""
    size = min(len(one), len(other))
    if one[:size] == other[:size]:
        return size // HASH
    return next(
        n for n in range(size // HASH) if one[n * HASH : (n + 1) * HASH] != other[n * HASH : (n + 1) * HASH]
    )


class _Side:
    """One snapshot, read from front to back: the last tile of every level, the last batch of rows."""

    def __init__(self, sealed: Sealed) -> None:
        self._manifest, self._tree = sealed.manifest, sealed.tree
        self.size = len(self._manifest)
        if self._tree.size != self.size:
            raise InputError(
                f"{self._manifest.where}: {self.size:,} rows, but the tree is of {self._tree.size:,} leaves"
            )
        self._tiles: dict[int, tuple[int, bytes]] = {}
        self._batches = self._manifest.batches()
        self._span = range(0)  # the rows in `_batch`, the last of them that was read
        self._rows: list[Row] = []  # some of them, from `_first` on
        self._first, self._window = 0, 1

    def hashes(self, level: int, index: int) -> bytes:
        """The hashes of this level from `index` to the end of its tile."""
        number, place = divmod(index, TILE)
        if self._tiles.get(level, (-1, b""))[0] != number:
            width = min(TILE, self.size // TILE**level - number * TILE)
            self._tiles[level] = (number, read_tile(self._tree.storage, level, number, width))
        return self._tiles[level][1][place * HASH :]

    def row(self, index: int) -> Row:
        """One row; VerificationError when the tree has another leaf in its place."""
        if not self._first <= index < self._first + len(self._rows):
            self._read(index)
        row = self._rows[index - self._first]
        if leaf_hash(row.leaf()) != self.hashes(0, index)[:HASH]:
            raise VerificationError(
                f"{self._manifest.where}: row {index} is not the leaf that the tree has; `bezoar verify` says more"
            )
        return row

    def _read(self, index: int) -> None:
        """Decode rows from `index` on: one at a time, more as long as all of them are asked for."""
        in_turn = index == self._first + len(self._rows)
        self._window = min(2 * self._window, _MAX_WINDOW) if in_turn else 1
        if index not in self._span:
            if index != self._span.stop:
                self._batches = self._manifest.batches(index)
            batch = next(self._batches, None)
            if batch is None:
                raise InputError(
                    f"{self._manifest.where}: has fewer rows than its footer says; it is damaged"
                )
            self._batch, self._span = batch, range(index, index + batch.num_rows)
        rows = self._batch.slice(index - self._span.start, self._window)
        self._first, self._rows = index, list(self._manifest.rows_of(rows))
