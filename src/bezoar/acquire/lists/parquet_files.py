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
_SHOWN = 80  # characters of a name or type in a message
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
        """Of the columns, as `batches` has them."""
        import pyarrow as pa

        with _corrupt(self._file):
            fields = self._metadata.schema.to_arrow_schema()
        return pa.schema([field.with_type(_without_views(field.type)) for field in fields])

    def rows(self, start: int, columns: tuple[str, ...]) -> Iterator[Cells]:
        """From row `start` on, counted from 0."""
        for batch in self.batches(columns, start):
            values = [self._values(name, batch.column(name)) for name in batch.schema.names]
            for cells in zip(*values, strict=True):
                broken = any(cell is _BROKEN for cell in cells)
                yield "is not valid UTF-8" if broken else dict(zip(batch.schema.names, cells, strict=True))

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
                    yield self._plain(self._small(wanted))
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

    def _plain(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Without views, which hardly anything else in Arrow takes."""
        import pyarrow as pa

        columns = []
        for name in batch.schema.names:
            with self.convertible(name):
                columns.append(_with_plain_type(batch.column(name)))
        return pa.record_batch(columns, names=batch.schema.names)

    def _values(self, name: str, column: pa.Array) -> list[Any]:
        import pyarrow as pa

        plain = column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
        with self.convertible(name):
            try:
                return list(plain.to_pylist())
            except UnicodeDecodeError:
                return [_decoded(cell) for cell in plain.cast(pa.large_binary()).to_pylist()]

    @contextmanager
    def convertible(self, name: str) -> Iterator[None]:
        """What is raised of values of a column that Python does not have, as an InputError that names it."""
        import pyarrow as pa

        try:
            yield
        except (pa.ArrowException, ValueError, OverflowError) as error:
            shown = name if len(name) <= _SHOWN else f"{name[:_SHOWN]}..."
            raise InputError(
                f"{self._file}: column {shown!r} holds {str(self.schema.field(name).type)[:_SHOWN]} with values that cannot be "
                "carried along (years beyond 9999, nanoseconds, unknown time zones or broken text); leave it out, or write it "
                "as text"
            ) from error

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


def _without_views(kind: pa.DataType) -> pa.DataType:
    """The type with plain strings and bytes in the place of views."""
    import pyarrow as pa

    types = pa.types
    if types.is_string_view(kind):
        return pa.string()
    if types.is_binary_view(kind):
        return pa.binary()
    if types.is_struct(kind):
        fields = (kind.field(place) for place in range(kind.num_fields))
        return pa.struct([field.with_type(_without_views(field.type)) for field in fields])
    if types.is_map(kind):
        return pa.map_(_without_views(kind.key_type), _without_views(kind.item_type), kind.keys_sorted)
    if types.is_list(kind):
        return pa.list_(kind.value_field.with_type(_without_views(kind.value_type)))
    return kind


def _with_plain_type(column: pa.Array) -> pa.Array:
    """The column without views; whether its texts are valid is not looked at yet."""
    import pyarrow as pa

    kind = _without_views(column.type)
    if pa.types.is_string_view(column.type):
        return column.cast(pa.binary()).view(kind)
    return column if column.type == kind else column.cast(kind)


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
