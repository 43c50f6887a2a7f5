"""How much a Parquet table holds once it is decoded, found out before it is: a few kilobytes of it may stand for gigabytes."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from bezoar.errors import LimitError

_ROWS = 1024  # held at a time, texts and bytes as numbers of what is in their dictionary


def refuse_large_cells(path: Path, rows: int, most: int, besides: str = "") -> None:
    """LimitError when a table has more than so many rows, or its cells come to more than `most` bytes.

    The column `besides` is not counted. The footer is asked first; then texts and bytes are read as dictionaries, which are no
    larger than what it says.
    """
    found = pq.read_metadata(path)
    groups = [found.row_group(place) for place in range(found.num_row_groups)]
    chunks = [group.column(place) for group in groups for place in range(group.num_columns)]
    chunks = [chunk for chunk in chunks if chunk.path_in_schema.split(".")[0] != besides]
    said = sum(max(chunk.total_uncompressed_size, 4 * chunk.num_values) for chunk in chunks)
    if found.num_rows > rows or said > most:
        raise _too_large(path)
    words = sorted({chunk.path_in_schema for chunk in chunks if chunk.physical_type == "BYTE_ARRAY"})
    size = 0
    with pq.ParquetFile(path, read_dictionary=words) as table:
        names = [name for name in table.schema_arrow.names if name != besides]
        for batch in table.iter_batches(_ROWS, columns=names, use_threads=False):
            size += sum(map(decoded_size, batch.columns))
            if size > most:
                raise _too_large(path)


def refuse_large_groups(path: Path, column: str, most: int) -> None:
    """LimitError when the footer says that a column has a row group of more than `most` bytes."""
    found = pq.read_metadata(path)
    for group in (found.row_group(place) for place in range(found.num_row_groups)):
        chunks = (group.column(place) for place in range(group.num_columns))
        sizes = (c.total_uncompressed_size for c in chunks if c.path_in_schema.split(".")[0] == column)
        if sum(sizes) > most:
            raise _too_large(path)


def decoded_size(array: pa.Array) -> int:
    """Bytes of an array's cells, those in a dictionary as often as they occur."""
    kind = array.type
    if pa.types.is_dictionary(kind):
        if not (_is_words(kind.value_type)):
            return int(array.nbytes)
        lengths = pc.binary_length(array.dictionary).cast(pa.int64())
        return int(pc.sum(lengths.take(array.indices)).as_py() or 0) + 4 * len(array)
    if pa.types.is_map(kind):
        return decoded_size(array.keys) + decoded_size(array.items)
    if pa.types.is_struct(kind):
        return sum(map(decoded_size, array.flatten()))
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return decoded_size(array.flatten()) + 4 * len(array)
    return int(array.nbytes)


def _is_words(kind: pa.DataType) -> bool:
    types = pa.types
    return bool(
        types.is_string(kind)
        or types.is_large_string(kind)
        or types.is_binary(kind)
        or types.is_large_binary(kind)
    )


def _too_large(path: Path) -> LimitError:
    return LimitError(f"{path}: holds more than a fetch of this list can have written")
