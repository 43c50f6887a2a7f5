"""Shards as WebDataset reads them: NNNNN.tar, in which a sample is its image, `.json` and `.txt`, as img2dataset writes them.

NNNNN.parquet beside it is the provenance. All images have one suffix, img2dataset's `.jpg` where they are kept as they came,
whatever they are: readers take a suffix for a column, and `datasets` drops what the first samples do not have.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bezoar.acquire.shards.durable import Written, replaced
from bezoar.acquire.shards.naming import shard_name
from bezoar.acquire.shards.provenance import write_provenance
from bezoar.acquire.shards.writing import Kept, commit, sample_json
from bezoar.data.formats import tar

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class WebDatasetWriter:
    """NNNNN.tar, NNNNN.parquet, NNNNN_stats.json; `image` is the suffix of all images."""

    image: str = "jpg"
    name: str = field(default="webdataset", init=False)

    def write(
        self, folder: Path, number: int, kept: Iterable[Kept], provenance: pa.Table, stats: Mapping[str, Any]
    ) -> Mapping[str, Written]:
        """As `ShardWriter.write`; headers carry no time and no owner."""
        name = shard_name(number)
        with commit(folder, number, self.name, stats) as written:
            with replaced(folder / f"{name}.tar", written) as out:
                for sample in kept:
                    tar.write_member(out, f"{sample.key}.{self.image}", sample.content)
                    tar.write_member(out, f"{sample.key}.json", sample_json(sample))
                    if sample.row.caption is not None:
                        tar.write_member(
                            out, f"{sample.key}.txt", sample.row.caption.encode("utf-8", "replace")
                        )
                tar.write_end(out)
            write_provenance(folder / f"{name}.parquet", provenance, written)
        return written
