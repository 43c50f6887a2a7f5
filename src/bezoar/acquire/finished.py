"""A shard that is there as a whole: its figures, what is known of its rows, and the contents that it keeps.

What is read here was hashed against the shard's stats just before; the stats themselves are what the fetch wrote.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bezoar.acquire.options import Retry
from bezoar.acquire.shards.naming import shard_name
from bezoar.acquire.shards.provenance import PROVENANCE_FOLDER, PROVENANCE_SCHEMA
from bezoar.acquire.shards.stats import read_stats
from bezoar.acquire.shards.writing import STATS_SUFFIX
from bezoar.acquire.tally import Tally
from bezoar.data.formats import tar
from bezoar.errors import InputError

_BESIDE = (".json", ".txt")  # of an image


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

    def tally(self) -> Tally:
        """The figures of its rows."""
        try:
            return Tally.from_json((read_stats(self.folder, self.number) or {})["tally"])
        except (ValueError, KeyError, TypeError) as error:
            path = self.folder / f"{self.name}{STATS_SUFFIX}"
            raise InputError(
                f"{path}: is malformed ({error}); remove it, and the shard is fetched anew"
            ) from error

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

    def contents(self) -> Iterator[tuple[str, str, bytes]]:
        """Key, suffix and content of each record that is kept."""
        read = {"webdataset": self._from_tar, "parquet": self._from_table, "files": self._from_files}
        return read[self.output_format]() if self.output_format in read else iter(())

    def _provenance(self, columns: list[str]) -> Any:
        import pyarrow as pa
        import pyarrow.parquet as pq

        folder = self.folder / PROVENANCE_FOLDER if self.output_format == "parquet" else self.folder
        path = folder / f"{self.name}.parquet"
        try:
            return pq.ParquetFile(path).read(columns=columns)
        except (OSError, pa.ArrowException) as error:
            raise InputError(f"{path}: cannot be read ({error})") from error

    def _from_tar(self) -> Iterator[tuple[str, str, bytes]]:
        path = self.folder / f"{self.name}.tar"
        with path.open("rb") as stream:
            for member in tar.members(path):
                if not member.name.endswith(_BESIDE):
                    stream.seek(member.data)
                    key, _, suffix = member.name.partition(".")
                    yield key, suffix, stream.read(member.size)

    def _from_files(self) -> Iterator[tuple[str, str, bytes]]:
        for path in sorted((self.folder / self.name).iterdir()):
            if not path.name.endswith(_BESIDE):
                yield path.stem, path.suffix.removeprefix("."), path.read_bytes()

    def _from_table(self) -> Iterator[tuple[str, str, bytes]]:
        import pyarrow.parquet as pq

        table = pq.ParquetFile(self.folder / f"{self.name}.parquet")
        for batch in table.iter_batches(256, columns=["image"]):
            for image in batch.column("image").to_pylist():
                key, _, suffix = image["path"].partition(".")
                yield key, suffix, image["bytes"]
