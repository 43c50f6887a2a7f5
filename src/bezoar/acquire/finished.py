"""A shard that is there as a whole: what is known of its rows, and the contents that it keeps.

Its files have the digests that its stats say. Neither is trusted for that: `rechecking` holds them against the list.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bezoar.acquire.options import Retry
from bezoar.acquire.shards.naming import shard_name
from bezoar.acquire.shards.parquet import GROUP_BYTES
from bezoar.acquire.shards.provenance import PROVENANCE_FOLDER, PROVENANCE_SCHEMA
from bezoar.acquire.table_sizes import refuse_large_cells, refuse_large_groups
from bezoar.data.formats import tar
from bezoar.data.image_files import MAX_BYTES
from bezoar.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa

TEXTS_BESIDE = ("json", "txt")  # suffixes of what lies beside an image
_IMAGES = "image"
_MAX_IMAGES = GROUP_BYTES + MAX_BYTES + (1 << 20)  # bytes of a row group: full, but for the largest image


@dataclass(frozen=True)
class FinishedShard:
    """Shard `number` of `folder`, complete."""

    folder: Path
    number: int
    output_format: str

    @property
    def name(self) -> str:
        """Of its files, without suffix."""
        return shard_name(self.number)

    def failed(self, retry: Retry) -> frozenset[int]:
        """Places of the rows that are to be fetched again."""
        if retry is Retry.NOTHING:
            return frozenset()
        table = self._provenance(["reason", "http_status"])
        pairs = zip(table["reason"].to_pylist(), table["http_status"].to_pylist(), strict=True)
        return frozenset(place for place, pair in enumerate(pairs) if retry.covers(*pair))

    def provenance(self) -> list[dict[str, Any]]:
        """What is known of each row, in their order; times in microseconds since 1970."""
        import pyarrow as pa

        table = self._provenance(PROVENANCE_SCHEMA.names)
        place = table.schema.get_field_index("fetched")
        table = table.set_column(place, "fetched", table["fetched"].cast(pa.int64()))
        rows: list[dict[str, Any]] = table.to_pylist()
        return rows

    def table(self) -> pa.Table:
        """The whole provenance."""
        return self._provenance(None)

    def schemas(self) -> tuple[pa.Schema, ...]:
        """Of the provenance and, where the images lie in a table, of that one, too; nothing but footers is read."""
        paths = [self._provenance_path]
        if self.output_format == "parquet":
            paths.append(self.folder / f"{self.name}.parquet")
        return tuple(_schema(path) for path in paths)

    def contents(self) -> Iterator[tuple[str, str, bytes]]:
        """Key, suffix and content of each record that is kept."""
        for name, content in self.members():
            key, _, suffix = name.partition(".")
            if suffix not in TEXTS_BESIDE:
                yield key, suffix, content

    def members(self) -> Iterator[tuple[str, bytes]]:
        """Name and content of each image, in the order of the keys, and of the texts beside them where these are files."""
        read = {"webdataset": self._from_tar, "parquet": self._from_table, "files": self._from_files}
        return read[self.output_format]() if self.output_format in read else iter(())

    def columns(self) -> Iterator[pa.RecordBatch]:
        """The columns that go with the images of a Parquet shard."""
        import pyarrow.parquet as pq

        path = self.folder / f"{self.name}.parquet"
        with _as_input_error(path), pq.ParquetFile(path) as table:
            yield from table.iter_batches(columns=[n for n in table.schema_arrow.names if n != _IMAGES])

    def refuse_large(self, rows: int, most: int) -> None:
        """LimitError when what lies there cannot be of so many rows that come to at most `most` bytes without the images."""
        with _as_input_error(self._provenance_path):
            refuse_large_cells(self._provenance_path, rows, most)
        if self.output_format == "parquet":
            path = self.folder / f"{self.name}.parquet"
            with _as_input_error(path):
                refuse_large_cells(path, rows, most, besides=_IMAGES)

    @property
    def _provenance_path(self) -> Path:
        folder = self.folder / PROVENANCE_FOLDER if self.output_format == "parquet" else self.folder
        return folder / f"{self.name}.parquet"

    def _provenance(self, columns: list[str] | None) -> pa.Table:
        import pyarrow.parquet as pq

        path = self._provenance_path
        with _as_input_error(path), pq.ParquetFile(path) as table:
            return table.read(columns=columns)

    def _from_tar(self) -> Iterator[tuple[str, bytes]]:
        path = self.folder / f"{self.name}.tar"
        with path.open("rb") as stream:
            for member in tar.members(path):
                _check_size(path, member.size)
                stream.seek(member.data)
                yield member.name, stream.read(member.size)

    def _from_files(self) -> Iterator[tuple[str, bytes]]:
        for path in sorted((self.folder / self.name).iterdir()):
            _check_size(path, path.stat().st_size)
            yield path.name, path.read_bytes()

    def _from_table(self) -> Iterator[tuple[str, bytes]]:
        import pyarrow.parquet as pq

        path = self.folder / f"{self.name}.parquet"
        with _as_input_error(path), pq.ParquetFile(path) as table:
            refuse_large_groups(path, _IMAGES, _MAX_IMAGES)
            for batch in table.iter_batches(1, columns=[_IMAGES], use_threads=False):
                for image in batch.column(_IMAGES).to_pylist():
                    name, content = image["path"], image["bytes"]
                    if name is None or content is None:
                        raise InputError(f"{path}: holds an image without name or bytes")
                    _check_size(path, len(content))
                    yield name, content


def _check_size(path: Path, size: int) -> None:
    if size > MAX_BYTES:
        raise InputError(
            f"{path}: holds a file of {size:,} bytes; no fetch keeps one of more than {MAX_BYTES:,}"
        )


def _schema(path: Path) -> pa.Schema:
    import pyarrow.parquet as pq

    with _as_input_error(path):
        return pq.read_schema(path)


@contextmanager
def _as_input_error(path: Path) -> Iterator[None]:
    import pyarrow as pa

    try:
        yield
    except (OSError, pa.ArrowException, KeyError, TypeError) as error:
        what = " ".join(str(error).split())[:160]
        raise InputError(f"{path}: cannot be read ({what})") from error
