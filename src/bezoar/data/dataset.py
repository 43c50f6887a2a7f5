"""The two nouns that every other package works with: `Record` (one sample) and `Dataset` (many, read lazily).

A dataset keeps what is small (keys, labels, other columns) in Arrow and NumPy arrays, and reads what is large
(the content bytes) on demand through its format's `Reader`. Selecting and changing records makes a new,
equally lazy dataset; the bytes of untouched records are never rewritten.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from bezoar.errors import InputError, UsageError

Modality = Literal["image", "text"]
NO_LABEL = -1


class Reader(Protocol):
    """What a format provides: the content bytes of its rows."""

    def read(self, rows: NDArray[np.int64]) -> Iterator[bytes]:
        """Content of `rows` (row numbers as the format counts them), in the order given.

        Ascending order is fast; any order is right. A row whose content cannot be read yields b"" (it is then
        reported as unreadable, never dropped).
        """
        ...


@runtime_checkable
class FurtherReader(Protocol):
    """A `Reader` of records that have more than content, label and `columns`."""

    def further(self, rows: NDArray[np.int64]) -> Iterator[Mapping[str, Any]]:
        """The rest of `rows` by name, in the order given: other files of a sample, columns too large for memory.

        Bytes, an iterator over the pieces of a file (to be read before the next row is asked for), or else the
        plain Python value of a nested column; what a row does not have, or is null, is left out.
        """
        ...


@dataclass(frozen=True, slots=True)
class Record:
    """One sample: `key` is unique and stable, `content` the original bytes, `label` an index into the
    dataset's `label_names` (None where there is no label), `source` the remaining columns of its row.
    """

    key: str
    content: bytes
    label: int | None
    source: Mapping[str, Any]


@dataclass(frozen=True)
class Dataset:
    """An ordered collection of N records.

    Attributes:
        path: where it was opened from.
        format: the registered name of its format.
        modality: "image" or "text".
        keys: N unique strings (Arrow).
        labels: int32 array of shape (N,), indices into `label_names`, `NO_LABEL` where a record has none.
        label_names: one name per class; the index is the label.
        columns: every other column of the records (source, group, ...), N rows; never the content.
        reader: gives content by row number.
        rows: int64 array of shape (N,): the reader's row of each record.
        raw_shape: (height, width, channels) when content is raw uint8 pixels, row-major (IDX, npz); None when
            content is an encoded file.
        changes: content that replaces the reader's, by record index.
        layout: what the format's writer needs to reproduce the input (schema, column names, compression).

    """

    path: Path
    format: str
    modality: Modality
    keys: pa.StringArray
    labels: NDArray[np.int32]
    label_names: tuple[str, ...]
    columns: pa.Table
    reader: Reader
    rows: NDArray[np.int64]
    raw_shape: tuple[int, int, int] | None = None
    changes: Mapping[int, bytes] = field(default_factory=dict)
    layout: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Record]:
        for index, content in enumerate(self.contents()):
            yield self._record(index, content)

    def __getitem__(self, index: int) -> Record:
        if not -len(self) <= index < len(self):
            raise IndexError(f"record {index} of a dataset of {len(self)}")
        index %= len(self)
        return self._record(index, next(self.contents([index])))

    def contents(self, indices: Sequence[int] | NDArray[np.integer] | None = None) -> Iterator[bytes]:
        """Content bytes of the records at `indices` (all, when None), streamed in that order.

        InputError when the files have become unreadable since the dataset was opened.
        """
        wanted = np.arange(len(self)) if indices is None else np.asarray(indices, dtype=np.int64)
        try:
            for index, content in zip(wanted.tolist(), self.reader.read(self.rows[wanted]), strict=True):
                yield self.changes.get(index, content)
        except OSError as error:
            raise InputError(f"{self.path}: cannot be read any more ({error.strerror or error})") from error

    def further(self) -> Iterator[Mapping[str, Any]]:
        """What the records have beside content, label and `columns`, as `FurtherReader.further` gives it, streamed.

        InputError when the files have become unreadable since the dataset was opened.
        """
        if not isinstance(self.reader, FurtherReader):
            yield from ({} for _ in range(len(self)))
            return
        try:
            yield from self.reader.further(self.rows)
        except OSError as error:
            raise InputError(f"{self.path}: cannot be read any more ({error.strerror or error})") from error

    def key(self, index: int) -> str:
        """Key of one record."""
        return str(self.keys[index].as_py())

    def label_name(self, label: int) -> str:
        """Name of a label; "(none)" for `NO_LABEL`."""
        return self.label_names[label] if label >= 0 else "(none)"

    def column(self, name: str) -> NDArray[Any]:
        """One of `columns` as an array of shape (N,); UsageError when there is none of that name."""
        if name not in self.columns.column_names:
            known = ", ".join(self.columns.column_names) or "none"
            raise UsageError(f"{self.path}: no column {name!r}; columns: {known}")
        return np.asarray(self.columns[name].to_numpy(zero_copy_only=False))

    def select(self, which: Sequence[int] | NDArray[Any]) -> Dataset:
        """The records at these indices (or where this boolean mask of shape (N,) is true), in that order."""
        mask = np.asarray(which)
        wanted = np.flatnonzero(mask) if mask.dtype == np.bool_ else mask.astype(np.int64)
        return replace(
            self,
            keys=self.keys.take(pa.array(wanted)),
            labels=self.labels[wanted],
            columns=self.columns.take(pa.array(wanted)),
            rows=self.rows[wanted],
            changes={
                new: self.changes[old] for new, old in enumerate(wanted.tolist()) if old in self.changes
            },
        )

    def with_changes(
        self, content: Mapping[int, bytes] | None = None, labels: Mapping[int, int] | None = None
    ) -> Dataset:
        """A copy in which the records at these indices have other content and/or another label."""
        new_labels = self.labels.copy()
        for index, label in (labels or {}).items():
            new_labels[index] = label
        return replace(self, labels=new_labels, changes={**self.changes, **(content or {})})

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) over every record's key, label and content, in order: names this exact dataset."""
        total = hashlib.sha256()
        for record in self:
            name = self.label_names[record.label] if record.label is not None else ""
            for part in (record.key.encode(), name.encode(), hashlib.sha256(record.content).digest()):
                total.update(len(part).to_bytes(8, "big") + part)
        return total.hexdigest()

    def _record(self, index: int, content: bytes) -> Record:
        label = int(self.labels[index])
        source = {name: self.columns[name][index].as_py() for name in self.columns.column_names}
        return Record(self.key(index), content, label if label != NO_LABEL else None, source)
