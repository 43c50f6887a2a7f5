"""What differs between a manifest and the records that are there, record by record; both are sorted by key."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bezoar.custody.seal.further import is_digest
from bezoar.custody.seal.manifest import digest_rows
from bezoar.custody.seal.snapshot import SOURCE

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from bezoar.custody.seal.records import Records


ASPECTS = (
    "content",
    "label",
    "source",
    "further",
)  # without `further`, digests among the sources are left out


@dataclass(frozen=True)
class Change:
    """One record or file that differs: what it was when it was sealed, and what it is now."""

    key: str
    was: str
    now: str


@dataclass(frozen=True)
class Differences:
    """`added` and `missing` keys in order; `changed` contents (SHA-256, hex), `relabelled`, `resourced` (sources).

    `renamed` are those of the missing whose content is there under an added key: (old key, new key).
    """

    added: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    changed: tuple[Change, ...] = ()
    relabelled: tuple[Change, ...] = ()
    resourced: tuple[Change, ...] = ()
    renamed: tuple[tuple[str, str], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.missing or self.changed or self.relabelled or self.resourced)


def compare_records(
    sealed: Iterable[pa.RecordBatch], there: Records, aspects: Collection[str] = ASPECTS
) -> Differences:
    """Differences between the rows of a manifest and the records that are `there`, in their keys and these aspects."""
    found = _Found(aspects)
    keys = _Sorted(there.keys)
    place = 0
    for batch in sealed:
        stop = bisect_right(keys, batch.column("key")[-1].as_py(), place)
        found.compare(batch, _slice(there, place, stop))
        place = stop
    found.add(_slice(there, place, len(there)))
    return found.differences()


def compare_some(
    sealed: Iterable[pa.RecordBatch], there: Records, aspects: Collection[str] = ASPECTS
) -> Differences:
    """As `compare_records`, but of a manifest's rows only those whose keys are `there`."""
    import pyarrow.compute as pc

    parts = (batch.filter(pc.is_in(batch.column("key"), there.keys)) for batch in sealed)
    return compare_records((part for part in parts if part.num_rows), there, aspects)


def compare_files(sealed: Iterable[tuple[str, bytes]], there: Iterable[tuple[str, bytes]]) -> Differences:
    """Differences between two lists of files, each sorted by name."""
    added: list[str] = []
    missing: list[str] = []
    changed: list[Change] = []
    one, two = iter(sealed), iter(there)
    was, now = next(one, None), next(two, None)
    while was is not None or now is not None:
        if now is None or (was is not None and was[0] < now[0]):
            missing.append(was[0])  # type: ignore[index]  # one of the two is there
            was = next(one, None)
        elif was is None or now[0] < was[0]:
            added.append(now[0])
            now = next(two, None)
        else:
            if was[1] != now[1]:
                changed.append(Change(was[0], was[1].hex(), now[1].hex()))
            was, now = next(one, None), next(two, None)
    return Differences(tuple(added), tuple(missing), tuple(changed))


@dataclass(frozen=True)
class _Part:
    """Some consecutive records that are there."""

    keys: pa.Array
    sha256: NDArray[np.uint8]
    sizes: NDArray[np.int64]
    labels: pa.Array
    sources: Mapping[str, pa.Array]

    def take(self, places: pa.Array) -> _Part:
        rows = places.to_numpy()
        sources = {name: column.take(places) for name, column in self.sources.items()}
        return _Part(
            self.keys.take(places), self.sha256[rows], self.sizes[rows], self.labels.take(places), sources
        )


class _Found:
    def __init__(self, aspects: Collection[str]) -> None:
        self.aspects = aspects
        self.added: dict[str, bytes] = {}
        self.missing: dict[str, bytes] = {}
        self.changed: list[Change] = []
        self.relabelled: list[Change] = []
        self.resourced: list[Change] = []

    def differences(self) -> Differences:
        return Differences(
            tuple(self.added),
            tuple(self.missing),
            tuple(self.changed),
            tuple(self.relabelled),
            tuple(self.resourced),
            tuple(self._renamed()),
        )

    def add(self, part: _Part) -> None:
        """Note records that were not sealed."""
        self.added.update(zip(part.keys.to_pylist(), map(bytes, part.sha256), strict=True))

    def _renamed(self) -> Iterator[tuple[str, str]]:
        """Each missing record with the added one that has its content, taken in order."""
        new: dict[bytes, list[str]] = {}
        for key, digest in reversed(self.added.items()):
            new.setdefault(digest, []).append(key)
        for key, digest in self.missing.items():
            if places := new.get(digest):
                yield key, places.pop()

    def compare(self, batch: pa.RecordBatch, part: _Part) -> None:
        """Note how `part`, the records with the keys of this batch and those between, differs from it."""
        import pyarrow as pa
        import pyarrow.compute as pc

        keys = batch.column("key")
        if not keys.equals(part.keys):
            places = pc.index_in(keys, part.keys)
            gone = batch.filter(places.is_null())
            self.missing.update(
                zip(gone.column("key").to_pylist(), gone.column("sha256").to_pylist(), strict=True)
            )
            new = pc.invert(pc.is_in(part.keys, keys))
            self.add(part.take(pc.indices_nonzero(new).cast(pa.int64())))
            batch = batch.filter(places.is_valid())
            part = part.take(places.drop_null())
        if "content" in self.aspects:
            self._contents(batch, part)
        if "label" in self.aspects:
            self._labels(batch, part)
        if "source" in self.aspects or "further" in self.aspects:
            self._sources(batch, part)

    def _contents(self, batch: pa.RecordBatch, part: _Part) -> None:
        import numpy as np

        was = digest_rows(batch.column("sha256"))
        same = (was == part.sha256).all(axis=1) & (batch.column("size").to_numpy() == part.sizes)
        for row in np.flatnonzero(~same).tolist():
            key = part.keys[row].as_py()
            self.changed.append(Change(key, was[row].tobytes().hex(), part.sha256[row].tobytes().hex()))

    def _labels(self, batch: pa.RecordBatch, part: _Part) -> None:
        for row, was, now in _unequal(batch.column("label"), part.labels):
            self.relabelled.append(Change(part.keys[row].as_py(), _shown(was), _shown(now)))

    def _sources(self, batch: pa.RecordBatch, part: _Part) -> None:
        import pyarrow as pa

        stated = {n.removeprefix(SOURCE): batch.column(n) for n in batch.schema.names if n.startswith(SOURCE)}
        changes: dict[int, list[tuple[str, str, str]]] = {}
        none = pa.nulls(len(part.keys), pa.string())
        for name in [*stated, *(name for name in part.sources if name not in stated)]:
            if ("further" if is_digest(name) else "source") not in self.aspects:
                continue
            for row, was, now in _unequal(stated.get(name, none), part.sources.get(name, none)):
                changes.setdefault(row, []).append((name, _shown(was), _shown(now)))
        for row, values in sorted(changes.items()):
            was, now = (", ".join(f"{value[0]}={value[i]}" for value in values) for i in (1, 2))
            self.resourced.append(Change(part.keys[row].as_py(), was, now))


def _unequal(was: pa.Array, now: pa.Array) -> Iterator[tuple[int, str | None, str | None]]:
    """Rows in which two text columns differ, with both texts; null equals null only."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    now = now.cast(pa.string()) if pa.types.is_dictionary(now.type) else now
    if was.equals(now):
        return
    equal = pc.or_(pc.fill_null(pc.equal(was, now), False), pc.and_(pc.is_null(was), pc.is_null(now)))
    for row in np.flatnonzero(~equal.to_numpy(zero_copy_only=False)).tolist():
        yield row, was[row].as_py(), now[row].as_py()


def _shown(text: str | None) -> str:
    return "(none)" if text is None else text


def _slice(there: Records, start: int, stop: int) -> _Part:
    count = stop - start
    sources = {name: column.slice(start, count) for name, column in there.sources.items()}
    labels = there.labels.slice(start, count)
    return _Part(
        there.keys.slice(start, count), there.sha256[start:stop], there.sizes[start:stop], labels, sources
    )


class _Sorted:
    """A sorted Arrow array of texts as a sequence that `bisect` can search."""

    def __init__(self, keys: pa.Array) -> None:
        self._keys = keys

    def __len__(self) -> int:
        return len(self._keys)

    def __getitem__(self, index: int) -> str:
        text: str = self._keys[index].as_py()
        return text
