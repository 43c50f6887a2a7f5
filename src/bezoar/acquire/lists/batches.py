"""The rows of a list as Arrow batches of two columns, `url` and `expected` (the digest as written): for work on 100 million rows.

A Parquet list is read as columns, other kinds through their rows. A row that cannot be used (`Row.problem`) has no URL here.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

from bezoar.acquire.lists.parquet_files import ParquetRows, is_text
from bezoar.acquire.lists.reading import Columns, UrlList
from bezoar.acquire.lists.rows import text

if TYPE_CHECKING:
    import pyarrow as pa

ROWS = 1 << 16
_MAX_BYTES = 64 << 20  # of the texts of one batch; more is given in smaller ones


def batches(source: UrlList) -> Iterator[pa.RecordBatch]:
    """All rows in order, at most `ROWS` a batch: `url` and `expected`, strings or null, never empty.

    InputError, one line, for a file that is corrupt or has other rows than before.
    """
    parquet = [part for part in source.parts if isinstance(part, ParquetRows)]
    if len(parquet) == len(source.parts):
        for part in parquet:
            yield from _of_parquet(part, source.columns)
    else:
        yield from _of_rows(source)


def _of_rows(source: UrlList) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa

    rows = source.rows()
    while some := list(islice(rows, ROWS)):
        yield pa.record_batch(
            {
                "url": pa.array([row.url or None for row in some], pa.string()),
                "expected": pa.array([row.expected or None for row in some], pa.string()),
            }
        )


def _of_parquet(part: ParquetRows, columns: Columns) -> Iterator[pa.RecordBatch]:
    names = tuple(dict.fromkeys(name for name in (columns.url, columns.hash) if name is not None))
    held: list[pa.RecordBatch] = []
    rows = weight = 0
    for batch in part.batches(names):
        if held and (rows + batch.num_rows > ROWS or weight + batch.nbytes > _MAX_BYTES):
            yield _together(held)
            held, rows, weight = [], 0, 0
        held.append(_named(part, batch, columns))
        rows += batch.num_rows
        weight += batch.nbytes
    if held:
        yield _together(held)


def _together(some: list[pa.RecordBatch]) -> pa.RecordBatch:
    import pyarrow as pa

    return pa.Table.from_batches(some).combine_chunks().to_batches()[0]


def _named(part: ParquetRows, batch: pa.RecordBatch, columns: Columns) -> pa.RecordBatch:
    import pyarrow as pa
    import pyarrow.compute as pc

    urls, broken = _strings(batch.column(columns.url), numbers=False)
    if columns.hash is None:
        expected = pa.nulls(batch.num_rows, pa.string())
    else:
        with part.convertible(columns.hash):
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
