"""Shards that are fetched, counted and thrown away, as img2dataset's `dummy`: to measure a network."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bezoar.acquire.shards.durable import Written
from bezoar.acquire.shards.naming import shard_name
from bezoar.acquire.shards.provenance import write_provenance
from bezoar.acquire.shards.writing import Kept, commit

if TYPE_CHECKING:
    import pyarrow as pa


class DummyWriter:
    """Provenance and stats alone."""

    name = "dummy"

    def write(
        self, folder: Path, number: int, kept: Iterable[Kept], provenance: pa.Table, stats: Mapping[str, Any]
    ) -> Mapping[str, Written]:
        """As `ShardWriter.write`, without the records."""
        with commit(folder, number, self.name, stats) as written:
            deque(kept, maxlen=0)
            write_provenance(folder / f"{shard_name(number)}.parquet", provenance, written)
        return written
