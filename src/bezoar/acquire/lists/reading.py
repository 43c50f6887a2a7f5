"""Lists of URLs, of whatever kind and size: opened by their columns, read a slice at a time in bounded memory."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bezoar.acquire.lists.columns import Columns, Malformed, digest_of, resolve
from bezoar.acquire.lists.files import Cells, ListFile, found, kind_of
from bezoar.acquire.lists.json_files import JsonRows
from bezoar.acquire.lists.parquet_files import ParquetRows, is_text
from bezoar.acquire.lists.rows import Row, text
from bezoar.acquire.lists.streams import COMPRESSIONS
from bezoar.acquire.lists.text_files import Delimited, UrlLines
from bezoar.errors import InputError, LimitError, UsageError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Columns", "Malformed", "Row", "UrlList", "digest_of"]

MAX_SLICE = 512 * 2**20  # bytes of URLs, captions and digests that one slice may hold


@dataclass(frozen=True)
class UrlList:
    """The rows of one file or several, one after another.

    Attributes:
        path: where it was opened from.
        columns: that it has and that are read.
        files: in order.
        parts: their readers.

    """

    path: Path
    columns: Columns
    files: tuple[Path, ...]
    parts: tuple[ListFile, ...] = field(repr=False, compare=False)

    @classmethod
    def open(cls, path: str | Path, columns: Columns = Columns(), kind: str | None = None) -> UrlList:  # noqa: B008 - frozen
        """The list at `path`: a file, a folder or a pattern of files, of this `kind` (txt, csv, tsv, jsonl, json, parquet).

        `csv.gz` is `csv`: whether a file is compressed is said by its own suffix.

        Without `kind`, of what the suffixes say. InputError, one line, when there is none, or a column is missing.
        """
        path = Path(path)
        try:
            files = found(path)
            parts = tuple(_part(file, kind or kind_of(file)) for file in files)
            resolved = [resolve(columns, part.names(), file) for part, file in zip(parts, files, strict=True)]
        except OSError as error:
            raise InputError(
                f"{error.filename or path}: cannot be read ({error.strerror or error})"
            ) from error
        for file, own in zip(files, resolved, strict=True):
            if own != resolved[0]:
                raise InputError(
                    f"{file}: its columns are named otherwise than those of {files[0]}; open them apart"
                )
        for part, file in zip(parts, files, strict=True):
            _check_types(part, file, resolved[0])
        return cls(path, resolved[0], files, parts)

    def __len__(self) -> int:
        return sum(self._counts)

    @cached_property
    def digest(self) -> str:
        """SHA-256 in hexadecimal of the sizes and SHA-256s of the files, in order; their names do not matter."""
        total = hashlib.sha256()
        for file in self.files:
            try:
                with file.open("rb") as stream:
                    digest = hashlib.file_digest(stream, "sha256").digest()
                    total.update(os.fstat(stream.fileno()).st_size.to_bytes(8, "big") + digest)
            except OSError as error:
                raise InputError(f"{file}: cannot be read ({error.strerror or error})") from error
        return total.hexdigest()

    @property
    def names(self) -> tuple[str, ...]:
        """All columns of the first file, read or not."""
        return tuple(self.parts[0].names())

    @property
    def extra_schema(self) -> pa.Schema:
        """Arrow fields of the extra columns: a Parquet list's own; for other kinds strings (JSON values as JSON texts)."""
        import pyarrow as pa

        part = self.parts[0]
        if isinstance(part, ParquetRows):
            return pa.schema([part.schema.field(name) for name in self.columns.extra])
        return pa.schema([pa.field(name, pa.string()) for name in self.columns.extra])

    def rows(self, start: int = 0) -> Iterator[Row]:
        """All rows from `start` on."""
        columns, before = self._wanted, 0
        for count, part in zip(self._counts, self.parts, strict=True):
            if start < before + count:
                first = max(start - before, 0)
                for number, cells in enumerate(part.rows(first, columns), before + first):
                    yield self._row(number, cells)
            before += count

    def slices(self, size: int) -> Iterator[tuple[int, Callable[[], list[Row]]]]:
        """Shard numbers from 0, each with a function that reads its `size` rows (the last may have fewer).

        Slices that are not asked for cost what skipping costs; asked for in order, the list is read once.
        """
        cursor = _Cursor(self)
        for number in range(-(-len(self) // size)):
            yield number, partial(cursor.take, number * size, min(size, len(self) - number * size))

    @cached_property
    def _counts(self) -> tuple[int, ...]:
        return tuple(part.count() for part in self.parts)

    @property
    def _wanted(self) -> tuple[str, ...]:
        own = (self.columns.url, self.columns.caption, self.columns.hash, *self.columns.extra)
        return tuple(dict.fromkeys(name for name in own if name is not None))

    def _row(self, number: int, cells: Cells) -> Row:
        columns = self.columns
        if isinstance(cells, str):
            none = dict.fromkeys(columns.extra)
            return Row(
                number, "", None if columns.caption is None else "", None, none, f"row {number} {cells}"
            )
        url = cells[columns.url or ""]
        return Row(
            number,
            url if isinstance(url, str) else "",
            None if columns.caption is None else text(cells[columns.caption]) or "",
            None if columns.hash is None else text(cells[columns.hash]) or None,
            {name: cells[name] for name in columns.extra},
            "" if isinstance(url, str) or url is None else f"row {number} has a URL that is no text",
        )


class _Cursor:
    """Reads forward; an earlier row begins anew. Threads may share it."""

    def __init__(self, source: UrlList) -> None:
        self._source, self._lock = source, threading.Lock()
        self._rows: Iterator[Row] = iter(())
        self._at = -1

    def take(self, start: int, size: int) -> list[Row]:
        with self._lock:
            if self._at != start:
                self._rows = self._source.rows(start)
            rows, weight = [], 0
            for row in islice(self._rows, size):
                weight += len(row.url) + len(row.caption or "") + len(row.expected or "") + _weight(row.extra)
                if weight > MAX_SLICE:
                    raise LimitError(
                        f"{self._source.path}: rows {start} to {row.number} hold more than {MAX_SLICE:,} bytes; "
                        "choose fewer samples a shard, or fewer columns"
                    )
                rows.append(row)
            self._at = start + size
            if len(rows) != size:
                raise InputError(
                    f"{self._source.path}: has fewer rows than before; it changed while it was read"
                )
            return rows


def _weight(extra: Any) -> int:
    return sum(len(value) for value in extra.values() if isinstance(value, str | bytes | list))


def _part(file: Path, kind: str) -> ListFile:
    for suffix in COMPRESSIONS:
        kind = kind.removesuffix(suffix)
    if kind == "txt":
        return UrlLines(file)
    if kind in ("csv", "tsv"):
        return Delimited(file, kind)
    if kind in ("jsonl", "json"):
        return JsonRows(file)
    if kind == "parquet":
        return ParquetRows(file)
    raise UsageError(f"no kind of list {kind!r}; known: txt, csv, tsv, jsonl, json, parquet")


def _check_types(part: ListFile, file: Path, columns: Columns) -> None:
    if isinstance(part, ParquetRows) and not is_text(kind := part.schema.field(columns.url).type):
        raise InputError(f"{file}: column {columns.url!r} holds {kind}, not URLs")
