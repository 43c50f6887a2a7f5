"""Parquet shards in Hugging Face's layout: an image (or text) column, a label column, anything else beside.

Read batch by batch: neither a file nor a row group is ever held as a whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from bezoar.data.dataset import Dataset
from bezoar.data.formats import tables
from bezoar.data.formats.base import OpenOptions
from bezoar.data.formats.paths import one_split, shard_names, shards
from bezoar.errors import InputError
from bezoar.files import atomic_directory, atomic_file

_READ_ERRORS = (pa.ArrowException, OSError, ValueError)


@dataclass(frozen=True)
class ParquetSource:
    """The rows of several Parquet files as one table (`tables.TableSource`)."""

    files: tuple[Path, ...]
    metadata: tuple[pq.FileMetaData, ...]
    schema: pa.Schema
    shard_names: tuple[str, ...]

    @property
    def shard_rows(self) -> tuple[int, ...]:
        """Number of rows of each file."""
        return tuple(int(meta.num_rows) for meta in self.metadata)

    def scan(self, columns: list[str]) -> pa.Table:
        """All rows of these columns, a struct's field under its dotted name."""
        parts = []
        for file, metadata in zip(self.files, self.metadata, strict=True):
            try:
                part = pq.ParquetFile(file, metadata=metadata).read(columns=columns, use_threads=False)
            except _READ_ERRORS as error:
                raise _corrupt(file, error) from error
            parts.append(pa.table({name: tables.leaf(part, name) for name in columns}))
        return pa.concat_tables(parts, promote_options="permissive")

    def take(self, rows: NDArray[np.int64], columns: list[str]) -> Iterator[pa.Table]:
        """These rows in this order; within a window they are read in ascending order, each batch once."""
        window = self._window()
        return tables.windows(rows, window, _Cursor(self, columns, window).ascending)

    def _window(self) -> int:
        groups = [meta.row_group(g) for meta in self.metadata for g in range(meta.num_row_groups)]
        return tables.window_rows(sum(group.total_byte_size for group in groups), sum(self.shard_rows))


class _Cursor:
    """Walks through the row groups; going forward never reads a batch twice."""

    def __init__(self, source: ParquetSource, columns: list[str], batch_rows: int) -> None:
        self._source, self._columns, self._batch_rows = source, columns, batch_rows
        groups = [(f, g) for f, meta in enumerate(source.metadata) for g in range(meta.num_row_groups)]
        self._groups = groups
        sizes = [source.metadata[f].row_group(g).num_rows for f, g in groups]
        self._starts = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
        self._batches: Iterator[pa.RecordBatch] = iter(())
        self._batch: pa.RecordBatch | None = None
        self._begin = self._end = 0  # rows of the current batch
        self._group = -1

    def ascending(self, rows: NDArray[np.int64]) -> list[pa.Table]:
        """Tables that together hold `rows` (ascending)."""
        parts, done = [], 0
        while done < len(rows):
            self._move_to(int(rows[done]))
            stop = int(np.searchsorted(rows, self._end))
            parts.append(pa.Table.from_batches([self._batch]).take(pa.array(rows[done:stop] - self._begin)))
            done = stop
        return parts

    def _move_to(self, row: int) -> None:
        if self._batch is not None and self._begin <= row < self._end:
            return
        group = int(np.searchsorted(self._starts, row, side="right")) - 1
        file = self._source.files[self._groups[group][0]]
        try:
            if group != self._group or row < self._begin:
                self._open(group)
            while self._end <= row:
                self._batch = next(self._batches)
                self._begin, self._end = self._end, self._end + self._batch.num_rows
        except StopIteration:
            raise InputError(f"{file}: has fewer rows than its footer says; it is corrupt") from None
        except _READ_ERRORS as error:
            raise _corrupt(file, error) from error

    def _open(self, group: int) -> None:
        index, number = self._groups[group]
        file = pq.ParquetFile(self._source.files[index], metadata=self._source.metadata[index])
        self._batches = file.iter_batches(
            batch_size=self._batch_rows, row_groups=[number], columns=self._columns, use_threads=False
        )
        self._group = group
        self._begin = self._end = int(self._starts[group])


class ParquetFormat:
    """`train.parquet`, a folder of shards, or a glob."""

    name = "parquet"

    def open(self, path: Path, options: OpenOptions) -> Dataset:
        """Footers, labels and small columns are read; images are not."""
        files = one_split(path, shards(path, ".parquet") or [path])
        metadata = tuple(_footer(file) for file in files)
        schemas = [meta.schema.to_arrow_schema() for meta in metadata]
        for file, schema in zip(files, schemas, strict=True):
            if not schema.equals(schemas[0]):
                raise InputError(f"{file}: its columns differ from those of {files[0]}; open them apart")
        source = ParquetSource(tuple(files), metadata, schemas[0], tuple(shard_names(files)))
        features = tables.schema_features(schemas[0])
        return tables.open_table(
            source, path, self.name, options, features, compression=_compression(metadata[0])
        )

    def write(self, dataset: Dataset, path: Path) -> list[str]:
        """One file when `path` ends in `.parquet`, else a folder with the shards of the input."""
        native = isinstance(dataset.reader, tables.TableReader)
        everything = np.arange(len(dataset))
        if path.suffix == ".parquet":
            parts = [(path.name, everything)]
            with atomic_file(path) as out:
                _write_file(dataset, everything, out)
        else:
            parts = _outputs(dataset)
            with atomic_directory(path) as folder:
                for name, indices in parts:
                    (folder / name).parent.mkdir(parents=True, exist_ok=True)
                    _write_file(dataset, indices, folder / name)
        return tables.written_keys(
            dataset, parts, dataset.layout["keyed"] if native else dataset.modality == "image"
        )


PARQUET = ParquetFormat()


def _outputs(dataset: Dataset) -> list[tuple[str, NDArray[np.int64]]]:
    """File names and record indices of a folder of shards."""
    if isinstance(dataset.reader, tables.TableReader):
        found = tables.shards_of(dataset)
        if all(name.endswith(".parquet") for name, _ in found):
            return found
    return [("train.parquet", np.arange(len(dataset)))]


def _write_file(dataset: Dataset, indices: NDArray[np.int64], target: Any) -> None:
    reader = dataset.reader
    native = isinstance(reader, tables.TableReader)
    schema = (
        reader.source.schema if isinstance(reader, tables.TableReader) else tables.converted_schema(dataset)
    )
    rows = tables.rewritten(dataset, indices) if native else tables.converted(dataset, indices)
    compression = str(dataset.layout.get("compression", "snappy"))
    with pq.ParquetWriter(target, schema, compression=compression) as out:
        for table in rows:
            out.write_table(table, row_group_size=tables.WRITE_ROWS)


def _footer(file: Path) -> pq.FileMetaData:
    try:
        return pq.read_metadata(file)
    except _READ_ERRORS as error:
        if file.stat().st_size == 0:
            raise InputError(f"{file}: is empty (zero bytes)") from error
        raise _corrupt(file, error) from error


def _corrupt(file: Path, error: Exception) -> InputError:
    text = " ".join(str(error).split())[:160]
    return InputError(f"{file}: is not a readable Parquet file, it is truncated or corrupt ({text})")


def _compression(metadata: pq.FileMetaData) -> str:
    if metadata.num_row_groups == 0 or metadata.num_columns == 0:
        return "snappy"
    name = str(metadata.row_group(0).column(0).compression).lower()
    return name if name in ("snappy", "gzip", "brotli", "zstd", "lz4") else "none"
