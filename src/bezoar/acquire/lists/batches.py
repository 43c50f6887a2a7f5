"""The rows of a list as Arrow batches of two columns, `url` and `expected` (the digest as written): for work on 100 million rows.

A Parquet list is read as columns, other kinds through their rows. A row that cannot be used (`Row.problem`) has no URL here.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from bezoar.acquire.lists.parquet_files import ParquetRows, is_text
from bezoar.acquire.lists.reading import Columns, UrlList
from bezoar.acquire.lists.rows import text
from bezoar.errors import InputError, LimitError

if TYPE_CHECKING:
    import pyarrow as pa

ROWS = 1 << 16
_MAX_BYTES = 64 << 20  # of the texts of one batch; more is given in smaller ones
_BUFFER = 1 << 20


def batches(source: UrlList, rows: int = ROWS) -> Iterator[pa.RecordBatch]:
    """All rows in order, at most `rows` a batch: `url` and `expected`, strings or null, never empty.

    InputError, one line, for a file that is corrupt or has other rows than before.
    """
    if all(isinstance(part, ParquetRows) for part in source.parts):
        for file in source.files:
            yield from _of_parquet(file, source.columns, rows)
    else:
        yield from _of_rows(source, rows)


def _of_rows(source: UrlList, size: int) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa

    rows = source.rows()
    while some := list(islice(rows, size)):
        yield pa.record_batch(
            {
                "url": pa.array([row.url or None for row in some], pa.string()),
                "expected": pa.array([row.expected or None for row in some], pa.string()),
            }
        )


def _of_parquet(file: Path, columns: Columns, size: int) -> Iterator[pa.RecordBatch]:
    """Texts stay dictionary-encoded until their size is known, for a page of one long text may stand for many rows."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = list(dict.fromkeys(name for name in (columns.url, columns.hash) if name is not None))
    try:
        with pq.ParquetFile(file) as plain:
            texts = [name for name in names if is_text(plain.schema_arrow.field(name).type)]
            metadata = plain.metadata
        with pq.ParquetFile(
            file, metadata=metadata, read_dictionary=texts, buffer_size=_BUFFER, pre_buffer=False
        ) as opened:
            left = metadata.num_rows
            for batch in opened.iter_batches(size, columns=names, use_threads=False):
                left -= batch.num_rows
                for part in _weighed(batch, file):
                    yield _named(part, columns)
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        what = " ".join(str(error).split())[:160]
        raise InputError(
            f"{file}: is not a readable Parquet file, it is truncated or corrupt ({what})"
        ) from error
    if left:
        raise InputError(f"{file}: has {left:,} rows fewer than its footer says; it is corrupt")


def _weighed(batch: pa.RecordBatch, file: Path) -> Iterator[pa.RecordBatch]:
    """The batch in pieces whose texts fit into memory."""
    if sum(map(_weight, batch.columns)) <= _MAX_BYTES:
        yield batch
    elif batch.num_rows == 1:
        raise LimitError(f"{file}: has a row of more than {_MAX_BYTES:,} bytes; it is no list of URLs")
    else:
        half = batch.num_rows // 2
        yield from _weighed(batch.slice(0, half), file)
        yield from _weighed(batch.slice(half), file)


def _weight(column: pa.Array) -> int:
    import pyarrow as pa
    import pyarrow.compute as pc

    if not pa.types.is_dictionary(column.type):
        return int(column.nbytes)
    lengths = pc.binary_length(column.dictionary).take(column.indices)
    return int(pc.sum(lengths.cast(pa.int64())).as_py() or 0)


def _named(batch: pa.RecordBatch, columns: Columns) -> pa.RecordBatch:
    import pyarrow as pa
    import pyarrow.compute as pc

    urls, broken = _strings(batch.column(columns.url), numbers=False)
    if columns.hash is None:
        expected = pa.nulls(batch.num_rows, pa.string())
    else:
        expected, more = _strings(batch.column(columns.hash), numbers=True)
        broken = broken if more is None else more if broken is None else pc.or_(broken, more)
    if broken is not None:  # the whole row is, as for every reader of rows
        none = pa.scalar(None, pa.string())
        urls, expected = pc.if_else(broken, none, urls), pc.if_else(broken, none, expected)
    return pa.record_batch({"url": urls, "expected": expected})


def _strings(column: pa.Array, *, numbers: bool) -> tuple[pa.Array, pa.Array | None]:
    """The column as valid strings, null where empty; and which rows are not valid UTF-8, if any is."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if not is_text(column.type):
        values = [text(value) if numbers else None for value in column.to_pylist()]
        return pa.array([value or None for value in values], pa.string()), None
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        return _repaired(column.cast(pa.large_binary()))
    column = column.cast(pa.string())
    return pc.if_else(pc.equal(pc.binary_length(column), 0), pa.scalar(None, pa.string()), column), None


def _repaired(column: pa.Array) -> tuple[pa.Array, pa.Array]:
    import pyarrow as pa

    texts: list[str | None] = []
    broken = []
    for cell in column.to_pylist():
        try:
            texts.append(cell.decode() or None if cell is not None else None)
            broken.append(False)
        except UnicodeDecodeError:
            texts.append(None)
            broken.append(True)
    return pa.array(texts, pa.string()), pa.array(broken)
