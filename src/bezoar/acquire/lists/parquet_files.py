"""Lists that are Parquet: row groups are skipped by the footer, and read page by page, whatever their size."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bezoar.acquire.lists.files import Cells
from bezoar.errors import InputError, LimitError

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

_ROWS = 1024  # held at a time
_MAX_BATCH = 64 * 2**20  # bytes of so many rows
_BUFFER = 2**20
_BROKEN = object()  # in the place of a text that is not valid UTF-8


class ParquetRows:
    """One Parquet file."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def names(self) -> tuple[str, ...]:
        """Top-level columns."""
        return tuple(self.schema.names)

    def count(self) -> int:
        """As the footer says; a file that has fewer is refused while its rows are read."""
        return int(self._metadata.num_rows)

    @cached_property
    def schema(self) -> pa.Schema:
        """Of the columns."""
        with _corrupt(self._file):
            return self._metadata.schema.to_arrow_schema()

    def rows(self, start: int, columns: tuple[str, ...]) -> Iterator[Cells]:
        """From row `start` on, counted from 0."""
        for batch in self.batches(columns, start):
            yield from _cells(batch)

    def batches(self, columns: tuple[str, ...], start: int = 0) -> Iterator[pa.RecordBatch]:
        """The same as Arrow batches of few rows: row groups before `start` are not read, the others page by page."""
        first, skip = self._group(start)
        left = self.count() - start
        with _corrupt(self._file):
            texts = [name for name in columns if is_text(self.schema.field(name).type)]
            file, probe = self._opened([]), self._opened(texts)
            for group in range(first, self._metadata.num_row_groups):
                rows = _fitting_rows(probe, group, texts)
                for batch in file.iter_batches(rows, [group], list(columns), use_threads=False):
                    wanted = batch.slice(min(skip, batch.num_rows))
                    skip -= batch.num_rows - wanted.num_rows
                    left -= wanted.num_rows
                    yield self._small(wanted)
        if left > 0:
            raise InputError(f"{self._file}: has {left:,} rows fewer than its footer says; it is corrupt")

    def _opened(self, as_dictionaries: list[str]) -> pq.ParquetFile:
        import pyarrow.parquet as pq

        return pq.ParquetFile(
            self._file,
            metadata=self._metadata,
            read_dictionary=as_dictionaries,
            buffer_size=_BUFFER,
            pre_buffer=False,
        )

    def _small(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        if batch.nbytes > 2 * _MAX_BATCH:
            raise LimitError(
                f"{self._file}: has {batch.num_rows} rows of more than {2 * _MAX_BATCH:,} bytes; it is no list of URLs"
            )
        return batch

    @cached_property
    def _metadata(self) -> pq.FileMetaData:
        import pyarrow.parquet as pq

        with _corrupt(self._file):
            return pq.read_metadata(self._file)

    def _group(self, row: int) -> tuple[int, int]:
        """The row group that holds `row`, and where in it."""
        before = 0
        for group in range(self._metadata.num_row_groups):
            rows = self._metadata.row_group(group).num_rows
            if row < before + rows:
                return group, row - before
            before += rows
        return self._metadata.num_row_groups, 0


def is_text(kind: pa.DataType) -> bool:
    """Whether cells of this type are texts."""
    import pyarrow as pa

    plain = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(plain) or pa.types.is_large_string(plain))


def _fitting_rows(probe: pq.ParquetFile, group: int, texts: list[str]) -> int:
    """How many rows of a row group are held at a time: one text in its dictionary may stand for each of them.

    `probe` leaves texts in their dictionaries, which lie before the first row.
    """
    import pyarrow.compute as pc

    batch = next(probe.iter_batches(1, [group], texts, use_threads=False), None) if texts else None
    columns = [] if batch is None else batch.columns
    lengths = [pc.max(pc.binary_length(column.dictionary)).as_py() or 1 for column in columns]
    return max(1, min(_ROWS, _MAX_BATCH // max(lengths, default=1)))


def _cells(batch: pa.RecordBatch) -> Iterator[Cells]:
    values = [_values(column) for column in batch.columns]
    for cells in zip(*values, strict=True):
        broken = any(cell is _BROKEN for cell in cells)
        yield "is not valid UTF-8" if broken else dict(zip(batch.schema.names, cells, strict=True))


def _values(column: pa.Array) -> list[Any]:
    import pyarrow as pa

    plain = column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
    try:
        return list(plain.to_pylist())
    except UnicodeDecodeError:
        return [_decoded(cell) for cell in plain.cast(pa.large_binary()).to_pylist()]


def _decoded(cell: bytes | None) -> object:
    try:
        return cell if cell is None else cell.decode()
    except UnicodeDecodeError:
        return _BROKEN


@contextmanager
def _corrupt(file: Path) -> Iterator[None]:
    """What pyarrow raises of a file that is none, as an InputError."""
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError, ValueError) as error:
        text = " ".join(str(error).split())[:160]
        raise InputError(
            f"{file}: is not a readable Parquet file, it is truncated or corrupt ({text})"
        ) from error
