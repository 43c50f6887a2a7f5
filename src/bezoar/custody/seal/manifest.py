"""The manifest: a Parquet table with one row per record, sorted by key in code-point order.

Columns: `key`, `sha256` (32 bytes), `size` (bytes), `media_type`, `label` (null: none), then one text column
`source.<name>` per further column of the dataset, and the digests of what else a record has (`further`). The file's metadata say
how the dataset is to be opened, and what it is as a whole (`description`). It is written and
read in row groups of bounded size, so that ten million rows need no more memory than ten thousand.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from bezoar.custody.seal.snapshot import SOURCE, leaf
from bezoar.errors import InputError, LimitError, UsageError

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq
    from numpy.typing import NDArray

GROUP_ROWS = 4096  # what is read to look at one row
MAX_ROWS = 2**32
MAX_GROUP_BYTES = 1 << 30  # decoded, by the file's own account
MAX_GROUP_ROWS = 1 << 20
MAX_SOURCES = 1_000
_VERSION = b"1"
_CACHED_GROUPS = 16


@dataclass(frozen=True)
class Row:
    """One record: digest and size of its content, media type, label and source (columns that are null left out)."""

    key: str
    sha256: bytes
    size: int
    media_type: str
    label: str | None = None
    source: Mapping[str, str] = field(default_factory=dict)

    def leaf(self) -> bytes:
        """Its leaf in the snapshot tree (RFC 8785 JSON)."""
        return leaf(self.key, self.label, self.sha256, self.size, self.source)


class Manifest:
    """The rows of a manifest file, read as they are asked for."""

    def __init__(self, file: pq.ParquetFile, sources: Sequence[str], where: str) -> None:
        self.where, self.sources = where, sources
        metadata = file.schema_arrow.metadata or {}
        self.description: Mapping[str, str] = _description(metadata, where)
        self._file = file
        self._starts = _starts(file.metadata, where)
        self._keys = lru_cache(_CACHED_GROUPS)(self._read_keys)
        self._first_keys: dict[int, str] = {}  # of the row groups looked at, so that a warm look-up reads one

    @classmethod
    def open(cls, source: str | Path | BinaryIO, where: str | None = None) -> Manifest:
        """The manifest in a file; InputError when it is none, LimitError beyond the caps. Rows are checked when read."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        name = where or str(source)
        try:
            found = pq.ParquetFile(source)
            sources = _check_schema(found.schema_arrow, name)
            texts = [field.name for field in found.schema_arrow if field.type == pa.string()]
            # texts stay dictionaries until their size is known: one long text can be that of all rows
            return cls(pq.ParquetFile(source, metadata=found.metadata, read_dictionary=texts), sources, name)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise _malformed(name, error) from error

    def __len__(self) -> int:
        return self._starts[-1]

    def batches(self, start: int = 0, end: int | None = None) -> Iterator[pa.RecordBatch]:
        """Rows `start` to `end` (excluded; default: all) as Arrow batches of at most GROUP_ROWS rows.

        InputError when a row is malformed or the keys are not in strictly ascending order.
        """
        end = len(self) if end is None else end
        if not 0 <= start <= end <= len(self):
            raise UsageError(f"{self.where}: rows {start} to {end} asked for; the manifest has {len(self)}")
        if start == end:
            return
        first, last = self._group_of(start), self._group_of(end - 1)
        place, previous = self._starts[first], None
        for batch in self._read(range(first, last + 1)):
            previous = _check_batch(batch, previous, self.where)
            begin, stop = max(start - place, 0), min(end - place, batch.num_rows)
            place += batch.num_rows
            if begin < stop:
                yield batch.slice(begin, stop - begin)

    def rows(self, start: int = 0, end: int | None = None) -> Iterator[Row]:
        """Rows `start` to `end` (excluded; default: all), one by one, in bounded memory."""
        for batch in self.batches(start, end):
            yield from self.rows_of(batch)

    def rows_of(self, batch: pa.RecordBatch) -> Iterator[Row]:
        """The rows of one of `batches`."""
        columns = [column.to_pylist() for column in batch.columns]
        names = self.sources
        for key, sha256, size, media_type, label, *values in zip(*columns, strict=True):
            source = {name: value for name, value in zip(names, values, strict=True) if value is not None}
            yield Row(key, sha256, size, media_type, label, source)

    def row(self, index: int) -> Row:
        """One row; UsageError when there is no such row."""
        if not 0 <= index < len(self):
            raise UsageError(f"{self.where}: no row {index}; the manifest has {len(self)}")
        return next(self.rows(index, index + 1))

    def key(self, index: int) -> str:
        """The key of one row, from a cache of the row groups looked at last."""
        group = self._group_of(index)
        return str(self._keys(group)[index - self._starts[group]])

    def find(self, key: str) -> int | None:
        """The row with this key, or None; reads the keys of a few row groups."""
        place = self.place(key)
        return place if place < len(self) and self.key(place) == key else None

    def place(self, key: str) -> int:
        """How many keys are smaller than `key`: the row that it has, or would have."""
        from bisect import bisect_left

        low, high = 0, len(self._starts) - 1  # of the groups, the last whose first key is not above `key`
        while high - low > 1:
            middle = (low + high) // 2
            if self._first_key(middle) <= key:
                low = middle
            else:
                high = middle
        return self._starts[low] + bisect_left(self._keys(low), key) if len(self) else 0

    def _group_of(self, index: int) -> int:
        from bisect import bisect_right

        return bisect_right(self._starts, index) - 1

    def _read(self, groups: Sequence[int], columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa

        try:
            for (
                group
            ) in groups:  # one at a time: of those asked for together, all that were read stay in memory
                for batch in self._file.iter_batches(GROUP_ROWS, [group], columns, use_threads=False):
                    yield _written_out(batch, self.where)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise _malformed(self.where, error) from error

    def _first_key(self, group: int) -> str:
        if group not in self._first_keys:
            self._first_keys[group] = self._keys(group)[0]
        return self._first_keys[group]

    def _read_keys(self, group: int) -> list[str]:
        keys = [key for batch in self._read([group], ["key"]) for key in _texts(batch.column(0), self.where)]
        if len(keys) != self._starts[group + 1] - self._starts[group]:
            raise InputError(f"{self.where}: a row group has fewer rows than its footer says; it is damaged")
        return keys


class ManifestWriter:
    """Writes the rows of a manifest, block by block, in ascending order of their keys."""

    def __init__(self, file: BinaryIO, sources: Sequence[str], description: Mapping[str, str]) -> None:
        import pyarrow.parquet as pq

        self.schema = schema(sources, description)
        plain = ["key", "sha256"]  # every value once: a dictionary would only cost
        self._writer = pq.ParquetWriter(
            file,
            self.schema,
            compression={name: "none" if name == "sha256" else "zstd" for name in self.schema.names},
            use_dictionary=[name for name in self.schema.names if name not in plain],
            write_statistics=["key"],
        )

    def __enter__(self) -> ManifestWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()

    def write(self, columns: Sequence[pa.Array]) -> list[pa.RecordBatch]:
        """Append a block: one array per column of the schema; the row groups that were written."""
        import pyarrow as pa

        batch = pa.RecordBatch.from_arrays(columns, schema=self.schema)
        parts = [batch.slice(start, GROUP_ROWS) for start in range(0, batch.num_rows, GROUP_ROWS)]
        for part in parts:
            self._writer.write_batch(part, row_group_size=GROUP_ROWS)
        return parts


def schema(sources: Sequence[str], description: Mapping[str, str]) -> pa.Schema:
    """The Arrow schema of a manifest; `description` are the texts of its metadata."""
    import pyarrow as pa

    texts = {f"bezoar.{name}": value for name, value in description.items()}
    fields = [
        pa.field("key", pa.string(), nullable=False),
        pa.field("sha256", pa.binary(32), nullable=False),
        pa.field("size", pa.int64(), nullable=False),
        pa.field("media_type", pa.string(), nullable=False),
        pa.field("label", pa.string()),
        *(pa.field(SOURCE + name, pa.string()) for name in sources),
    ]
    return pa.schema(fields, {"bezoar.manifest": _VERSION.decode(), **texts})


def digests(values: NDArray[np.uint8]) -> pa.Array:
    """An array of shape (N, 32) as the column `sha256`, without copying."""
    import pyarrow as pa

    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(32), len(values), [None, pa.py_buffer(values)])


def digest_rows(column: pa.Array) -> NDArray[np.uint8]:
    """The column `sha256` as an array of shape (N, 32), without copying."""
    import numpy as np

    values = np.frombuffer(column.buffers()[1], np.uint8).reshape(-1, 32)
    return values[column.offset : column.offset + len(column)]


def _check_schema(found: pa.Schema, where: str) -> list[str]:
    """The names of the source columns; InputError when this is not a manifest."""
    names = [name.removeprefix(SOURCE) for name in found.names[5:]]
    if len(names) > MAX_SOURCES:
        raise LimitError(f"{where}: {len(names)} source columns; at most {MAX_SOURCES} are read")
    if len(set(names)) < len(names) or not found.equals(schema(names, {})):
        raise InputError(f"{where}: its columns are not those of a manifest; seal the dataset again")
    return names


def _description(metadata: Mapping[bytes, Any], where: str) -> dict[str, str]:
    if metadata.get(b"bezoar.manifest") != _VERSION:
        raise InputError(
            f"{where}: is no manifest of version {_VERSION.decode()}; a newer Bezoar may have written it"
        )
    try:
        texts = {name.decode(): value.decode() for name, value in metadata.items()}
    except UnicodeDecodeError:
        raise InputError(f"{where}: its metadata are not valid UTF-8; it is damaged") from None
    return {
        n.removeprefix("bezoar."): v
        for n, v in texts.items()
        if n.startswith("bezoar.") and n != "bezoar.manifest"
    }


def _starts(metadata: pq.FileMetaData, where: str) -> list[int]:
    """The first row of each row group, and the end; LimitError beyond the caps."""
    starts = [0]
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        if not 0 < group.num_rows <= MAX_GROUP_ROWS or not 0 <= group.total_byte_size <= MAX_GROUP_BYTES:
            raise LimitError(
                f"{where}: row group {number} claims {group.num_rows:,} rows in {group.total_byte_size:,} bytes; "
                f"1 to {MAX_GROUP_ROWS:,} rows in {MAX_GROUP_BYTES:,} bytes are read"
            )
        starts.append(starts[-1] + group.num_rows)
    if starts[-1] != metadata.num_rows or starts[-1] > MAX_ROWS:
        raise InputError(
            f"{where}: its footer counts {metadata.num_rows:,} rows, its groups {starts[-1]:,}; it is damaged"
        )
    return starts


def _written_out(batch: pa.RecordBatch, where: str) -> pa.RecordBatch:
    """The batch with texts in the place of dictionaries; LimitError when they take more bytes than a row group may."""
    import pyarrow as pa
    import pyarrow.compute as pc

    batch.validate(full=True)  # a number that is none of the dictionary's would be followed
    total = 0
    for column in batch.columns:
        if pa.types.is_dictionary(column.type):
            lengths = pc.binary_length(column.dictionary).cast(pa.int64())
            total += pc.sum(lengths.take(column.indices)).as_py() or 0
    if total > MAX_GROUP_BYTES:
        raise LimitError(
            f"{where}: {batch.num_rows:,} rows with {total:,} bytes of text; at most {MAX_GROUP_BYTES:,} are read at once"
        )
    columns = [
        column.cast(pa.string()) if pa.types.is_dictionary(column.type) else column
        for column in batch.columns
    ]
    return pa.RecordBatch.from_arrays(columns, batch.schema.names)


def _check_batch(batch: pa.RecordBatch, previous: str | None, where: str) -> str:
    """The last key; InputError unless all values are there and valid and the keys ascend from `previous`."""
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        batch.validate(full=True)  # valid UTF-8 among other things
    except pa.ArrowException as error:
        raise _malformed(where, error) from error
    for name in ("key", "sha256", "size", "media_type"):
        if batch.column(name).null_count:
            raise InputError(f"{where}: a row has no {name}; the manifest is damaged")
    keys, sizes = batch.column("key"), batch.column("size")
    rising = pc.all(pc.less(keys[:-1], keys[1:])).as_py() is not False
    if not rising or (previous is not None and not previous < keys[0].as_py()):
        raise InputError(f"{where}: the keys are not in ascending order; the manifest is damaged")
    if pc.min(sizes).as_py() < 0 or pc.max(sizes).as_py() >= 2**53:
        raise InputError(f"{where}: a size is out of range; the manifest is damaged")
    return str(keys[-1].as_py())


def _texts(column: pa.Array, where: str) -> list[str]:
    import pyarrow as pa

    try:
        column.validate(full=True)
    except pa.ArrowException as error:
        raise _malformed(where, error) from error
    if column.null_count:
        raise InputError(f"{where}: a row has no key; the manifest is damaged")
    texts: list[str] = column.to_pylist()
    return texts


def _malformed(where: str, error: Exception) -> InputError:
    if isinstance(error, InputError):
        return error
    if isinstance(error, FileNotFoundError):
        return InputError(f"{where}: no such file; seal the dataset first")
    text = " ".join(str(error).split())[:160]
    return InputError(f"{where}: is not a readable manifest, it is truncated or corrupt ({text})")
